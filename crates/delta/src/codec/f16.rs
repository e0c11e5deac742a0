//! F16 codec: IEEE half precision, little-endian.

#[cfg(feature = "alloc")]
use super::Codec;
use super::CodecError;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use half::f16;

pub(super) const fn length(values: usize) -> usize {
    2 * values
}

pub(super) fn check(payload: &[u8]) -> Result<(), CodecError> {
    match values(payload).enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, value)) => Err(CodecError::NotFinite { index, found: value.to_f32() }),
        None => Ok(()),
    }
}

pub(super) fn decode(payload: &[u8], out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values(payload)) {
        *out = value.to_f32();
    }
}

#[cfg(feature = "alloc")]
pub(super) fn encode(values: &[f32], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let limit = f16::MAX.to_f32();
    for (index, &found) in values.iter().enumerate() {
        if found.abs() > limit {
            return Err(CodecError::Overflow { codec: Codec::F16, limit, index, found });
        }
        out.extend(f16::from_f32(found).to_le_bytes());
    }
    Ok(())
}

fn values(payload: &[u8]) -> impl Iterator<Item = f16> {
    payload.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes))
}
