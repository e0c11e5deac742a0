//! The ends of a network: the mean over pixels, the linear classifier and the loss.

use super::finish::{ChannelSums, Finish, Upstream};
use super::product::{Packed, multiply};
use super::threads::{Threads, cut};
use crate::Objective;
use fieldfit_nets::Activation;

/// The mean over each image's pixels: `[N, pixels, C]` to `[N, C]`.
pub(super) fn pool(input: &[f32], pixels: usize, channels: usize, output: &mut [f32]) {
    for (image, mean) in input.chunks_exact(pixels * channels).zip(output.chunks_exact_mut(channels)) {
        mean.fill(0.0);
        for pixel in image.chunks_exact(channels) {
            mean.iter_mut().zip(pixel).for_each(|(mean, value)| *mean += value);
        }
        mean.iter_mut().for_each(|mean| *mean /= pixels as f32);
    }
}

/// Spreads the gradient of each image's mean over its pixels; returns the sums over pixels, a channel each.
pub(super) fn pool_backward(
    threads: &Threads,
    gradient: &[f32],
    pixels: usize,
    channels: usize,
    target: &mut [f32],
    upstream: &Upstream<'_>,
) -> Vec<f64> {
    let image = pixels * channels;
    let ranges = threads.ranges(target.len() / image);
    let mut sums = vec![ChannelSums::new(channels); ranges.len()];
    let parts = ranges.iter().cloned().zip(cut(&ranges, image, target)).zip(&mut sums);
    threads.each(parts, |((range, part), sums): ((std::ops::Range<usize>, &mut [f32]), _)| {
        for (index, target) in range.zip(part.chunks_exact_mut(image)) {
            let gradient = &gradient[index * channels..][..channels];
            for pixel in target.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(gradient).for_each(|(value, gradient)| *value = gradient / pixels as f32);
            }
            upstream.summing(sums).apply(index * image, target);
        }
    });
    ChannelSums::merge(sums)
}

/// `logits = features · weight + bias`, the weight `[features, classes]`.
pub(super) fn classify(features: &[f32], weight: &Packed, bias: &[f32], logits: &mut [f32]) {
    multiply(features, weight, 0, logits, &mut Finish { bias, activation: Activation::Identity, shortcut: None });
}

/// The loss of a batch, as far as it has been computed.
#[derive(Default)]
pub(super) struct Tally {
    total: f64,
}

impl Tally {
    /// Adds the loss of some of a batch's images, from the `first` on; `logits` become the gradient of the batch's mean.
    pub fn add(
        &mut self,
        objective: &dyn Objective<f32>,
        first: usize,
        logits: &mut [f32],
        columns: usize,
        batch: usize,
    ) {
        for (image, row) in logits.chunks_exact_mut(columns).enumerate() {
            self.total += objective.descend(first + image, row);
            row.iter_mut().for_each(|value| *value /= batch as f32);
        }
    }

    /// The mean over the batch.
    pub fn mean(&self, batch: usize) -> f32 {
        (self.total / batch.max(1) as f64) as f32
    }
}
