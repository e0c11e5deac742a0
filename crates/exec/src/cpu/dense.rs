//! Dense k×k convolution kernel: im2col on tiles of pixels, then matrix products.
//!
//! Tiles span images of the batch, so that small images fill them, too. A tile's patches are gathered for a few kernel
//! rows at a time, and stay in the L2 cache while each panel of weights is applied to them.

use super::epilogue::{ForwardEpilogue, IdentityEpilogue};
use super::folded_weights::FoldedWeights;
use super::matmul::{Accumulate, StridedMatrix, multiply_block, multiply_strided, multiply_terms, panel_columns};
use super::partition::{BackwardOperands, InputGradient};
use super::pointwise::is_partitioned_by_rows;
use super::scratch::with_scratch;
use super::thread_pool::{ThreadPool, split_rows, tiles};
use fieldfit_nets::{Conv, Shape};
use std::ops::Range;

/// Values of a patch gathered at a time, unless one kernel row has more.
const DEPTH: usize = 1536;
/// Values of a tile's patches and output.
const TILE: usize = 96 * 1024;
/// Pixels of a tile for the kernel's gradient.
const PIXELS: usize = 128;
/// Padding between the patches of a tile: rows a power of two apart would map to few cache sets.
const GAP: usize = 16;

/// Dense convolution kernel for one image size.
pub(super) struct Dense {
    pub conv: Conv,
    pub input: Shape,
    pub output: Shape,
}

impl Dense {
    /// Computes `output = epilogue(patches(input) · weightᵀ)`.
    pub fn forward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        input: &[f32],
        epilogue: ForwardEpilogue<'_>,
        output: &mut [f32],
    ) {
        let (outputs, tile) = (self.conv.output, self.tile());
        let ranges = threads.ranges(output.len() / outputs);
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, outputs, output));
        threads.for_each(parts, |(range, part)| {
            for (pixels, out) in tiles(range, tile).zip(part.chunks_mut(tile * outputs)) {
                for lines in self.slices() {
                    let depth = self.values(&lines);
                    with_scratch([pixels.len() * depth.len()], |[patches]| {
                        self.gather(pixels.clone(), lines.clone(), input, (patches, depth.len()));
                        if lines.end == self.conv.kernel {
                            multiply_terms(patches, &folded.forward, depth, pixels.start, out, &mut { epilogue });
                        } else {
                            multiply_terms(patches, &folded.forward, depth, pixels.start, out, &mut IdentityEpilogue);
                        }
                    });
                }
            }
        });
    }

    /// Computes both gradients; returns the per-channel sums over pixels of the input's gradient.
    ///
    /// Patches overlap, so the input's gradient is split by image. A large kernel's gradient is split by its rows and
    /// computed first.
    pub fn backward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        mut pass: BackwardOperands<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let images = pass.gradient.len() / self.output.len();
        if let Some((kernel, accumulate)) =
            pass.kernel.take_if(|kernel| is_partitioned_by_rows(kernel.0.len(), pass.input.len()))
        {
            let ranges = threads.ranges(self.conv.output);
            threads.for_each(
                ranges.iter().cloned().zip(split_rows(&ranges, self.patch(), kernel)),
                |(rows, kernel)| {
                    self.backward_kernel(0..images, rows, (pass.gradient, pass.input), kernel, accumulate);
                },
            );
        }
        pass.partitioned(threads, (images, self.input.len()), self.conv.input, scratch, |partition| {
            if !partition.kernel.is_empty() {
                let operands = (partition.gradient, partition.input);
                self.backward_kernel(
                    partition.range.clone(),
                    0..self.conv.output,
                    operands,
                    partition.kernel,
                    Accumulate::Overwrite,
                );
            }
            if let Some(target) = partition.target {
                self.backward_input(partition.range, partition.gradient, folded, target);
            }
        })
    }

    /// Computes some rows of the kernel's gradient from some images.
    fn backward_kernel(
        &self,
        images: Range<usize>,
        rows: Range<usize>,
        (gradient, input): (&[f32], &[f32]),
        kernel: &mut [f32],
        accumulate: Accumulate,
    ) {
        if images.is_empty() && accumulate == Accumulate::Overwrite {
            kernel.fill(0.0);
        }
        let outputs = self.conv.output;
        for (index, pixels) in tiles(self.pixels(&images), PIXELS).enumerate() {
            let accumulate = if index == 0 { accumulate } else { Accumulate::Add };
            let gradient = &gradient[pixels.start * outputs..pixels.end * outputs];
            for lines in self.slices() {
                let values = self.values(&lines);
                let step = values.len() + GAP;
                with_scratch([pixels.len() * step], |[patches]| {
                    self.gather(pixels.clone(), lines.clone(), input, (patches, step));
                    let sizes = [rows.len(), values.len(), pixels.len()];
                    let left = StridedMatrix::columns(&gradient[rows.start..], outputs);
                    let out = (&mut kernel[values.start..], self.patch());
                    multiply_strided(sizes, left, StridedMatrix::rows(patches, step), out, accumulate);
                });
            }
        }
    }

    /// Computes the input's gradient of some images.
    fn backward_input(
        &self,
        images: Range<usize>,
        gradient: &[f32],
        folded: &FoldedWeights,
        target: InputGradient<'_>,
    ) {
        let outputs = self.conv.output;
        target.values.fill(0.0);
        for pixels in tiles(self.pixels(&images), self.tile()) {
            let gradient = &gradient[pixels.start * outputs..pixels.end * outputs];
            for lines in self.column_slices() {
                let columns = self.values(&lines);
                with_scratch([pixels.len() * columns.len()], |[patches]| {
                    multiply_block(gradient, &folded.backward, 0..outputs, columns, patches);
                    self.scatter(pixels.clone(), lines.clone(), patches, (images.start, target.values));
                });
            }
        }
        let mut epilogue = target.epilogue.with_sums(target.sums);
        for (image, values) in images.zip(target.values.chunks_exact_mut(self.input.len())) {
            epilogue.apply_rows(image * self.input.len(), values);
        }
    }

    /// Values of one patch: `k · k · in`.
    const fn patch(&self) -> usize {
        self.conv.kernel * self.line()
    }

    /// Values of one row of a patch: `k · in`.
    const fn line(&self) -> usize {
        self.conv.kernel * self.conv.input
    }

    /// The range of a patch's values that belongs to some kernel rows.
    const fn values(&self, lines: &Range<usize>) -> Range<usize> {
        lines.start * self.line()..lines.end * self.line()
    }

    /// The range of output pixels of some images.
    const fn pixels(&self, images: &Range<usize>) -> Range<usize> {
        images.start * self.output.pixels()..images.end * self.output.pixels()
    }

    /// Kernel rows gathered at a time.
    fn lines(&self) -> usize {
        (DEPTH / self.line()).clamp(1, self.conv.kernel)
    }

    /// Pixels per tile.
    fn tile(&self) -> usize {
        (TILE / (self.lines() * self.line() + self.conv.output)).next_multiple_of(8)
    }

    /// Slices of the kernel's rows.
    fn slices(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        tiles(0..self.conv.kernel, self.lines())
    }

    /// Slices of the kernel's rows that start at a panel of the packed weights; one slice if no others do.
    fn column_slices(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let lines = self.lines();
        let fits = (lines * self.line()).is_multiple_of(panel_columns());
        tiles(0..self.conv.kernel, if fits { lines } else { self.conv.kernel })
    }

    /// Gathers some kernel rows of the patches under some output pixels, which are indexed through the batch; padding
    /// is zero. Consecutive patches are `step` values apart.
    fn gather(&self, pixels: Range<usize>, lines: Range<usize>, input: &[f32], (patches, step): (&mut [f32], usize)) {
        for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(step)) {
            let image = &input[pixel / self.output.pixels() * self.input.len()..][..self.input.len()];
            for (line, values) in lines.clone().zip(patch.chunks_exact_mut(self.line())) {
                let (ahead, covered) = self.under(pixel % self.output.pixels(), line);
                if covered.len() < values.len() {
                    values.fill(0.0);
                }
                values[ahead..][..covered.len()].copy_from_slice(&image[covered]);
            }
        }
    }

    /// Scatters patches into images starting at image `first`, adding where patches overlap: the adjoint of
    /// [`Dense::gather`].
    fn scatter(
        &self,
        pixels: Range<usize>,
        lines: Range<usize>,
        patches: &[f32],
        (first, images): (usize, &mut [f32]),
    ) {
        let line_len = self.line();
        for (pixel, patch) in pixels.zip(patches.chunks_exact(lines.len() * line_len)) {
            let image = pixel / self.output.pixels() - first;
            let image = &mut images[image * self.input.len()..][..self.input.len()];
            for (line, values) in lines.clone().zip(patch.chunks_exact(line_len)) {
                let (ahead, covered) = self.under(pixel % self.output.pixels(), line);
                let values = &values[ahead..][..covered.len()];
                image[covered].iter_mut().zip(values).for_each(|(value, addend)| *value += addend);
            }
        }
    }

    /// Returns what a kernel row covers under an output pixel: the number of padding values before the image, and the
    /// range of the image's values.
    fn under(&self, pixel: usize, line: usize) -> (usize, Range<usize>) {
        let Conv { kernel, stride, padding, input: channels, .. } = self.conv;
        let Shape { height, width, .. } = self.input;
        let (top, _) = padding.amounts(height, kernel, stride);
        let (left, _) = padding.amounts(width, kernel, stride);
        let start = pixel % self.output.width * stride;
        let (first, last) = (start.max(left), (start + kernel).min(left + width));
        let row = (pixel / self.output.width * stride + line).checked_sub(top).filter(|row| *row < height);
        match row {
            Some(row) if first < last => {
                let covered = row * width + first - left;
                ((first - start) * channels, covered * channels..(covered + last - first) * channels)
            }
            _ => (0, 0..0),
        }
    }
}
