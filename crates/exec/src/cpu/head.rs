//! Network head: global average pooling, the linear classifier and the loss.

use super::epilogue::{BackwardEpilogue, ChannelSums, ForwardEpilogue};
use super::matmul::{PackedMatrix, multiply};
use super::thread_pool::{ThreadPool, split_rows};
use crate::Objective;
use fieldfit_nets::Activation;

/// Computes the mean over each image's pixels: `[N, pixels, C]` to `[N, C]`.
pub(super) fn pool(input: &[f32], pixels: usize, channels: usize, output: &mut [f32]) {
    for (image, mean) in input.chunks_exact(pixels * channels).zip(output.chunks_exact_mut(channels)) {
        mean.fill(0.0);
        for pixel in image.chunks_exact(channels) {
            mean.iter_mut().zip(pixel).for_each(|(mean, value)| *mean += value);
        }
        mean.iter_mut().for_each(|mean| *mean /= pixels as f32);
    }
}

/// Computes the gradient of [`pool`]; returns the per-channel sums over pixels.
pub(super) fn pool_backward(
    threads: &ThreadPool,
    gradient: &[f32],
    pixels: usize,
    channels: usize,
    target: &mut [f32],
    epilogue: &BackwardEpilogue<'_>,
) -> Vec<f64> {
    let image = pixels * channels;
    let ranges = threads.ranges(target.len() / image);
    let mut sums = vec![ChannelSums::new(channels); ranges.len()];
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, image, target)).zip(&mut sums);
    threads.for_each(parts, |((range, part), sums): ((std::ops::Range<usize>, &mut [f32]), _)| {
        for (index, target) in range.zip(part.chunks_exact_mut(image)) {
            let gradient = &gradient[index * channels..][..channels];
            for pixel in target.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(gradient).for_each(|(value, gradient)| *value = gradient / pixels as f32);
            }
            epilogue.with_sums(sums).apply_rows(index * image, target);
        }
    });
    ChannelSums::merge(sums)
}

/// Computes `logits = features · weight + bias`, with the weight `[features, classes]`.
pub(super) fn classify(features: &[f32], weight: &PackedMatrix, bias: &[f32], logits: &mut [f32]) {
    multiply(
        features,
        weight,
        0,
        logits,
        &mut ForwardEpilogue { bias, activation: Activation::Identity, shortcut: None },
    );
}

/// Loss accumulator over the micro-batches of a batch.
#[derive(Default)]
pub(super) struct LossAccumulator {
    total: f64,
}

impl LossAccumulator {
    /// Adds the loss of a micro-batch that starts at image `first`; replaces `logits` by the gradient of the batch's
    /// mean loss.
    pub fn add(
        &mut self,
        objective: &dyn Objective<f32>,
        first: usize,
        logits: &mut [f32],
        columns: usize,
        batch: usize,
    ) {
        for (image, row) in logits.chunks_exact_mut(columns).enumerate() {
            self.total += objective.loss_and_gradient(first + image, row);
            row.iter_mut().for_each(|value| *value /= batch as f32);
        }
    }

    /// Returns the mean loss over the batch.
    pub fn mean(&self, batch: usize) -> f32 {
        (self.total / batch.max(1) as f64) as f32
    }
}
