//! Errors of recordings.

use fieldfit_durable::BoundedReadError;
use fieldfit_tensor::text::escape;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of a recording that can't be read, with the file and the record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// A file that can't be opened.
    #[error(transparent)]
    File(#[from] BoundedReadError),
    /// A file or folder that the system can't read.
    #[error("cannot read {}: {source}", shown(path))]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A recording that other tools convert.
    #[error("{} is {format}, which is not read: convert it with `{converter}`", shown(path))]
    Convert {
        /// The path.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// A command that converts it.
        converter: &'static str,
    },
    /// A file or record that is not what its format demands.
    #[error("{}: {}: {}", shown(path), escape(record), escape(problem))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The record: its place, or its name.
        record: String,
        /// The defect, and what to do.
        problem: String,
    },
}

impl RecordingError {
    /// Returns the path that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(error) => error.path(),
            Self::Io { path, .. } | Self::Convert { path, .. } | Self::Malformed { path, .. } => path,
        }
    }
}

/// Returns a path for a message.
fn shown(path: &Path) -> impl Display {
    escape(&path.to_string_lossy()).to_string()
}
