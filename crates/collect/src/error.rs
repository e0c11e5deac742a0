//! Errors of collections and the collector.

use fieldfit_data::DataError;
use fieldfit_durable::DurableError;
use fieldfit_tensor::text::escape;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of a collection that can't be read or written, or of an operation that it refuses.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A file that can't be read or written.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A frame that can't be used.
    #[error("the frame cannot be used: {0}")]
    Frame(#[from] DataError),
    /// A missing collection.
    #[error("there is no collection at {}: check the path, or make one by collecting into it", shown(path))]
    Missing {
        /// Path of the collection.
        path: PathBuf,
    },
    /// A folder with other things in it.
    #[error(
        "{} is not a collection, and `{}` is in it already: choose a new or an empty folder",
        shown(path),
        escape(found)
    )]
    NotACollection {
        /// The folder.
        path: PathBuf,
        /// The first thing that is not a collection's.
        found: String,
    },
    /// A damaged line of the log that others follow.
    #[error(
        "line {line} of {} is damaged: {}. Restore the file from a copy, or remove the line: images that it labels are \
         then removed, too",
        shown(path),
        escape(reason)
    )]
    DamagedLog {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The defect.
        reason: String,
    },
    /// A log of a later version of the format.
    #[error(
        "{} is a collection of format {found}, and this version reads format {expected}: update fieldfit",
        shown(path)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The format that is read.
        expected: u32,
        /// Its format.
        found: u32,
    },
    /// An image file whose content is not what was stored.
    #[error("{} is damaged: its content is not what its name says; discard the image", shown(path))]
    DamagedImage {
        /// The file.
        path: PathBuf,
    },
    /// A class name that cannot be a folder's name.
    #[error("the class `{}` is {problem}: give a name that a folder can have", escape(class))]
    Class {
        /// The name.
        class: String,
        /// The defect.
        problem: &'static str,
    },
    /// A confidence that is no share.
    #[error("the confidence {found} is not a number in 0..=1")]
    Confidence {
        /// The confidence given.
        found: f32,
    },
    /// A span of time without buffered frames.
    #[error(
        "no frame of {span} is in the buffer, which holds {buffered}: label sooner, or buffer a longer time before the \
         trigger"
    )]
    NoFrames {
        /// The span asked for.
        span: String,
        /// Number of frames in the buffer.
        buffered: usize,
    },
    /// An image that is not in the collection.
    #[error("there is no image {id} in {}: list them with `fieldfit collection show --images`", shown(path))]
    UnknownImage {
        /// The collection.
        path: PathBuf,
        /// The image.
        id: String,
    },
    /// Bytes that are no image.
    #[error("the image {} is of no format that is decoded: convert it to JPEG or PNG", escape(name))]
    NotAnImage {
        /// The image's name, or its hash.
        name: String,
    },
    /// A class that is full, where no image of it may go.
    #[error("the class `{}` has {limit} images, and no more are kept: raise the limit per class", escape(class))]
    ClassFull {
        /// The class.
        class: String,
        /// The limit per class.
        limit: usize,
    },
    /// A disk with less free space than is to be left.
    #[error(
        "{} has {free} bytes of free space, and {needed} are needed with what is to be left free: nothing was stored; \
         free some space, or lower the limit",
        shown(path)
    )]
    FreeDisk {
        /// The collection.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// Limits that contradict each other, or an option out of range.
    #[error("the option {option} is {found}: expected {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// An export to a path where something is.
    #[error("{} exists: export to a new path", shown(path))]
    ExportExists {
        /// The path.
        path: PathBuf,
    },
    /// An export of a collection without images.
    #[error("{} holds no image to export", shown(path))]
    Empty {
        /// The collection.
        path: PathBuf,
    },
    /// An export that cannot be written.
    #[error("cannot export to {}: {source}; nothing was left there", shown(path))]
    Export {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl CollectError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Durable(error) => error.path(),
            Self::Frame(error) => error.path(),
            Self::Missing { path }
            | Self::NotACollection { path, .. }
            | Self::DamagedLog { path, .. }
            | Self::Version { path, .. }
            | Self::DamagedImage { path }
            | Self::UnknownImage { path, .. }
            | Self::FreeDisk { path, .. }
            | Self::ExportExists { path }
            | Self::Empty { path }
            | Self::Export { path, .. } => Some(path),
            Self::Class { .. }
            | Self::Confidence { .. }
            | Self::NoFrames { .. }
            | Self::NotAnImage { .. }
            | Self::ClassFull { .. }
            | Self::Option { .. } => None,
        }
    }
}

/// Returns a path for a message.
fn shown(path: &Path) -> impl Display {
    escape(&path.to_string_lossy()).to_string()
}
