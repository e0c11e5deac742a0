//! Grouped convolution kernel: im2col of one group's channels on tiles of pixels, then matrix products.

use super::activate::bounded;
use super::epilogue::ForwardEpilogue;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::matmul::{Accumulate, StridedMatrix, multiply_strided};
use super::partition::{BackwardOperands, InputGradient};
use super::scratch::with_scratch;
use super::thread_pool::{ThreadPool, split_rows, tiles};
use super::vector::vectorized;
use fieldfit_nets::{Activation, Conv, Shape, SpatialAxis};
use std::ops::Range;

/// Pixels of a tile.
const PIXELS: usize = 64;

/// Grouped convolution kernel for one image size.
pub(super) struct Grouped {
    conv: Conv,
    input: Shape,
    output: Shape,
    /// Taps of each row of the output, with the rows of the image under them; then the same of the columns.
    taps: [Vec<Vec<(usize, usize)>>; 2],
}

/// Packs the scaled weights of each group as `[taps · in, out]` and, for training, as `[out, taps · in]`.
pub(super) fn pack(conv: &Conv, weight: &[f32], purpose: FoldPurpose, folded: &mut FoldedWeights) {
    let (taps, [inputs, outputs]) = (conv.window.taps(), group(conv));
    folded.taps.resize(weight.len(), 0.0);
    folded.transposed_taps.resize(if purpose == FoldPurpose::Training { weight.len() } else { 0 }, 0.0);
    for (output, kernel) in weight.chunks_exact(taps * inputs).enumerate() {
        let scale = folded.scale.get(output).copied().unwrap_or(1.0);
        let (group, unit) = (output / outputs, output % outputs);
        let start = group * taps * inputs * outputs;
        for (k, value) in kernel.iter().enumerate() {
            let row = k % taps * inputs + k / taps;
            folded.taps[start + row * outputs + unit] = scale * value;
            if purpose == FoldPurpose::Training {
                folded.transposed_taps[start + unit * taps * inputs + row] = scale * value;
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
        let inside = |axis, positions: usize, pixels| {
            (0..positions).map(|position| conv.window.taps_inside(axis, position, pixels).collect()).collect()
        };
        let taps = [
            inside(SpatialAxis::Rows, output.height, input.height),
            inside(SpatialAxis::Columns, output.width, input.width),
        ];
        Self { conv, input, output, taps }
    }

    /// Computes `output = epilogue(patches(input) · weightᵀ)`. Threads split the output's pixels.
    pub fn forward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        input: &[f32],
        epilogue: ForwardEpilogue<'_>,
        output: &mut [f32],
    ) {
        let ([inputs, outputs], channels, depth) = (group(&self.conv), self.conv.output, self.depth());
        let ranges = threads.ranges(output.len() / channels);
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, channels, output));
        threads.for_each(parts, |(range, part): (Range<usize>, &mut [f32])| {
            for (pixels, out) in tiles(range, PIXELS).zip(part.chunks_mut(PIXELS * channels)) {
                for group in 0..self.conv.groups {
                    with_scratch([pixels.len() * depth], |[patches]| {
                        self.gather(pixels.clone(), group * inputs, input, patches);
                        let weight = &folded.taps[group * depth * outputs..][..depth * outputs];
                        let (left, right) = (StridedMatrix::rows(patches, depth), StridedMatrix::rows(weight, outputs));
                        let out = (&mut out[group * outputs..], channels);
                        multiply_strided([pixels.len(), outputs, depth], left, right, out, Accumulate::Overwrite);
                    });
                }
                finish(&epilogue, pixels.start * channels, channels, out);
            }
        });
    }

    /// Computes both gradients; returns the per-channel sums over pixels of the input's gradient. Threads split the images.
    pub fn backward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        pass: BackwardOperands<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let images = pass.gradient.len() / self.output.len();
        pass.partitioned(threads, (images, self.input.len()), self.conv.input, scratch, |mut partition| {
            partition.kernel.fill(0.0);
            let pixels = self.output.pixels();
            let all = partition.range.start * pixels..partition.range.end * pixels;
            if !partition.kernel.is_empty() {
                self.backward_kernel(all.clone(), (partition.gradient, partition.input), partition.kernel);
            }
            if let Some(target) = partition.target.take() {
                self.backward_input(partition.range.start, all, partition.gradient, folded, target);
            }
        })
    }

    /// Adds the kernel's gradient from some pixels, `[out, taps, in / groups]`.
    fn backward_kernel(&self, pixels: Range<usize>, (gradient, input): (&[f32], &[f32]), kernel: &mut [f32]) {
        let ([inputs, outputs], channels, depth) = (group(&self.conv), self.conv.output, self.depth());
        for pixels in tiles(pixels, PIXELS) {
            let gradient = &gradient[pixels.start * channels..pixels.end * channels];
            for group in 0..self.conv.groups {
                with_scratch([pixels.len() * depth], |[patches]| {
                    self.gather(pixels.clone(), group * inputs, input, patches);
                    let left = StridedMatrix::columns(&gradient[group * outputs..], channels);
                    let out = (&mut kernel[group * outputs * depth..], depth);
                    let right = StridedMatrix::rows(patches, depth);
                    multiply_strided([outputs, depth, pixels.len()], left, right, out, Accumulate::Add);
                });
            }
        }
    }

    /// Computes the input's gradient of the images from `first` on.
    fn backward_input(
        &self,
        first: usize,
        pixels: Range<usize>,
        gradient: &[f32],
        folded: &FoldedWeights,
        target: InputGradient<'_>,
    ) {
        let ([inputs, outputs], channels, depth) = (group(&self.conv), self.conv.output, self.depth());
        target.values.fill(0.0);
        for pixels in tiles(pixels, PIXELS) {
            let gradient = &gradient[pixels.start * channels..pixels.end * channels];
            for group in 0..self.conv.groups {
                with_scratch([pixels.len() * depth], |[patches]| {
                    let weight = &folded.transposed_taps[group * depth * outputs..][..depth * outputs];
                    let left = StridedMatrix::rows(&gradient[group * outputs..], channels);
                    let out = (&mut *patches, depth);
                    let right = StridedMatrix::rows(weight, depth);
                    multiply_strided([pixels.len(), depth, outputs], left, right, out, Accumulate::Overwrite);
                    self.scatter(pixels.clone(), group * inputs, patches, (first, target.values));
                });
            }
        }
        let mut epilogue = target.epilogue.with_sums(target.sums);
        for (image, values) in target.values.chunks_exact_mut(self.input.len()).enumerate() {
            epilogue.apply_rows((first + image) * self.input.len(), values);
        }
    }

    /// Values of a patch: `taps · in / groups`.
    const fn depth(&self) -> usize {
        self.conv.window.taps() * (self.conv.input / self.conv.groups)
    }

    /// Calls `visit` with each tap inside the image under an output pixel: the range of its values in the patch, and its
    /// first value in the image.
    fn each_tap(&self, pixel: usize, channel: usize, mut visit: impl FnMut(Range<usize>, usize)) {
        let inputs = self.conv.input / self.conv.groups;
        let (row, column) = (pixel / self.output.width, pixel % self.output.width);
        for (tap_row, y) in &self.taps[0][row] {
            for (tap_column, x) in &self.taps[1][column] {
                let tap = tap_row * self.conv.window.kernel[1] + tap_column;
                let value = (y * self.input.width + x) * self.input.channels + channel;
                visit(tap * inputs..(tap + 1) * inputs, value);
            }
        }
    }

    /// Gathers the patches of one group, whose first channel is `channel`.
    fn gather(&self, pixels: Range<usize>, channel: usize, input: &[f32], patches: &mut [f32]) {
        patches.fill(0.0);
        for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(self.depth())) {
            let image = &input[pixel / self.output.pixels() * self.input.len()..][..self.input.len()];
            self.each_tap(pixel % self.output.pixels(), channel, |values, start| {
                let len = values.len();
                patch[values].copy_from_slice(&image[start..][..len]);
            });
        }
    }

    /// Adds patches to images, of which `first` is the first: the adjoint of [`Grouped::gather`].
    fn scatter(&self, pixels: Range<usize>, channel: usize, patches: &[f32], (first, images): (usize, &mut [f32])) {
        for (pixel, patch) in pixels.zip(patches.chunks_exact(self.depth())) {
            let image = pixel / self.output.pixels() - first;
            let image = &mut images[image * self.input.len()..][..self.input.len()];
            self.each_tap(pixel % self.output.pixels(), channel, |values, start| {
                let len = values.len();
                image[start..][..len].iter_mut().zip(&patch[values]).for_each(|(value, addend)| *value += addend);
            });
        }
    }
}

/// Applies a forward epilogue in place to rows that start at value `first` of the activation.
fn finish(epilogue: &ForwardEpilogue<'_>, first: usize, channels: usize, rows: &mut [f32]) {
    let (low, high) = match epilogue.activation {
        Activation::Identity => (f32::NEG_INFINITY, f32::INFINITY),
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Relu6 => (0.0, 6.0),
    };
    let shortcut = epilogue.shortcut.map_or(&[][..], |shortcut| &shortcut[first..][..rows.len()]);
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(channels) {
                for (value, bias) in row.iter_mut().zip(epilogue.bias) {
                    *value += bias;
                }
            }
            for (value, shortcut) in rows.iter_mut().zip(shortcut) {
                *value += shortcut;
            }
            for value in rows.iter_mut() {
                *value = bounded(*value, low, high);
            }
        },
    );
}
