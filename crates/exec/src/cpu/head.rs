//! The ends of a network: the mean over pixels, the linear classifier and the loss.

use super::finish::{ChannelSums, Finish, Upstream};
use super::product::{Packed, multiply};
use super::threads::{Threads, cut};
use crate::Loss;
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
    correct: usize,
}

impl Tally {
    /// Adds the cross-entropy of some of a batch's images; `logits` become their gradient, `(softmax − one-hot) / batch`.
    pub fn add(&mut self, logits: &mut [f32], labels: &[u32], classes: usize, batch: usize) {
        for (row, &label) in logits.chunks_exact_mut(classes).zip(labels) {
            let label = label as usize;
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            self.correct += usize::from(row.iter().position(|value| *value == largest) == Some(label));
            let sum: f64 = row.iter().map(|value| f64::from(value - largest).exp()).sum();
            self.total += sum.ln() - f64::from(row[label] - largest);
            for (class, value) in row.iter_mut().enumerate() {
                let probability = f64::from(*value - largest).exp() / sum;
                *value = ((probability - f64::from(u8::from(class == label))) / batch as f64) as f32;
            }
        }
    }

    /// The mean over the batch.
    pub fn loss(&self, batch: usize) -> Loss<f32> {
        Loss { mean: (self.total / batch.max(1) as f64) as f32, correct: self.correct }
    }
}
