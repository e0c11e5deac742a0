//! Depthwise convolution kernel: one k×k kernel per channel, vectorised over channels, forward and backward.

use super::epilogue::{Epilogue, ForwardEpilogue};
use super::folded_weights::FoldedWeights;
use super::partition::{BackwardOperands, Partition};
use super::row_kernel::{self, BAND, RowKernel, TapPlans, TargetRow};
use super::tap_plan::Segment;
use super::thread_pool::ThreadPool;
use super::tile::{Block, VECTORS, with_vectors};
use fieldfit_nets::{Conv, Shape, SpatialAxis};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Pixels per tile with 32 registers; half of it with fewer.
const PIXELS: usize = 8;
/// Taps accumulated at once with 32 registers.
const TAPS: usize = 5;
/// Taps accumulated at once with fewer registers.
const FEW_TAPS: usize = 3;

/// Depthwise convolution kernel for one image size.
#[derive(Debug)]
pub(super) struct Depthwise {
    plans: TapPlans,
    conv: Conv,
}

impl Depthwise {
    pub fn new(conv: &Conv, input: Shape, output: Shape) -> Self {
        Self { plans: TapPlans::new(&conv.window, input, output), conv: *conv }
    }

    /// Computes `output = epilogue(input ⋆ weight)`.
    pub fn forward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        input: &[f32],
        epilogue: ForwardEpilogue<'_>,
        output: &mut [f32],
    ) {
        row_kernel::forward(self, threads, (&folded.taps, input), epilogue, output);
    }

    /// Computes both gradients; returns the per-channel sums over pixels of the input's gradient.
    pub fn backward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        pass: BackwardOperands<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        row_kernel::backward(self, threads, &folded.taps, pass, scratch)
    }
}

impl RowKernel for Depthwise {
    fn plans(&self) -> &TapPlans {
        &self.plans
    }

    fn gather(&self, row: TargetRow<'_>, weight: &[f32], epilogue: &mut impl Epilogue) {
        let TargetRow { segments, source, first, target, .. } = row;
        let channels = self.conv.input;
        Arch::new().dispatch(Gather { channels, segments, source, weight, first, target, epilogue });
    }

    fn correlate(&self, partition: Partition<'_>) {
        Arch::new().dispatch(Correlate {
            conv: self.conv,
            input: self.plans.forward.source,
            output: self.plans.forward.target,
            rows: partition.range,
            gradient: partition.gradient,
            source: partition.input,
            kernel: partition.kernel,
        });
    }
}

/// SIMD kernel of one target row: `target[p] = epilogue(Σ source[pixels under p] ⊙ weight[taps])`.
struct Gather<'a, E> {
    channels: usize,
    segments: &'a [Segment],
    source: &'a [f32],
    weight: &'a [f32],
    /// Index in the activation of the target's first value.
    first: usize,
    target: &'a mut [f32],
    epilogue: &'a mut E,
}

impl<E: Epilogue> WithSimd for Gather<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let fits = |segment: &Segment| segment.fits(self.channels, self.source.len(), self.weight.len());
        assert!(self.segments.iter().all(fits), "a tap outside the source");
        for channel in (0..self.channels).step_by(VECTORS * S::F32_LANES) {
            for segment in self.segments {
                with_vectors!(S::F32_LANES, self.channels, channel, self.segment::<S>(simd, segment, channel));
            }
        }
    }
}

impl<E: Epilogue> Gather<'_, E> {
    #[inline(always)]
    fn segment<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, segment: &Segment, channel: usize) {
        let mut pixel = 0;
        if S::REGISTER_COUNT >= 32 {
            while pixel + PIXELS <= segment.count {
                self.pixels::<S, PIXELS, V, TAIL>(simd, segment, pixel, channel);
                pixel += PIXELS;
            }
        }
        while pixel + PIXELS / 2 <= segment.count {
            self.pixels::<S, { PIXELS / 2 }, V, TAIL>(simd, segment, pixel, channel);
            pixel += PIXELS / 2;
        }
        while pixel < segment.count {
            self.pixels::<S, 1, V, TAIL>(simd, segment, pixel, channel);
            pixel += 1;
        }
    }

    #[inline(always)]
    fn pixels<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        segment: &Segment,
        pixel: usize,
        channel: usize,
    ) {
        let (first, step) = segment.target;
        let start = self.first + (first + pixel * step) * self.channels + channel;
        let block = Block::new::<V>(simd, start, step * self.channels, channel, self.channels);
        let source_step = segment.source_step * self.channels;
        let source = self.source.as_ptr().wrapping_add(pixel * source_step + channel);
        let weight = self.weight.as_ptr().wrapping_add(channel);
        // SAFETY: `with_simd` checked that every tap of every pixel of the segment has all its channels in the source
        // and in the kernel; the block's channels are among them.
        let mut sums = unsafe { block.convolve::<R, V, TAIL>(simd, &segment.taps, (source, source_step), weight) };
        self.epilogue.apply::<S, R, V, TAIL>(simd, &block, &mut sums);
        block.write::<R, V, TAIL>(simd, &sums, self.first, self.target);
    }
}

/// SIMD kernel of the kernel's gradient from some rows of the output's gradient, indexed through the batch:
/// `kernel[tap] += Σ gradient[pixel] ⊙ source[pixel under the tap]`.
struct Correlate<'a> {
    conv: Conv,
    input: Shape,
    output: Shape,
    rows: Range<usize>,
    gradient: &'a [f32],
    source: &'a [f32],
    /// `[k, k, C]`.
    kernel: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let channels = self.conv.input;
        for first in self.rows.clone().step_by(BAND) {
            let band = first..self.rows.end.min(first + BAND);
            for channel in (0..channels).step_by(VECTORS * S::F32_LANES) {
                with_vectors!(S::F32_LANES, channels, channel, self.panel::<S>(simd, &band, channel));
            }
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, band: &Range<usize>, channel: usize) {
        let many = if S::REGISTER_COUNT >= 32 { TAPS } else { FEW_TAPS };
        let [rows, columns] = self.conv.window.kernel;
        // Only neighbouring taps share a pass over a row.
        let many = if self.conv.window.dilation[1] == 1 { many } else { 1 };
        for row in 0..rows {
            for column in (0..columns).step_by(many) {
                match many.min(columns - column) {
                    1 => self.taps::<S, 1, V, TAIL>(simd, band, (row, column), channel),
                    2 => self.taps::<S, 2, V, TAIL>(simd, band, (row, column), channel),
                    3 => self.taps::<S, 3, V, TAIL>(simd, band, (row, column), channel),
                    4 => self.taps::<S, 4, V, TAIL>(simd, band, (row, column), channel),
                    _ => self.taps::<S, TAPS, V, TAIL>(simd, band, (row, column), channel),
                }
            }
        }
    }

    /// Accumulates `T` taps of a kernel row over all pixels of a band, in registers.
    #[inline(always)]
    fn taps<S: Simd, const T: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        band: &Range<usize>,
        (kernel_row, kernel_column): (usize, usize),
        channel: usize,
    ) {
        let (window, channels) = (self.conv.window, self.conv.input);
        let Self { input, output, gradient, source, .. } = *self;
        let (top, _) = window.padding(SpatialAxis::Rows, input.height);
        let (left, _) = window.padding(SpatialAxis::Columns, input.width);
        let stride = window.stride[1];
        let (tap_row, tap_column) = (kernel_row * window.dilation[0], kernel_column * window.dilation[1]);
        // Pixels under which every tap lies within the row.
        let start = left.saturating_sub(tap_column).div_ceil(stride).min(output.width);
        let end = (input.width + left + 1).saturating_sub(tap_column + T).div_ceil(stride).clamp(start, output.width);
        let block = Block::new::<V>(simd, 0, 0, channel, channels);
        let mut sums = [[simd.splat_f32s(0.0); V]; T];
        for row in band.clone() {
            let y = (row % output.height * window.stride[0] + tap_row).checked_sub(top).filter(|y| *y < input.height);
            let Some(y) = y else { continue };
            let line = input.width * channels;
            let source = &source[(row / output.height * input.height + y) * line..][..line];
            let line = output.width * channels;
            let gradient = &gradient[row * line..][..line];
            for pixel in (0..start).chain(end..output.width) {
                let first = pixel * stride + tap_column;
                let covered = left.saturating_sub(first)..(input.width + left).saturating_sub(first).min(T);
                let source = source.as_ptr().wrapping_add(first * channels + channel).wrapping_sub(left * channels);
                let gradient = gradient.as_ptr().wrapping_add(pixel * channels + channel);
                // SAFETY: the pixel is one of the row's, and each tap in `covered` lies between the source row's first
                // pixel and its last.
                unsafe { block.correlate::<T, V, TAIL>(simd, &mut sums, covered, (gradient, source), channels) };
            }
            for pixel in start..end {
                let first = (pixel * stride + tap_column - left) * channels + channel;
                let source = source.as_ptr().wrapping_add(first);
                let gradient = gradient.as_ptr().wrapping_add(pixel * channels + channel);
                // SAFETY: `start..end` are pixels of the row under which all `T` taps lie within the source's row.
                unsafe { block.correlate::<T, V, TAIL>(simd, &mut sums, 0..T, (gradient, source), channels) };
            }
        }
        for (tap, sums) in sums.into_iter().enumerate() {
            let tap = kernel_row * window.kernel[1] + kernel_column + tap;
            block.add_channels::<V, TAIL>(simd, sums, &mut self.kernel[tap * channels..][..channels]);
        }
    }
}
