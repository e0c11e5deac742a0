//! Why a profile can't be used.

use std::path::PathBuf;
use thiserror::Error;

/// A profile that is not there, or is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A name that is neither a board's nor a file's.
    #[error("no board is called `{name}`, and there is no such file: give a profile's path, or one of {}", crate::NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A file that can't be read.
    #[error("can't read {}: check that the file is there and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A text that is no profile.
    #[error("{origin} is no profile of a board: {source}")]
    Parse {
        /// The file or the board's name.
        origin: String,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// A value that no board has.
    #[error("{origin}: `{field}` is {found}: expected {expected}")]
    Value {
        /// The file or the board's name.
        origin: String,
        /// The key.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
}
