//! Depthwise convolutions: each channel with its own k×k kernel, channels innermost and vectorised.

use super::finish::{Ending, Finish};
use super::fold::Folded;
use super::share::{Backward, Share};
use super::threads::{Threads, cut};
use super::tile::{Block, VECTORS, with_vectors};
use super::walk::{Segment, Walk};
use fieldfit_nets::{Conv, Shape};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Pixels of a tile where registers suffice; half of it elsewhere.
const PIXELS: usize = 8;
/// Taps whose sums are held at once where registers suffice.
const TAPS: usize = 5;
/// The same elsewhere.
const FEW_TAPS: usize = 3;

/// Rows whose sums are kept in f32 before they are added up; few enough to stay in the second-level cache.
const BAND: usize = 8;

/// One convolution at one size of image.
#[derive(Debug)]
pub(super) struct Depthwise {
    forward: Walk,
    backward: Walk,
    conv: Conv,
    channels: usize,
}

impl Depthwise {
    pub fn new(conv: &Conv, input: Shape, output: Shape) -> Self {
        Self {
            forward: Walk::forward(conv, input, output),
            backward: Walk::backward(conv, input, output),
            conv: *conv,
            channels: conv.input,
        }
    }

    /// `output = finish(input ⋆ weight)`.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let Walk { target, source, .. } = self.forward;
        let line = target.width * self.channels;
        let ranges = threads.ranges(output.len() / line);
        let parts = ranges.iter().cloned().zip(cut(&ranges, line, output));
        threads.each(parts, |(range, part)| {
            for (row, target_row) in range.zip(part.chunks_exact_mut(line)) {
                let image = &input[row / target.height * source.len()..][..source.len()];
                let mut finish = finish;
                self.gather(&self.forward, row, image, &folded.taps, target_row, &mut finish);
            }
        });
    }

    /// Both gradients; returns the sums over pixels of the input's gradient, a channel each.
    pub fn backward(&self, threads: &Threads, folded: &Folded, pass: Backward<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
        let Walk { target: input, source: output, .. } = self.backward;
        let Backward { gradient, kernel, upstream, .. } = pass;
        let images = gradient.len() / output.len();
        if kernel.is_some() {
            let rows = (images * output.height, output.width * self.channels);
            let pass = Backward { kernel, upstream: None, ..pass };
            pass.shared(threads, rows, self.channels, scratch, |share| self.backward_kernel(share));
        }
        let rows = (images * input.height, input.width * self.channels);
        let pass = Backward { kernel: None, upstream, ..pass };
        pass.shared(threads, rows, self.channels, scratch, |share| {
            let Some(target) = share.target else { return };
            let mut ending = target.upstream.summing(target.sums);
            for (row, target) in share.range.zip(target.values.chunks_exact_mut(rows.1)) {
                let image = &share.gradient[row / input.height * output.len()..][..output.len()];
                self.gather(&self.backward, row, image, &folded.taps, target, &mut ending);
                if row % BAND == 0 {
                    ending.flush();
                }
            }
            ending.flush();
        })
    }

    fn backward_kernel(&self, share: Share<'_>) {
        share.kernel.fill(0.0);
        Arch::new().dispatch(Correlate {
            conv: self.conv,
            input: self.forward.source,
            output: self.forward.target,
            rows: share.range,
            gradient: share.gradient,
            source: share.input,
            kernel: share.kernel,
        });
    }

    /// One row of targets, counted through the batch.
    fn gather(
        &self,
        walk: &Walk,
        row: usize,
        image: &[f32],
        weight: &[f32],
        target: &mut [f32],
        ending: &mut impl Ending,
    ) {
        let (first, segments) = walk.row(row % walk.target.height);
        let source = &image[first..];
        Arch::new().dispatch(Gather {
            channels: self.channels,
            segments,
            source,
            weight,
            first: row * target.len(),
            target,
            ending,
        });
    }
}

/// One row of targets: `target[p] = end(Σ source[pixels that p sees] ⊙ weight[taps])`.
struct Gather<'a, E> {
    channels: usize,
    segments: &'a [Segment],
    source: &'a [f32],
    weight: &'a [f32],
    /// Position in the whole activation of the target's first value.
    first: usize,
    target: &'a mut [f32],
    ending: &'a mut E,
}

impl<E: Ending> WithSimd for Gather<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let fits = |segment: &Segment| segment.fits(self.channels, self.source.len(), self.weight.len());
        assert!(self.segments.iter().all(fits), "a row that sees what is not there");
        for channel in (0..self.channels).step_by(VECTORS * S::F32_LANES) {
            for segment in self.segments {
                with_vectors!(S::F32_LANES, self.channels, channel, self.segment::<S>(simd, segment, channel));
            }
        }
    }
}

impl<E: Ending> Gather<'_, E> {
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
        self.ending.end::<S, R, V, TAIL>(simd, &block, &mut sums);
        block.write::<R, V, TAIL>(simd, &sums, self.first, self.target);
    }
}

/// The kernel's gradient from some rows of the output's, counted through the batch:
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
        for row in 0..self.conv.kernel {
            for column in (0..self.conv.kernel).step_by(many) {
                match many.min(self.conv.kernel - column) {
                    1 => self.taps::<S, 1, V, TAIL>(simd, band, (row, column), channel),
                    2 => self.taps::<S, 2, V, TAIL>(simd, band, (row, column), channel),
                    3 => self.taps::<S, 3, V, TAIL>(simd, band, (row, column), channel),
                    4 => self.taps::<S, 4, V, TAIL>(simd, band, (row, column), channel),
                    _ => self.taps::<S, TAPS, V, TAIL>(simd, band, (row, column), channel),
                }
            }
        }
    }

    /// `T` taps of a row of the kernel over all pixels of a band, their sums in registers.
    #[inline(always)]
    fn taps<S: Simd, const T: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        band: &Range<usize>,
        (kernel_row, kernel_column): (usize, usize),
        channel: usize,
    ) {
        let Conv { kernel, stride, padding, input: channels, .. } = self.conv;
        let Self { input, output, gradient, source, .. } = *self;
        let (top, _) = padding.amounts(input.height, kernel, stride);
        let (left, _) = padding.amounts(input.width, kernel, stride);
        // Pixels under which every tap lies within the row.
        let start = left.saturating_sub(kernel_column).div_ceil(stride).min(output.width);
        let end =
            (input.width + left + 1).saturating_sub(kernel_column + T).div_ceil(stride).clamp(start, output.width);
        let block = Block::new::<V>(simd, 0, 0, channel, channels);
        let mut sums = [[simd.splat_f32s(0.0); V]; T];
        for row in band.clone() {
            let y = (row % output.height * stride + kernel_row).checked_sub(top).filter(|y| *y < input.height);
            let Some(y) = y else { continue };
            let line = input.width * channels;
            let source = &source[(row / output.height * input.height + y) * line..][..line];
            let line = output.width * channels;
            let gradient = &gradient[row * line..][..line];
            for pixel in (0..start).chain(end..output.width) {
                let first = pixel * stride + kernel_column;
                let seen = left.saturating_sub(first)..(input.width + left).saturating_sub(first).min(T);
                let source = source.as_ptr().wrapping_add(first * channels + channel).wrapping_sub(left * channels);
                let gradient = gradient.as_ptr().wrapping_add(pixel * channels + channel);
                // SAFETY: the pixel is one of the row's, and each tap in `seen` lies between the source row's first
                // pixel and its last.
                unsafe { block.correlate::<T, V, TAIL>(simd, &mut sums, seen, (gradient, source), channels) };
            }
            for pixel in start..end {
                let first = (pixel * stride + kernel_column - left) * channels + channel;
                let source = source.as_ptr().wrapping_add(first);
                let gradient = gradient.as_ptr().wrapping_add(pixel * channels + channel);
                // SAFETY: `start..end` are pixels of the row under which all `T` taps lie within the source's row.
                unsafe { block.correlate::<T, V, TAIL>(simd, &mut sums, 0..T, (gradient, source), channels) };
            }
        }
        for (tap, sums) in sums.into_iter().enumerate() {
            let tap = kernel_row * kernel + kernel_column + tap;
            block.add_channels::<V, TAIL>(simd, sums, &mut self.kernel[tap * channels..][..channels]);
        }
    }
}
