//! Version: which weights run.

use serde::{Serialize, Serializer};
use std::fmt;

/// Version of the weights: the base's own, or the base with a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The base without a delta.
    Base,
    /// The base with a delta file that is in no store.
    File,
    /// The base with that version of the store.
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

/// Serialised as the number of a stored version, `"file"` for a delta file, `null` for the base.
impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Base => serializer.serialize_none(),
            Self::File => serializer.serialize_str("file"),
            Self::Stored(number) => serializer.serialize_u32(*number),
        }
    }
}
