//! Software version: `major.minor`, ordered by number.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A version of glibc or CUDA: `2.35`. 2.9 comes before 2.35.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SoftwareVersion {
    /// The number before the point.
    pub major: u32,
    /// The number after the point.
    pub minor: u32,
}

impl FromStr for SoftwareVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }));
        parsed.ok_or_else(|| format!("invalid version `{text}`: expected two numbers, such as 2.35"))
    }
}

impl TryFrom<String> for SoftwareVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SoftwareVersion> for String {
    fn from(version: SoftwareVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for SoftwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: versions compared as text, where 2.9 comes after 2.35.
    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| text.parse::<SoftwareVersion>().unwrap();
        assert!(version("2.9") < version("2.35"));
        assert!(version("12.6") > version("2.35"));
        assert_eq!(version("2.35").to_string(), "2.35");
        for text in ["", "2", "2.", ".3", "2.x", "2.3.4", "-1.2"] {
            assert!(text.parse::<SoftwareVersion>().is_err(), "{text}");
        }
    }
}
