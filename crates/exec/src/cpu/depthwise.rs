//! Depthwise convolutions: each channel with its own k×k kernel, channels innermost and vectorised.

use super::finish::{ChannelSums, Finish, Upstream};
use super::fold::Folded;
use super::share::{Backward, accumulators, reduce};
use super::threads::{Threads, cut};
use fieldfit_nets::{Conv, Shape};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// One convolution at one size of image.
pub(super) struct Depthwise {
    pub conv: Conv,
    pub input: Shape,
    pub output: Shape,
}

impl Depthwise {
    /// `output = finish(input ⋆ weight)`.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let line = self.output.width * self.conv.output;
        let columns = [self.forward_columns()];
        let ranges = threads.ranges(output.len() / line);
        let parts = ranges.iter().cloned().zip(cut(&ranges, line, output)).collect();
        threads.each(parts, |(range, part)| {
            let (mut rows, mut taps) = (Vec::new(), Vec::new());
            for (row, target) in range.zip(part.chunks_exact_mut(line)) {
                rows.clear();
                rows.extend(self.sources_of_output(row % self.output.height));
                Arch::new().dispatch(Line {
                    channels: self.conv.input,
                    kernel: self.conv.kernel,
                    columns: &columns,
                    rows: &rows,
                    width: self.input.width,
                    source: image(input, self.input, row / self.output.height),
                    weight: &folded.weight,
                    target,
                    taps: &mut taps,
                });
                finish.apply(row * line, target);
            }
        });
    }

    /// Both gradients; returns the sums over pixels of the input's gradient, a channel each.
    pub fn backward(&self, threads: &Threads, folded: &Folded, pass: Backward<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
        if let Some(kernel) = pass.kernel {
            self.backward_kernel(threads, pass.gradient, pass.input, kernel, scratch);
        }
        match pass.upstream {
            Some((target, upstream)) => self.backward_input(threads, folded, pass.gradient, &upstream, target),
            None => Vec::new(),
        }
    }

    fn backward_input(
        &self,
        threads: &Threads,
        folded: &Folded,
        gradient: &[f32],
        upstream: &Upstream<'_>,
        target: &mut [f32],
    ) -> Vec<f64> {
        let line = self.input.width * self.conv.input;
        let columns = self.backward_columns();
        let ranges = threads.ranges(target.len() / line);
        let mut sums = vec![ChannelSums::new(self.conv.input); ranges.len()];
        let parts = ranges.iter().cloned().zip(cut(&ranges, line, target)).zip(&mut sums).collect();
        threads.each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), _)| {
            let (mut rows, mut taps) = (Vec::new(), Vec::new());
            for (row, target) in range.zip(part.chunks_exact_mut(line)) {
                rows.clear();
                rows.extend(self.sources_of_input(row % self.input.height));
                Arch::new().dispatch(Line {
                    channels: self.conv.input,
                    kernel: self.conv.kernel,
                    columns: &columns,
                    rows: &rows,
                    width: self.output.width,
                    source: image(gradient, self.output, row / self.input.height),
                    weight: &folded.weight,
                    target,
                    taps: &mut taps,
                });
                upstream.apply(row * line, target, sums);
            }
        });
        ChannelSums::merge(sums)
    }

    fn backward_kernel(
        &self,
        threads: &Threads,
        gradient: &[f32],
        input: &[f32],
        kernel: &mut [f32],
        scratch: &mut Vec<f32>,
    ) {
        let line = self.output.width * self.conv.output;
        let source_line = self.input.width * self.conv.input;
        let kernel_line = self.conv.kernel * self.conv.input;
        let columns = self.forward_columns();
        let ranges = threads.ranges(gradient.len() / line);
        let kernels = accumulators(scratch, kernel.len(), ranges.len());
        let parts = ranges.iter().cloned().zip(kernels).collect();
        threads.each(parts, |(range, sums): (Range<usize>, &mut [f32])| {
            sums.fill(0.0);
            for row in range {
                let source = image(input, self.input, row / self.output.height);
                for (source_row, kernel_row) in self.sources_of_output(row % self.output.height) {
                    Arch::new().dispatch(KernelRow {
                        columns: &columns,
                        channels: self.conv.input,
                        gradient: &gradient[row * line..][..line],
                        source: &source[source_row * source_line..][..source_line],
                        sums: &mut sums[kernel_row * kernel_line..][..kernel_line],
                    });
                }
            }
        });
        reduce(scratch, kernel);
    }

    /// The input rows that a row of one image's output sees, each with its row of the kernel.
    fn sources_of_output(&self, row: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Conv { kernel, stride, padding, .. } = self.conv;
        let height = self.input.height;
        let (top, _) = padding.amounts(height, kernel, stride);
        (0..kernel).filter_map(move |tap| {
            (row * stride + tap).checked_sub(top).filter(|source| *source < height).map(|source| (source, tap))
        })
    }

    /// The output rows that see a row of one image's input, each with its row of the kernel.
    fn sources_of_input(&self, row: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Conv { kernel, stride, padding, .. } = self.conv;
        let height = self.output.height;
        let (top, _) = padding.amounts(self.input.height, kernel, stride);
        (0..kernel).filter_map(move |tap| {
            let distance = (row + top).checked_sub(tap)?;
            (distance % stride == 0 && distance / stride < height).then_some((distance / stride, tap))
        })
    }

    /// How a row of the output lies over a row of the input.
    fn forward_columns(&self) -> Columns {
        let Conv { kernel, stride, padding, .. } = self.conv;
        let (left, _) = padding.amounts(self.input.width, kernel, stride);
        Columns {
            positions: 0..self.output.width,
            target_first: 0,
            target_step: 1,
            source_step: stride,
            taps: (0..kernel).map(|tap| (tap as isize - left as isize, tap)).collect(),
        }
    }

    /// How a row of the input lies under a row of the output: one set of taps for each remainder of the stride.
    fn backward_columns(&self) -> Vec<Columns> {
        let Conv { kernel, stride, padding, .. } = self.conv;
        let (left, _) = padding.amounts(self.input.width, kernel, stride);
        (0..stride)
            .map(|phase| Columns {
                positions: left.saturating_sub(phase).div_ceil(stride)
                    ..(self.input.width + left).saturating_sub(phase).div_ceil(stride),
                target_first: phase as isize - left as isize,
                target_step: stride,
                source_step: 1,
                taps: (phase..kernel).step_by(stride).map(|tap| (-((tap / stride) as isize), tap)).collect(),
            })
            .collect()
    }
}

/// Positions along a row at which the same taps apply: the target's pixel is `first + position · step`, a tap's source
/// pixel is `position · source_step + offset`.
struct Columns {
    positions: Range<usize>,
    target_first: isize,
    target_step: usize,
    source_step: usize,
    /// Each tap's offset and its column of the kernel.
    taps: Vec<(isize, usize)>,
}

impl Columns {
    const fn target(&self, position: usize) -> usize {
        (self.target_first + (position * self.target_step) as isize) as usize
    }

    /// The pixel that a tap reads, if it is within the row.
    fn source(&self, position: usize, offset: isize, width: usize) -> Option<usize> {
        (position * self.source_step).checked_add_signed(offset).filter(|pixel| *pixel < width)
    }

    /// The positions at which every tap is within the row.
    fn interior(&self, width: usize) -> Range<usize> {
        let inside = |position: &usize| self.taps.iter().all(|tap| self.source(*position, tap.0, width).is_some());
        let start = self.positions.clone().find(inside).unwrap_or(self.positions.end);
        let end = (start..self.positions.end).find(|position| !inside(position)).unwrap_or(self.positions.end);
        start..end
    }
}

/// One image of a batch.
fn image(values: &[f32], shape: Shape, index: usize) -> &[f32] {
    &values[index * shape.len()..][..shape.len()]
}

/// One product of a sum over taps: which pixel of the source at position 0, which row of the `[k · k, C]` kernel.
#[derive(Clone, Copy)]
struct Tap {
    pixel: isize,
    weight: usize,
}

/// One row of targets: `target[p] = Σ source[pixels that p sees] ⊙ weight[taps]`.
struct Line<'a> {
    channels: usize,
    /// Side of the square kernel.
    kernel: usize,
    columns: &'a [Columns],
    /// The rows of the source, each with its row of the kernel.
    rows: &'a [(usize, usize)],
    /// Pixels in a row of the source.
    width: usize,
    source: &'a [f32],
    weight: &'a [f32],
    target: &'a mut [f32],
    /// Room for the taps.
    taps: &'a mut Vec<Tap>,
}

impl WithSimd for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for columns in self.columns {
            let interior = columns.interior(self.width);
            for position in columns.positions.start..interior.start {
                self.edge(simd, columns, position);
            }
            self.interior(simd, columns, interior.clone());
            for position in interior.end..columns.positions.end {
                self.edge(simd, columns, position);
            }
        }
    }
}

impl Line<'_> {
    /// A position where the kernel overhangs the row.
    #[inline(always)]
    fn edge<S: Simd>(&mut self, simd: S, columns: &Columns, position: usize) {
        let width = self.width;
        self.collect_taps(columns, |offset| columns.source(position, offset, width).is_some());
        self.pixels::<S, 1>(simd, columns, position);
    }

    /// Positions where every tap is within the row: blocks of pixels share each load of a weight.
    #[inline(always)]
    fn interior<S: Simd>(&mut self, simd: S, columns: &Columns, positions: Range<usize>) {
        self.collect_taps(columns, |_| true);
        let mut position = positions.start;
        while position < positions.end {
            match positions.end - position {
                8.. => {
                    self.pixels::<S, 8>(simd, columns, position);
                    position += 8;
                }
                4.. => {
                    self.pixels::<S, 4>(simd, columns, position);
                    position += 4;
                }
                _ => {
                    self.pixels::<S, 1>(simd, columns, position);
                    position += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn collect_taps(&mut self, columns: &Columns, visible: impl Fn(isize) -> bool) {
        self.taps.clear();
        for &(row, kernel_row) in self.rows {
            for &(offset, kernel_column) in &columns.taps {
                if visible(offset) {
                    let pixel = (row * self.width) as isize + offset;
                    self.taps.push(Tap { pixel, weight: kernel_row * self.kernel + kernel_column });
                }
            }
        }
    }

    /// `P` positions from `position` on, all channels.
    #[inline(always)]
    fn pixels<S: Simd, const P: usize>(&mut self, simd: S, columns: &Columns, position: usize) {
        let vectors = self.channels / S::F32_LANES * S::F32_LANES;
        for channel in (0..vectors).step_by(S::F32_LANES) {
            let mut sums = [simd.splat_f32s(0.0); P];
            for tap in &*self.taps {
                let weight = whole::<S>(&self.weight[tap.weight * self.channels + channel..]);
                let first = (position * columns.source_step).wrapping_add_signed(tap.pixel);
                for (index, sum) in sums.iter_mut().enumerate() {
                    let pixel = (first + index * columns.source_step) * self.channels + channel;
                    *sum = simd.mul_add_f32s(whole::<S>(&self.source[pixel..]), weight, *sum);
                }
            }
            for (index, sum) in sums.into_iter().enumerate() {
                let pixel = columns.target(position + index) * self.channels + channel;
                S::as_mut_simd_f32s(&mut self.target[pixel..][..S::F32_LANES]).0[0] = sum;
            }
        }
        for channel in vectors..self.channels {
            self.scalars(columns, position..position + P, channel);
        }
    }

    /// A channel beyond the last whole vector.
    #[inline(always)]
    fn scalars(&mut self, columns: &Columns, positions: Range<usize>, channel: usize) {
        for position in positions {
            let mut sum = 0.0;
            for tap in &*self.taps {
                let pixel = (position * columns.source_step).wrapping_add_signed(tap.pixel);
                sum += self.source[pixel * self.channels + channel] * self.weight[tap.weight * self.channels + channel];
            }
            self.target[columns.target(position) * self.channels + channel] = sum;
        }
    }
}

/// The vector at the start of a slice.
#[inline(always)]
fn whole<S: Simd>(values: &[f32]) -> S::f32s {
    S::as_simd_f32s(&values[..S::F32_LANES]).0[0]
}

/// The kernel's gradient from one row of the output and one row of the input: `sums[tap] += Σ gradient ⊙ input`.
struct KernelRow<'a> {
    columns: &'a Columns,
    channels: usize,
    /// `[output width, C]`.
    gradient: &'a [f32],
    /// `[input width, C]`.
    source: &'a [f32],
    /// The kernel's row, `[k, C]`.
    sums: &'a mut [f32],
}

impl WithSimd for KernelRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.columns.taps.len() {
            3 => self.all_taps::<S, 3>(simd),
            5 => self.all_taps::<S, 5>(simd),
            7 => self.all_taps::<S, 7>(simd),
            taps => (0..taps).for_each(|tap| self.taps::<S, 1>(simd, tap)),
        }
    }
}

impl KernelRow<'_> {
    #[inline(always)]
    fn all_taps<S: Simd, const K: usize>(&mut self, simd: S) {
        self.taps::<S, K>(simd, 0);
    }

    /// `K` taps of the row from `first` on, all channels; two chains of sums hide the latency of the additions.
    #[inline(always)]
    fn taps<S: Simd, const K: usize>(&mut self, simd: S, first: usize) {
        let width = self.source.len() / self.channels;
        let interior = self.columns.interior(width);
        let vectors = self.channels / S::F32_LANES * S::F32_LANES;
        for channel in (0..vectors).step_by(S::F32_LANES) {
            let (mut even, mut odd) = ([simd.splat_f32s(0.0); K], [simd.splat_f32s(0.0); K]);
            for position in interior.clone().step_by(2) {
                self.products(simd, first, position, channel, &mut even);
                if position + 1 < interior.end {
                    self.products(simd, first, position + 1, channel, &mut odd);
                }
            }
            for tap in 0..K {
                let sum = simd.add_f32s(even[tap], odd[tap]);
                let slot = &mut self.sums[(first + tap) * self.channels + channel..][..S::F32_LANES];
                let slot = &mut S::as_mut_simd_f32s(slot).0[0];
                *slot = simd.add_f32s(*slot, sum);
            }
        }
        for tap in first..first + K {
            for position in self.columns.positions.clone() {
                let from = if interior.contains(&position) { vectors } else { 0 };
                self.scalars(position, tap, width, from);
            }
        }
    }

    /// One vector of channels at one position, where every tap is within the row.
    #[inline(always)]
    fn products<S: Simd, const K: usize>(
        &self,
        simd: S,
        first: usize,
        position: usize,
        channel: usize,
        sums: &mut [S::f32s; K],
    ) {
        let gradient = whole::<S>(&self.gradient[position * self.channels + channel..]);
        let start = position * self.columns.source_step;
        for (tap, sum) in sums.iter_mut().enumerate() {
            let pixel = start.wrapping_add_signed(self.columns.taps[first + tap].0);
            let source = whole::<S>(&self.source[pixel * self.channels + channel..]);
            *sum = simd.mul_add_f32s(gradient, source, *sum);
        }
    }

    /// The channels from `from` on at one position: those beyond the last whole vector, all of them at the edges.
    #[inline(always)]
    fn scalars(&mut self, position: usize, tap: usize, width: usize, from: usize) {
        let Some(pixel) = self.columns.source(position, self.columns.taps[tap].0, width) else { return };
        let gradient = &self.gradient[position * self.channels..][from..self.channels];
        let source = &self.source[pixel * self.channels..][from..self.channels];
        let sums = &mut self.sums[tap * self.channels..][from..self.channels];
        for ((sum, gradient), source) in sums.iter_mut().zip(gradient).zip(source) {
            *sum += gradient * source;
        }
    }
}
