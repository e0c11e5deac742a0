//! Depthwise int8 convolution with NEON: 16 channels at a time, the products of two taps summed in i16, and these sums in i32.
//!
//! With values less 128, a product lies within ±128 · 127, and two of them fit in i16. Taps outside the image read a pixel of zero
//! points, so that what the difference of 128 and the zero point makes of the sum is one number a channel.

use super::LANES;
use super::depthwise::MAX_TAPS;
use super::dotprod::DotProd;
use super::isa::Int8Simd;
use fieldfit_nets::{Shape, SpatialAxis, Window};
use std::arch::aarch64::*;

/// What is subtracted from each value.
const OFFSET: i32 = 128;

/// Weights of a depthwise convolution over at least [`LANES`] channels, with what its epilogue needs.
#[derive(Debug, Clone)]
pub(super) struct TapPairs {
    simd: DotProd,
    window: Window,
    /// `[taps, channels]`.
    taps: Vec<i8>,
    /// What the sum of each channel starts with.
    starts: Vec<i32>,
    multipliers: Vec<f32>,
    addends: Vec<f32>,
    /// Pixel outside the image.
    outside: Vec<u8>,
}

impl TapPairs {
    /// Whether a convolution over that many channels is computed by this kernel.
    pub const fn supports(channels: usize) -> bool {
        channels >= LANES
    }

    /// Returns the bytes of the weights of that many channels.
    pub const fn bytes(window: &Window, channels: usize) -> usize {
        channels * (window.taps() + size_of::<i32>() + 2 * size_of::<f32>() + 1)
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        let floats = self.multipliers.capacity() + self.addends.capacity();
        let starts = self.starts.capacity() * size_of::<i32>();
        self.taps.capacity() + starts + floats * size_of::<f32>() + self.outside.capacity()
    }

    /// Packs taps within ±127, `[taps, channels]`, multipliers and addends.
    pub fn new(
        simd: DotProd,
        window: Window,
        zero_point: u8,
        taps: Vec<i8>,
        [multipliers, addends]: [Vec<f32>; 2],
    ) -> Self {
        let channels = multipliers.len();
        let sum = |channel: usize| taps.iter().skip(channel).step_by(channels).map(|tap| i32::from(*tap)).sum::<i32>();
        let starts = (0..channels).map(|channel| (OFFSET - i32::from(zero_point)) * sum(channel)).collect();
        Self { simd, window, taps, starts, multipliers, addends, outside: vec![zero_point; channels] }
    }

    /// Computes one row of an image's output, `[width, channels]`.
    pub fn row(&self, (image, input): (&[u8], Shape), row: usize, output: &mut [u8]) {
        let Self { window, outside, .. } = self;
        let (channels, columns) = (input.channels, window.kernel[1]);
        let mut pixels = heapless::Vec::<&[u8], MAX_TAPS>::new();
        for (column, output) in output.chunks_exact_mut(channels).enumerate() {
            pixels.clear();
            pixels.extend((0..window.taps()).map(|_| &outside[..]));
            for (tap_row, y) in window.taps_inside(SpatialAxis::Rows, row, input.height) {
                for (tap_column, x) in window.taps_inside(SpatialAxis::Columns, column, input.width) {
                    pixels[tap_row * columns + tap_column] = &image[(y * input.width + x) * channels..][..channels];
                }
            }
            for first in (0..channels).step_by(LANES) {
                // The last block ends with the last channel, and computes some channels again.
                self.block(&pixels, first.min(channels - LANES), output);
            }
        }
    }

    /// Computes a block of channels of a pixel; there is a pixel of the input for each tap.
    #[inline(always)]
    fn block(&self, pixels: &[&[u8]], first: usize, output: &mut [u8]) {
        let Self { simd, taps, starts, multipliers, addends, outside, .. } = self;
        let (quarters, _) = block_of(starts, first).as_chunks::<4>();
        // SAFETY: a quarter has 4 values. NEON is in the target's baseline, here and below.
        let mut sums: [int32x4_t; 4] = std::array::from_fn(|part| unsafe { vld1q_s32(quarters[part].as_ptr()) });
        for (pair, pixels) in pixels.chunks(2).enumerate() {
            let operands = |index: usize| {
                let values: &[u8; LANES] = block_of(pixels[index], first);
                let taps: &[i8; LANES] = block_of(&taps[(2 * pair + index) * outside.len()..], first);
                // SAFETY: both arrays have 16 bytes.
                unsafe {
                    let values = veorq_u8(vld1q_u8(values.as_ptr()), vdupq_n_u8(1 << 7));
                    (vreinterpretq_s8_u8(values), vld1q_s8(taps.as_ptr()))
                }
            };
            let (values, taps) = operands(0);
            // SAFETY: as above.
            let [mut low, mut high] =
                unsafe { [vmull_s8(vget_low_s8(values), vget_low_s8(taps)), vmull_high_s8(values, taps)] };
            if pixels.len() == 2 {
                let (values, taps) = operands(1);
                // SAFETY: as above.
                [low, high] = unsafe {
                    [vmlal_s8(low, vget_low_s8(values), vget_low_s8(taps)), vmlal_high_s8(high, values, taps)]
                };
            }
            // SAFETY: as above.
            sums = unsafe {
                [
                    vaddw_s16(sums[0], vget_low_s16(low)),
                    vaddw_high_s16(sums[1], low),
                    vaddw_s16(sums[2], vget_low_s16(high)),
                    vaddw_high_s16(sums[3], high),
                ]
            };
        }
        let [multiplier, addend] = [multipliers, addends].map(|values| simd.load_f32(&values[first..][..LANES]));
        simd.store_u8(simd.mul_add(simd.to_f32(sums), multiplier, addend), &mut output[first..][..LANES]);
    }
}

/// Returns the values of a block of channels.
#[inline(always)]
fn block_of<T>(values: &[T], first: usize) -> &[T; LANES] {
    match values[first..].first_chunk() {
        Some(block) => block,
        None => unreachable!("a block lies within the channels"),
    }
}
