//! Conversions between f32 and u8, and the greater of u8 values.

use super::LANES;
use super::isa::{Int8Simd, Isa, Work};

/// Greatest code of values that are quantised symmetrically around [`CENTRE`].
const GREATEST: f32 = 127.0;
/// Code of 0 of values that are quantised symmetrically.
pub(in crate::cpu) const CENTRE: u8 = 128;

/// Computes `output = requantise(input / scale + zero_point)`.
pub(in crate::cpu) fn quantise(isa: Isa, input: &[f32], (scale, zero_point): (f32, u8), output: &mut [u8]) {
    isa.dispatch(Quantise { input, factor: 1.0 / scale, zero_point: f32::from(zero_point), output });
}

struct Quantise<'a> {
    input: &'a [f32],
    factor: f32,
    zero_point: f32,
    output: &'a mut [u8],
}

impl Work for Quantise<'_> {
    #[inline(always)]
    fn run<S: Int8Simd>(self, simd: S) {
        let (factor, zero_point) = (simd.splat(self.factor), simd.splat(self.zero_point));
        for (input, output) in self.input.chunks(LANES).zip(self.output.chunks_mut(LANES)) {
            simd.store_u8(simd.mul_add(simd.load_f32(input), factor, zero_point), output);
        }
    }
}

/// Quantises each row of that many values by its greatest magnitude, around [`CENTRE`]; returns the scales. Rows of the
/// output are `step` bytes apart, and zeros follow them.
pub(in crate::cpu) fn quantise_rows(
    isa: Isa,
    (input, width): (&[f32], usize),
    (output, step): (&mut [u8], usize),
    scales: &mut [f32],
) {
    isa.dispatch(QuantiseRows { input, width, output, step, scales });
}

struct QuantiseRows<'a> {
    input: &'a [f32],
    width: usize,
    output: &'a mut [u8],
    step: usize,
    scales: &'a mut [f32],
}

impl Work for QuantiseRows<'_> {
    #[inline(always)]
    fn run<S: Int8Simd>(self, simd: S) {
        let rows = self.input.chunks_exact(self.width).zip(self.output.chunks_mut(self.step));
        for ((row, output), scale) in rows.zip(self.scales) {
            let greatest = greatest_magnitude(row);
            // A row of zeros has no scale of its own; codes of a subnormal one would not be finite.
            let factor = if greatest > f32::MIN_POSITIVE * GREATEST { GREATEST / greatest } else { 0.0 };
            *scale = greatest / GREATEST;
            let (factor, centre) = (simd.splat(factor), simd.splat(f32::from(CENTRE)));
            let (codes, padding) = output.split_at_mut(self.width);
            for (row, codes) in row.chunks(LANES).zip(codes.chunks_mut(LANES)) {
                simd.store_u8(simd.mul_add(simd.load_f32(row), factor, centre), codes);
            }
            padding.fill(0);
        }
    }
}

/// Returns the greatest magnitude of a row.
#[inline(always)]
fn greatest_magnitude(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for chunk in row.chunks(LANES) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let size = value.abs();
            *lane = if size > *lane { size } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

/// Computes `output = (input − zero_point) · scale`.
pub(in crate::cpu) fn dequantise(isa: Isa, input: &[u8], (scale, zero_point): (f32, u8), output: &mut [f32]) {
    isa.dispatch(Dequantise { input, scale, zero_point: f32::from(zero_point), output });
}

struct Dequantise<'a> {
    input: &'a [u8],
    scale: f32,
    zero_point: f32,
    output: &'a mut [f32],
}

impl Work for Dequantise<'_> {
    #[inline(always)]
    fn run<S: Int8Simd>(self, simd: S) {
        let (scale, shift) = (simd.splat(self.scale), simd.splat(-self.zero_point));
        for (input, output) in self.input.chunks(LANES).zip(self.output.chunks_mut(LANES)) {
            simd.store_f32(simd.mul(simd.add(simd.load_u8(input), shift), scale), output);
        }
    }
}

/// Computes, of each channel, the greatest value of some pixels: `pixels` are the offsets of their first channels.
pub(in crate::cpu) fn greatest(isa: Isa, values: &[u8], pixels: &[usize], output: &mut [u8]) {
    isa.dispatch(Greatest { values, pixels, output });
}

struct Greatest<'a> {
    values: &'a [u8],
    pixels: &'a [usize],
    output: &'a mut [u8],
}

impl Work for Greatest<'_> {
    #[inline(always)]
    fn run<S: Int8Simd>(self, _: S) {
        for (index, pixel) in self.pixels.iter().enumerate() {
            let values = &self.values[*pixel..][..self.output.len()];
            if index == 0 {
                self.output.copy_from_slice(values);
                continue;
            }
            for (greatest, value) in self.output.iter_mut().zip(values) {
                *greatest = (*greatest).max(*value);
            }
        }
    }
}
