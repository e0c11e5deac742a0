//! A file on its way: one zstd frame around it, for links that are slow.
//!
//! What comes out is the same bytes that went in, and is then verified like any other file. A frame may claim anything:
//! it is unpacked into no more bytes than the delta in it says that it has, than the caller has room for, and than
//! [`MAX_FILE_BYTES`], through a window of at most [`MAX_WINDOW_BYTES`].

use crate::layout::{FILE_LENGTH_OFFSET, MAGIC as DELTA_MAGIC, PROLOGUE_BYTES, SIGNATURE_BYTES};
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
    /// A frame around something else.
    #[error("expected a delta in the zstd frame, found something else: check the path")]
    Content,
    /// More than the delta in it says, or than there is room for.
    #[error("expected at most {limit} bytes in the zstd frame, found more: this is no delta, or none for this base")]
    TooLong {
        /// The most that may be in it.
        limit: usize,
    },
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
/// If they begin as a zstd frame and aren't just one, or one of more than `limit` bytes.
pub fn unpack(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, TransportError> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(bytes);
    }
    let decoder = StreamingDecoder::new_with_max_window_size(bytes.as_slice(), MAX_WINDOW_BYTES);
    let mut decoder = decoder.map_err(|source| TransportError::Frame { source })?;
    let mut file = Vec::new();
    read_up_to(PROLOGUE_BYTES, &mut decoder, &mut file)?;
    let announced = announced_bytes(&file).ok_or(TransportError::Content)?;
    let limit = announced.min(limit).min(MAX_FILE_BYTES);
    read_up_to(limit.max(PROLOGUE_BYTES) + 1, &mut decoder, &mut file)?;
    let surplus = decoder.into_inner().len();
    match file.len() {
        length if length > limit => Err(TransportError::TooLong { limit }),
        _ if surplus > 0 => Err(TransportError::Surplus { surplus }),
        _ => Ok(file),
    }
}

/// Goes on until `file` has that length, or the frame ends.
fn read_up_to(length: usize, decoder: &mut impl Read, file: &mut Vec<u8>) -> Result<(), TransportError> {
    let read = decoder.take((length - file.len()) as u64).read_to_end(file);
    read.map(drop).map_err(|source| TransportError::Damaged { source })
}

/// How long a delta that begins so may be, with a signature; nothing if this is the beginning of no delta.
fn announced_bytes(prologue: &[u8]) -> Option<usize> {
    let length = prologue.get(FILE_LENGTH_OFFSET..PROLOGUE_BYTES)?.first_chunk().copied().map(u64::from_le_bytes)?;
    let length = usize::try_from(length).ok()?.checked_add(SIGNATURE_BYTES)?;
    (prologue.starts_with(&DELTA_MAGIC) && length > PROLOGUE_BYTES).then_some(length)
}
