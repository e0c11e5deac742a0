//! Layer norm kernel over rows, forward and backward. The backward pass recomputes a row's mean and standard deviation,
//! as it reads the row anyway.

use super::epilogue::{BackwardEpilogue, ChannelSums};
use super::folded_weights::write_gradient;
use super::matmul::Accumulate;
use super::thread_pool::{ThreadPool, split_rows};
use super::vector::{sum, sum_pairs, vectorized};
use fieldfit_nets::LayerNorm;
use fieldfit_tensor::Params;

/// Rows per tile; a tile stays in the L2 cache.
pub(super) const ROWS: usize = 32;

/// Layer norm kernel with its weights.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerNormKernel {
    /// γ.
    pub scale: Vec<f32>,
    /// β.
    pub shift: Vec<f32>,
    pub epsilon: f32,
}

/// Writes the gradients of a layer norm's γ and β if they are trained.
pub(super) fn write_norm_gradients(
    norm: &LayerNorm,
    [scales, shifts]: [&[f64]; 2],
    gradients: &mut Params<f32>,
    accumulate: Accumulate,
) {
    for (id, values) in [(norm.scale, scales), (norm.shift, shifts)] {
        if gradients.contains(id) {
            write_gradient(&mut gradients[id], values.iter().map(|value| *value as f32), accumulate);
        }
    }
}

/// Returns a row's mean and the inverse of its standard deviation.
#[inline(always)]
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let inverse_len = 1.0 / row.len() as f32;
    let mean = sum(row, |value| value) * inverse_len;
    let variance = sum(row, |value| (value - mean) * (value - mean)) * inverse_len;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

impl LayerNormKernel {
    /// Computes `output = norm(input)`, row by row.
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

    /// Computes, in place, the gradient of rows from that of their norms; adds γ's gradient to `scale`.
    pub fn backward_rows(&self, input: &[f32], gradient: &mut [f32], scale: &mut [f32]) {
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
                    let inverse_len = 1.0 / width as f32;
                    let level = sum(gradient, |gradient| gradient) * inverse_len;
                    let slope =
                        sum_pairs(gradient, row, |gradient, value| gradient * (value - mean)) * inverse * inverse_len;
                    for (gradient, value) in gradient.iter_mut().zip(row) {
                        *gradient = (*gradient - level - (value - mean) * inverse * slope) * inverse;
                    }
                }
            },
        );
    }

    /// Computes, in place, the input's gradient from the output's, and applies the epilogue. Returns the input
    /// gradient's sums over rows, and γ's gradient.
    pub fn backward(&self, threads: &ThreadPool, target: &mut [f32], epilogue: &BackwardEpilogue<'_>) -> [Vec<f64>; 2] {
        let width = self.scale.len();
        let ranges = threads.ranges(target.len() / width);
        let mut sums = vec![[ChannelSums::new(width), ChannelSums::new(width)]; ranges.len()];
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, width, target)).zip(&mut sums);
        threads.for_each(parts, |((range, part), [sums, scale]): ((std::ops::Range<usize>, &mut [f32]), _)| {
            for (index, rows) in part.chunks_mut(ROWS * width).enumerate() {
                let first = (range.start + index * ROWS) * width;
                self.backward_rows(&epilogue.input[first..][..rows.len()], rows, scale.tile());
                scale.flush();
                epilogue.with_sums(sums).apply_rows(first, rows);
            }
        });
        let (sums, scales) = sums.into_iter().map(|[sums, scale]| (sums, scale)).unzip();
        [ChannelSums::merge(sums), ChannelSums::merge(scales)]
    }
}
