//! Depthwise convolutions: each channel with its own k×k kernel, channels innermost and vectorised.

use super::finish::{Ending, Finish};
use super::fold::Folded;
use super::share::{Backward, Share};
use super::threads::{Threads, cut};
use super::tile::{Block, Sums, VECTORS, with_vectors};
use super::walk::{Segment, Tap, Walk};
use fieldfit_nets::{Conv, Shape};
use pulp::{Arch, Simd, WithSimd};

/// Pixels of a tile where registers suffice; half of it elsewhere.
const PIXELS: usize = 8;
/// Taps whose sums are held at once where registers suffice.
const TAPS: usize = 5;
/// The same elsewhere.
const FEW_TAPS: usize = 3;

/// One convolution at one size of image.
#[derive(Debug)]
pub(super) struct Depthwise {
    forward: Walk,
    backward: Walk,
    channels: usize,
}

impl Depthwise {
    pub fn new(conv: &Conv, input: Shape, output: Shape) -> Self {
        Self {
            forward: Walk::forward(conv, input, output),
            backward: Walk::backward(conv, input, output),
            channels: conv.input,
        }
    }

    /// `output = finish(input ⋆ weight)`.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let Walk { target, source, .. } = self.forward;
        let line = target.width * self.channels;
        let ranges = threads.ranges(output.len() / line);
        let parts = ranges.iter().cloned().zip(cut(&ranges, line, output)).collect();
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
                ending.flush();
            }
        })
    }

    fn backward_kernel(&self, share: Share<'_>) {
        let Walk { target: output, source: input, .. } = self.forward;
        let line = output.width * self.channels;
        share.kernel.fill(0.0);
        for row in share.range {
            let (first, segments) = self.forward.row(row % output.height);
            let image = &share.input[row / output.height * input.len()..][..input.len()];
            Arch::new().dispatch(Correlate {
                channels: self.channels,
                segments,
                gradient: &share.gradient[row * line..][..line],
                source: &image[first..],
                kernel: share.kernel,
            });
        }
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

/// The kernel's gradient from one row of the output's: `kernel[tap] += Σ gradient ⊙ source`.
struct Correlate<'a> {
    channels: usize,
    segments: &'a [Segment],
    gradient: &'a [f32],
    source: &'a [f32],
    kernel: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let fits = |segment: &Segment| {
            let last = segment.target.0 + (segment.count - 1) * segment.target.1;
            (last + 1) * self.channels <= self.gradient.len()
                && segment.fits(self.channels, self.source.len(), self.kernel.len())
        };
        assert!(self.segments.iter().all(fits), "a row that sees what is not there");
        for channel in (0..self.channels).step_by(VECTORS * S::F32_LANES) {
            for segment in self.segments {
                with_vectors!(S::F32_LANES, self.channels, channel, self.segment::<S>(simd, segment, channel));
            }
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn segment<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, segment: &Segment, channel: usize) {
        let many = if S::REGISTER_COUNT >= 32 { TAPS } else { FEW_TAPS };
        for taps in segment.taps.chunks(many) {
            match taps.len() {
                1 => self.taps::<S, 1, V, TAIL>(simd, segment, taps, channel),
                2 => self.taps::<S, 2, V, TAIL>(simd, segment, taps, channel),
                3 => self.taps::<S, 3, V, TAIL>(simd, segment, taps, channel),
                4 => self.taps::<S, 4, V, TAIL>(simd, segment, taps, channel),
                _ => self.taps::<S, TAPS, V, TAIL>(simd, segment, taps, channel),
            }
        }
    }

    /// `T` taps over all pixels of a segment.
    #[inline(always)]
    fn taps<S: Simd, const T: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        segment: &Segment,
        taps: &[Tap],
        channel: usize,
    ) {
        let (first, step) = segment.target;
        let block = Block::new::<V>(simd, 0, 0, channel, self.channels);
        let gradient = self.gradient.as_ptr().wrapping_add(first * self.channels + channel);
        let source = self.source.as_ptr().wrapping_add(channel);
        let steps = (step * self.channels, segment.source_step * self.channels);
        // SAFETY: `with_simd` checked that every pixel of the segment has all its channels in the gradient, and every
        // tap of it in the source; the block's channels are among them.
        let sums: Sums<S, T, V> =
            unsafe { block.correlate::<T, V, TAIL>(simd, segment.count, taps, gradient, source, steps) };
        for (sums, tap) in sums.into_iter().zip(taps) {
            block.add_channels::<V, TAIL>(simd, sums, &mut self.kernel[tap.weight..][..self.channels]);
        }
    }
}
