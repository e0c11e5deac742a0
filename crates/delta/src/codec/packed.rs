//! Packed codecs (int4, ternary, sign): several values per byte and one scale per row. Each row is its scale, bfloat16
//! and little-endian, then its codes as digits of bytes, the lowest first.
//!
//! The codes minimise the angle to the row; the scale keeps the row's L2 norm, rounded towards zero, so that decoding
//! never lengthens a row. Least squares would shorten every row, by a third for signs: each value would be closer, but
//! the network as a whole would move towards its base.

use super::{Codec, CodecError};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use half::bf16;

/// Bytes of a row's scale.
const SCALE: usize = size_of::<bf16>();
/// Maximum number of digits per byte.
const MOST_DIGITS: usize = 8;
/// Marker of an unused digit.
const NONE: i8 = i8::MIN;

/// ±1.
pub(super) const SIGN: Packing = Packing::new(Codec::Sign, &[-1, 1]);
/// −1, 0 or 1.
pub(super) const TERNARY: Packing = Packing::new(Codec::Ternary, &[-1, 0, 1]);
/// −7 to 7.
pub(super) const INT4: Packing = Packing::new(Codec::Int4, &[NONE, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7]);

/// Packing of codes into bytes.
pub(super) struct Packing {
    codec: Codec,
    /// Digits per byte.
    digits: usize,
    /// Largest code.
    greatest: i8,
    /// Codes of every byte; the first `digits` are used.
    codes: [[i8; MOST_DIGITS]; 256],
    /// Whether a byte is valid.
    known: [bool; 256],
    /// Code of each digit.
    levels: &'static [i8],
}

impl Packing {
    const fn new(codec: Codec, levels: &'static [i8]) -> Self {
        let radix = levels.len();
        let (mut digits, mut bytes) = (0, 1);
        while bytes * radix <= 256 {
            digits += 1;
            bytes *= radix;
        }
        let mut codes = [[NONE; MOST_DIGITS]; 256];
        let mut known = [false; 256];
        let mut byte = 0;
        while byte < bytes {
            let (mut digit, mut rest) = (0, byte);
            known[byte] = true;
            while digit < digits {
                codes[byte][digit] = levels[rest % radix];
                known[byte] &= codes[byte][digit] != NONE;
                rest /= radix;
                digit += 1;
            }
            byte += 1;
        }
        Self { codec, digits, greatest: levels[radix - 1], codes, known, levels }
    }

    /// Returns the bytes of a payload.
    pub(super) const fn length(&self, values: usize, rows: usize) -> usize {
        rows * (SCALE + (values / rows).div_ceil(self.digits))
    }

    /// `span` is the length of a row.
    pub(super) fn check(&self, payload: &[u8], span: usize) -> Result<(), CodecError> {
        for (row, (scale, bytes)) in self.rows(payload, span).enumerate() {
            if !(scale >= 0.0 && (scale * f32::from(self.greatest)).is_finite()) {
                return Err(CodecError::Scale { row, found: scale });
            }
            // Counts without a branch per byte; searches for the byte only if there is one.
            let unknown = |byte: &&u8| !self.known[usize::from(**byte)];
            if bytes.iter().map(|byte| u32::from(unknown(&byte))).sum::<u32>() > 0
                && let Some(&found) = bytes.iter().find(unknown)
            {
                return Err(CodecError::Byte { codec: self.codec, row, found });
            }
            let used = span - (bytes.len() - 1) * self.digits;
            let last = &self.codes[usize::from(bytes[bytes.len() - 1])];
            if last[used..self.digits].iter().any(|&code| code != self.levels[self.padding()]) {
                return Err(CodecError::Padding { codec: self.codec, row });
            }
        }
        Ok(())
    }

    pub(super) fn decode(&self, payload: &[u8], span: usize, out: &mut [f32]) {
        for (out, (scale, bytes)) in out.chunks_exact_mut(span).zip(self.rows(payload, span)) {
            for (out, &byte) in out.chunks_mut(self.digits).zip(bytes) {
                for (out, &code) in out.iter_mut().zip(&self.codes[usize::from(byte)]) {
                    *out = scale * f32::from(code);
                }
            }
        }
    }

    /// Returns the digit that pads a row's last byte.
    fn padding(&self) -> usize {
        self.levels.len() / 2
    }

    fn rows<'a>(&self, payload: &'a [u8], span: usize) -> impl Iterator<Item = (f32, &'a [u8])> + use<'a> {
        payload.chunks_exact(SCALE + span.div_ceil(self.digits)).filter_map(|row| {
            row.split_first_chunk().map(|(&scale, bytes)| (bf16::from_le_bytes(scale).to_f32(), bytes))
        })
    }
}

#[cfg(feature = "alloc")]
impl Packing {
    /// Limit above which a scale times the largest code could be infinity.
    const LIMIT: f32 = 1e37;

    pub(super) fn encode(&self, values: &[f32], span: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if let Some(index) = values.iter().position(|value| value.abs() > Self::LIMIT) {
            return Err(CodecError::Overflow { codec: self.codec, limit: Self::LIMIT, index, found: values[index] });
        }
        let mut codes = Vec::with_capacity(span);
        for row in values.chunks_exact(span) {
            match self.codec {
                Codec::Sign => sign_codes(row, &mut codes),
                Codec::Ternary => ternary_codes(row, &mut codes),
                _ => rounded_codes(row, self.greatest, &mut codes),
            }
            out.extend(scale(row, &codes).to_le_bytes());
            out.extend(codes.chunks(self.digits).map(|codes| self.byte(codes)));
        }
        Ok(())
    }

    fn byte(&self, codes: &[i8]) -> u8 {
        let digit = |place: usize| match codes.get(place) {
            Some(code) => self.levels.iter().position(|level| level == code).unwrap_or(self.padding()),
            None => self.padding(),
        };
        (0..self.digits).rev().fold(0, |byte, place| byte * self.levels.len() + digit(place)) as u8
    }
}

/// Returns the scale that keeps the row's L2 norm, `√(Σv² / Σc²)`; zero if it would be subnormal.
#[cfg(feature = "alloc")]
fn scale(row: &[f32], codes: &[i8]) -> bf16 {
    let square = |sum: f64, value: f64| sum + value * value;
    let length = row.iter().map(|&value| f64::from(value)).fold(0.0, square);
    let of_codes = codes.iter().map(|&code| f64::from(code)).fold(0.0, square);
    let scale = if of_codes > 0.0 { libm::sqrt(length / of_codes) as f32 } else { 0.0 };
    if scale.is_normal() { bf16::from_bits((scale.to_bits() >> 16) as u16) } else { bf16::ZERO }
}

/// Computes `Σv·c` and `Σc²`.
#[cfg(feature = "alloc")]
fn products(row: &[f32], codes: &[i8]) -> (f64, f64) {
    row.iter().zip(codes).fold((0.0, 0.0), |(product, square), (&value, &code)| {
        let code = f64::from(code);
        (product + f64::from(value) * code, square + code * code)
    })
}

#[cfg(feature = "alloc")]
fn sign_codes(row: &[f32], codes: &mut Vec<i8>) {
    codes.clear();
    codes.extend(row.iter().map(|value| if *value < 0.0 { -1 } else { 1 }));
}

/// Computes the ternary codes of least error: the k largest magnitudes keep their signs, with k maximising `(Σ|v|)² /
/// k`.
#[cfg(feature = "alloc")]
fn ternary_codes(row: &[f32], codes: &mut Vec<i8>) {
    let mut magnitudes: Vec<f32> = row.iter().map(|value| value.abs()).collect();
    magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut best, mut threshold) = (0.0_f64, 0.0, f32::INFINITY);
    for (count, &magnitude) in (1..).zip(&magnitudes) {
        sum += f64::from(magnitude);
        let gain = sum * sum / f64::from(count);
        if gain > best {
            (best, threshold) = (gain, magnitude);
        }
    }
    codes.clear();
    codes.extend(row.iter().map(|&value| i8::from(value >= threshold) - i8::from(value <= -threshold)));
}

/// Computes codes rounded to nearest with the best of a few step sizes: a smaller step clips the largest values and
/// resolves the others better.
#[cfg(feature = "alloc")]
fn rounded_codes(row: &[f32], greatest: i8, codes: &mut Vec<i8>) {
    const REACH: [f32; 6] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5];
    let most = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let mut best = -1.0;
    let mut tried = Vec::with_capacity(row.len());
    for reach in REACH {
        let step = most * reach / f32::from(greatest);
        tried.clear();
        tried.extend(row.iter().map(|&value| rounded(value, step, greatest)));
        let (product, square) = products(row, &tried);
        let gain = if square > 0.0 { product * product / square } else { 0.0 };
        if gain > best {
            best = gain;
            core::mem::swap(codes, &mut tried);
        }
    }
}

#[cfg(feature = "alloc")]
fn rounded(value: f32, step: f32, greatest: i8) -> i8 {
    if !step.is_normal() {
        return 0;
    }
    let steps = value / step;
    // `f32::round` is not in core: adds half a step away from zero, then truncates.
    ((steps + 0.5_f32.copysign(steps)) as i8).clamp(-greatest, greatest)
}
