//! Grouped convolution kernel: tiles of pixels in registers, one group at a time, straight from the image; forward and backward.

use super::epilogue::{Epilogue, ForwardEpilogue};
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::partition::{BackwardOperands, Partition};
use super::row_kernel::{self, BAND, RowKernel, TapPlans, TargetRow};
use super::tap_plan::Segment;
use super::thread_pool::ThreadPool;
use super::tile::{Block, Left, Right, VECTORS, each_tile, with_vectors};
use fieldfit_nets::{Conv, Shape, SpatialAxis};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Input channels whose products with a vector of the gradient are accumulated at once.
const INPUTS: usize = 4;

/// Grouped convolution kernel for one image size.
#[derive(Debug)]
pub(super) struct Grouped {
    plans: TapPlans,
    conv: Conv,
}

/// Packs the scaled weights of each group as `[taps, in, out]` and, for training, as `[taps, out, in]`.
pub(super) fn pack(conv: &Conv, weight: &[f32], purpose: FoldPurpose, folded: &mut FoldedWeights) {
    let (taps, [inputs, outputs]) = (conv.window.taps(), group(conv));
    folded.taps.resize(weight.len(), 0.0);
    folded.transposed_taps.resize(if purpose == FoldPurpose::Training { weight.len() } else { 0 }, 0.0);
    for (output, kernel) in weight.chunks_exact(taps * inputs).enumerate() {
        let scale = folded.scale.get(output).copied().unwrap_or(1.0);
        let (group, unit) = (output / outputs, output % outputs);
        for (k, value) in kernel.iter().enumerate() {
            let (input, tap) = (k / taps, k % taps);
            let start = (group * taps + tap) * inputs * outputs;
            folded.taps[start + input * outputs + unit] = scale * value;
            if purpose == FoldPurpose::Training {
                folded.transposed_taps[start + unit * inputs + input] = scale * value;
            }
        }
    }
}

/// Returns the input and output channels of a group.
const fn group(conv: &Conv) -> [usize; 2] {
    [conv.input / conv.groups, conv.output / conv.groups]
}

impl Grouped {
    pub fn new(conv: Conv, input: Shape, output: Shape) -> Self {
        Self { plans: TapPlans::new(&conv.window, input, output), conv }
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
        row_kernel::backward(self, threads, &folded.transposed_taps, pass, scratch)
    }
}

impl RowKernel for Grouped {
    fn plans(&self) -> &TapPlans {
        &self.plans
    }

    fn gather(&self, row: TargetRow<'_>, weight: &[f32], epilogue: &mut impl Epilogue) {
        let TargetRow { plan, segments, source, first, target } = row;
        Arch::new().dispatch(Gather {
            groups: self.conv.groups,
            taps: self.conv.window.taps(),
            source_channels: plan.source.channels,
            target_channels: plan.target.channels,
            segments,
            source,
            weight,
            first,
            target,
            epilogue,
        });
    }

    /// Of the kernel's gradient, `[out, taps, in / groups]`.
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

/// SIMD kernel of one target row: `target[p] = epilogue(Σ source[pixels under p] · weight[taps])`, group by group.
struct Gather<'a, E> {
    groups: usize,
    taps: usize,
    source_channels: usize,
    target_channels: usize,
    segments: &'a [Segment],
    source: &'a [f32],
    /// `[groups, taps, source channels / groups, target channels / groups]`.
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
        let (kernel, [inputs, outputs]) = (self.taps * self.source_channels, self.sizes());
        let fits = |segment: &Segment| segment.fits(self.source_channels, self.source.len(), kernel);
        assert!(self.segments.iter().all(fits), "a tap outside the source");
        assert_eq!(self.weight.len(), self.groups * self.taps * inputs * outputs, "a kernel of another size");
        for group in 0..self.groups {
            for channel in (0..outputs).step_by(VECTORS * S::F32_LANES) {
                for segment in self.segments {
                    with_vectors!(S::F32_LANES, outputs, channel, self.segment::<S>(simd, segment, group, channel));
                }
            }
        }
    }
}

impl<E: Epilogue> Gather<'_, E> {
    /// Channels of a group in source and target.
    #[inline(always)]
    const fn sizes(&self) -> [usize; 2] {
        [self.source_channels / self.groups, self.target_channels / self.groups]
    }

    #[inline(always)]
    fn segment<S: Simd, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        segment: &Segment,
        group: usize,
        channel: usize,
    ) {
        each_tile!(S, V, TAIL, segment.count, pixel, self.pixels(simd, (segment, pixel), group, channel));
    }

    #[inline(always)]
    fn pixels<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        (segment, pixel): (&Segment, usize),
        group: usize,
        channel: usize,
    ) {
        let [inputs, outputs] = self.sizes();
        let (first, step) = segment.target;
        let place = group * outputs + channel;
        let start = self.first + (first + pixel * step) * self.target_channels + place;
        let block = Block::new::<V>(simd, start, step * self.target_channels, place, (group + 1) * outputs);
        let source_step = segment.source_step * self.source_channels;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for tap in &segment.taps {
            let source = self.source.as_ptr().wrapping_add(pixel * source_step + tap.source + group * inputs);
            let index = group * self.taps + tap.weight / self.source_channels;
            let weight = self.weight.as_ptr().wrapping_add(index * inputs * outputs + channel);
            let left = Left { start: source, step: source_step, depth_step: 1 };
            let right = Right { start: weight, depth_step: outputs };
            // SAFETY: `with_simd` checked that every tap of every pixel of the segment has all its channels in the source, the
            // group's among them, and that the kernel has `inputs` rows of `outputs` values for each tap of each group.
            unsafe { block.add_product::<R, V, TAIL>(simd, &mut sums, inputs, left, right) };
        }
        self.epilogue.apply::<S, R, V, TAIL>(simd, &block, &mut sums);
        block.write::<R, V, TAIL>(simd, &sums, self.first, self.target);
    }
}

/// SIMD kernel of the kernel's gradient from some rows of the output's gradient, indexed through the batch:
/// `kernel[out, tap, in] += Σ gradient[pixel, out] · source[pixel under the tap, in]`.
struct Correlate<'a> {
    conv: Conv,
    input: Shape,
    output: Shape,
    rows: Range<usize>,
    gradient: &'a [f32],
    source: &'a [f32],
    /// `[out, taps, in / groups]`.
    kernel: &'a mut [f32],
}

/// A tap of a kernel, and input channels of a group.
#[derive(Clone, Copy)]
struct Position {
    tap: [usize; 2],
    group: usize,
    /// The first of at most [`INPUTS`].
    input: usize,
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let ([inputs, outputs], [rows, columns]) = (group(&self.conv), self.conv.window.kernel);
        for first in self.rows.clone().step_by(BAND) {
            let band = first..self.rows.end.min(first + BAND);
            for group in 0..self.conv.groups {
                for tap in (0..rows).flat_map(|row| (0..columns).map(move |column| [row, column])) {
                    for input in (0..inputs).step_by(INPUTS) {
                        let position = Position { tap, group, input };
                        for channel in (0..outputs).step_by(VECTORS * S::F32_LANES) {
                            with_vectors!(
                                S::F32_LANES,
                                outputs,
                                channel,
                                self.inputs::<S>(simd, &band, position, channel)
                            );
                        }
                    }
                }
            }
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn inputs<S: Simd, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        band: &Range<usize>,
        position: Position,
        channel: usize,
    ) {
        match group(&self.conv)[0] - position.input {
            1 => self.accumulate::<S, 1, V, TAIL>(simd, band, position, channel),
            2 => self.accumulate::<S, 2, V, TAIL>(simd, band, position, channel),
            3 => self.accumulate::<S, 3, V, TAIL>(simd, band, position, channel),
            _ => self.accumulate::<S, INPUTS, V, TAIL>(simd, band, position, channel),
        }
    }

    /// Accumulates `T` input channels of a tap over all pixels of a band, in registers.
    #[inline(always)]
    fn accumulate<S: Simd, const T: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        band: &Range<usize>,
        Position { tap: [tap_row, tap_column], group: index, input: first }: Position,
        channel: usize,
    ) {
        let (window, [inputs, outputs]) = (self.conv.window, group(&self.conv));
        let Self { input, output, gradient, source, .. } = *self;
        let columns = self.columns(tap_column);
        let place = index * outputs + channel;
        let block = Block::new::<V>(simd, 0, 0, place, (index + 1) * outputs);
        let mut sums = [[simd.splat_f32s(0.0); V]; T];
        for row in band.clone() {
            let mut seen = window.taps_inside(SpatialAxis::Rows, row % output.height, input.height);
            let Some((_, y)) = seen.find(|(tap, _)| *tap == tap_row) else { continue };
            let line = input.width * input.channels;
            let source = &source[(row / output.height * input.height + y) * line..][..line];
            let line = output.width * output.channels;
            let gradient = &gradient[row * line..][..line];
            for (pixel, x) in columns.clone() {
                let values = &source[x * input.channels + index * inputs + first..][..T];
                let row = &gradient[pixel * output.channels..][..output.channels];
                let row = block.at(place).read_row::<V, TAIL>(simd, row);
                for (sums, value) in sums.iter_mut().zip(values) {
                    for vector in 0..V {
                        sums[vector] = simd.mul_add_f32s(simd.splat_f32s(*value), row[vector], sums[vector]);
                    }
                }
            }
        }
        let tap = tap_row * window.kernel[1] + tap_column;
        for (offset, sums) in sums.into_iter().enumerate() {
            let mut row = [0.0; VECTORS * MAX_LANES];
            let values = &mut row[..outputs.min(channel + VECTORS * S::F32_LANES) - channel];
            block.write::<1, V, TAIL>(simd, &[sums], 0, values);
            for (unit, value) in values.iter().enumerate() {
                self.kernel[((place + unit) * window.taps() + tap) * inputs + first + offset] += value;
            }
        }
    }

    /// Iterates over the columns of the output under which a tap lies inside the image, and the tap's columns there.
    #[inline(always)]
    fn columns(&self, tap: usize) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        let (window, input, output) = (self.conv.window, self.input.width, self.output.width);
        let (left, _) = window.padding(SpatialAxis::Columns, input);
        let (stride, tap) = (window.stride[1], tap * window.dilation[1]);
        let start = left.saturating_sub(tap).div_ceil(stride).min(output);
        let end = (input + left).saturating_sub(tap).div_ceil(stride).clamp(start, output);
        (start..end).map(move |pixel| (pixel, pixel * stride + tap - left))
    }
}

/// Lanes of the widest vectors.
const MAX_LANES: usize = 16;
