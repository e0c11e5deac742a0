//! Malformed and hostile files: each is refused with its path and the byte of its record, or read as far as it is whole.
#![allow(clippy::unwrap_used, reason = "tests")]

use fieldfit_recording::{MAX_RECORD_BYTES, MessageReader, RecordingError};
use std::fs;
use std::path::Path;

const SCHEMA: u8 = 3;
const CHANNEL: u8 = 4;
const MESSAGE: u8 = 5;
const CHUNK: u8 = 6;
const DATA_END: u8 = 15;

fn record(opcode: u8, body: &[u8]) -> Vec<u8> {
    [&[opcode], &(body.len() as u64).to_le_bytes()[..], body].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text].concat()
}

fn schema(id: u16, name: &[u8]) -> Vec<u8> {
    record(SCHEMA, &[&id.to_le_bytes()[..], &text(name), &text(b""), &text(b"")].concat())
}

fn channel(id: u16, schema: u16, topic: &[u8]) -> Vec<u8> {
    let ids = [id.to_le_bytes(), schema.to_le_bytes()].concat();
    record(CHANNEL, &[&ids[..], &text(topic), &text(b"cdr"), &text(b"")].concat())
}

fn message(channel: u16, data: &[u8]) -> Vec<u8> {
    record(MESSAGE, &[&channel.to_le_bytes()[..], &[0; 20], data].concat())
}

/// A chunk whose header states these.
fn chunk(size: u64, checksum: u32, compression: &[u8], stored: u64, content: &[u8]) -> Vec<u8> {
    let numbers = [&[0; 16][..], &size.to_le_bytes(), &checksum.to_le_bytes()].concat();
    record(CHUNK, &[&numbers[..], &text(compression), &stored.to_le_bytes(), content].concat())
}

fn plain_chunk(content: &[u8]) -> Vec<u8> {
    chunk(content.len() as u64, 0, b"", content.len() as u64, content)
}

/// Reads a file of these records: the messages' contents, and where it is cut off.
fn read(records: &[&[u8]]) -> Result<(Vec<Vec<u8>>, Option<u64>), RecordingError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile\u{1b}.mcap");
    fs::write(&path, [&b"\x89MCAP0\r\n"[..], &records.concat()].concat()).unwrap();
    read_file(&path)
}

fn read_file(path: &Path) -> Result<(Vec<Vec<u8>>, Option<u64>), RecordingError> {
    let mut reader = MessageReader::open(path)?;
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message()? {
        messages.push(message.data.to_vec());
    }
    Ok((messages, reader.cut_at()))
}

fn refused(records: &[&[u8]], words: &str) {
    let error = read(records).unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains(words), "{shown}");
    assert!(shown.contains("hostile\\u{1b}.mcap: ") && shown.contains("at byte "), "{shown}");
    assert!(error.path().ends_with("hostile\u{1b}.mcap"));
}

/// Catches: a reader that this test's own writer does not reach, so that every refusal would be for another reason.
#[test]
fn whole_files_are_read() {
    let (schema, channel, message) = (schema(1, b"T"), channel(7, 1, b"/a"), message(7, b"one"));
    let end = record(DATA_END, &[0; 4]);
    let inside = plain_chunk(&[&schema[..], &channel, &message].concat());
    let unknown = record(0x7f, b"future");
    let read = read(&[&unknown, &inside, &schema, &channel, &message, &end, &message]).unwrap();
    assert_eq!(read, (vec![b"one".to_vec(), b"one".to_vec()], None), "what is behind the data is not read");
}

/// Catches: a defect that is passed over, or refused without its place.
#[test]
fn malformed_records_are_refused_with_their_byte() {
    let (named, open) = (schema(1, b"T"), channel(7, 1, b"/a"));
    refused(&[&message(7, b"")], "the record at byte 8: it is of channel 7, which is missing");
    refused(&[&open], "channel 7 (/a) has schema 1, which is missing");
    refused(&[&named, &open, &channel(7, 1, b"/b\x1b")], "channel 7 is `/b\\u{1b}` here, and was `/a` before");
    refused(&[&named, &schema(1, b"U")], "schema 1 is `U` here, and was `T` before");
    refused(&[&schema(1, b"\xff")], "its name is no UTF-8");
    refused(&[&schema(1, &[b'x'; 5000])], "its name has 5000 bytes, and at most 1024 are read");
    refused(&[&record(MESSAGE, &[0; 21])], "it ends within its publish time: expected 8 more bytes, found 7");
    refused(&[&record(CHANNEL, &[7, 0, 0, 0, 255, 255, 255, 255])], "its topic has 4294967295 bytes");
    refused(&[&[MESSAGE][..], &u64::MAX.to_le_bytes()], "it has 18446744073709551615 bytes, and at most");
}

/// Catches: a chunk that claims more than it holds, holds more than it claims, or is damaged, and passes for whole.
#[test]
fn chunks_are_what_they_claim() {
    let (named, open, one) = (schema(1, b"T"), channel(7, 1, b"/a"), message(7, b"one"));
    let content = [&named[..], &open, &one].concat();
    let (length, sum) = (content.len() as u64, crc32fast::hash(&content));
    assert!(read(&[&chunk(length, sum, b"", length, &content), &record(DATA_END, b"")]).is_ok());
    refused(&[&chunk(length, sum ^ 1, b"", length, &content)], "of the chunk, found");
    refused(&[&chunk(length + 1, 0, b"", length, &content)], "expected a chunk of");
    refused(&[&chunk(length - 1, 0, b"", length, &content)], "expected a chunk of");
    refused(&[&chunk(length, 0, b"", length + 1, &content)], "expected a chunk of");
    refused(
        &[&chunk(length, 0, b"brotli\x1b", length, &content)],
        "its compression is `brotli\\u{1b}`: expected zstd, lz4 or none",
    );
    refused(&[&chunk(length, 0, b"zstd", length, &content)], "the chunk cannot be decompressed");
    refused(&[&chunk(length, 0, b"lz4", length, &content)], "the chunk cannot be decompressed");
    refused(&[&chunk(MAX_RECORD_BYTES + 1, 0, b"", length, &content)], "and at most 268435456 are read");
    refused(&[&plain_chunk(&plain_chunk(&content))], "it is a chunk in a chunk");
    refused(&[&plain_chunk(&content[..content.len() - 1])], "of the chunk: it ends within its last record");
    refused(&[&record(CHUNK, &[0; 30])], "it ends within its compression");
    let bomb = ruzstd::encoding::compress_to_vec(&vec![0; 1 << 20][..], ruzstd::encoding::CompressionLevel::Fastest);
    refused(&[&chunk(1000, 0, b"zstd", bomb.len() as u64, &bomb)], "expected a chunk of 1000 bytes, found 1001");
}

/// Catches: zeros behind a power cut, or a header that is not whole, that are errors or messages.
#[test]
fn files_that_lack_their_end_are_cut_off() {
    let start = [schema(1, b"T"), channel(7, 1, b"/a"), message(7, b"one")].concat();
    let cut = Some(8 + start.len() as u64);
    let one = (vec![b"one".to_vec()], cut);
    assert_eq!(read(&[&start]).unwrap(), one);
    assert_eq!(read(&[&start, &[0; 4096]]).unwrap(), one);
    assert_eq!(read(&[&start, &message(7, b"two")[..20]]).unwrap(), one);
    assert_eq!(read(&[&start, &[MESSAGE, 1, 0]]).unwrap(), one);
    assert_eq!(read(&[&start, &[0x7f], &u64::MAX.to_le_bytes()]).unwrap(), one, "a record that is skipped");
    let chunk = plain_chunk(&[message(7, b"two"), message(7, b"three")].concat());
    let (messages, at) = read(&[&start, &chunk[..chunk.len() - 1]]).unwrap();
    assert_eq!(
        (messages, at),
        (vec![b"one".to_vec(), b"two".to_vec()], cut),
        "the first message of the chunk is whole"
    );
}

/// Catches: other files that are read as recordings, and pipes that are waited on.
#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mcap");
    for content in [&b""[..], b"\x89MCA", b"\x89MCAP1\r\n", b"SQLite format 3\0"] {
        fs::write(&path, content).unwrap();
        assert!(read_file(&path).unwrap_err().to_string().contains("it is no MCAP file"));
    }
    assert!(matches!(read_file(folder.path()), Err(RecordingError::File(_))));
    assert!(matches!(read_file(&folder.path().join("none")), Err(RecordingError::File(_))));
}
