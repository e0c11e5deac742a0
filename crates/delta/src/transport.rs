//! A file on its way: one zstd frame around it, for links that are slow.
//!
//! What comes out is the same bytes that went in, and is then verified like any other file. A frame may claim anything: it
//! is unpacked into at most [`MAX_FILE_BYTES`], through a window of at most [`MAX_WINDOW_BYTES`].

use crate::limits::MAX_FILE_BYTES;
use alloc::vec::Vec;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, Read};
use thiserror::Error;

/// How far back a frame may refer, in bytes: what `zstd` uses up to level 19 for files of any size.
pub const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// What a zstd frame begins with (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that can't be unpacked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// What begins as a zstd frame isn't one, or wants too large a window.
    #[error("expected a zstd frame with a window of at most {MAX_WINDOW_BYTES} bytes: pack the delta again")]
    Frame {
        /// What the decoder met.
        source: FrameDecoderError,
    },
    /// A frame that is cut short or damaged.
    #[error("the zstd frame is damaged or cut short: get the delta again")]
    Damaged {
        /// What the decoder met.
        source: io::Error,
    },
    /// More than any delta is.
    #[error("expected at most {MAX_FILE_BYTES} bytes in the zstd frame, found more: this is no delta for a robot")]
    TooLong,
    /// Something after the frame.
    #[error("expected one zstd frame, found {surplus} bytes after it: pack the delta again")]
    Surplus {
        /// How many bytes.
        surplus: usize,
    },
}

/// The file in a zstd frame.
pub fn pack(file: &[u8]) -> Vec<u8> {
    compress_to_vec(file, CompressionLevel::Fastest)
}

/// The file in these bytes: what their zstd frame holds, or themselves if they aren't one.
///
/// # Errors
/// If they begin as a zstd frame and aren't just one, or hold more than any delta is.
pub fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, TransportError> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(bytes);
    }
    let decoder = StreamingDecoder::new_with_max_window_size(bytes.as_slice(), MAX_WINDOW_BYTES);
    let mut decoder = decoder.map_err(|source| TransportError::Frame { source })?;
    let mut file = Vec::new();
    let read = (&mut decoder).take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut file);
    read.map_err(|source| TransportError::Damaged { source })?;
    let surplus = decoder.into_inner().len();
    match file.len() {
        length if length > MAX_FILE_BYTES => Err(TransportError::TooLong),
        _ if surplus > 0 => Err(TransportError::Surplus { surplus }),
        _ => Ok(file),
    }
}
