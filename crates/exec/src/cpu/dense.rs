//! k×k convolutions over all channels: tiles of patches, then the matrix products of [`pointwise`](super::pointwise).
//!
//! Tiles are runs of pixels through the batch, so that small images fill them, too. A tile's patches are made a few of the
//! kernel's lines at a time, and stay in the second-level cache while each panel of weights passes over them.

use super::finish::{AsItIs, Finish};
use super::fold::Folded;
use super::pointwise::is_shared_by_rows;
use super::product::{Onto, Strided, multiply_block, multiply_terms, panel, strided};
use super::room::with_room;
use super::share::{Backward, Target};
use super::threads::{Threads, cut, tiles};
use fieldfit_nets::{Conv, Shape};
use std::ops::Range;

/// Values of a patch that are made at once, unless one line of the kernel has more.
const DEPTH: usize = 1536;
/// Values of a tile's patches and output.
const TILE: usize = 96 * 1024;
/// Pixels of a tile whose patches and gradients are summed up to a kernel's gradient.
const PIXELS: usize = 128;
/// Values between the patches of a tile: rows that are a power of two apart would share a few places of the cache.
const GAP: usize = 16;

/// One convolution at one size of image.
pub(super) struct Dense {
    pub conv: Conv,
    pub input: Shape,
    pub output: Shape,
}

impl Dense {
    /// `output = finish(patches(input) · weightᵀ)`.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let (outputs, tile) = (self.conv.output, self.tile());
        let ranges = threads.ranges(output.len() / outputs);
        let parts = ranges.iter().cloned().zip(cut(&ranges, outputs, output));
        threads.each(parts, |(range, part)| {
            for (pixels, out) in tiles(range, tile).zip(part.chunks_mut(tile * outputs)) {
                for lines in self.slices() {
                    let depth = self.values(&lines);
                    with_room([pixels.len() * depth.len()], |[patches]| {
                        self.gather(pixels.clone(), lines.clone(), input, (patches, depth.len()));
                        if lines.end == self.conv.kernel {
                            multiply_terms(patches, &folded.forward, depth, pixels.start, out, &mut { finish });
                        } else {
                            multiply_terms(patches, &folded.forward, depth, pixels.start, out, &mut AsItIs);
                        }
                    });
                }
            }
        });
    }

    /// Both gradients; returns the sums over pixels of the input's gradient, a channel each.
    ///
    /// Patches overlap, so the input's gradient is cut by image. A large kernel's is cut by its rows and made ahead of it.
    pub fn backward(
        &self,
        threads: &Threads,
        folded: &Folded,
        mut pass: Backward<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let images = pass.gradient.len() / self.output.len();
        if let Some((kernel, onto)) = pass.kernel.take_if(|kernel| is_shared_by_rows(kernel.0.len(), pass.input.len()))
        {
            let ranges = threads.ranges(self.conv.output);
            threads.each(ranges.iter().cloned().zip(cut(&ranges, self.patch(), kernel)), |(rows, kernel)| {
                self.backward_kernel(0..images, rows, (pass.gradient, pass.input), kernel, onto);
            });
        }
        pass.shared(threads, (images, self.input.len()), self.conv.input, scratch, |share| {
            if !share.kernel.is_empty() {
                let operands = (share.gradient, share.input);
                self.backward_kernel(share.range.clone(), 0..self.conv.output, operands, share.kernel, Onto::Fresh);
            }
            if let Some(target) = share.target {
                self.backward_input(share.range, share.gradient, folded, target);
            }
        })
    }

    /// Some rows of the kernel's gradient, from some images.
    fn backward_kernel(
        &self,
        images: Range<usize>,
        rows: Range<usize>,
        (gradient, input): (&[f32], &[f32]),
        kernel: &mut [f32],
        onto: Onto,
    ) {
        if images.is_empty() && onto == Onto::Fresh {
            kernel.fill(0.0);
        }
        let outputs = self.conv.output;
        for (index, pixels) in tiles(self.pixels(&images), PIXELS).enumerate() {
            let onto = if index == 0 { onto } else { Onto::Sum };
            let gradient = &gradient[pixels.start * outputs..pixels.end * outputs];
            for lines in self.slices() {
                let values = self.values(&lines);
                let step = values.len() + GAP;
                with_room([pixels.len() * step], |[patches]| {
                    self.gather(pixels.clone(), lines.clone(), input, (patches, step));
                    let sizes = [rows.len(), values.len(), pixels.len()];
                    let left = Strided::columns(&gradient[rows.start..], outputs);
                    let out = (&mut kernel[values.start..], self.patch());
                    strided(sizes, left, Strided::rows(patches, step), out, onto);
                });
            }
        }
    }

    fn backward_input(&self, images: Range<usize>, gradient: &[f32], folded: &Folded, target: Target<'_>) {
        let outputs = self.conv.output;
        target.values.fill(0.0);
        for pixels in tiles(self.pixels(&images), self.tile()) {
            let gradient = &gradient[pixels.start * outputs..pixels.end * outputs];
            for lines in self.column_slices() {
                let columns = self.values(&lines);
                with_room([pixels.len() * columns.len()], |[patches]| {
                    multiply_block(gradient, &folded.backward, 0..outputs, columns, patches);
                    self.scatter(pixels.clone(), lines.clone(), patches, (images.start, target.values));
                });
            }
        }
        let mut ending = target.upstream.summing(target.sums);
        for (image, values) in images.zip(target.values.chunks_exact_mut(self.input.len())) {
            ending.apply(image * self.input.len(), values);
        }
    }

    /// Values of one patch: `k · k · in`.
    const fn patch(&self) -> usize {
        self.conv.kernel * self.line()
    }

    /// Values of one line of a patch: `k · in`.
    const fn line(&self) -> usize {
        self.conv.kernel * self.conv.input
    }

    /// The values of a patch that some of the kernel's lines are.
    const fn values(&self, lines: &Range<usize>) -> Range<usize> {
        lines.start * self.line()..lines.end * self.line()
    }

    /// The output's pixels of some images.
    const fn pixels(&self, images: &Range<usize>) -> Range<usize> {
        images.start * self.output.pixels()..images.end * self.output.pixels()
    }

    /// Lines of the kernel that are looked at together.
    fn lines(&self) -> usize {
        (DEPTH / self.line()).clamp(1, self.conv.kernel)
    }

    /// Pixels of a tile.
    fn tile(&self) -> usize {
        (TILE / (self.lines() * self.line() + self.conv.output)).next_multiple_of(8)
    }

    /// The kernel's lines, some at a time.
    fn slices(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        tiles(0..self.conv.kernel, self.lines())
    }

    /// The same where each slice has to begin with a panel of the packed weights; else all at once.
    fn column_slices(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let lines = self.lines();
        let fits = (lines * self.line()).is_multiple_of(panel());
        tiles(0..self.conv.kernel, if fits { lines } else { self.conv.kernel })
    }

    /// Those lines of the patches under those pixels of the output, which count through the batch; zeros where they
    /// overhang. A pixel's are `step` values after the one's before.
    fn gather(&self, pixels: Range<usize>, lines: Range<usize>, input: &[f32], (patches, step): (&mut [f32], usize)) {
        for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(step)) {
            let image = &input[pixel / self.output.pixels() * self.input.len()..][..self.input.len()];
            for (line, values) in lines.clone().zip(patch.chunks_exact_mut(self.line())) {
                let (ahead, seen) = self.under(pixel % self.output.pixels(), line);
                if seen.len() < values.len() {
                    values.fill(0.0);
                }
                values[ahead..][..seen.len()].copy_from_slice(&image[seen]);
            }
        }
    }

    /// The reverse of [`Dense::gather`], summing where patches overlap, into the images from the `first` on.
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
                let (ahead, seen) = self.under(pixel % self.output.pixels(), line);
                let values = &values[ahead..][..seen.len()];
                image[seen].iter_mut().zip(values).for_each(|(value, addend)| *value += addend);
            }
        }
    }

    /// What a line of the kernel sees of an image under one of the output's pixels: how many of its values overhang
    /// ahead of the image, and which of the image's follow.
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
                let seen = row * width + first - left;
                ((first - start) * channels, seen * channels..(seen + last - first) * channels)
            }
            _ => (0, 0..0),
        }
    }
}
