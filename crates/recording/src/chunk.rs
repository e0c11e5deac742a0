//! Chunks: compressed records of a recording, decompressed within limits.

use crate::MAX_RECORD_BYTES;
use crate::byte_reader::ByteReader;
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, Read};
use std::ops::Range;

/// Maximum window of a zstd frame, in bytes: that of `zstd` up to level 19 and beyond.
const MAX_WINDOW_BYTES: u64 = 1 << 26;
/// Maximum bytes of a compression's name.
const MAX_NAME_BYTES: usize = 64;

/// Records of the chunk that is being read.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    records: Vec<u8>,
    /// Where the next record begins.
    next: usize,
    /// Whether the chunk's end is missing, and with it perhaps that of its last record.
    is_cut: bool,
}

impl Chunk {
    /// Decompresses the chunk of a record, which may be the beginning of one.
    pub fn open(&mut self, record: &[u8], is_cut: bool) -> Result<(), String> {
        (self.next, self.is_cut) = (0, is_cut);
        self.records.clear();
        let header = match Header::read(record) {
            Err(_) if is_cut => return Ok(()),
            header => header?,
        };
        let Header { size, checksum, compression, stored, .. } = header;
        if size > MAX_RECORD_BYTES {
            return Err(format!("the chunk has {size} bytes, and at most {MAX_RECORD_BYTES} are read"));
        }
        match decompress(compression, header.content, size, &mut self.records) {
            // What was decompressed before the cut is whole.
            Err(Failure::Damaged(_)) if is_cut => return Ok(()),
            decompressed => decompressed?,
        }
        if is_cut && self.records.len() as u64 <= size {
            return Ok(());
        }
        if header.content.len() as u64 != stored || self.records.len() as u64 != size {
            return Err(format!("expected a chunk of {size} bytes, found {}", self.records.len()));
        }
        let found = crc32fast::hash(&self.records);
        if checksum != 0 && checksum != found {
            return Err(format!("expected the checksum {checksum:08x} of the chunk, found {found:08x}: it is damaged"));
        }
        Ok(())
    }

    /// Opcode and place of the next record; `None` at the end.
    pub fn next_record(&mut self) -> Result<Option<(u8, Range<usize>)>, String> {
        let mut rest = ByteReader::new(self.records.get(self.next..).unwrap_or_default());
        if rest.rest().is_empty() {
            return Ok(None);
        }
        let opcode_and_length = rest.u8("opcode").and_then(|opcode| Ok((opcode, rest.u64("length")?)));
        let record = opcode_and_length.and_then(|(opcode, length)| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            rest.bytes(length, "last record").map(|record| (opcode, record.len()))
        });
        match record {
            Ok((opcode, length)) => {
                let end = self.records.len() - rest.rest().len();
                self.next = end;
                Ok(Some((opcode, end - length..end)))
            }
            Err(_) if self.is_cut => {
                self.next = self.records.len();
                Ok(None)
            }
            Err(problem) => Err(format!("of the chunk: {problem}")),
        }
    }

    /// The records.
    pub fn records(&self) -> &[u8] {
        &self.records
    }
}

/// Header of a chunk, and what follows it.
struct Header<'a> {
    /// Bytes of the records.
    size: u64,
    checksum: u32,
    compression: &'a str,
    /// Bytes of the compressed records.
    stored: u64,
    /// The compressed records, as far as they are there.
    content: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(record: &'a [u8]) -> Result<Self, String> {
        let mut record = ByteReader::new(record);
        let (_first_time, _last_time) = (record.u64("first time")?, record.u64("last time")?);
        let (size, checksum) = (record.u64("size")?, record.u32("checksum")?);
        let compression = record.text(MAX_NAME_BYTES, "compression")?;
        let stored = record.u64("compressed size")?;
        let available = record.rest();
        let content = usize::try_from(stored).ok().and_then(|stored| available.get(..stored)).unwrap_or(available);
        Ok(Self { size, checksum, compression, stored, content })
    }
}

/// Reason why a chunk is not decompressed.
enum Failure {
    /// Of a compression that is not known.
    Unknown(String),
    /// Damaged, or cut off.
    Damaged(String),
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unknown(problem) | Failure::Damaged(problem) => problem,
        }
    }
}

/// Appends the decompressed content to `records`: at most one byte more than `size`.
fn decompress(compression: &str, content: &[u8], size: u64, records: &mut Vec<u8>) -> Result<(), Failure> {
    let damaged =
        |error: &dyn std::error::Error| Failure::Damaged(format!("the chunk cannot be decompressed ({error})"));
    let read = match compression {
        "" => content.take(size + 1).read_to_end(records),
        "lz4" => FrameDecoder::new(content).take(size + 1).read_to_end(records),
        "zstd" => unpack_zstd(content, size + 1, records),
        other => return Err(Failure::Unknown(format!("its compression is `{other}`: expected zstd, lz4 or none"))),
    };
    read.map(drop).map_err(|error| damaged(&error))
}

/// Decompresses the frames of a content, one after the other.
fn unpack_zstd(mut content: &[u8], limit: u64, records: &mut Vec<u8>) -> io::Result<usize> {
    while !content.is_empty() && (records.len() as u64) < limit {
        let decoder =
            StreamingDecoder::new_with_max_window_size(content, MAX_WINDOW_BYTES).map_err(io::Error::other)?;
        let mut decoder = decoder.take(limit - records.len() as u64);
        decoder.read_to_end(records)?;
        content = decoder.into_inner().into_inner();
    }
    Ok(records.len())
}
