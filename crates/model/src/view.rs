//! One tensor of a base, lent from the map in its stored type.

use fieldfit_tpgm::Real;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::fmt;

/// Values converted at a time: they stay in the first-level cache, on the stack.
const BLOCK: usize = 1024;

/// How values are stored.
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
    /// Bytes a value.
    pub const fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
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

/// One tensor of a base in its stored type: little-endian bytes, aligned or not.
///
/// Reading converts in blocks on the stack; nothing is allocated.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    dtype: Dtype,
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// `bytes` is a whole number of values.
    pub(crate) fn new(dtype: Dtype, bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len() % dtype.size(), 0);
        Self { dtype, bytes }
    }

    /// Values that are in memory already, such as a new head.
    pub fn from_f32(values: &'a [f32]) -> Self {
        Self { dtype: Dtype::F32, bytes: bytemuck::cast_slice(values) }
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are no values.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The stored type.
    pub const fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// `out = θ0`.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn copy_into<T: Real>(&self, out: &mut [T]) {
        assert_eq!(out.len(), self.len(), "a tensor is copied whole");
        let mut block = [0.0; BLOCK];
        for (bytes, out) in self.bytes.chunks(BLOCK * self.dtype.size()).zip(out.chunks_mut(BLOCK)) {
            let values = &mut block[..out.len()];
            widen(self.dtype, bytes, values);
            for (out, value) in out.iter_mut().zip(values) {
                *out = T::of(f64::from(*value));
            }
        }
    }

    /// `out = θ0 + r·δ`: the projected weights of TPGM (arXiv 2303.10720, eq. 3), with one ratio for the tensor or one a
    /// row.
    ///
    /// # Panics
    /// If `out` or `delta` has another length, or that is no multiple of the number of ratios.
    pub fn merge_into<T: Real>(&self, delta: &[T], ratios: &[T], out: &mut [T]) {
        assert_eq!(delta.len(), self.len(), "δ has the shape of its tensor");
        assert!(!ratios.is_empty() && self.len().is_multiple_of(ratios.len()), "one ratio, or one a row");
        self.copy_into(out);
        let row = (self.len() / ratios.len()).max(1);
        for ((out, delta), &ratio) in out.chunks_exact_mut(row).zip(delta.chunks_exact(row)).zip(ratios) {
            for (out, &delta) in out.iter_mut().zip(delta) {
                *out += ratio * delta;
            }
        }
    }

    /// The position of the first NaN or infinity.
    pub(crate) fn first_not_finite(&self) -> Option<usize> {
        match self.dtype {
            Dtype::F16 => position(self.bytes, |bits| u16::from_le_bytes(bits) & 0x7c00 == 0x7c00),
            Dtype::Bf16 => position(self.bytes, |bits| u16::from_le_bytes(bits) & 0x7f80 == 0x7f80),
            Dtype::F32 => position(self.bytes, |bits| u32::from_le_bytes(bits) & 0x7f80_0000 == 0x7f80_0000),
        }
    }
}

/// Converts at most [`BLOCK`] values from little-endian bytes of any alignment.
fn widen(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    let mut aligned = [0_u16; BLOCK];
    match dtype {
        Dtype::F16 => align::<f16>(bytes, &mut aligned).convert_to_f32_slice(out),
        Dtype::Bf16 => align::<bf16>(bytes, &mut aligned).convert_to_f32_slice(out),
        Dtype::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(bytes),
    }
}

fn align<'a, H: bytemuck::AnyBitPattern>(bytes: &[u8], aligned: &'a mut [u16; BLOCK]) -> &'a [H] {
    let halves = &mut aligned[..bytes.len() / 2];
    bytemuck::cast_slice_mut(halves).copy_from_slice(bytes);
    bytemuck::cast_slice(halves)
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

    /// A conversion or a test for NaN that is wrong for one kind of half: zeros, subnormals, infinities, NaNs.
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

    /// A NaN after the last whole block that is never looked at.
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
