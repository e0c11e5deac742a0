//! Int8 codec: one signed byte per value and one f32 scale per row. Each row is its scale, little-endian, then its
//! codes.

#[cfg(feature = "alloc")]
use super::Codec;
use super::CodecError;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// Largest code; −128 is not used, so that codes are symmetric.
const GREATEST: i8 = 127;
/// Limit above which a scale's rounding could make the largest value decode to infinity.
#[cfg(feature = "alloc")]
const LIMIT: f32 = 1e38;
/// Bytes of a row's scale.
const SCALE: usize = size_of::<f32>();

pub(super) const fn length(values: usize, rows: usize) -> usize {
    SCALE * rows + values
}

/// `span` is the length of a row.
pub(super) fn check(payload: &[u8], span: usize) -> Result<(), CodecError> {
    for (row, (scale, codes)) in rows(payload, span).enumerate() {
        if !(scale >= 0.0 && (scale * f32::from(GREATEST)).is_finite()) {
            return Err(CodecError::Scale { row, found: scale });
        }
        if let Some(column) = codes.iter().position(|&code| code as i8 == i8::MIN) {
            return Err(CodecError::Code { index: row * span + column, found: i8::MIN });
        }
    }
    Ok(())
}

pub(super) fn decode(payload: &[u8], span: usize, out: &mut [f32]) {
    for (out, (scale, codes)) in out.chunks_exact_mut(span).zip(rows(payload, span)) {
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = scale * f32::from(code as i8);
        }
    }
}

#[cfg(feature = "alloc")]
pub(super) fn encode(values: &[f32], span: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    if let Some(index) = values.iter().position(|value| value.abs() > LIMIT) {
        return Err(CodecError::Overflow { codec: Codec::Int8, limit: LIMIT, index, found: values[index] });
    }
    for row in values.chunks_exact(span) {
        let scale = scale(row);
        out.extend(scale.to_le_bytes());
        out.extend(row.iter().map(|&value| code(value, scale) as u8));
    }
    Ok(())
}

/// Returns the scale that maps the row's largest magnitude to the largest code.
///
/// Zero if the scale would be subnormal: it would lack the precision of the error bound.
#[cfg(feature = "alloc")]
fn scale(row: &[f32]) -> f32 {
    let greatest = row.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
    let scale = greatest / f32::from(GREATEST);
    if scale.is_normal() { scale } else { 0.0 }
}

#[cfg(feature = "alloc")]
fn code(value: f32, scale: f32) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let steps = value / scale;
    // `f32::round` is not in core: adds half a step away from zero, then truncates.
    let rounded = (steps + 0.5_f32.copysign(steps)) as i8;
    rounded.clamp(-GREATEST, GREATEST)
}

fn rows(payload: &[u8], span: usize) -> impl Iterator<Item = (f32, &[u8])> {
    payload.chunks_exact(SCALE + span).filter_map(row)
}

fn row(bytes: &[u8]) -> Option<(f32, &[u8])> {
    bytes.split_first_chunk().map(|(&scale, codes)| (f32::from_le_bytes(scale), codes))
}
