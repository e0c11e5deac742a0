//! Fuzz target of recordings: an MCAP file, or its records without the magic number before them; whole, and cut off.

use crate::scratch;
use fieldfit_recording::{
    ImageFormat, ImageMessage, MAX_RECORD_BYTES, Message, MessageReader, RecordingError, TextFormat,
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Start of an MCAP file.
const MAGIC: &[u8] = b"\x89MCAP0\r\n";

/// Offset, time and hash of the content of a message.
type Seen = (u64, u64, u64);

/// Reads a recording, and the part of it that the input's last byte says: what a cut-off file gives is the beginning of what the
/// whole one gives.
pub fn run(data: &[u8]) {
    let file = if data.starts_with(MAGIC) { data.to_vec() } else { [MAGIC, data].concat() };
    let part = data.last().map_or(0, |&last| usize::from(last) * file.len() / 256).max(MAGIC.len());
    let (whole, cut) = (read(&file), read(&file[..part]));
    if let Ok(whole) = whole {
        let cut = cut.expect("a part of a file that is read");
        assert!(whole.starts_with(&cut), "{part} bytes give {cut:?}, the whole file gives {whole:?}");
    }
}

/// Reads every message of a file, and decodes those that are images or texts.
fn read(file: &[u8]) -> Result<Vec<Seen>, RecordingError> {
    let told = |error: RecordingError| {
        assert!(error.to_string().len() > 20, "{error}");
        error
    };
    let mut reader = MessageReader::open(&scratch::write("drive.mcap", file)).map_err(told)?;
    let mut seen = Vec::new();
    while let Some(message) = reader.next_message().map_err(told)? {
        seen.push((message.offset, message.log_time, hash(message.data)));
        assert_eq!(message.number, seen.len() as u64);
        assert!(message.offset < file.len() as u64 && message.data.len() as u64 <= MAX_RECORD_BYTES);
        decode(&message);
    }
    assert!(reader.cut_at().is_none_or(|at| at <= file.len() as u64));
    assert!(seen.is_sorted_by_key(|(offset, ..)| *offset));
    Ok(seen)
}

/// Decodes a message by its channel: an image or a text is no longer than the message.
fn decode(message: &Message<'_>) {
    let length = match (ImageFormat::of(message.channel), TextFormat::of(message.channel)) {
        (Some(format), _) => format.decode(message.data).map(|image| match image {
            ImageMessage::Encoded(data) => data.len(),
            ImageMessage::Raw(image) => image.data.len() + image.encoding.len(),
        }),
        (None, Some(format)) => format.decode(message.data).map(|text| text.len()),
        (None, None) => return,
    };
    match length {
        Ok(length) => assert!(length <= message.data.len()),
        Err(problem) => assert!(problem.len() > 10, "{problem}"),
    }
}

fn hash(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}
