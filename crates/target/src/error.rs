//! Target profile errors.

use std::path::PathBuf;
use thiserror::Error;

/// An error of finding or parsing a target profile.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The name is neither a compiled-in profile nor a file.
    #[error("unknown target `{name}`, and no such file: pass a profile's path, or one of {}", crate::names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The requested name.
        name: String,
    },
    /// The file is unreadable.
    #[error("cannot read target profile {}: check that the file exists and is readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The text is not a profile.
    #[error("invalid target profile {origin}: {source}")]
    Parse {
        /// The file, or the profile's name.
        origin: String,
        /// The parser's error.
        source: Box<toml::de::Error>,
    },
    /// A value is out of range.
    #[error("invalid target profile {origin}: `{field}` is {found}, expected {expected}")]
    Value {
        /// The file, or the profile's name.
        origin: String,
        /// The key.
        field: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: String,
    },
}
