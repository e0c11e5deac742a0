//! Delta reader: verifies a whole file once, then returns its parts from the borrowed bytes.

use crate::cursor::Cursor;
use crate::duplicate_names::NameFilter;
use crate::header::Fidelity;
use crate::layout::{
    HEAD_VERSION, MAGIC, MINIMUM_BYTES, PROLOGUE_BYTES, SIGNABLE_VERSION, SIGNATURE_BYTES, TRAILER_BYTES,
    VALUE_VERSION, VERSION,
};
use crate::limits::{MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_LABEL_BYTES, max_difference_values};
use crate::record::ValueBudget;
use crate::{DeltaError, Header, Record, Signature, Task};
use fieldfit_tensor::text::find_unprintable;
use sha2::{Digest, Sha256};

/// Verified delta file in memory.
#[derive(Debug, Clone)]
pub struct Delta<'a> {
    header: Header,
    labels: Cursor<'a>,
    records: Cursor<'a>,
    hash: [u8; 32],
    version: u32,
    length: usize,
    signature: Option<Signature>,
}

impl<'a> Delta<'a> {
    /// Verifies a whole file: hash, signature if present, structure, limits and every value. Allocates nothing.
    ///
    /// # Errors
    /// If any part is invalid; see [`DeltaError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DeltaError> {
        Self::parse_for(bytes, max_difference_values(bytes.len()))
    }

    /// Parses as [`parse`](Self::parse) does, for a base of that many parameters: the differences together have no
    /// more values, so that whoever decodes them allocates no more than the base takes.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse); [`DeltaError::DifferenceSize`].
    pub fn parse_for(bytes: &'a [u8], base_values: usize) -> Result<Self, DeltaError> {
        let prologue = Prologue::read(bytes)?;
        let (file, signature) = bytes.split_at(prologue.file_length);
        let (mut cursor, hash) = verify_hash(file)?;
        let signature = Signature::read(signature, &hash)?;
        let header = read_header(cursor.take(prologue.header_length, "the header")?, prologue.version)?;
        let labels = read_labels(&mut cursor, &header)?;
        let (version, length) = (prologue.version, bytes.len());
        let delta = Self { header, labels, records: cursor, hash, version, length, signature };
        delta.check_records(base_values)?;
        Ok(delta)
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Iterates over the classes' labels, in the order of the head's outputs.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> {
        let mut cursor = self.labels;
        (0..self.header.classes as usize).map_while(move |index| read_label(&mut cursor, index).ok())
    }

    /// Iterates over the changed tensors, in the network's order.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> {
        let mut cursor = self.records;
        (0..self.header.tensors as usize).map_while(move |index| Record::read(&mut cursor, index).ok())
    }

    /// Returns the delta's identity: the SHA-256 of the file without the hash itself and the signature.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Returns the file's signature, verified for its key; `None` if unsigned. The caller decides whether to trust the
    /// key.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// Returns the file's format version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the file's length in bytes, signature included.
    pub fn file_bytes(&self) -> usize {
        self.length
    }

    fn check_records(&self, base_values: usize) -> Result<(), DeltaError> {
        let mut cursor = self.records;
        let mut budget = ValueBudget::new(base_values);
        let mut names = NameFilter::new(&self.hash);
        for index in 0..self.header.tensors as usize {
            let record = Record::read(&mut cursor, index)?;
            if names.add(record.name) && self.records().take(index).any(|earlier| earlier.name == record.name) {
                return Err(DeltaError::DuplicateName { name: record.name.into() });
            }
            budget.add(record.name, record.kind, record.len())?;
            record.check_payload()?;
        }
        cursor.end("records")
    }
}

/// Fixed part of a file, with its lengths checked against the bytes.
struct Prologue {
    version: u32,
    header_length: usize,
    /// Length of the file to the last byte of the hash.
    file_length: usize,
}

impl Prologue {
    /// Reads and checks magic number, version and lengths.
    fn read(bytes: &[u8]) -> Result<Self, DeltaError> {
        check_magic(bytes)?;
        check_length(bytes, MINIMUM_BYTES as u64)?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(DeltaError::FileLength { found: bytes.len() as u64 });
        }
        let mut cursor = Cursor::new(bytes, 0);
        cursor.take(MAGIC.len(), "the magic number")?;
        let version = cursor.u32("the format version")?;
        if !(1..=VERSION).contains(&version) {
            return Err(DeltaError::Version { found: version });
        }
        let header_length = cursor.u32("the header's length")?;
        let file_length = check_file_length(bytes, version, cursor.u64("the file's length")?)?;
        if header_length as usize > MAX_HEADER_BYTES {
            return Err(DeltaError::HeaderLength { found: header_length });
        }
        Ok(Self { version, header_length: header_length as usize, file_length })
    }
}

/// Checks that only a signature follows the file, if the format version has one.
fn check_file_length(bytes: &[u8], version: u32, length: u64) -> Result<usize, DeltaError> {
    check_length(bytes, length)?;
    let surplus = bytes.len() - length as usize;
    let is_signed = version >= SIGNABLE_VERSION && surplus == SIGNATURE_BYTES;
    if length >= MINIMUM_BYTES as u64 && (surplus == 0 || is_signed) {
        return Ok(length as usize);
    }
    Err(DeltaError::TrailingBytes { expected: length, found: bytes.len() as u64 })
}

fn check_length(bytes: &[u8], expected: u64) -> Result<(), DeltaError> {
    let found = bytes.len() as u64;
    if found < expected { Err(DeltaError::Truncated { expected, found }) } else { Ok(()) }
}

/// Checks the magic number; accepts a prefix of it, which is a truncated delta.
fn check_magic(bytes: &[u8]) -> Result<(), DeltaError> {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if MAGIC.starts_with(start) {
        return Ok(());
    }
    let mut found = [0; MAGIC.len()];
    found[..start.len()].copy_from_slice(start);
    Err(DeltaError::Magic { found })
}

/// Verifies the hash; returns a cursor after the fixed part, and the hash.
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

fn read_header(bytes: &[u8], version: u32) -> Result<Header, DeltaError> {
    let encoding = |reason| DeltaError::HeaderEncoding { reason };
    let (mut header, mut rest): (Header, _) = postcard::take_from_bytes(bytes).map_err(encoding)?;
    if version >= SIGNABLE_VERSION {
        let fidelity: Option<Fidelity>;
        (fidelity, rest) = postcard::take_from_bytes(rest).map_err(encoding)?;
        header.provenance.fidelity = fidelity;
    }
    if version >= HEAD_VERSION {
        (header.head, rest) = postcard::take_from_bytes(rest).map_err(encoding)?;
    }
    let is_known = match header.task {
        Task::Classification => true,
        Task::Segmentation => version >= HEAD_VERSION,
        Task::Regression | Task::MultiLabel => version >= VALUE_VERSION,
    };
    if !is_known {
        let expected = "a task of that format version: classification, and from version 3 on segmentation";
        return Err(DeltaError::HeaderValue { field: "task", expected, found: f64::from(header.task as u8) });
    }
    if !rest.is_empty() {
        return Err(DeltaError::HeaderSurplus { surplus: rest.len() });
    }
    header.check()?;
    Ok(header)
}

/// Reads every label; returns the labels' section.
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
    let label = cursor.text(length, "a label")?;
    check_label_text(index, label)?;
    Ok(label)
}

pub(crate) fn check_label_length(index: usize, found: usize) -> Result<(), DeltaError> {
    if found <= MAX_LABEL_BYTES { Ok(()) } else { Err(DeltaError::LabelLength { index, found }) }
}

pub(crate) fn check_label_text(index: usize, label: &str) -> Result<(), DeltaError> {
    find_unprintable(label).map_or(Ok(()), |found| Err(DeltaError::LabelText { index, found }))
}
