//! Errors of data sets of other tools.

use fieldfit_durable::BoundedReadError;
use fieldfit_recording::RecordingError;
use fieldfit_tensor::text::escape;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of a data set that can't be read, with the file and the record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file that can't be read.
    #[error(transparent)]
    File(#[from] BoundedReadError),
    /// A recording that can't be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A file or folder that the system can't read.
    #[error("cannot read {}: {source}", shown(path))]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A path of no known format.
    #[error(
        "{} is of no known format: expected a folder, .csv, .jsonl, COCO or Label Studio .json, CVAT's .xml, a WebDataset .tar, or a recording .mcap",
        shown(path)
    )]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// A format that other tools convert.
    #[error("{} is {format}, which is not read: convert it with `{converter}`", shown(path))]
    Convert {
        /// The path.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// A command that converts it.
        converter: &'static str,
    },
    /// A table or file as a whole that is not what its format demands.
    #[error("{}: {}", shown(path), escape(problem))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The defect, and what to do.
        problem: String,
    },
    /// A record that can't be used.
    #[error("{}: {}: {}", shown(path), escape(record), escape(problem))]
    Record {
        /// The file.
        path: PathBuf,
        /// The record: its line, or its name.
        record: String,
        /// The defect, and what to do.
        problem: String,
    },
}

impl DatasetError {
    /// Returns the path that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(error) => error.path(),
            Self::Recording(error) => error.path(),
            Self::Io { path, .. }
            | Self::Unknown { path }
            | Self::Convert { path, .. }
            | Self::Invalid { path, .. }
            | Self::Record { path, .. } => path,
        }
    }
}

/// Returns a path for a message.
fn shown(path: &Path) -> impl Display {
    escape(&path.to_string_lossy()).to_string()
}
