//! Compression of a delta file in one zstd frame, for slow links.
//!
//! The decompressed bytes equal the file, and must be verified like any other file. A frame is untrusted: it is
//! decompressed to at most the bytes that the delta in it declares, the caller's limit, and [`MAX_FILE_BYTES`], with a
//! window of at most [`MAX_WINDOW_BYTES`].

use crate::layout::{FILE_LENGTH_OFFSET, MAGIC as DELTA_MAGIC, PROLOGUE_BYTES, SIGNATURE_BYTES};
use crate::limits::MAX_FILE_BYTES;
use alloc::vec::Vec;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, Read};
use thiserror::Error;

/// Maximum window of a frame, in bytes: that of `zstd` up to level 19.
pub const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// Magic number of a zstd frame (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compression error: bytes that cannot be decompressed to a delta.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// An invalid zstd frame, or one with too large a window.
    #[error("expected a zstd frame with a window of at most {MAX_WINDOW_BYTES} bytes: compress the delta again")]
    Frame {
        /// The decoder's error.
        source: FrameDecoderError,
    },
    /// A truncated or damaged frame.
    #[error("zstd frame: damaged or truncated: get the delta again")]
    Damaged {
        /// The decoder's error.
        source: io::Error,
    },
    /// A frame whose content is not a delta.
    #[error("expected a delta in the zstd frame, found something else: check the path")]
    Content,
    /// More bytes than the delta declares, or than the limit.
    #[error("expected at most {limit} bytes in the zstd frame, found more: use a delta of this base")]
    TooLong {
        /// Maximum number of bytes.
        limit: usize,
    },
    /// Surplus bytes after the frame.
    #[error("expected one zstd frame, found {surplus} bytes after it: compress the delta again")]
    Surplus {
        /// Number of bytes.
        surplus: usize,
    },
}

/// Compresses a file to a zstd frame.
pub fn compress(file: &[u8]) -> Vec<u8> {
    compress_to_vec(file, CompressionLevel::Fastest)
}

/// Decompresses a zstd frame of at most `limit` bytes; returns other bytes unchanged.
///
/// # Errors
/// If the bytes start with a zstd frame's magic number and are not exactly one valid frame of a delta within the limit.
pub fn decompress(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, CompressionError> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(bytes);
    }
    let decoder = StreamingDecoder::new_with_max_window_size(bytes.as_slice(), MAX_WINDOW_BYTES);
    let mut decoder = decoder.map_err(|source| CompressionError::Frame { source })?;
    let mut file = Vec::new();
    read_up_to(PROLOGUE_BYTES, &mut decoder, &mut file)?;
    let announced = announced_bytes(&file).ok_or(CompressionError::Content)?;
    let limit = announced.min(limit).min(MAX_FILE_BYTES);
    read_up_to(limit.max(PROLOGUE_BYTES) + 1, &mut decoder, &mut file)?;
    let surplus = decoder.into_inner().len();
    match file.len() {
        length if length > limit => Err(CompressionError::TooLong { limit }),
        _ if surplus > 0 => Err(CompressionError::Surplus { surplus }),
        _ => Ok(file),
    }
}

/// Returns whether a file that starts like this is a delta or a zstd frame, as which a delta is compressed.
pub fn is_delta_file(start: &[u8]) -> bool {
    start.starts_with(&DELTA_MAGIC) || start.starts_with(&MAGIC)
}

/// Reads until `file` has that length, or the frame ends.
fn read_up_to(length: usize, decoder: &mut impl Read, file: &mut Vec<u8>) -> Result<(), CompressionError> {
    let read = decoder.take((length - file.len()) as u64).read_to_end(file);
    read.map(drop).map_err(|source| CompressionError::Damaged { source })
}

/// Returns the declared length of a delta, with a signature, from its fixed part; `None` if it is not a delta.
fn announced_bytes(prologue: &[u8]) -> Option<usize> {
    let length = prologue.get(FILE_LENGTH_OFFSET..PROLOGUE_BYTES)?.first_chunk().copied().map(u64::from_le_bytes)?;
    let length = usize::try_from(length).ok()?.checked_add(SIGNATURE_BYTES)?;
    (prologue.starts_with(&DELTA_MAGIC) && length > PROLOGUE_BYTES).then_some(length)
}
