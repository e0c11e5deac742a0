//! Reading: everything is verified once, then handed out from the borrowed bytes.

use crate::cursor::Cursor;
use crate::layout::{MAGIC, MINIMUM_BYTES, PROLOGUE_BYTES, TRAILER_BYTES, VERSION};
use crate::limits::{MAX_HEADER_BYTES, MAX_LABEL_BYTES};
use crate::record::Replaced;
use crate::seen::Seen;
use crate::{DeltaError, Header, Record};
use sha2::{Digest, Sha256};

/// A delta file in memory, verified from its first byte to its last.
#[derive(Debug, Clone)]
pub struct Delta<'a> {
    header: Header,
    labels: Cursor<'a>,
    records: Cursor<'a>,
    hash: [u8; 32],
}

impl<'a> Delta<'a> {
    /// Verifies a whole file: its hash, its structure, its limits and every value in it. Allocates nothing.
    ///
    /// # Errors
    /// If anything about it is not as this version of the format has it; see [`DeltaError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DeltaError> {
        let header_length = read_prologue(bytes)?;
        let (mut cursor, hash) = verify_hash(bytes)?;
        let header = read_header(cursor.take(header_length, "the header")?)?;
        let labels = read_labels(&mut cursor, &header)?;
        let delta = Self { header, labels, records: cursor, hash };
        delta.check_records()?;
        Ok(delta)
    }

    /// What the file says about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The classes' labels, in the order of the head's outputs.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> {
        let mut cursor = self.labels;
        (0..self.header.classes as usize).map_while(move |index| read_label(&mut cursor, index).ok())
    }

    /// The changed tensors, in the order in which they were written: the network's.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> {
        let mut cursor = self.records;
        (0..self.header.tensors as usize).map_while(move |index| Record::read(&mut cursor, index).ok())
    }

    /// The delta's identity: the SHA-256 of the whole file but the hash itself, as the file ends with it.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    fn check_records(&self) -> Result<(), DeltaError> {
        let mut cursor = self.records;
        let mut replaced = Replaced::default();
        let mut seen = Seen::new(&self.hash);
        for index in 0..self.header.tensors as usize {
            let record = Record::read(&mut cursor, index)?;
            if seen.add(record.name) && self.records().take(index).any(|earlier| earlier.name == record.name) {
                return Err(DeltaError::DuplicateName { name: record.name.into() });
            }
            replaced.add(record.name, record.kind, record.len())?;
            record.check_payload()?;
        }
        cursor.end("records")
    }
}

/// Checks what tells a delta from other files and a whole one from a part; gives the header's length.
fn read_prologue(bytes: &[u8]) -> Result<usize, DeltaError> {
    check_magic(bytes)?;
    check_length(bytes, MINIMUM_BYTES as u64)?;
    let mut cursor = Cursor::new(bytes, 0);
    cursor.take(MAGIC.len(), "the magic number")?;
    let version = cursor.u32("the format version")?;
    if version != VERSION {
        return Err(DeltaError::Version { found: version });
    }
    let header_length = cursor.u32("the header's length")?;
    let length = cursor.u64("the file's length")?;
    check_length(bytes, length)?;
    if (bytes.len() as u64) > length {
        return Err(DeltaError::TrailingBytes { expected: length, found: bytes.len() as u64 });
    }
    if header_length as usize > MAX_HEADER_BYTES {
        return Err(DeltaError::HeaderLength { found: header_length });
    }
    Ok(header_length as usize)
}

fn check_length(bytes: &[u8], expected: u64) -> Result<(), DeltaError> {
    let found = bytes.len() as u64;
    if found < expected { Err(DeltaError::Truncated { expected, found }) } else { Ok(()) }
}

/// A beginning of the magic number is a delta cut short; anything else is another file.
fn check_magic(bytes: &[u8]) -> Result<(), DeltaError> {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if MAGIC.starts_with(start) {
        return Ok(());
    }
    let mut found = [0; MAGIC.len()];
    found[..start.len()].copy_from_slice(start);
    Err(DeltaError::Magic { found })
}

/// What the file's parts are read from, and the hash, if it is that of everything before it.
fn verify_hash(bytes: &[u8]) -> Result<(Cursor<'_>, [u8; 32]), DeltaError> {
    let (contents, stored) = bytes.split_at(bytes.len() - TRAILER_BYTES);
    let computed = Sha256::digest(contents);
    if stored != computed.as_slice() {
        return Err(DeltaError::Hash { stored: beginning(stored), computed: beginning(&computed) });
    }
    Ok((Cursor::new(&contents[PROLOGUE_BYTES..], PROLOGUE_BYTES), computed.into()))
}

fn beginning(hash: &[u8]) -> u32 {
    hash.first_chunk().map_or(0, |&bytes| u32::from_be_bytes(bytes))
}

fn read_header(bytes: &[u8]) -> Result<Header, DeltaError> {
    let (header, rest): (Header, _) =
        postcard::take_from_bytes(bytes).map_err(|reason| DeltaError::HeaderEncoding { reason })?;
    if !rest.is_empty() {
        return Err(DeltaError::HeaderSurplus { surplus: rest.len() });
    }
    header.check()?;
    Ok(header)
}

/// The labels' section, once each of them has been read.
fn read_labels<'a>(cursor: &mut Cursor<'a>, header: &Header) -> Result<Cursor<'a>, DeltaError> {
    let count = cursor.u32("the number of labels")?;
    if count != header.classes {
        return Err(DeltaError::LabelCount { classes: header.classes, labels: count as usize });
    }
    let length = cursor.u32("the labels' length")?;
    let offset = cursor.offset();
    let section = Cursor::new(cursor.take(length as usize, "the labels")?, offset);
    let mut labels = section;
    for index in 0..count as usize {
        read_label(&mut labels, index)?;
    }
    labels.end("labels")?;
    Ok(section)
}

fn read_label<'a>(cursor: &mut Cursor<'a>, index: usize) -> Result<&'a str, DeltaError> {
    let length = cursor.u16("a label")?.into();
    check_label_length(index, length)?;
    cursor.text(length, "a label")
}

pub(crate) fn check_label_length(index: usize, found: usize) -> Result<(), DeltaError> {
    if found <= MAX_LABEL_BYTES { Ok(()) } else { Err(DeltaError::LabelLength { index, found }) }
}
