//! Network head: the linear classifier and the loss.

use super::epilogue::ForwardEpilogue;
use super::matmul::{PackedMatrix, multiply};
use crate::Objective;
use fieldfit_nets::Activation;

/// Computes `logits = features · weight + bias`, with the weight `[features, classes]`.
pub(super) fn classify(features: &[f32], weight: &PackedMatrix, bias: &[f32], logits: &mut [f32]) {
    multiply(
        features,
        weight,
        0,
        logits,
        &mut ForwardEpilogue { bias, activation: Activation::Identity, shortcut: None, function: None },
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
