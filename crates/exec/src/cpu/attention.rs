//! Self-attention op: softmax(q·kᵀ)·v per head, computed in blocks of queries, forward and backward.
//!
//! The scores and probabilities of a whole image are never stored; the backward pass recomputes them (Dao et al.,
//! NeurIPS 2022, without tiling the keys, which fit the L2 cache). Compared with stored probabilities, this costs one
//! product and one softmax on top of seven products, and saves as much memory as queries, keys and values take at 224
//! px, and more above.

use super::epilogue::{BackwardEpilogue, ChannelSums};
use super::matmul::{Accumulate, StridedMatrix, multiply_strided};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::scratch::with_scratch;
use super::thread_pool::{ThreadPool, split_rows};
use super::vector::{exp, largest, sum, sum_pairs, vectorized};
use fieldfit_nets::{Attention, Shape};
use fieldfit_tensor::TensorId;
use std::ops::Range;

/// Self-attention at any image size.
pub(super) struct AttentionOp(pub Attention);

impl CpuOp for AttentionOp {
    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        let Attention { heads, width } = self.0;
        Box::new(AttentionKernel { heads, width, tokens: inputs[0].pixels() })
    }
}

impl Kernel for AttentionKernel {
    fn forward(&self, pass: Forward<'_>) {
        self.attend_all(pass.threads, pass.inputs[0], pass.output);
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, input, target, .. } = pass;
        target.map_or_else(Vec::new, |target| self.input_gradient(threads, gradient, input, target))
    }
}

/// Queries per block.
const QUERIES: usize = 64;

/// Self-attention kernel for one image size.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionKernel {
    pub heads: usize,
    pub width: usize,
    pub tokens: usize,
}

/// Queries, keys and values of one head of one image: `[tokens, head]` each, in rows of `[q | k | v]`.
#[derive(Clone, Copy)]
struct HeadView<'a> {
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
}

impl AttentionKernel {
    const fn head(&self) -> usize {
        self.width / self.heads
    }

    /// Input values from one token to the next.
    const fn step(&self) -> usize {
        3 * self.width
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }

    /// Returns the queries, keys and values of a head.
    fn head_view<'a>(&self, image: &'a [f32], head: usize) -> HeadView<'a> {
        let start = head * self.head();
        HeadView { query: &image[start..], key: &image[start + self.width..], value: &image[start + 2 * self.width..] }
    }

    /// Computes `softmax(q·kᵀ / √head) · v`. Threads split the tokens, so that one image occupies all of them.
    fn attend_all(&self, threads: &ThreadPool, input: &[f32], output: &mut [f32]) {
        let ranges = threads.ranges(output.len() / self.width);
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, self.width, output));
        threads.for_each(parts, |(range, mut part): (Range<usize>, &mut [f32])| {
            let mut first = range.start;
            while first < range.end {
                let (image, token) = (first / self.tokens, first % self.tokens);
                let rows = (self.tokens - token).min(range.end - first);
                let Some(out) = part.split_off_mut(..rows * self.width) else { return };
                self.attend(&input[image * self.tokens * self.step()..], token..token + rows, out);
                first += rows;
            }
        });
    }

    /// Computes the output of some tokens of one image.
    fn attend(&self, image: &[f32], tokens: Range<usize>, output: &mut [f32]) {
        with_scratch([self.head() * self.tokens, QUERIES * self.tokens], |[keys, scores]| {
            for head in 0..self.heads {
                let view = self.head_view(image, head);
                self.transpose(view.key, keys);
                for first in tokens.clone().step_by(QUERIES) {
                    let rows = first..tokens.end.min(first + QUERIES);
                    let scores = &mut scores[..rows.len() * self.tokens];
                    self.probabilities(view.query, rows.clone(), keys, scores);
                    let out = &mut output[(first - tokens.start) * self.width + head * self.head()..];
                    let (left, right) =
                        (StridedMatrix::rows(scores, self.tokens), StridedMatrix::rows(view.value, self.step()));
                    multiply_strided(
                        [rows.len(), self.head(), self.tokens],
                        left,
                        right,
                        (out, self.width),
                        Accumulate::Overwrite,
                    );
                }
            }
        });
    }

    /// Computes `softmax(q·kᵀ / √head)` of some queries, `[queries, tokens]`.
    fn probabilities(&self, queries: &[f32], rows: Range<usize>, keys: &[f32], scores: &mut [f32]) {
        let left = StridedMatrix::rows(&queries[rows.start * self.step()..], self.step());
        let right = StridedMatrix::rows(keys, self.tokens);
        multiply_strided(
            [rows.len(), self.tokens, self.head()],
            left,
            right,
            (scores, self.tokens),
            Accumulate::Overwrite,
        );
        softmax(scores, self.tokens, self.scale());
    }

    /// Transposes `[tokens, head]` to `[head, tokens]`.
    fn transpose(&self, values: &[f32], out: &mut [f32]) {
        for (token, row) in values.chunks(self.step()).take(self.tokens).enumerate() {
            for (out, value) in out.iter_mut().skip(token).step_by(self.tokens).zip(&row[..self.head()]) {
                *out = *value;
            }
        }
    }

    /// Computes the gradient of the input; returns its sums over tokens. Threads split the images.
    fn input_gradient(
        &self,
        threads: &ThreadPool,
        gradient: &[f32],
        input: &[f32],
        (target, epilogue): (&mut [f32], BackwardEpilogue<'_>),
    ) -> Vec<f64> {
        let (image, step) = (self.tokens * self.step(), self.step());
        let ranges = threads.ranges(input.len() / image);
        let mut sums = vec![ChannelSums::new(step); ranges.len()];
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, image, target)).zip(&mut sums);
        threads.for_each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), &mut ChannelSums)| {
            for (index, target) in range.zip(part.chunks_exact_mut(image)) {
                let gradient = &gradient[index * self.tokens * self.width..][..self.tokens * self.width];
                self.backward_image(&input[index * image..][..image], gradient, target);
                epilogue.with_sums(sums).apply_rows(index * image, target);
            }
        });
        ChannelSums::merge(sums)
    }

    /// Computes the input's gradient of one image.
    fn backward_image(&self, image: &[f32], gradient: &[f32], target: &mut [f32]) {
        let (transposed, block) = (self.head() * self.tokens, QUERIES * self.tokens);
        with_scratch([transposed, transposed, block, block], |[keys, values, scores, slopes]| {
            for head in 0..self.heads {
                let view = self.head_view(image, head);
                self.transpose(view.key, keys);
                self.transpose(view.value, values);
                for first in (0..self.tokens).step_by(QUERIES) {
                    let rows = first..self.tokens.min(first + QUERIES);
                    let len = rows.len() * self.tokens;
                    let (scores, slopes) = (&mut scores[..len], &mut slopes[..len]);
                    self.probabilities(view.query, rows.clone(), keys, scores);
                    let above = &gradient[first * self.width + head * self.head()..];
                    let (left, right) =
                        (StridedMatrix::rows(above, self.width), StridedMatrix::rows(values, self.tokens));
                    let size = [rows.len(), self.tokens, self.head()];
                    multiply_strided(size, left, right, (&mut *slopes, self.tokens), Accumulate::Overwrite);
                    softmax_backward(scores, slopes, self.tokens, self.scale());
                    self.add_block_gradients((view, rows), above, (scores, slopes), target, head);
                }
            }
        });
    }

    /// Adds the contribution of a block of queries to the gradients of queries, keys and values.
    fn add_block_gradients(
        &self,
        (view, rows): (HeadView<'_>, Range<usize>),
        above: &[f32],
        (scores, slopes): (&[f32], &[f32]),
        target: &mut [f32],
        head: usize,
    ) {
        let (step, start) = (self.step(), head * self.head());
        let accumulate = if rows.start == 0 { Accumulate::Overwrite } else { Accumulate::Add };
        let own = rows.start * step;
        let queries = &mut target[own + start..];
        let size = [rows.len(), self.head(), self.tokens];
        multiply_strided(
            size,
            StridedMatrix::rows(slopes, self.tokens),
            StridedMatrix::rows(view.key, step),
            (queries, step),
            Accumulate::Overwrite,
        );
        let size = [self.tokens, self.head(), rows.len()];
        let keys = &mut target[start + self.width..];
        let right = StridedMatrix::rows(&view.query[own..], step);
        multiply_strided(size, StridedMatrix::columns(slopes, self.tokens), right, (keys, step), accumulate);
        let values = &mut target[start + 2 * self.width..];
        let right = StridedMatrix::rows(above, self.width);
        multiply_strided(size, StridedMatrix::columns(scores, self.tokens), right, (values, step), accumulate);
    }
}

/// Computes `softmax(scale · row)` of each row, in place.
fn softmax(rows: &mut [f32], width: usize, scale: f32) {
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(width) {
                let largest = largest(row);
                for value in row.iter_mut() {
                    *value = exp((*value - largest) * scale);
                }
                let inverse_sum = 1.0 / sum(row, |value| value);
                for value in row.iter_mut() {
                    *value *= inverse_sum;
                }
            }
        },
    );
}

/// Computes the gradient of [`softmax`] in place: `scale · p ⊙ (g − ⟨p, g⟩)` of each row.
fn softmax_backward(probabilities: &[f32], gradients: &mut [f32], width: usize, scale: f32) {
    vectorized(
        #[inline(always)]
        || {
            for (row, gradient) in probabilities.chunks_exact(width).zip(gradients.chunks_exact_mut(width)) {
                let level = sum_pairs(row, gradient, |probability, gradient| probability * gradient);
                for (gradient, probability) in gradient.iter_mut().zip(row) {
                    *gradient = scale * probability * (*gradient - level);
                }
            }
        },
    );
}
