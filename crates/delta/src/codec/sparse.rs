//! Sparse codec: a bitmap of the non-zero rows, the first in the lowest bit, then their values in half precision.

use super::{Codec, CodecError, f16};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// Returns the bytes of the bitmap.
const fn bitmap(rows: usize) -> usize {
    rows.div_ceil(8)
}

/// Returns the bytes of a payload according to its bitmap.
pub(super) fn length(payload: &[u8], values: usize, rows: usize) -> usize {
    let set: usize = payload.iter().take(bitmap(rows)).map(|byte| byte.count_ones() as usize).sum();
    bitmap(rows) + f16::length(set.min(rows) * (values / rows))
}

/// Returns the bytes if every row is stored.
pub(super) const fn longest(values: usize, rows: usize) -> usize {
    bitmap(rows) + f16::length(values)
}

pub(super) fn check(payload: &[u8], rows: usize) -> Result<(), CodecError> {
    let (bitmap, moved) = payload.split_at(bitmap(rows));
    if let Some(row) = (rows..bitmap.len() * 8).find(|&row| is_set(bitmap, row)) {
        return Err(CodecError::Padding { codec: Codec::Sparse, row });
    }
    f16::check(moved)
}

pub(super) fn decode(payload: &[u8], span: usize, out: &mut [f32]) {
    let (bitmap, mut moved) = payload.split_at(bitmap(out.len() / span));
    for (row, out) in out.chunks_exact_mut(span).enumerate() {
        if is_set(bitmap, row) {
            let (values, rest) = moved.split_at(f16::length(span));
            f16::decode(values, out);
            moved = rest;
        } else {
            out.fill(0.0);
        }
    }
}

/// Encodes values; a row that rounds to zeros is not stored.
#[cfg(feature = "alloc")]
pub(super) fn encode(values: &[f32], span: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    out.resize(start + bitmap(values.len() / span), 0);
    for (row, values) in values.chunks_exact(span).enumerate() {
        let before = out.len();
        f16::encode(values, out).map_err(|fault| fault.of_row(Codec::Sparse, row * span))?;
        if out[before..].chunks_exact(2).all(|value| matches!(value, [0, 0 | 0x80])) {
            out.truncate(before);
        } else {
            out[start + row / 8] |= 1 << (row % 8);
        }
    }
    Ok(())
}

fn is_set(bitmap: &[u8], row: usize) -> bool {
    bitmap[row / 8] >> (row % 8) & 1 == 1
}
