//! Recordings of robots: a reader of MCAP files and rosbag2 folders, decoders of their images and labels, and a writer.
//!
//! | message | encoding |
//! |---|---|
//! | `sensor_msgs/msg/CompressedImage`, `sensor_msgs/msg/Image`, `std_msgs/msg/String` | CDR, in both byte orders |
//! | `foxglove.CompressedImage` | JSON, protobuf |
//! | any with a string `label` or `data` | JSON |
//!
//! A file is read once from its start to its end: the index is never needed, and a file that is cut off gives what is whole.
//! Lengths in a file are checked against fixed limits before memory is taken. MCAP is specified at <https://mcap.dev/spec>.
//!
//! ```
//! use fieldfit_recording::MessageReader;
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("drive.mcap");
//! std::fs::write(&file, b"\x89MCAP0\r\n")?;
//! let mut reader = MessageReader::open(&file)?;
//! assert!(reader.next_message()?.is_none());
//! assert_eq!(reader.cut_at(), Some(8), "the end is missing");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bag;
mod byte_reader;
mod cdr;
mod channel;
mod chunk;
mod error;
mod image_message;
mod message_reader;
mod protobuf;
mod recording_writer;
mod text_message;

pub use bag::{BAG_CONVERTER, files, is_bag};
pub use channel::Channel;
pub use error::RecordingError;
pub use image_message::{ImageFormat, ImageMessage, RawImage};
pub use message_reader::{Message, MessageReader};
pub use recording_writer::{RecordedFrame, RecordingWriter};
pub use text_message::TextFormat;

/// Returns whether a file that starts like this is an MCAP file.
pub fn is_recording(start: &[u8]) -> bool {
    start.starts_with(mcap::MAGIC)
}

/// Maximum bytes of a record and of a decompressed chunk.
pub const MAX_RECORD_BYTES: u64 = 1 << 28;
