//! Skipped files: what a folder holds that did not become a sample, by kind, and the summary that is shown.

use crate::error::List;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Number of skipped files that a summary names.
const NAMED: usize = 5;

/// A file or folder that did not become a sample, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Its path.
    pub path: PathBuf,
    /// Kind of the reason.
    pub kind: SkipKind,
    /// The reason in words.
    pub reason: String,
}

/// Kind of reason why a file did not become a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipKind {
    /// An image that can't be read or decoded. Counts as unreadable.
    Unreadable,
    /// An image of a format that is not decoded, such as HEIC. Counts as unreadable.
    UnsupportedFormat,
    /// An image of a format that is not decoded, beside one of the same name that is: a raw file beside its JPEG.
    SecondFormat,
    /// An image in a subfolder of a class.
    InSubfolder,
    /// An image beside the class folders.
    OutsideClasses,
    /// A symbolic link to a file or folder that does not exist.
    DanglingLink,
    /// An image without a mask, in a data set of masks.
    NoMask,
    /// A mask without an image.
    NoImage,
    /// An image that no row of the data set's table names.
    NoRow,
    /// A symbolic link to a folder where folders are searched at any depth: it may lead in a circle.
    LinkedFolder,
}

/// Summary of skipped files for a line of text and an event: counts by kind and the first few by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SkipSummary {
    /// Number of files of each kind.
    pub counts: BTreeMap<SkipKind, usize>,
    /// The first few, as `path (reason)`.
    pub examples: Vec<String>,
}

impl SkipKind {
    /// Whether the file is an image that the user will miss: these are limited by
    /// [`UNREADABLE_LIMIT`](crate::UNREADABLE_LIMIT).
    pub const fn counts_as_unreadable(self) -> bool {
        match self {
            Self::Unreadable | Self::UnsupportedFormat => true,
            Self::SecondFormat
            | Self::InSubfolder
            | Self::OutsideClasses
            | Self::DanglingLink
            | Self::NoMask
            | Self::NoImage
            | Self::NoRow
            | Self::LinkedFolder => false,
        }
    }

    /// Description behind a number of files, such as "3 in a subfolder of a class".
    pub const fn description(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::UnsupportedFormat => "in an unsupported format",
            Self::SecondFormat => "in a second, unsupported format",
            Self::InSubfolder => "in a subfolder of a class",
            Self::OutsideClasses => "outside the class folders",
            Self::DanglingLink => "dangling links",
            Self::NoMask => "without a mask",
            Self::NoImage => "masks without an image",
            Self::NoRow => "without a row in the table",
            Self::LinkedFolder => "links to folders",
        }
    }
}

impl Skipped {
    pub(crate) fn new(path: impl Into<PathBuf>, kind: SkipKind, reason: impl Into<String>) -> Self {
        Self { path: path.into(), kind, reason: reason.into() }
    }
}

impl SkipSummary {
    /// Summary of some files; `None` if there are none.
    pub fn of(skipped: &[Skipped]) -> Option<Self> {
        let mut counts = BTreeMap::new();
        for file in skipped {
            *counts.entry(file.kind).or_default() += 1;
        }
        let examples = skipped.iter().take(NAMED).map(Skipped::to_string).collect();
        (!skipped.is_empty()).then_some(Self { counts, examples })
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.reason)
    }
}

impl fmt::Display for SkipSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.counts.values().sum();
        let counts: Vec<String> =
            self.counts.iter().map(|(kind, count)| format!("{count} {}", kind.description())).collect();
        let files = if total == 1 { "file" } else { "files" };
        write!(f, "skipped {total} {files}: {}. The first: {}", counts.join(", "), List(&self.examples))?;
        match total.saturating_sub(self.examples.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
