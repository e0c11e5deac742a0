//! Max pooling: the largest value under a kernel, channels innermost and vectorised by the compiler.

use super::finish::{ChannelSums, Upstream};
use super::threads::{Threads, cut};
use fieldfit_nets::{MaxPool, Shape};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// One pool at one size of image.
#[derive(Debug)]
pub(super) struct Pooling {
    pub pool: MaxPool,
    pub input: Shape,
    pub output: Shape,
}

impl Pooling {
    /// `output[p] = max input[pixels under p]`, a row of the output after another.
    pub fn forward(&self, threads: &Threads, input: &[f32], output: &mut [f32]) {
        let Shape { height, width, channels } = self.output;
        let ranges = threads.ranges(output.len() / (width * channels));
        let parts = ranges.iter().cloned().zip(cut(&ranges, width * channels, output));
        threads.each(parts, |(range, part)| {
            for (row, line) in range.zip(part.chunks_exact_mut(width * channels)) {
                let image = &input[row / height * self.input.len()..][..self.input.len()];
                for (column, largest) in line.chunks_exact_mut(channels).enumerate() {
                    largest.fill(f32::NEG_INFINITY);
                    for seen in self.seen(row % height, column) {
                        Arch::new().dispatch(Raise { largest, values: &image[seen * channels..][..channels] });
                    }
                }
            }
        });
    }

    /// Gives each largest value's gradient to the first pixel that has it; returns the sums over pixels, a channel each.
    ///
    /// Kernels overlap, so the input's gradient is cut by image.
    pub fn backward(
        &self,
        threads: &Threads,
        gradient: &[f32],
        target: &mut [f32],
        upstream: &Upstream<'_>,
    ) -> Vec<f64> {
        let image = self.input.len();
        let ranges = threads.ranges(target.len() / image);
        let mut sums = vec![ChannelSums::new(self.input.channels); ranges.len()];
        let parts = ranges.iter().cloned().zip(cut(&ranges, image, target)).zip(&mut sums);
        threads.each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), _)| {
            let mut room = vec![0.0; 2 * self.input.channels];
            for (index, target) in range.zip(part.chunks_exact_mut(image)) {
                let gradient = &gradient[index * self.output.len()..][..self.output.len()];
                self.scatter(gradient, &upstream.input[index * image..][..image], target, &mut room);
                upstream.summing(sums).apply(index * image, target);
            }
        });
        ChannelSums::merge(sums)
    }

    /// One image; `room` is for two values a channel.
    fn scatter(&self, gradient: &[f32], input: &[f32], target: &mut [f32], room: &mut [f32]) {
        let channels = self.input.channels;
        let (largest, left) = room.split_at_mut(channels);
        target.fill(0.0);
        for (pixel, gradient) in gradient.chunks_exact(channels).enumerate() {
            let seen = || self.seen(pixel / self.output.width, pixel % self.output.width);
            largest.fill(f32::NEG_INFINITY);
            for seen in seen() {
                Arch::new().dispatch(Raise { largest, values: &input[seen * channels..][..channels] });
            }
            left.copy_from_slice(gradient);
            for seen in seen() {
                let (values, target) = (&input[seen * channels..][..channels], &mut target[seen * channels..]);
                Arch::new().dispatch(Give { largest, values, left, target: &mut target[..channels] });
            }
        }
    }

    /// The input's pixels under one of the output's, row by row.
    fn seen(&self, row: usize, column: usize) -> impl Iterator<Item = usize> {
        let MaxPool { kernel, stride, padding } = self.pool;
        let visible = |position: usize, pixels: usize| {
            let (before, _) = padding.amounts(pixels, kernel, stride);
            let start = position * stride;
            start.saturating_sub(before)..(start + kernel).saturating_sub(before).min(pixels)
        };
        let (rows, columns) = (visible(row, self.input.height), visible(column, self.input.width));
        let width = self.input.width;
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }
}

/// `largest = max(largest, values)`; of a NaN there and a number the number is left.
struct Raise<'a> {
    largest: &'a mut [f32],
    values: &'a [f32],
}

impl WithSimd for Raise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (largest, value) in self.largest.iter_mut().zip(self.values) {
            *largest = if *value > *largest { *value } else { *largest };
        }
    }
}

/// What is left of each channel's gradient goes to the target where the value is the largest.
struct Give<'a> {
    largest: &'a [f32],
    values: &'a [f32],
    left: &'a mut [f32],
    target: &'a mut [f32],
}

impl WithSimd for Give<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let operands = self.largest.iter().zip(self.values).zip(self.left).zip(self.target);
        for (((largest, value), left), target) in operands {
            let given = if *value == *largest { *left } else { 0.0 };
            *target += given;
            *left -= given;
        }
    }
}
