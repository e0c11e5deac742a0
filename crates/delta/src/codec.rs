//! Codecs: encode a tensor's values to bytes and decode them; one file per codec.
//!
//! A codec takes `[rows, …]` values, row-major, and its own payload. To add one, add its file, its variant and its
//! number here; a number is never reused.

mod f16;
mod f32;
mod int8;
mod packed;
mod sparse;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Codec of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// IEEE half precision, 2 bytes a value, rounded to nearest even.
    ///
    /// |decoded − v| ≤ max(2⁻¹¹·|v|, 2⁻²⁵), so |decoded| ≤ |v|·(1 + 2⁻¹¹) + 2⁻²⁵. Values beyond ±65504 are rejected.
    F16,
    /// One byte a value and 4 bytes a row: `v ≈ scale · code`, scale = max|row| / 127, rounded to nearest.
    ///
    /// With m the row's max|v|: |decoded − v| ≤ m/254·(1 + 10⁻⁴), |decoded| ≤ m·(1 + 10⁻⁶), zeros stay zeros. A row
    /// without a value above 1.5·10⁻³⁶ decodes to zeros. Values beyond ±10³⁸ are rejected. A tensor of one dimension is
    /// one row.
    Int8,
    /// IEEE single precision, 4 bytes a value, lossless.
    F32,
    /// Half a byte a value and 2 bytes a row: `v ≈ scale · code`, codes from −7 to 7. Of six step sizes, the one whose
    /// codes have the smallest angle to the row; the scale keeps the row's L2 norm, rounded towards zero to bfloat16.
    ///
    /// The norm therefore never grows, and shrinks by less than 2⁻⁷ of itself; with e the error of `max|row| / 7`,
    /// rounded to nearest, relative to the norm, the error is at most `√(2 − 2·√(1 − e²))`, plus the scale's rounding.
    /// The same holds for [`Codec::Ternary`] and [`Codec::Sign`]. Values beyond ±10³⁷ are rejected.
    Int4,
    /// Five values a byte and 2 bytes a row: each value is ±scale or zero, chosen for the smallest angle to the row.
    Ternary,
    /// One bit a value and 2 bytes a row: its sign; the scale is the row's root mean square.
    Sign,
    /// One bit a row, and [`Codec::F16`] for the rows that are not zero.
    Sparse,
}

/// Codec error: an invalid payload, or values that a codec cannot represent. Indices count from 0, row-major.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Rows of unequal length.
    #[error("expected {rows} rows of equal length, found {values} values: check the tensor's shape")]
    Rows {
        /// Values given.
        values: usize,
        /// Rows they should make.
        rows: usize,
    },
    /// A payload of the wrong length.
    #[error("expected {expected} bytes of {codec:?}, found {found}: the delta is malformed")]
    Length {
        /// The codec.
        codec: Codec,
        /// Bytes that shape and codec require.
        expected: usize,
        /// Bytes present.
        found: usize,
    },
    /// A buffer of the wrong length to decode into.
    #[error("expected a buffer of {expected} values, found {found}: allocate the buffer for this tensor")]
    Room {
        /// Values of the tensor.
        expected: usize,
        /// Values of the buffer.
        found: usize,
    },
    /// NaN or infinity.
    #[error("expected finite values, found {found} at index {index}: the training run diverged")]
    NotFinite {
        /// Index of the value.
        index: usize,
        /// The value.
        found: f32,
    },
    /// A value beyond the codec's range.
    #[error("expected values within ±{limit} for {codec:?}, found {found} at index {index}: choose another codec")]
    Overflow {
        /// The codec.
        codec: Codec,
        /// Its largest magnitude.
        limit: f32,
        /// Index of the value.
        index: usize,
        /// The value.
        found: f32,
    },
    /// An invalid scale of a row.
    #[error("expected a finite scale of at least 0, found {found} for row {row}: the delta is malformed")]
    Scale {
        /// Index of the row.
        row: usize,
        /// The scale.
        found: f32,
    },
    /// A code outside the codec's range.
    #[error("expected codes from -127 to 127, found {found} at index {index}: the delta is malformed")]
    Code {
        /// Index of the value.
        index: usize,
        /// The code.
        found: i8,
    },
    /// An invalid byte of packed codes.
    #[error("expected bytes of {codec:?} codes, found {found} in row {row}: the delta is malformed")]
    Byte {
        /// The codec.
        codec: Codec,
        /// Index of the row.
        row: usize,
        /// The byte.
        found: u8,
    },
    /// Non-canonical padding, which would allow two encodings of one tensor.
    #[error(
        "expected the padding of {codec:?} after the last value of row {row}, found another: the delta is malformed"
    )]
    Padding {
        /// The codec.
        codec: Codec,
        /// Index of the row.
        row: usize,
    },
}

#[cfg(feature = "alloc")]
impl CodecError {
    /// Converts the error of a row that starts at value `start` to one of the tensor.
    fn of_row(self, codec: Codec, start: usize) -> Self {
        match self {
            Self::Overflow { limit, index, found, .. } => Self::Overflow { codec, limit, index: start + index, found },
            other => other,
        }
    }
}

impl Codec {
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::F16),
            1 => Some(Self::Int8),
            2 => Some(Self::F32),
            3 => Some(Self::Int4),
            4 => Some(Self::Ternary),
            5 => Some(Self::Sign),
            6 => Some(Self::Sparse),
            _ => None,
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::F16 => 0,
            Self::Int8 => 1,
            Self::F32 => 2,
            Self::Int4 => 3,
            Self::Ternary => 4,
            Self::Sign => 5,
            Self::Sparse => 6,
        }
    }

    /// Returns the codec's name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::F32 => "f32",
            Self::Int4 => "int4",
            Self::Ternary => "ternary",
            Self::Sign => "sign",
            Self::Sparse => "sparse",
        }
    }

    /// Every codec, in order of increasing size.
    pub const ALL: [Self; 7] = [Self::Sign, Self::Ternary, Self::Int4, Self::Int8, Self::Sparse, Self::F16, Self::F32];

    /// Returns the payload's bytes for `values` values in `rows` rows; for [`Codec::Sparse`], the maximum.
    pub const fn payload_bytes(self, values: usize, rows: usize) -> usize {
        match self {
            Self::F16 => f16::length(values),
            Self::Int8 => int8::length(values, rows),
            Self::F32 => f32::length(values),
            Self::Int4 => packed::INT4.length(values, rows),
            Self::Ternary => packed::TERNARY.length(values, rows),
            Self::Sign => packed::SIGN.length(values, rows),
            Self::Sparse => sparse::longest(values, rows),
        }
    }

    /// Checks that the payload decodes to that many finite values.
    pub(crate) fn check(self, payload: &[u8], values: usize, rows: usize) -> Result<(), CodecError> {
        self.check_length(payload, values, rows)?;
        match self {
            Self::F16 => f16::check(payload),
            Self::Int8 => int8::check(payload, values / rows),
            Self::F32 => f32::check(payload),
            Self::Int4 => packed::INT4.check(payload, values / rows),
            Self::Ternary => packed::TERNARY.check(payload, values / rows),
            Self::Sign => packed::SIGN.check(payload, values / rows),
            Self::Sparse => sparse::check(payload, rows),
        }
    }

    /// Decodes a payload that has passed [`Codec::check`] into `out`, `[rows, …]`.
    pub(crate) fn decode(self, payload: &[u8], rows: usize, out: &mut [f32]) -> Result<(), CodecError> {
        self.check_length(payload, out.len(), rows)?;
        match self {
            Self::F16 => f16::decode(payload, out),
            Self::Int8 => int8::decode(payload, out.len() / rows, out),
            Self::F32 => f32::decode(payload, out),
            Self::Int4 => packed::INT4.decode(payload, out.len() / rows, out),
            Self::Ternary => packed::TERNARY.decode(payload, out.len() / rows, out),
            Self::Sign => packed::SIGN.decode(payload, out.len() / rows, out),
            Self::Sparse => sparse::decode(payload, out.len() / rows, out),
        }
        Ok(())
    }

    fn check_length(self, payload: &[u8], values: usize, rows: usize) -> Result<(), CodecError> {
        check_rows(values, rows)?;
        let expected = match self {
            Self::Sparse => sparse::length(payload, values, rows),
            _ => self.payload_bytes(values, rows),
        };
        if payload.len() == expected {
            return Ok(());
        }
        Err(CodecError::Length { codec: self, expected, found: payload.len() })
    }
}

#[cfg(feature = "alloc")]
impl Codec {
    /// Appends the values' payload to `out`.
    pub(crate) fn encode(self, values: &[f32], rows: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        check_rows(values.len(), rows)?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(CodecError::NotFinite { index, found: values[index] });
        }
        out.reserve(self.payload_bytes(values.len(), rows));
        match self {
            Self::F16 => f16::encode(values, out)?,
            Self::Int8 => int8::encode(values, values.len() / rows, out)?,
            Self::F32 => f32::encode(values, out),
            Self::Int4 => packed::INT4.encode(values, values.len() / rows, out)?,
            Self::Ternary => packed::TERNARY.encode(values, values.len() / rows, out)?,
            Self::Sign => packed::SIGN.encode(values, values.len() / rows, out)?,
            Self::Sparse => sparse::encode(values, values.len() / rows, out)?,
        }
        Ok(())
    }

    /// Returns the values after encoding and decoding, `[rows, …]`, from which a caller computes the stored distance.
    ///
    /// # Errors
    /// If a value is not finite or beyond the codec's range, or the values are not `rows` rows of equal length.
    pub fn decoded(self, values: &[f32], rows: usize) -> Result<Vec<f32>, CodecError> {
        let mut payload = Vec::new();
        self.encode(values, rows, &mut payload)?;
        let mut decoded = alloc::vec![0.0; values.len()];
        self.decode(&payload, rows, &mut decoded)?;
        Ok(decoded)
    }
}

fn check_rows(values: usize, rows: usize) -> Result<(), CodecError> {
    if rows > 0 && values > 0 && values.is_multiple_of(rows) { Ok(()) } else { Err(CodecError::Rows { values, rows }) }
}
