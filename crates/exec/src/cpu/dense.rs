//! k×k convolutions over all channels: tiles of patches, then the matrix products of [`pointwise`](super::pointwise).

use super::finish::{AsItIs, Finish};
use super::fold::Folded;
use super::product::{Onto, multiply, outer};
use super::share::{Backward, Target};
use super::threads::{Threads, cut};
use fieldfit_nets::{Conv, Shape};
use std::cell::RefCell;
use std::ops::Range;

thread_local! {
    /// A thread's room for patches, kept from one call to the next.
    static PATCHES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends that many values, whatever they are.
fn with_patches(len: usize, work: impl FnOnce(&mut [f32])) {
    PATCHES.with_borrow_mut(|patches| {
        patches.resize(patches.len().max(len), 0.0);
        work(&mut patches[..len]);
    });
}

/// One convolution at one size of image.
pub(super) struct Dense {
    pub conv: Conv,
    pub input: Shape,
    pub output: Shape,
}

impl Dense {
    /// `output = finish(patches(input) · weightᵀ)`, a row of the output a tile.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let (outputs, patch) = (self.conv.output, self.patch());
        let line = self.output.width * outputs;
        let ranges = threads.ranges(output.len() / line);
        let parts = ranges.iter().cloned().zip(cut(&ranges, line, output));
        threads.each(parts, |(range, part)| {
            with_patches(self.output.width * patch, |patches| {
                for (row, out) in range.zip(part.chunks_exact_mut(line)) {
                    self.gather(row, input, patches);
                    multiply(patches, &folded.forward, row * self.output.width, out, &mut { finish });
                }
            });
        });
    }

    /// Both gradients; returns the sums over pixels of the input's gradient, a channel each.
    ///
    /// Patches overlap, so the input's gradient is cut by image, not by row.
    pub fn backward(&self, threads: &Threads, folded: &Folded, pass: Backward<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
        let images = pass.gradient.len() / self.output.len();
        pass.shared(threads, (images, self.input.len()), self.conv.input, scratch, |share| {
            if !share.kernel.is_empty() {
                self.backward_kernel(share.range.clone(), share.gradient, share.input, share.kernel);
            }
            if let Some(target) = share.target {
                self.backward_input(share.range, share.gradient, folded, target);
            }
        })
    }

    fn backward_kernel(&self, images: Range<usize>, gradient: &[f32], input: &[f32], kernel: &mut [f32]) {
        let (outputs, patch) = (self.conv.output, self.patch());
        let rows = images.start * self.output.height..images.end * self.output.height;
        // Of no images at all, too, the sum is zero.
        kernel.fill(0.0);
        with_patches(self.output.width * patch, |patches| {
            for row in rows {
                self.gather(row, input, patches);
                outer((self.line(gradient, row), outputs), 0..outputs, (patches, patch), kernel, Onto::Sum);
            }
        });
    }

    fn backward_input(&self, images: Range<usize>, gradient: &[f32], folded: &Folded, target: Target<'_>) {
        with_patches(self.output.width * self.patch(), |patches| {
            for (image, values) in images.zip(target.values.chunks_exact_mut(self.input.len())) {
                values.fill(0.0);
                for row in 0..self.output.height {
                    let gradient = self.line(gradient, image * self.output.height + row);
                    multiply(gradient, &folded.backward, 0, patches, &mut AsItIs);
                    self.scatter(row, patches, values);
                }
                target.upstream.summing(target.sums).apply(image * self.input.len(), values);
            }
        });
    }

    /// Values of one patch: `k · k · in`.
    const fn patch(&self) -> usize {
        self.conv.kernel * self.conv.kernel * self.conv.input
    }

    /// One row of an output-shaped matrix, `[width, out]`; rows count through the batch.
    fn line<'a>(&self, values: &'a [f32], row: usize) -> &'a [f32] {
        let length = self.output.width * self.conv.output;
        &values[row * length..][..length]
    }

    /// The patches under one row of the output, `[width, k, k, in]`, zeros where they overhang.
    fn gather(&self, row: usize, input: &[f32], patches: &mut [f32]) {
        let image = &input[row / self.output.height * self.input.len()..][..self.input.len()];
        patches.fill(0.0);
        self.overlaps(row % self.output.height, |patch, pixels| {
            patches[patch..][..pixels.len()].copy_from_slice(&image[pixels]);
        });
    }

    /// The reverse of [`Dense::gather`], summing where patches overlap, into one image.
    fn scatter(&self, row: usize, patches: &[f32], image: &mut [f32]) {
        self.overlaps(row, |patch, pixels| {
            let patch = &patches[patch..][..pixels.len()];
            image[pixels].iter_mut().zip(patch).for_each(|(value, addend)| *value += addend);
        });
    }

    /// For each line of each patch under a row of one image's output: where it lies in the patches, and which of the
    /// image's values it covers.
    fn overlaps(&self, row: usize, mut visit: impl FnMut(usize, Range<usize>)) {
        let Conv { kernel, stride, padding, input: channels, .. } = self.conv;
        let (top, _) = padding.amounts(self.input.height, kernel, stride);
        let (left, _) = padding.amounts(self.input.width, kernel, stride);
        for tap in 0..kernel {
            let Some(y) = (row * stride + tap).checked_sub(top).filter(|y| *y < self.input.height) else { continue };
            for column in 0..self.output.width {
                let start = column * stride;
                let (first, last) = (start.max(left), (start + kernel).min(left + self.input.width));
                if first < last {
                    let patch = ((column * kernel + tap) * kernel + first - start) * channels;
                    let pixel = (y * self.input.width + first - left) * channels;
                    visit(patch, pixel..pixel + (last - first) * channels);
                }
            }
        }
    }
}
