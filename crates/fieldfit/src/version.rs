//! Which weights run.

use serde::{Serialize, Serializer};
use std::fmt;

/// Which weights run: the base's own, or the base and a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The base as it is.
    Base,
    /// The base and a delta file that is in no store.
    File,
    /// The base and that version of the store.
    Stored(u32),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("the base"),
            Self::File => f.write_str("the delta file"),
            Self::Stored(number) => write!(f, "version {number}"),
        }
    }
}

/// The number of a stored version, `"file"` for a delta file, `null` for the base.
impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Base => serializer.serialize_none(),
            Self::File => serializer.serialize_str("file"),
            Self::Stored(number) => serializer.serialize_u32(*number),
        }
    }
}
