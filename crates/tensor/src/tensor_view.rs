//! Tensor view: one tensor of a base, borrowed in its stored type and converted while it is read.

use crate::Real;
use half::{bf16, f16};
use pulp::{Arch, Simd, WithSimd};
use std::fmt;

/// Values tested at a time.
const BLOCK: usize = 1024;

/// Floating-point type of stored values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
    /// IEEE 754 single precision.
    F32,
}

impl Dtype {
    /// Returns the number of bytes of a value.
    pub const fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Encodes values in this type, rounded to nearest even, as little-endian bytes.
    ///
    /// # Errors
    /// The position of the first value whose magnitude exceeds the type.
    pub fn encode(self, values: &[f32]) -> Result<Vec<u8>, usize> {
        fn bytes<const N: usize>(values: &[f32], write: impl Fn(f32) -> Option<[u8; N]>) -> Result<Vec<u8>, usize> {
            let mut bytes = Vec::with_capacity(values.len() * N);
            for (index, &value) in values.iter().enumerate() {
                bytes.extend(write(value).ok_or(index)?);
            }
            Ok(bytes)
        }
        match self {
            Self::F16 => {
                bytes(values, |value| Some(f16::from_f32(value)).filter(|v| v.is_finite()).map(f16::to_le_bytes))
            }
            Self::Bf16 => {
                bytes(values, |value| Some(bf16::from_f32(value)).filter(|v| v.is_finite()).map(bf16::to_le_bytes))
            }
            Self::F32 => bytes(values, |value| Some(value.to_le_bytes())),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
        })
    }
}

/// One tensor of a base in its stored type: borrowed little-endian bytes, aligned or not.
///
/// Reading converts value by value and allocates nothing.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    values: Values<'a>,
}

/// Stored values.
#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    /// Floating-point numbers.
    Float { dtype: Dtype, bytes: &'a [u8] },
    /// [Quantised rows](crate::QuantisedRows).
    Int8 { codes: &'a [u8], scales: &'a [[u8; 4]] },
}

impl<'a> TensorView<'a> {
    /// Returns a view of bytes of that type, a whole number of values.
    pub fn new(dtype: Dtype, bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len() % dtype.size(), 0);
        Self { values: Values::Float { dtype, bytes } }
    }

    /// Returns a view of values in memory, such as a new head.
    pub fn from_f32(values: &'a [f32]) -> Self {
        Self::new(Dtype::F32, bytemuck::cast_slice(values))
    }

    /// Returns a view of rows of signed bytes, each of which is multiplied by its f32 scale.
    pub fn int8(codes: &'a [u8], scales: &'a [u8]) -> Self {
        let (scales, rest) = scales.as_chunks();
        debug_assert!(rest.is_empty() && (scales.is_empty() || codes.len().is_multiple_of(scales.len())));
        Self { values: Values::Int8 { codes, scales } }
    }

    /// Returns the number of values.
    pub const fn len(&self) -> usize {
        match self.values {
            Values::Float { dtype, bytes } => bytes.len() / dtype.size(),
            Values::Int8 { codes, .. } => codes.len(),
        }
    }

    /// Returns whether there are no values.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values as stored, little-endian, and their type; `None` of quantised rows.
    pub const fn floats(&self) -> Option<(Dtype, &'a [u8])> {
        match self.values {
            Values::Float { dtype, bytes } => Some((dtype, bytes)),
            Values::Int8 { .. } => None,
        }
    }

    /// Computes `out = θ0`.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn copy_into<T: Real>(&self, out: &mut [T]) {
        assert_eq!(out.len(), self.len(), "a tensor is copied whole");
        Arch::new().dispatch(Copy { view: *self, out });
    }

    /// Computes `out = θ0 + r·δ`, the projected weights of TPGM (arXiv 2303.10720, eq. 3), with one ratio for the tensor or
    /// one a row, in one pass.
    ///
    /// # Panics
    /// If `out` or `delta` has another length, or that is no multiple of the number of ratios.
    pub fn merge_into<T: Real>(&self, delta: &[T], ratios: &[T], out: &mut [T]) {
        assert_eq!(out.len(), self.len(), "a tensor is merged whole");
        assert_eq!(delta.len(), self.len(), "δ has the shape of its tensor");
        assert!(!ratios.is_empty() && self.len().is_multiple_of(ratios.len()), "one ratio, or one a row");
        Arch::new().dispatch(Merge { view: *self, delta, ratios, out });
    }

    /// Returns the position of the first NaN or infinity; of quantised rows, the first value of the first row that can have one.
    pub fn first_not_finite(&self) -> Option<usize> {
        match self.values {
            Values::Float { dtype: Dtype::F16, bytes } => {
                position(bytes, |bits| u16::from_le_bytes(bits) & 0x7c00 == 0x7c00)
            }
            Values::Float { dtype: Dtype::Bf16, bytes } => {
                position(bytes, |bits| u16::from_le_bytes(bits) & 0x7f80 == 0x7f80)
            }
            Values::Float { dtype: Dtype::F32, bytes } => {
                position(bytes, |bits| u32::from_le_bytes(bits) & 0x7f80_0000 == 0x7f80_0000)
            }
            Values::Int8 { codes, scales } => {
                let row = scales.iter().position(|&scale| !(f32::from_le_bytes(scale) * -128.0).is_finite());
                row.map(|row| row * (codes.len() / scales.len()))
            }
        }
    }
}

/// [`TensorView::copy_into`], for the machine's own SIMD.
struct Copy<'a, T> {
    view: TensorView<'a>,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for Copy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.view.values {
            Values::Float { dtype: Dtype::F16, bytes } => copy(bytes, self.out, f16_to_f32),
            Values::Float { dtype: Dtype::Bf16, bytes } => copy(bytes, self.out, bf16_to_f32),
            Values::Float { dtype: Dtype::F32, bytes } => copy(bytes, self.out, f32::from_le_bytes),
            Values::Int8 { codes, scales } => {
                let row = row_length(codes.len(), scales.len());
                let rows = codes.chunks_exact(row).zip(scales).zip(self.out.chunks_exact_mut(row));
                rows.for_each(|((codes, &scale), out)| copy(codes, out, int8_to_f32(scale)));
            }
        }
    }
}

#[inline(always)]
fn copy<T: Real, const N: usize>(bytes: &[u8], out: &mut [T], widen: impl Fn([u8; N]) -> f32) {
    for (out, &value) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = T::of(f64::from(widen(value)));
    }
}

/// [`TensorView::merge_into`], for the machine's own SIMD.
struct Merge<'a, T> {
    view: TensorView<'a>,
    delta: &'a [T],
    ratios: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> WithSimd for Merge<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { view, delta, ratios, out } = self;
        let row = row_length(out.len(), ratios.len());
        let deltas = delta.chunks_exact(row).zip(ratios);
        let rows = out.chunks_exact_mut(row).zip(deltas);
        match view.values {
            Values::Float { dtype: Dtype::F16, bytes } => merge_rows(bytes, rows, row, f16_to_f32),
            Values::Float { dtype: Dtype::Bf16, bytes } => merge_rows(bytes, rows, row, bf16_to_f32),
            Values::Float { dtype: Dtype::F32, bytes } => merge_rows(bytes, rows, row, f32::from_le_bytes),
            Values::Int8 { codes, scales } => {
                // Rows of scales and of ratios need not be the same: a part has one of each.
                let stored = row_length(codes.len(), scales.len());
                let part = greatest_common_divisor(row, stored);
                let parts = out.chunks_exact_mut(part).zip(delta.chunks_exact(part)).zip(codes.chunks_exact(part));
                for (start, ((out, delta), codes)) in (0..).step_by(part).zip(parts) {
                    merge(codes, delta, ratios[start / row], out, int8_to_f32(scales[start / stored]));
                }
            }
        }
    }
}

#[inline(always)]
fn merge_rows<'a, T: Real, const N: usize>(
    base: &[u8],
    rows: impl Iterator<Item = (&'a mut [T], (&'a [T], &'a T))>,
    row: usize,
    widen: impl Fn([u8; N]) -> f32 + std::marker::Copy,
) {
    for (base, (out, (delta, &ratio))) in base.chunks_exact(row * N).zip(rows) {
        merge(base, delta, ratio, out, widen);
    }
}

#[inline(always)]
fn merge<T: Real, const N: usize>(base: &[u8], delta: &[T], ratio: T, out: &mut [T], widen: impl Fn([u8; N]) -> f32) {
    for (out, (&base, &delta)) in out.iter_mut().zip(base.as_chunks::<N>().0.iter().zip(delta)) {
        *out = T::of(f64::from(widen(base))) + ratio * delta;
    }
}

/// Values a row; 1 where there are none.
const fn row_length(values: usize, rows: usize) -> usize {
    match values.checked_div(rows) {
        Some(0) | None => 1,
        Some(row) => row,
    }
}

const fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[inline(always)]
fn int8_to_f32(scale: [u8; 4]) -> impl Fn([u8; 1]) -> f32 {
    let scale = f32::from_le_bytes(scale);
    move |code| f32::from(i8::from_le_bytes(code)) * scale
}

/// Exactly, without a branch or an instruction that not every machine has, so that it vectorises anywhere: exponent and
/// fraction moved to where an `f32` has them come out as if the exponent's bias were 127, and not 15.
#[inline(always)]
fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    /// 2 to the difference of the biases.
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    const INFINITY: u32 = 0x7c00 << 13;
    let bits = u32::from(u16::from_le_bytes(bytes));
    let (sign, magnitude) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
    let special = if magnitude >= INFINITY { f32::INFINITY.to_bits() } else { 0 };
    f32::from_bits((f32::from_bits(magnitude) * REBIAS).to_bits() | sign | special)
}

#[inline(always)]
fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// The position of the first value that `is_bad`; whole blocks are tested without a branch, so that they vectorise.
fn position<const N: usize>(bytes: &[u8], is_bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    let (values, _) = bytes.as_chunks::<N>();
    let any = |block: &[[u8; N]]| block.iter().fold(false, |bad, &value| bad | is_bad(value));
    let block = values.chunks(BLOCK).position(any)?;
    let start = block * BLOCK;
    values[start..].iter().position(|&value| is_bad(value)).map(|index| start + index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// Catches: a conversion or a test for NaN that is wrong for one kind of half: zeros, subnormals, infinities, NaNs.
    #[test]
    fn every_half_is_read_as_what_it_is() {
        let mut bytes = vec![0];
        bytes.extend((0..=u16::MAX).flat_map(u16::to_le_bytes));
        let unaligned = &bytes[1..];
        let mut out = vec![0.0_f32; 1 << 16];
        for (dtype, value) in [
            (Dtype::F16, (|bits| f16::from_bits(bits).to_f32()) as fn(u16) -> f32),
            (Dtype::Bf16, |bits| bf16::from_bits(bits).to_f32()),
        ] {
            TensorView::new(dtype, unaligned).copy_into(&mut out);
            for (bits, &read) in (0..=u16::MAX).zip(&out) {
                let expected = value(bits);
                assert!(read == expected || read.is_nan() && expected.is_nan(), "{dtype} {bits:#06x}: {read}");
                let alone = TensorView::new(dtype, &unaligned[2 * usize::from(bits)..][..2]);
                assert_eq!(alone.first_not_finite().is_none(), expected.is_finite(), "{dtype} {bits:#06x}");
            }
        }
    }

    /// Catches: a NaN after the last whole block that is never looked at.
    #[test]
    fn the_first_value_that_is_not_finite_is_found_anywhere() {
        for position in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 6] {
            let mut values = vec![f32::MAX; 2 * BLOCK + 7];
            assert_eq!(TensorView::from_f32(&values).first_not_finite(), None);
            values[position] = f32::NEG_INFINITY;
            values[2 * BLOCK + 6] = f32::NAN;
            assert_eq!(TensorView::from_f32(&values).first_not_finite(), Some(position));
        }
    }
}
