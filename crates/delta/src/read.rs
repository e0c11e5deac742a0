//! Reading: everything is verified once, then handed out from the borrowed bytes.

use crate::cursor::Cursor;
use crate::header::Fidelity;
use crate::layout::{MAGIC, MINIMUM_BYTES, PROLOGUE_BYTES, SIGNABLE_VERSION, SIGNATURE_BYTES, TRAILER_BYTES, VERSION};
use crate::limits::{MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_LABEL_BYTES, max_difference_values};
use crate::record::ValueBudget;
use crate::seen::Seen;
use crate::{DeltaError, Header, Record, Signature};
use fieldfit_tensor::text::find_unprintable;
use sha2::{Digest, Sha256};

/// A delta file in memory, verified from its first byte to its last.
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
    /// Verifies a whole file: its hash, its signature if it has one, its structure, its limits and every value in it.
    /// Allocates nothing.
    ///
    /// # Errors
    /// If anything about it is not as this version of the format has it; see [`DeltaError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DeltaError> {
        Self::parse_for(bytes, max_difference_values(bytes.len()))
    }

    /// As [`parse`](Self::parse), for a base of that many parameters: the differences together have no more values, so that
    /// whoever decodes them allocates no more than the base takes.
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

    /// The delta's identity: the SHA-256 of the whole file but the hash itself and a signature, as the file has it.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Who signed the file, if anyone did. The signature is right for that key; whose key it is, is another question.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// The file's format version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The file's length in bytes, signature included.
    pub fn file_bytes(&self) -> usize {
        self.length
    }

    fn check_records(&self, base_values: usize) -> Result<(), DeltaError> {
        let mut cursor = self.records;
        let mut budget = ValueBudget::new(base_values);
        let mut seen = Seen::new(&self.hash);
        for index in 0..self.header.tensors as usize {
            let record = Record::read(&mut cursor, index)?;
            if seen.add(record.name) && self.records().take(index).any(|earlier| earlier.name == record.name) {
                return Err(DeltaError::DuplicateName { name: record.name.into() });
            }
            budget.add(record.name, record.kind, record.len())?;
            record.check_payload()?;
        }
        cursor.end("records")
    }
}

/// The fixed part, whose lengths are those of the bytes there are.
struct Prologue {
    version: u32,
    header_length: usize,
    /// To the last byte of the hash.
    file_length: usize,
}

impl Prologue {
    /// Checks what tells a delta from other files and a whole one from a part.
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

/// Nothing follows the file but a signature, where the format has one.
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

fn read_header(bytes: &[u8], version: u32) -> Result<Header, DeltaError> {
    let encoding = |reason| DeltaError::HeaderEncoding { reason };
    let (mut header, mut rest): (Header, _) = postcard::take_from_bytes(bytes).map_err(encoding)?;
    if version >= SIGNABLE_VERSION {
        let fidelity: Option<Fidelity>;
        (fidelity, rest) = postcard::take_from_bytes(rest).map_err(encoding)?;
        header.provenance.fidelity = fidelity;
    }
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
