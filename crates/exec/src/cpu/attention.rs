//! Self-attention between its linear maps, a block of queries at a time: neither the scores nor the probabilities of a
//! whole image are ever there, and the backward pass computes them again (Dao et al., NeurIPS 2022, without the tiling of
//! keys, which fit the second-level cache). Against probabilities that are kept, this costs one product and one softmax of
//! seven products, and saves as much memory as queries, keys and values take at 224 px, and more beyond.

use super::finish::{ChannelSums, Upstream};
use super::product::{Onto, Strided, strided};
use super::room::with_room;
use super::threads::{Threads, cut};
use super::vector::{exp, largest, sum, sum_pairs, vectorized};
use std::ops::Range;

/// Queries a block.
const QUERIES: usize = 64;

/// Attention over images of one size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub heads: usize,
    pub width: usize,
    pub tokens: usize,
}

/// One head of one image: `[tokens, head]` each, in rows of `[q | k | v]`.
#[derive(Clone, Copy)]
struct Head<'a> {
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
}

impl Attention {
    const fn head(&self) -> usize {
        self.width / self.heads
    }

    /// Values from one token to the next of what goes in.
    const fn step(&self) -> usize {
        3 * self.width
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }

    /// Which of an image's values are a head's.
    fn of<'a>(&self, image: &'a [f32], head: usize) -> Head<'a> {
        let start = head * self.head();
        Head { query: &image[start..], key: &image[start + self.width..], value: &image[start + 2 * self.width..] }
    }

    /// `softmax(q·kᵀ / √head) · v`. Threads share tokens, so that one image keeps them all busy.
    pub fn forward(&self, threads: &Threads, input: &[f32], output: &mut [f32]) {
        let ranges = threads.ranges(output.len() / self.width);
        let parts = ranges.iter().cloned().zip(cut(&ranges, self.width, output));
        threads.each(parts, |(range, mut part): (Range<usize>, &mut [f32])| {
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

    /// Some tokens of one image; `output` is theirs.
    fn attend(&self, image: &[f32], tokens: Range<usize>, output: &mut [f32]) {
        with_room([self.head() * self.tokens, QUERIES * self.tokens], |[keys, scores]| {
            for head in 0..self.heads {
                let here = self.of(image, head);
                self.transpose(here.key, keys);
                for first in tokens.clone().step_by(QUERIES) {
                    let rows = first..tokens.end.min(first + QUERIES);
                    let scores = &mut scores[..rows.len() * self.tokens];
                    self.probabilities(here.query, rows.clone(), keys, scores);
                    let out = &mut output[(first - tokens.start) * self.width + head * self.head()..];
                    let (left, right) = (Strided::rows(scores, self.tokens), Strided::rows(here.value, self.step()));
                    strided([rows.len(), self.head(), self.tokens], left, right, (out, self.width), Onto::Fresh);
                }
            }
        });
    }

    /// `softmax(q·kᵀ / √head)` of some queries, `[queries, tokens]`.
    fn probabilities(&self, queries: &[f32], rows: Range<usize>, keys: &[f32], scores: &mut [f32]) {
        let left = Strided::rows(&queries[rows.start * self.step()..], self.step());
        let right = Strided::rows(keys, self.tokens);
        strided([rows.len(), self.tokens, self.head()], left, right, (scores, self.tokens), Onto::Fresh);
        softmax(scores, self.tokens, self.scale());
    }

    /// `[tokens, head]` as `[head, tokens]`.
    fn transpose(&self, values: &[f32], out: &mut [f32]) {
        for (token, row) in values.chunks(self.step()).take(self.tokens).enumerate() {
            for (out, value) in out.iter_mut().skip(token).step_by(self.tokens).zip(&row[..self.head()]) {
                *out = *value;
            }
        }
    }

    /// The gradient of the input, whose sums over tokens are returned. Threads share images.
    pub fn backward(&self, threads: &Threads, gradient: &[f32], input: &[f32], target: &mut [f32]) -> Vec<f64> {
        let (image, step) = (self.tokens * self.step(), self.step());
        let ranges = threads.ranges(input.len() / image);
        let mut sums = vec![ChannelSums::new(step); ranges.len()];
        let parts = ranges.iter().cloned().zip(cut(&ranges, image, target)).zip(&mut sums);
        threads.each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), &mut ChannelSums)| {
            for (index, target) in range.zip(part.chunks_exact_mut(image)) {
                let gradient = &gradient[index * self.tokens * self.width..][..self.tokens * self.width];
                self.descend(&input[index * image..][..image], gradient, target);
                Upstream::open(input).summing(sums).apply(index * image, target);
            }
        });
        ChannelSums::merge(sums)
    }

    /// One image.
    fn descend(&self, image: &[f32], gradient: &[f32], target: &mut [f32]) {
        let (transposed, block) = (self.head() * self.tokens, QUERIES * self.tokens);
        with_room([transposed, transposed, block, block], |[keys, values, scores, slopes]| {
            for head in 0..self.heads {
                let here = self.of(image, head);
                self.transpose(here.key, keys);
                self.transpose(here.value, values);
                for first in (0..self.tokens).step_by(QUERIES) {
                    let rows = first..self.tokens.min(first + QUERIES);
                    let len = rows.len() * self.tokens;
                    let (scores, slopes) = (&mut scores[..len], &mut slopes[..len]);
                    self.probabilities(here.query, rows.clone(), keys, scores);
                    let above = &gradient[first * self.width + head * self.head()..];
                    let (left, right) = (Strided::rows(above, self.width), Strided::rows(values, self.tokens));
                    let size = [rows.len(), self.tokens, self.head()];
                    strided(size, left, right, (&mut *slopes, self.tokens), Onto::Fresh);
                    softmax_backward(scores, slopes, self.tokens, self.scale());
                    self.spread((here, rows), above, (scores, slopes), target, head);
                }
            }
        });
    }

    /// What some queries give to the gradients of queries, keys and values.
    fn spread(
        &self,
        (here, rows): (Head<'_>, Range<usize>),
        above: &[f32],
        (scores, slopes): (&[f32], &[f32]),
        target: &mut [f32],
        head: usize,
    ) {
        let (step, start) = (self.step(), head * self.head());
        let onto = if rows.start == 0 { Onto::Fresh } else { Onto::Sum };
        let own = rows.start * step;
        let queries = &mut target[own + start..];
        let size = [rows.len(), self.head(), self.tokens];
        strided(size, Strided::rows(slopes, self.tokens), Strided::rows(here.key, step), (queries, step), Onto::Fresh);
        let size = [self.tokens, self.head(), rows.len()];
        let keys = &mut target[start + self.width..];
        let right = Strided::rows(&here.query[own..], step);
        strided(size, Strided::columns(slopes, self.tokens), right, (keys, step), onto);
        let values = &mut target[start + 2 * self.width..];
        let right = Strided::rows(above, self.width);
        strided(size, Strided::columns(scores, self.tokens), right, (values, step), onto);
    }
}

/// `softmax(scale · row)` of each row, in place.
fn softmax(rows: &mut [f32], width: usize, scale: f32) {
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(width) {
                let largest = largest(row);
                for value in row.iter_mut() {
                    *value = exp((*value - largest) * scale);
                }
                let share = 1.0 / sum(row, |value| value);
                for value in row.iter_mut() {
                    *value *= share;
                }
            }
        },
    );
}

/// The gradient of [`softmax`] in place of its results' one: `scale · p ⊙ (g − ⟨p, g⟩)` of each row.
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
