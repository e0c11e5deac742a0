//! Keys of a fleet: hashes, robot ids, and the names under which a carrier holds objects.

use crate::error::FleetError;
use fieldfit_tensor::text::escape;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The first segment of every name, so that a bucket or a network may hold other things beside.
const ROOT: &str = "fleet";
/// The last segment of a robot's status.
pub(crate) const STATUS: &str = "status";
/// Maximum length of a robot's id, in bytes.
const MAX_ROBOT_ID: usize = 64;

/// A SHA-256, displayed in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "hex::serde")] pub [u8; 32]);

impl Digest {
    /// Returns the SHA-256 of those bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        let mut digest = [0; 32];
        let is_canonical = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut digest) {
            Ok(()) if is_canonical => Ok(Self(digest)),
            _ => Err(FleetError::Digest { found: escape(text).to_string() }),
        }
    }
}

/// Name of a robot in its fleet: 1 to 64 letters, digits, `-`, `_` and `.`, the first one a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RobotId(String);

impl RobotId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RobotId {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        match begins_well && text.len() <= MAX_ROBOT_ID && text.bytes().all(is_allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(FleetError::RobotId { found: escape(text).to_string() }),
        }
    }
}

impl TryFrom<String> for RobotId {
    type Error = FleetError;

    fn try_from(text: String) -> Result<Self, FleetError> {
        text.parse()
    }
}

impl From<RobotId> for String {
    fn from(id: RobotId) -> Self {
        id.0
    }
}

impl fmt::Display for RobotId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Kinds of objects of one base, each listed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// Signed delta files.
    Deltas,
    /// Cards of deltas.
    Cards,
    /// Recalls of deltas.
    Recalls,
    /// Statuses of robots.
    Robots,
}

impl Folder {
    const ALL: [Self; 4] = [Self::Deltas, Self::Cards, Self::Recalls, Self::Robots];

    const fn name(self) -> &'static str {
        match self {
            Self::Deltas => "deltas",
            Self::Cards => "cards",
            Self::Recalls => "recall",
            Self::Robots => "robots",
        }
    }

    /// Returns the name of this folder of a base, without a slash at its end.
    pub fn path(self, base: &Digest) -> String {
        format!("{ROOT}/{base}/{}", self.name())
    }
}

/// Returns the name that the names of all objects of a base begin with, without a slash at its end.
#[cfg_attr(not(feature = "zenoh"), allow(dead_code, reason = "only an engine that watches asks for it"))]
pub(crate) fn base_path(base: &Digest) -> String {
    format!("{ROOT}/{base}")
}

/// Name of one object of a base. Its text is the same on every carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The delta file of that hash.
    Delta(Digest, Digest),
    /// The card of the delta file of that hash.
    Card(Digest, Digest),
    /// The recall of the delta file of that hash.
    Recall(Digest, Digest),
    /// The status of that robot.
    Status(Digest, RobotId),
}

impl Key {
    /// Returns the key that a carrier's name is, if it is one.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let mut next = || parts.next();
        let (root, base, folder, object) = (next()?, next()?.parse().ok()?, next()?, next()?);
        let rest = next();
        let folder = Folder::ALL.into_iter().find(|known| known.name() == folder)?;
        let key = match (folder, rest) {
            (Folder::Deltas, None) => Self::Delta(base, object.parse().ok()?),
            (Folder::Cards, None) => Self::Card(base, object.parse().ok()?),
            (Folder::Recalls, None) => Self::Recall(base, object.parse().ok()?),
            (Folder::Robots, Some(STATUS)) => Self::Status(base, object.parse().ok()?),
            (Folder::Deltas | Folder::Cards | Folder::Recalls | Folder::Robots, _) => return None,
        };
        (root == ROOT && next().is_none()).then_some(key)
    }

    /// Returns the folder that lists the key.
    pub const fn folder(&self) -> Folder {
        match self {
            Self::Delta(..) => Folder::Deltas,
            Self::Card(..) => Folder::Cards,
            Self::Recall(..) => Folder::Recalls,
            Self::Status(..) => Folder::Robots,
        }
    }

    /// Returns the hash of the delta that the object is or is about; `None` of a status.
    pub const fn delta(&self) -> Option<&Digest> {
        match self {
            Self::Delta(_, delta) | Self::Card(_, delta) | Self::Recall(_, delta) => Some(delta),
            Self::Status(..) => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder();
        match self {
            Self::Delta(base, delta) | Self::Card(base, delta) | Self::Recall(base, delta) => {
                write!(out, "{}/{delta}", folder.path(base))
            }
            Self::Status(base, robot) => write!(out, "{}/{robot}/{STATUS}", folder.path(base)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a key whose text does not lead back to it, and foreign names that pass for keys.
    #[test]
    fn keys_round_trip_and_other_names_are_none() {
        let (base, delta) = (Digest([7; 32]), Digest([9; 32]));
        let robot: RobotId = "kit-1".parse().unwrap();
        for key in [Key::Delta(base, delta), Key::Card(base, delta), Key::Recall(base, delta), Key::Status(base, robot)]
        {
            assert_eq!(Key::parse(&key.to_string()), Some(key.clone()));
            assert_eq!(Key::parse(&format!("{key}/x")), None);
            assert_eq!(Key::parse(&format!("x{key}")), None);
        }
        let upper = Key::Card(base, Digest([0xab; 32])).to_string().to_uppercase();
        assert_eq!(Key::parse(&upper.replace("FLEET", "fleet").replace("CARDS", "cards")), None);
        assert_eq!(Key::parse(&format!("fleet/{base}/robots/../status")), None);
    }

    /// Catches: a robot id that leaves its folder, or moves a terminal's cursor.
    #[test]
    fn robot_ids_are_plain_names() {
        for refused in ["", ".", "..", ".x", "a/b", "a b", "a\u{1b}[2K", "ä", "*", &"a".repeat(65)] {
            assert!(refused.parse::<RobotId>().is_err(), "{refused:?}");
        }
        assert!("arm_7.lab-2".parse::<RobotId>().is_ok());
    }
}
