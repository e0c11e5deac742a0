//! Log of a collection: one JSON object a line, each with a checksum, appended and replayed.
//!
//! A line is `{"crc":"xxxxxxxx","record":RECORD}`: the CRC-32 of the record's bytes in hexadecimal digits, then the record. A
//! power cut can tear the last line alone, which a reader tells by its missing line break or wrong checksum.

use crate::contents::{ImageId, StoredImage};
use crate::error::CollectError;
use crate::label::Label;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the log's format.
pub(crate) const VERSION: u32 = 1;
/// Maximum bytes of a log: millions of images.
pub(crate) const MAX_LOG_BYTES: u64 = 1 << 30;

const BEFORE_CRC: &[u8] = b"{\"crc\":\"";
const BEFORE_RECORD: &[u8] = b"\",\"record\":";
const CRC_DIGITS: usize = 8;

/// Record of the log: one operation, which happened whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Record {
    /// First line: the format's version.
    Collection { version: u32 },
    /// Images that were stored under a label, whose files were on the disk before; images that got it instead of another one;
    /// and how many more frames showed the same as an image.
    Label {
        label: Label,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<StoredImage>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        relabelled: Vec<ImageId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen: Vec<(ImageId, u32)>,
    },
    /// Images whose files are removed afterwards.
    Remove { reason: Removal, images: Vec<ImageId> },
}

/// Reason why an image left a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Removal {
    /// Somebody discarded it.
    Discarded,
    /// Somebody had a stretch of time forgotten.
    Forgotten,
    /// It made room for another image.
    Evicted,
    /// It reached the age limit.
    Expired,
    /// Its file was missing when the collection was opened.
    Missing,
}

/// Records of a log, and whether it ends with a torn line.
pub(crate) struct Replay {
    pub records: Vec<Record>,
    pub is_torn: bool,
}

/// Returns a record's line.
pub(crate) fn line(record: &Record) -> Vec<u8> {
    // Records are plain data with text keys, which JSON always takes.
    let json = serde_json::to_vec(record).unwrap_or_default();
    let crc = format!("{:08x}", crc32fast::hash(&json));
    [BEFORE_CRC, crc.as_bytes(), BEFORE_RECORD, &json, b"}\n"].concat()
}

/// Reads a log's lines. A last line that is torn is left out; one with others behind it is an error.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Replay, CollectError> {
    let mut replay = Replay { records: Vec::new(), is_torn: false };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match record(line) {
            Ok(record) => replay.records.push(record),
            Err(_) if lines.peek().is_none() && index > 0 => replay.is_torn = true,
            Err(reason) => return Err(CollectError::DamagedLog { path: path.to_owned(), line: index + 1, reason }),
        }
    }
    match replay.records.first() {
        Some(Record::Collection { version: VERSION }) => Ok(replay),
        Some(Record::Collection { version }) => {
            Err(CollectError::Version { path: path.to_owned(), expected: VERSION, found: *version })
        }
        _ => {
            let reason = "expected the format's version".into();
            Err(CollectError::DamagedLog { path: path.to_owned(), line: 1, reason })
        }
    }
}

fn record(line: &[u8]) -> Result<Record, String> {
    let parts = line.strip_prefix(BEFORE_CRC).and_then(|rest| {
        let (crc, rest) = rest.split_at_checked(CRC_DIGITS)?;
        let json = rest.strip_prefix(BEFORE_RECORD)?.strip_suffix(b"}\n")?;
        Some((std::str::from_utf8(crc).ok()?, json))
    });
    let (crc, json) = parts.ok_or("it is not a line of a log")?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(json)) {
        return Err("its checksum is wrong".into());
    }
    serde_json::from_slice(json).map_err(|error| format!("its record cannot be read ({error})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::label::Origin;

    fn log() -> Vec<u8> {
        let label = Label::new("mud", Origin::Operator);
        let relabel = Record::Label { label, images: Vec::new(), relabelled: vec![ImageId([7; 32])], seen: Vec::new() };
        [line(&Record::Collection { version: VERSION }), line(&relabel), line(&relabel)].concat()
    }

    fn parsed(bytes: &[u8]) -> Result<Replay, CollectError> {
        parse(Path::new("log"), bytes)
    }

    /// Catches: a torn last line that is taken for a record, or that keeps a collection from opening; zeros where a power cut
    /// left them; a line that lost only its line break, after which the next one would be appended.
    #[test]
    fn a_torn_end_costs_the_last_record_alone() {
        let whole = log();
        let two = whole.len() - line(&parsed(&whole).unwrap().records[2]).len();
        for length in two + 1..whole.len() {
            let replay = parsed(&whole[..length]).unwrap();
            assert_eq!((replay.records.len(), replay.is_torn), (2, true), "{length}");
        }
        let zeros = [&whole[..two], &vec![0; whole.len() - two]].concat();
        let replay = parsed(&zeros).unwrap();
        assert_eq!((replay.records.len(), replay.is_torn), (2, true));
        assert!(!parsed(&whole).unwrap().is_torn);
    }

    /// Catches: a flipped bit that changes a label: in every byte of a line that others follow.
    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        let whole = log();
        let first = line(&Record::Collection { version: VERSION }).len();
        for position in first..first + line(&parsed(&whole).unwrap().records[1]).len() - 1 {
            let mut damaged = whole.clone();
            damaged[position] ^= 4;
            let error = parsed(&damaged).map(|replay| replay.records).unwrap_err();
            assert!(matches!(error, CollectError::DamagedLog { line: 2, .. }), "{position}: {error}");
        }
    }

    /// Catches: a collection of a later format that is misread, and any JSON file that passes for a log.
    #[test]
    fn other_files_and_later_formats_are_refused() {
        let later = parsed(&line(&Record::Collection { version: 2 })).map(|_| ()).unwrap_err();
        assert!(matches!(later, CollectError::Version { found: 2, .. }), "{later}");
        for other in [&b""[..], b"{}\n", b"\0\0"] {
            let error = parsed(other).map(|_| ()).unwrap_err();
            assert!(matches!(error, CollectError::DamagedLog { line: 1, .. }), "{error}");
        }
    }
}
