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
use fieldfit_nets::{Conv, Shape, SpatialAxis};
use std::ops::Range;

/// Values of a patch gathered at a time, unless one kernel row has more.
const DEPTH: usize = 1536;
/// Values of a tile's patches and output.
const TILE: usize = 96 * 1024;
/// Pixels of a tile for the kernel's gradient.
const PIXELS: usize = 128;
/// Padding between the patches of a tile: rows a power of two apart would map to few cache sets.
const GAP: usize = 16;
/// Values of a short run, which is copied as a block: a call that copies any length takes longer.
const SHORT: usize = 32;

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
                        self.gather(pixels.clone(), lines.clone(), (input, 0.0), (patches, depth.len()));
                        if lines.end == self.kernel_rows() {
                            multiply_terms(patches, &folded.forward, depth, pixels.start, out, &mut { epilogue });
                            epilogue.finish(out);
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
                    self.gather(pixels.clone(), lines.clone(), (input, 0.0), (patches, step));
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

    /// Rows of the kernel.
    pub const fn kernel_rows(&self) -> usize {
        self.conv.window.kernel[0]
    }

    /// Values of one patch: `taps · in`.
    const fn patch(&self) -> usize {
        self.kernel_rows() * self.line()
    }

    /// Values of one row of a patch: `columns · in`.
    const fn line(&self) -> usize {
        self.conv.window.kernel[1] * self.conv.input
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
        (DEPTH / self.line()).clamp(1, self.kernel_rows())
    }

    /// Pixels per tile.
    fn tile(&self) -> usize {
        (TILE / (self.lines() * self.line() + self.conv.output)).next_multiple_of(8)
    }

    /// Slices of the kernel's rows.
    fn slices(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        tiles(0..self.kernel_rows(), self.lines())
    }

    /// Slices of the kernel's rows that start at a panel of the packed weights; one slice if no others do.
    fn column_slices(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let lines = self.lines();
        let fits = (lines * self.line()).is_multiple_of(panel_columns());
        tiles(0..self.kernel_rows(), if fits { lines } else { self.kernel_rows() })
    }

    /// Gathers some kernel rows of the patches under some output pixels, which are indexed through the batch; padding
    /// is `zero`. Consecutive patches are `step` values apart.
    pub fn gather<T: Copy>(
        &self,
        pixels: Range<usize>,
        lines: Range<usize>,
        (input, zero): (&[T], T),
        (patches, step): (&mut [T], usize),
    ) {
        for (index, pixel) in pixels.enumerate() {
            let image = &input[pixel / self.output.pixels() * self.input.len()..][..self.input.len()];
            let corner = self.corner(pixel % self.output.pixels());
            let whole_run = self.whole_run(&corner);
            // What lies behind the patch is gathered later.
            let mut patch = &mut patches[index * step..];
            for line in lines.clone() {
                if let (Some(start), Some(row)) = (whole_run, self.row(&corner, line)) {
                    copy_run(&image[row * self.input.width * self.conv.input + start..], patch, self.line());
                } else {
                    patch[..self.line()].fill(zero);
                    self.each_run(self.under(&corner, line), |ahead, covered| {
                        patch[ahead..][..covered.len()].copy_from_slice(&image[covered]);
                    });
                }
                patch = &mut patch[self.line()..];
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
            let corner = self.corner(pixel % self.output.pixels());
            for (line, values) in lines.clone().zip(patch.chunks_exact(line_len)) {
                self.each_run(self.under(&corner, line), |ahead, covered| {
                    let values = &values[ahead..][..covered.len()];
                    image[covered].iter_mut().zip(values).for_each(|(value, addend)| *value += addend);
                });
            }
        }
    }

    /// Returns where the kernel lies under an output pixel.
    fn corner(&self, pixel: usize) -> Corner {
        let window = &self.conv.window;
        let (top, _) = window.padding(SpatialAxis::Rows, self.input.height);
        let (left, _) = window.padding(SpatialAxis::Columns, self.input.width);
        let start = pixel % self.output.width * window.stride[1];
        let columns = start..start + window.extent(SpatialAxis::Columns);
        Corner { row: pixel / self.output.width * window.stride[0], top, columns, left }
    }

    /// Returns the image's row under a kernel row; `None` in the padding.
    fn row(&self, corner: &Corner, line: usize) -> Option<usize> {
        let row = (corner.row + line * self.conv.window.dilation[0]).checked_sub(corner.top);
        row.filter(|row| *row < self.input.height)
    }

    /// Returns where a kernel row lies.
    fn under(&self, corner: &Corner, line: usize) -> Under {
        Under { row: self.row(corner, line), columns: corner.columns.clone(), left: corner.left }
    }

    /// Returns where a kernel row begins in the values of an image's row, if it is one run inside.
    fn whole_run(&self, corner: &Corner) -> Option<usize> {
        let Corner { columns, left, .. } = corner;
        let is_inside = *left <= columns.start && columns.end <= left + self.input.width;
        let is_run = is_inside && self.conv.window.dilation[1] == 1;
        is_run.then(|| (columns.start - left) * self.conv.input)
    }

    /// Calls `visit` with each contiguous run of values that a kernel row covers: the run's position in the row of the
    /// patch, and its range in the image.
    fn each_run(&self, under: Under, mut visit: impl FnMut(usize, Range<usize>)) {
        let Under { row: Some(row), columns, left } = under else { return };
        let (channels, width) = (self.conv.input, self.input.width);
        let mut run = |columns: Range<usize>, tap: usize| {
            let (first, last) = (columns.start.max(left), columns.end.min(left + width));
            if first < last {
                let covered = row * width + first - left;
                let ahead = (tap + first - columns.start) * channels;
                visit(ahead, covered * channels..(covered + last - first) * channels);
            }
        };
        match self.conv.window.dilation[1] {
            1 => run(columns, 0),
            dilation => columns.step_by(dilation).enumerate().for_each(|(tap, column)| run(column..column + 1, tap)),
        }
    }
}

/// Copies the first values of a run; where both have room, up to [`SHORT`] of them, so that the target's next values are
/// overwritten.
fn copy_run<T: Copy>(source: &[T], target: &mut [T], len: usize) {
    match (source.first_chunk::<SHORT>(), target.first_chunk_mut::<SHORT>()) {
        (Some(source), Some(target)) if len <= SHORT => *target = *source,
        (_, _) => target[..len].copy_from_slice(&source[..len]),
    }
}

/// Where the kernel lies under an output pixel.
struct Corner {
    /// The first row, counted from the top of the padding.
    row: usize,
    /// Rows of padding at the top.
    top: usize,
    /// The columns that it spans, counted from the left of the padding.
    columns: Range<usize>,
    /// Columns of padding on the left.
    left: usize,
}

/// Where a kernel row lies under an output pixel.
struct Under {
    /// The image's row; `None` in the padding.
    row: Option<usize>,
    /// The columns that it spans, counted from the left of the padding.
    columns: Range<usize>,
    /// Columns of padding on the left.
    left: usize,
}
