//! Errors of durable files.

use crate::{file_system::EntryType, seal::SealError};
use fieldfit_tensor::text::escape;
use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Error of a file that could not be read or not be replaced.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DurableError {
    /// The system refused an operation.
    #[error("cannot {action} {}: {source}{}", shown(path), advice(action, source.kind()))]
    Io {
        /// The action, as a verb.
        action: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A lock that another writer holds.
    #[error(
        "{} is locked by {}: wait until that has ended, or end it; the lock goes with its process, so that the file \
         need not and must not be removed",
        shown(path),
        escape(by)
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// The holder.
        by: String,
    },
    /// Something else than a file has the name that a commit is to give.
    #[error("cannot replace {}: expected a regular file or none, found {}: choose another path", shown(path), found.name())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// The kind of file found.
        found: EntryType,
    },
    /// The content is not what was once committed.
    #[error("{}: {source}", shown(path))]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The defect.
        source: SealError,
    },
}

impl DurableError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::Locked { path, .. }
            | Self::NotAFile { path, .. }
            | Self::Sealed { path, .. } => Some(path),
        }
    }
}

impl DurableError {
    /// Whether there is no such file or folder.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Puts the action and the path to what the system says.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Returns a path for a message.
fn shown(path: &Path) -> impl Display {
    escape(&path.to_string_lossy()).to_string()
}

/// Returns what to do about an error of the system's, where that is known.
fn advice(action: &str, kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; what was there before is untouched: free some space and try again"
        }
        io::ErrorKind::PermissionDenied => "; check the owner and the mode of the file and its folder",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system for writing, or choose another place",
        io::ErrorKind::FileTooLarge if action == "write" => {
            "; what was there before is untouched: raise the limit of file sizes (`ulimit -f`), or choose another file system"
        }
        io::ErrorKind::FileTooLarge => "; no file of this kind is that large: it is damaged or not one of ours",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a limit of file sizes at which a file is written that is explained as a damaged file.
    #[test]
    fn advice_fits_the_action() {
        let message = |action| {
            let source = io::ErrorKind::FileTooLarge.into();
            DurableError::at(action, Path::new("state"))(source).to_string()
        };
        assert!(message("write").contains("raise the limit of file sizes"), "{}", message("write"));
        assert!(message("read").contains("it is damaged or not one of ours"), "{}", message("read"));
    }
}
