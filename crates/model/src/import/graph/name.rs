//! Name of a value, tensor, node or op in a network file.

use crate::text::excerpt;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The most bytes of a name, or of any other text of a network file that is kept.
pub(super) const LONGEST_NAME: usize = 1 << 16;

/// Name in a network file, of at most 64 KiB: borrowed from the file, unless it is escaped there. Clones share the text.
///
/// It may hold anything: displayed, it is escaped and cut after 256 characters.
#[derive(Clone)]
pub struct Name<'a>(Text<'a>);

#[derive(Clone)]
enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Name<'_> {
    /// Returns the text as it is in the file, unescaped.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl Default for Name<'_> {
    fn default() -> Self {
        Self(Text::Borrowed(""))
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name<'_> {}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Deref for Name<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        excerpt(self).fmt(out)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(out)
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        Self(Text::Borrowed(text))
    }
}

impl From<String> for Name<'_> {
    fn from(text: String) -> Self {
        Self(Text::Shared(text.into()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a text of at most {LONGEST_NAME} bytes")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        bounded(text).map(Name::from)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        bounded(text).map(|text| Name::from(text.to_owned()))
    }
}

fn bounded<E: de::Error>(text: &str) -> Result<&str, E> {
    match text.len() {
        0..=LONGEST_NAME => Ok(text),
        length => Err(E::invalid_length(length, &NameVisitor)),
    }
}
