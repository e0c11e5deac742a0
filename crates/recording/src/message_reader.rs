//! Message reader: the messages of an MCAP file, from its start to its end.
//!
//! The records' headers are read here rather than by the `mcap` crate, so that a chunk that is cut off gives its first messages,
//! errors have the byte of their record, and attachments and indexes are skipped unread.

use crate::byte_reader::ByteReader;
use crate::channel::{Channel, ChannelTable};
use crate::chunk::Chunk;
use crate::error::RecordingError;
use crate::{MAX_RECORD_BYTES, is_recording};
use fieldfit_durable::open_regular;
use mcap::MAGIC;
use mcap::records::op;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a record's opcode and length.
const RECORD_HEADER_BYTES: usize = 9;

/// Reader of the messages of an MCAP file, in the file's order.
#[derive(Debug)]
pub struct MessageReader {
    path: PathBuf,
    records: RecordReader,
    chunk: Chunk,
    channels: ChannelTable,
    messages: u64,
}

/// Message of a recording.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Message<'a> {
    /// Its channel.
    pub channel: &'a Channel,
    /// Time at which it was recorded, in nanoseconds since 1970 or the start of a simulation.
    pub log_time: u64,
    /// Its content, in the encoding of the channel.
    pub data: &'a [u8],
    /// Its number in the file, from 1.
    pub number: u64,
    /// Byte of the file at which its record, or the chunk of it, begins.
    pub offset: u64,
}

impl Message<'_> {
    /// Returns its place for messages to the user.
    pub fn place(&self) -> String {
        format!("message {} of {}, at byte {}", self.number, self.channel.topic, self.offset)
    }
}

impl MessageReader {
    /// Opens an MCAP file.
    ///
    /// # Errors
    /// If it can't be read, is no regular file, or no MCAP file.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let mut source = BufReader::new(open_regular(path)?);
        let mut start = Vec::new();
        let read = source.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start);
        read.map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        if !is_recording(&start) {
            return Err(RecordingError::Malformed {
                path: path.to_owned(),
                record: "the start".into(),
                problem: "it is no MCAP file: expected the bytes 89 4d 43 41 50 30 0d 0a".into(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            records: RecordReader { source, offset: start.len() as u64, body: Vec::new(), state: State::Reading },
            chunk: Chunk::default(),
            channels: ChannelTable::default(),
            messages: 0,
        })
    }

    /// Reads the next message; `None` at the end, also of a file that is [cut off](Self::cut_at).
    ///
    /// # Errors
    /// [`RecordingError::Malformed`] with the byte of the record, if that is malformed, longer than [`MAX_RECORD_BYTES`] or of an
    /// unknown compression; if the file can't be read.
    pub fn next_message(&mut self) -> Result<Option<Message<'_>>, RecordingError> {
        let Some(Found { channel, log_time, in_chunk, content }) = self.find_message()? else { return Ok(None) };
        let record = if in_chunk { self.chunk.records() } else { &self.records.body };
        // The place is that of a message which was found in these records.
        let data = record.get(content).unwrap_or_default();
        let channel = self.channels.get(channel).map_err(|problem| self.malformed(self.records.start(), problem))?;
        Ok(Some(Message { channel, log_time, data, number: self.messages, offset: self.records.start() }))
    }

    /// Byte at which a file that lacks its end has its last incomplete record; `None` of one that is whole, or not read to its
    /// end.
    pub const fn cut_at(&self) -> Option<u64> {
        match self.records.state {
            State::Cut(offset) => Some(offset),
            State::Reading | State::Ended => None,
        }
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn find_message(&mut self) -> Result<Option<Found>, RecordingError> {
        loop {
            let in_chunk = self.chunk.next_record();
            let in_chunk = in_chunk.map_err(|problem| self.malformed(self.records.start(), problem))?;
            let (opcode, place, in_chunk) = match in_chunk {
                Some((opcode, place)) => (opcode, place, true),
                None => match self.records.next_record().map_err(|failure| self.failed(failure))? {
                    Some(opcode) => (opcode, 0..self.records.body.len(), false),
                    None => return Ok(None),
                },
            };
            let is_cut = self.cut_at().is_some();
            let source = if in_chunk { self.chunk.records() } else { &self.records.body };
            let record = source.get(place.clone()).unwrap_or_default();
            let done = match opcode {
                op::SCHEMA => self.channels.add_schema(record).map(|()| None),
                op::CHANNEL => self.channels.add_channel(record).map(|()| None),
                op::MESSAGE => message(record).map(Some),
                op::CHUNK if !in_chunk => self.chunk.open(&self.records.body, is_cut).map(|()| None),
                op::CHUNK => Err("it is a chunk in a chunk".into()),
                _other => Ok(None),
            };
            let message = done.map_err(|problem| self.malformed(self.records.start(), problem))?;
            if let Some((channel, log_time, length)) = message {
                self.messages += 1;
                return Ok(Some(Found { channel, log_time, in_chunk, content: place.end - length..place.end }));
            }
        }
    }

    fn failed(&self, failure: Failure) -> RecordingError {
        match failure {
            Failure::Io(source) => RecordingError::Io { path: self.path.clone(), source },
            Failure::Malformed(problem) => self.malformed(self.records.start(), problem),
        }
    }

    fn malformed(&self, offset: u64, problem: String) -> RecordingError {
        RecordingError::Malformed { path: self.path.clone(), record: format!("the record at byte {offset}"), problem }
    }
}

/// Message that was found, before its bytes are borrowed.
struct Found {
    channel: u16,
    log_time: u64,
    in_chunk: bool,
    /// Place of its content.
    content: Range<usize>,
}

/// Channel, time and length of the content of a message.
fn message(record: &[u8]) -> Result<(u16, u64, usize), String> {
    let mut record = ByteReader::new(record);
    let (channel, _sequence) = (record.u16("channel")?, record.u32("sequence")?);
    let (log_time, _publish_time) = (record.u64("log time")?, record.u64("publish time")?);
    Ok((channel, log_time, record.rest().len()))
}

/// Reader of the records of a file's data section.
#[derive(Debug)]
struct RecordReader {
    source: BufReader<File>,
    /// Byte at which the next record begins.
    offset: u64,
    /// Content of the last record.
    body: Vec<u8>,
    state: State,
}

/// How far a file was read.
#[derive(Debug, Clone, Copy)]
enum State {
    Reading,
    /// To the end of its data.
    Ended,
    /// To an incomplete record, at this byte.
    Cut(u64),
}

/// Reason why a record can't be read.
enum Failure {
    Io(io::Error),
    Malformed(String),
}

impl RecordReader {
    /// Byte at which the last record begins.
    const fn start(&self) -> u64 {
        match self.state {
            State::Cut(offset) => offset,
            State::Reading | State::Ended => self.offset - RECORD_HEADER_BYTES as u64 - self.body.len() as u64,
        }
    }

    /// Reads the next record that matters to messages, and returns its opcode; `None` at the end. The last record of a file
    /// that is cut off is returned if it is a chunk, as far as it is there.
    fn next_record(&mut self) -> Result<Option<u8>, Failure> {
        while matches!(self.state, State::Reading) {
            let start = self.offset;
            self.read(RECORD_HEADER_BYTES as u64)?;
            let mut header = ByteReader::new(&self.body);
            let (Ok(opcode), Ok(length)) = (header.u8("opcode"), header.u64("length")) else {
                self.state = State::Cut(start);
                return Ok(None);
            };
            self.body.clear();
            match opcode {
                op::DATA_END | op::FOOTER => self.state = State::Ended,
                // Where power failed, a file may end in zeros.
                0 => self.state = State::Cut(start),
                op::SCHEMA | op::CHANNEL | op::MESSAGE | op::CHUNK => {
                    if length > MAX_RECORD_BYTES {
                        let problem = format!("it has {length} bytes, and at most {MAX_RECORD_BYTES} are read");
                        return Err(Failure::Malformed(problem));
                    }
                    self.read(length)?;
                    let is_whole = self.body.len() as u64 == length;
                    if !is_whole {
                        self.state = State::Cut(start);
                    }
                    if is_whole || opcode == op::CHUNK {
                        return Ok(Some(opcode));
                    }
                }
                _other => {
                    let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink());
                    let skipped = skipped.map_err(Failure::Io)?;
                    self.offset += skipped;
                    if skipped < length {
                        self.state = State::Cut(start);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Reads up to that many bytes, fewer at the end of the file. Memory grows with what is there, not with `length`.
    fn read(&mut self, length: u64) -> Result<(), Failure> {
        self.body.clear();
        let read = self.source.by_ref().take(length).read_to_end(&mut self.body).map_err(Failure::Io)?;
        self.offset += read as u64;
        Ok(())
    }
}
