//! Zip archive reader: finds entries through the central directory of an archive that starts at byte 0, and lends their
//! contents.
//!
//! Offsets are taken as they are written. Nothing is guessed, so that an archive whose entries hold archives of their own,
//! or names of any length, is read as its writer meant it. Every offset and length is checked against the file; a record
//! of the directory takes at least [`RECORD`] bytes of it, so that no archive asks for more memory than it has bytes.

use super::CheckpointError;
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read};

/// The bytes that an archive begins with: a local file header.
pub(super) const START: &[u8] = b"PK\x03\x04";
const DIRECTORY_RECORD: &[u8] = b"PK\x01\x02";
const DIRECTORY_END: &[u8] = b"PK\x05\x06";
const DIRECTORY_END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";

/// Bytes of a local file header without name and extra fields.
const HEADER: usize = 30;
/// Bytes of a directory record without name, extra fields and comment.
const RECORD: usize = 46;
/// Bytes of the end of the directory without its comment.
const END: usize = 22;
/// Bytes of the record that locates the zip64 end of the directory; it lies just before the plain one.
const LOCATOR: usize = 20;
/// The identifier of the extra field with 64-bit sizes.
const EXTRA_64: usize = 1;
/// Values of 32 and 16 bits that stand in a zip64 field instead.
const SATURATED: u64 = u32::MAX as u64;
const SATURATED_COUNT: u64 = u16::MAX as u64;

const STORED: usize = 0;
const DEFLATED: usize = 8;
const ENCRYPTED: usize = 1;

/// Maximum number of bytes that a byte of a deflated entry inflates to.
const LARGEST_RATIO: usize = 1032;

/// An archive's entries by name.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a str, Record>,
}

/// A directory record: where an entry's contents are and what they unpack to.
#[derive(Debug, Clone, Copy)]
struct Record {
    flags: usize,
    method: usize,
    crc: u32,
    packed: u64,
    unpacked: u64,
    /// Position of the local file header.
    header: u64,
}

impl<'a> Archive<'a> {
    /// Reads the directory. Entries whose names are not UTF-8 are left out: a checkpoint has none.
    ///
    /// # Errors
    /// If the directory is cut short, contradicts itself, or lists two entries of one name.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let (count, mut directory) = directory(bytes).ok_or(damaged("its directory is missing or cut short"))?;
        let mut entries = HashMap::new();
        for _ in 0..count {
            let (record, name, rest) = Record::read(directory).ok_or(damaged("its directory is cut short"))?;
            directory = rest;
            if let Ok(name) = std::str::from_utf8(name)
                && entries.insert(name, record).is_some()
            {
                return Err(damaged("its directory lists two entries of one name"));
            }
        }
        Ok(Self { bytes, entries })
    }

    /// The names of all entries, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// An entry's contents: lent where they are stored, inflated where they are deflated.
    ///
    /// torch does not compute checksums where `set_crc32_options(False)` was called: a checksum of 0 is none.
    ///
    /// # Errors
    /// If there is no such entry, it unpacks to more than `limit` bytes, is encrypted or packed by another method, or its
    /// length or checksum are not those of the directory.
    pub fn read(&self, name: &str, limit: u64) -> Result<Cow<'a, [u8]>, CheckpointError> {
        let entry = || name.to_owned();
        let record = self.entries.get(name).ok_or_else(|| CheckpointError::EntryMissing { entry: entry() })?;
        if record.unpacked > limit {
            return Err(CheckpointError::EntryLarge { entry: entry(), limit });
        }
        let packed = self.contents(name, record).ok_or(damaged("an entry is not where the directory says"))?;
        if record.flags & ENCRYPTED != 0 || ![STORED, DEFLATED].contains(&record.method) {
            return Err(CheckpointError::EntryPacked { entry: entry() });
        }
        let contents = if record.method == STORED {
            Cow::Borrowed(packed)
        } else {
            let unreadable = |source| CheckpointError::Entry { entry: entry(), source };
            Cow::Owned(inflate(packed, record.unpacked).map_err(unreadable)?)
        };
        let is_whole = contents.len() as u64 == record.unpacked;
        if !is_whole || record.crc != 0 && crc32fast::hash(&contents) != record.crc {
            return Err(CheckpointError::EntryAltered { entry: entry() });
        }
        Ok(contents)
    }

    /// An entry's contents where they lie in the archive.
    ///
    /// # Errors
    /// If there is no such entry, it is packed or encrypted, or its length or checksum are not those of the directory.
    pub fn stored(&self, name: &str) -> Result<&'a [u8], CheckpointError> {
        let deflated = || CheckpointError::EntryDeflated { entry: name.to_owned() };
        // A deflated entry is refused before it is inflated.
        if self.entries.get(name).is_some_and(|record| record.method == DEFLATED) {
            return Err(deflated());
        }
        match self.read(name, u64::MAX)? {
            Cow::Borrowed(contents) => Ok(contents),
            Cow::Owned(_) => Err(deflated()),
        }
    }

    /// The packed bytes behind an entry's local header, which must have the same name.
    fn contents(&self, name: &str, record: &Record) -> Option<&'a [u8]> {
        let local = self.bytes.get(usize::try_from(record.header).ok()?..)?;
        let (name_length, extra_length) = (u16_at(local, 26)?, u16_at(local, 28)?);
        let (header, rest) = local.split_at_checked(HEADER)?;
        let is_the_same = header.starts_with(START) && rest.get(..name_length)? == name.as_bytes();
        let contents = rest.get(name_length + extra_length..)?.get(..usize::try_from(record.packed).ok()?)?;
        is_the_same.then_some(contents)
    }
}

impl Record {
    /// The record at the start of the directory, its name, and what follows it.
    fn read(directory: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(directory, at));
        let (name, extra, comment) = (name?, extra?, comment?);
        let (fields, rest) = directory.split_at_checked(RECORD)?;
        let (name, rest) = rest.split_at_checked(name)?;
        let (extra, rest) = rest.split_at_checked(extra)?;
        let (_, rest) = rest.split_at_checked(comment)?;
        let mut record = Self {
            flags: u16_at(fields, 8)?,
            method: u16_at(fields, 10)?,
            crc: u32_at(fields, 16)?,
            packed: u32_at(fields, 20)?.into(),
            unpacked: u32_at(fields, 24)?.into(),
            header: u32_at(fields, 42)?.into(),
        };
        record.widen(extra)?;
        fields.starts_with(DIRECTORY_RECORD).then_some((record, name, rest))
    }

    /// Takes the sizes and the position that do not fit 32 bits from the zip64 extra field, which has them in this order.
    fn widen(&mut self, mut extra: &[u8]) -> Option<()> {
        let saturated = [&mut self.unpacked, &mut self.packed, &mut self.header];
        let mut saturated = saturated.into_iter().filter(|value| **value == SATURATED).peekable();
        while saturated.peek().is_some() {
            let (id, length) = (u16_at(extra, 0)?, u16_at(extra, 2)?);
            let (field, rest) = extra.get(4..)?.split_at_checked(length)?;
            extra = rest;
            if id == EXTRA_64 {
                for (position, value) in saturated.by_ref().enumerate() {
                    *value = u64_at(field, position * size_of::<u64>())?;
                }
            }
        }
        Some(())
    }
}

/// The bytes that deflated ones inflate to, up to one more than are expected.
fn inflate(packed: &[u8], expected: u64) -> io::Result<Vec<u8>> {
    let most = packed.len().saturating_mul(LARGEST_RATIO).min(usize::try_from(expected).unwrap_or(usize::MAX));
    let mut inflated = Vec::with_capacity(most);
    DeflateDecoder::new(packed).take(expected.saturating_add(1)).read_to_end(&mut inflated)?;
    Ok(inflated)
}

/// Returns the number of records of the directory, and its bytes.
fn directory(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.len().checked_sub(END)?;
    let first = last.saturating_sub(u16::MAX.into());
    let is_end =
        |&at: &usize| bytes[at..].starts_with(DIRECTORY_END) && u16_at(bytes, at + 20) == Some(bytes.len() - at - END);
    let end = (first..=last).rev().find(is_end)?;
    let (mut count, mut size, mut start) =
        (u16_at(bytes, end + 10)? as u64, u32_at(bytes, end + 12)?.into(), u32_at(bytes, end + 16)?.into());
    if count == SATURATED_COUNT || size == SATURATED || start == SATURATED {
        let locator = bytes.get(end.checked_sub(LOCATOR)?..end)?;
        let wide = usize::try_from(u64_at(locator, 8)?).ok()?;
        let is_found = locator.starts_with(LOCATOR_64) && bytes.get(wide..)?.starts_with(DIRECTORY_END_64);
        let wide = |field: usize| u64_at(bytes, wide.checked_add(field)?);
        (count, size, start) = is_found.then_some((wide(32)?, wide(40)?, wide(48)?))?;
    }
    let (start, size) = (usize::try_from(start).ok()?, usize::try_from(size).ok()?);
    Some((count, bytes.get(start..end)?.get(..size)?))
}

const fn damaged(problem: &'static str) -> CheckpointError {
    CheckpointError::Archive { problem }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of one stored entry, with sizes, position and count in zip64 fields if `wide`.
    fn archive(name: &str, contents: &[u8], crc: u32, wide: bool) -> Vec<u8> {
        let lengths = |name: usize, extra: usize| [(name as u16).to_le_bytes(), (extra as u16).to_le_bytes()].concat();
        let length = contents.len() as u64;
        let mut file = [START, &[0; 22], &lengths(name.len(), 0), name.as_bytes(), contents].concat();
        let start = file.len() as u64;
        let narrow = |value: u64| if wide { u32::MAX } else { value as u32 }.to_le_bytes();
        let extra = [&[1, 0, 24, 0], &length.to_le_bytes()[..], &length.to_le_bytes(), &[0; 8]].concat();
        let extra = if wide { extra } else { Vec::new() };
        file.extend(DIRECTORY_RECORD);
        file.extend([0; 12]);
        file.extend(crc.to_le_bytes());
        file.extend([narrow(length), narrow(length)].concat());
        file.extend(lengths(name.len(), extra.len()));
        file.extend([0; 10]);
        file.extend(narrow(0));
        file.extend([name.as_bytes(), &extra].concat());
        let (size, end) = (file.len() as u64 - start, file.len() as u64);
        if wide {
            file.extend([DIRECTORY_END_64, &[0; 28]].concat());
            file.extend([1, size, start].map(u64::to_le_bytes).concat());
            file.extend([LOCATOR_64, &[0; 4], &end.to_le_bytes(), &[1, 0, 0, 0]].concat());
        }
        let count = if wide { u16::MAX } else { 1 }.to_le_bytes();
        file.extend([DIRECTORY_END, &[0; 4], &count, &count, &narrow(size), &narrow(start), &[0, 0]].concat());
        file
    }

    /// Catches: sizes beyond 4 GiB read as `0xffffffff`, and an entry that is an archive itself taken for the archive.
    #[test]
    fn wide_archives_and_archives_in_archives_are_read() {
        for wide in [false, true] {
            let inner = archive("inner", b"values", 0, !wide);
            let outer = archive("outer", &inner, crc32fast::hash(&inner), wide);
            let found = Archive::parse(&outer).unwrap();
            assert_eq!(found.names().collect::<Vec<_>>(), ["outer"]);
            assert_eq!(*found.read("outer", 1 << 20).unwrap(), *inner);
            assert!(matches!(found.read("outer", 10), Err(CheckpointError::EntryLarge { .. })));
        }
    }

    /// Catches: an altered value that is imported, and a checksum that torch did not compute taken for a wrong one.
    #[test]
    fn checksums_are_verified_where_there_are_any() {
        let read = |crc| Archive::parse(&archive("entry", b"values", crc, false)).unwrap().read("entry", 99).map(drop);
        assert!(read(crc32fast::hash(b"values")).is_ok() && read(0).is_ok());
        assert!(matches!(read(7), Err(CheckpointError::EntryAltered { .. })));
    }

    /// Catches: an archive that panics, or that reads beyond its bytes, wherever it was cut or altered.
    #[test]
    fn damaged_archives_do_not_panic() {
        for whole in [archive("entry", b"values", 0, false), archive("entry", b"values", 0, true)] {
            for position in 0..whole.len() {
                assert!(Archive::parse(&whole[..position]).is_err());
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut altered = whole.clone();
                    altered[position] = value;
                    let _ = Archive::parse(&altered).map(|archive| archive.read("entry", 1 << 20).map(drop));
                }
            }
        }
    }
}
