//! Recording writer: an MCAP file of frames and their answers, as Foxglove, Lichtblick and Rerun open it.
//!
//! | topic | messages, in JSON |
//! |---|---|
//! | `/camera` | `foxglove.CompressedImage` |
//! | `/fieldfit/annotations` | `foxglove.ImageAnnotations`: a text for each line of the answer |
//! | `/fieldfit/answer` | the answer as an object |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcap::records::MessageHeader;
use mcap::{McapError, WriteOptions, Writer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Seek, Write};
use std::time::Duration;

/// Frame of coordinates of the images.
const FRAME: &str = "camera";
/// Size of the annotations' letters, and the distance of their lines, in pixels.
const FONT_SIZE: f64 = 16.0;
const LINE_HEIGHT: f64 = 20.0;
const MARGIN: f64 = 4.0;

const COMPRESSED_IMAGE: (&str, &str) = ("foxglove.CompressedImage", include_str!("schema/compressed_image.json"));
const IMAGE_ANNOTATIONS: (&str, &str) = ("foxglove.ImageAnnotations", include_str!("schema/image_annotations.json"));
const ANSWER: (&str, &str) = ("fieldfit.Answer", r#"{"title":"fieldfit.Answer","type":"object"}"#);

/// Frame and its answer.
#[derive(Debug, Clone, Copy)]
pub struct RecordedFrame<'a> {
    /// Time since 1970.
    pub time: Duration,
    /// Bytes of the image file.
    pub image: &'a [u8],
    /// Format of the image: `jpeg`, `png` or `webp`.
    pub format: &'a str,
    /// Lines that are drawn on the image.
    pub lines: &'a [&'a str],
    /// The answer: an object in JSON.
    pub answer: &'a str,
}

/// Writer of a recording of frames.
pub struct RecordingWriter<W: Write + Seek> {
    writer: Writer<W>,
    image: u16,
    annotations: u16,
    answer: u16,
    frames: u32,
}

impl<W: Write + Seek> RecordingWriter<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let library = concat!("fieldfit ", env!("CARGO_PKG_VERSION"));
        let mut writer = WriteOptions::new().compression(None).library(library).create(out).map_err(failed)?;
        let mut channel = |topic, (name, schema): (&str, &str)| {
            let schema = writer.add_schema(name, "jsonschema", schema.as_bytes())?;
            writer.add_channel(schema, topic, "json", &BTreeMap::new())
        };
        let image = channel("/camera", COMPRESSED_IMAGE).map_err(failed)?;
        let annotations = channel("/fieldfit/annotations", IMAGE_ANNOTATIONS).map_err(failed)?;
        let answer = channel("/fieldfit/answer", ANSWER).map_err(failed)?;
        Ok(Self { writer, image, annotations, answer, frames: 0 })
    }

    /// Writes a frame and its answer.
    ///
    /// # Errors
    /// If the file cannot be written; nothing can be written to it afterwards.
    pub fn write(&mut self, frame: &RecordedFrame<'_>) -> io::Result<()> {
        let RecordedFrame { time, image, format, lines, answer } = *frame;
        let timestamp = json!({ "sec": time.as_secs(), "nsec": time.subsec_nanos() });
        let texts: Vec<Value> =
            lines.iter().enumerate().map(|(line, text)| annotation(&timestamp, line, text)).collect();
        let annotations = json!({ "circles": [], "points": [], "texts": texts });
        let image = json!({
            "timestamp": timestamp, "frame_id": FRAME, "data": STANDARD.encode(image), "format": format,
        });
        self.message(self.image, time, image.to_string().as_bytes())?;
        self.message(self.annotations, time, annotations.to_string().as_bytes())?;
        self.message(self.answer, time, answer.as_bytes())?;
        self.frames = self.frames.wrapping_add(1);
        Ok(())
    }

    /// Ends the recording with its index, and returns what it was written to.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.finish().map_err(failed)?;
        Ok(self.writer.into_inner())
    }

    fn message(&mut self, channel_id: u16, time: Duration, data: &[u8]) -> io::Result<()> {
        let log_time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let header = MessageHeader { channel_id, sequence: self.frames, log_time, publish_time: log_time };
        self.writer.write_to_known_channel(&header, data).map_err(failed)
    }
}

/// A line of text in the upper left corner of an image.
fn annotation(timestamp: &Value, line: usize, text: &str) -> Value {
    json!({
        "timestamp": timestamp,
        "position": { "x": MARGIN, "y": MARGIN + FONT_SIZE + LINE_HEIGHT * line as f64 },
        "text": text,
        "font_size": FONT_SIZE,
        "text_color": { "r": 1.0, "g": 1.0, "b": 1.0, "a": 1.0 },
        "background_color": { "r": 0.0, "g": 0.0, "b": 0.0, "a": 0.6 },
    })
}

fn failed(error: McapError) -> io::Error {
    match error {
        McapError::Io(error) => error,
        error => io::Error::other(error),
    }
}
