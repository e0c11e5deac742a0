//! Layer norm over rows, forward and backward. A row's mean and deviation are computed again for the backward pass: the row
//! is read anyway, and nothing is kept.

use super::finish::{ChannelSums, Upstream};
use super::threads::{Threads, cut};
use super::vector::{sum, sum_pairs, vectorized};

/// Rows that are done while they are in the second-level cache.
pub(super) const ROWS: usize = 32;

/// A layer norm's values.
#[derive(Debug, Clone, Default)]
pub(super) struct Norm {
    /// γ.
    pub scale: Vec<f32>,
    /// β.
    pub shift: Vec<f32>,
    pub epsilon: f32,
}

/// A row's mean, and one over its deviation.
#[inline(always)]
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let share = 1.0 / row.len() as f32;
    let mean = sum(row, |value| value) * share;
    let variance = sum(row, |value| (value - mean) * (value - mean)) * share;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

impl Norm {
    /// `output = norm(input)`, row by row.
    pub fn forward(&self, input: &[f32], output: &mut [f32]) {
        let width = self.scale.len();
        vectorized(
            #[inline(always)]
            || {
                for (row, out) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
                    let (mean, inverse) = moments(row, self.epsilon);
                    for (((out, value), scale), shift) in out.iter_mut().zip(row).zip(&self.scale).zip(&self.shift) {
                        *out = ((value - mean) * inverse).mul_add(*scale, *shift);
                    }
                }
            },
        );
    }

    /// Turns the gradient of rows' norms into that of the rows, and adds what γ gets to `scale`.
    fn descend(&self, input: &[f32], gradient: &mut [f32], scale: &mut [f32]) {
        let width = self.scale.len();
        vectorized(
            #[inline(always)]
            || {
                for (row, gradient) in input.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
                    let (mean, inverse) = moments(row, self.epsilon);
                    // ∂L/∂x = (g − mean(g) − x̂ · mean(g ⊙ x̂)) / σ with g = γ ⊙ ∂L/∂y.
                    for ((sum, value), gradient) in scale.iter_mut().zip(row).zip(&*gradient) {
                        *sum += (value - mean) * inverse * gradient;
                    }
                    for (gradient, scale) in gradient.iter_mut().zip(&self.scale) {
                        *gradient *= scale;
                    }
                    let share = 1.0 / width as f32;
                    let level = sum(gradient, |gradient| gradient) * share;
                    let slope = sum_pairs(gradient, row, |gradient, value| gradient * (value - mean)) * inverse * share;
                    for (gradient, value) in gradient.iter_mut().zip(row) {
                        *gradient = (*gradient - level - (value - mean) * inverse * slope) * inverse;
                    }
                }
            },
        );
    }

    /// In place, over whole activations: the gradient of the norms becomes that of their input, with what a shortcut
    /// brings. Returns the latter's sums over rows, and γ's gradient.
    pub fn backward(&self, threads: &Threads, target: &mut [f32], upstream: &Upstream<'_>) -> [Vec<f64>; 2] {
        let width = self.scale.len();
        let ranges = threads.ranges(target.len() / width);
        let mut sums = vec![[ChannelSums::new(width), ChannelSums::new(width)]; ranges.len()];
        let parts = ranges.iter().cloned().zip(cut(&ranges, width, target)).zip(&mut sums);
        threads.each(parts, |((range, part), [sums, scale]): ((std::ops::Range<usize>, &mut [f32]), _)| {
            for (index, rows) in part.chunks_mut(ROWS * width).enumerate() {
                let first = (range.start + index * ROWS) * width;
                self.descend(&upstream.input[first..][..rows.len()], rows, scale.tile());
                scale.flush();
                upstream.summing(sums).apply(first, rows);
            }
        });
        let (sums, scales) = sums.into_iter().map(|[sums, scale]| (sums, scale)).unzip();
        [ChannelSums::merge(sums), ChannelSums::merge(scales)]
    }

    /// The norm of the first of each image's tokens.
    pub fn take(&self, input: &[f32], tokens: usize, output: &mut [f32]) {
        let width = self.scale.len();
        for (image, out) in input.chunks_exact(tokens * width).zip(output.chunks_exact_mut(width)) {
            self.forward(&image[..width], out);
        }
    }

    /// The gradient of [`Norm::take`]: all of `target` is written. Returns its sums over tokens, and γ's gradient.
    pub fn take_backward(&self, gradient: &[f32], input: &[f32], tokens: usize, target: &mut [f32]) -> [Vec<f64>; 2] {
        let width = self.scale.len();
        let mut sums = [ChannelSums::new(width), ChannelSums::new(width)];
        target.fill(0.0);
        let images = input.chunks_exact(tokens * width).zip(target.chunks_exact_mut(tokens * width));
        for ((input, target), gradient) in images.zip(gradient.chunks_exact(width)) {
            let target = &mut target[..width];
            target.copy_from_slice(gradient);
            self.descend(&input[..width], target, sums[1].tile());
            sums[0].tile().iter_mut().zip(target).for_each(|(sum, value)| *sum += *value);
            sums.iter_mut().for_each(ChannelSums::flush);
        }
        sums.map(|sums| ChannelSums::merge(vec![sums]))
    }
}
