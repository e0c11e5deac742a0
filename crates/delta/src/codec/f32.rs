//! F32 codec: IEEE single precision, little-endian, lossless.

use super::CodecError;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

pub(super) const fn length(values: usize) -> usize {
    values * size_of::<f32>()
}

pub(super) fn check(payload: &[u8]) -> Result<(), CodecError> {
    match values(payload).enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, found)) => Err(CodecError::NotFinite { index, found }),
        None => Ok(()),
    }
}

pub(super) fn decode(payload: &[u8], out: &mut [f32]) {
    out.iter_mut().zip(values(payload)).for_each(|(out, value)| *out = value);
}

#[cfg(feature = "alloc")]
pub(super) fn encode(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn values(payload: &[u8]) -> impl Iterator<Item = f32> {
    payload.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))
}
