//! Folded weights: checkpoint weights with the frozen norm folded in, packed for the kernels.

use super::layer_norm::LayerNormKernel;
use super::matmul::{Accumulate, PackedMatrix};
use fieldfit_nets::LayerNorm;
use fieldfit_tensor::Params;

/// Folded weights of one op.
#[derive(Debug, Clone, Default)]
pub(super) struct FoldedWeights {
    /// Kernel of a depthwise convolution, `[taps, C]`, or of a grouped one, group by group; empty for other ops.
    pub taps: Vec<f32>,
    /// Kernel of a grouped convolution transposed, group by group; for training only.
    pub transposed_taps: Vec<f32>,
    /// Kernel of other ops, `[taps · in, out]`.
    pub forward: PackedMatrix,
    /// The same transposed, `[out, taps · in]`; for training only.
    pub backward: PackedMatrix,
    /// `[out]`.
    pub bias: Vec<f32>,
    /// The factor s of each output that the kernel has folded in: the norm's, LayerScale's γ; empty for a factor of 1.
    pub scale: Vec<f32>,
    /// The layer norm before the product; empty if there is none.
    pub norm: LayerNormKernel,
    /// For a patch embedding: the prefix tokens with their position embeddings, and the position embeddings of the
    /// checkpoint's patches, `[prefix + grid · grid, width]`.
    pub tokens: Vec<f32>,
}

/// Whether weights are folded for inference alone or for training.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FoldPurpose {
    Inference,
    Training,
}

impl FoldedWeights {
    /// Copies a layer norm's tensors.
    pub fn refill_norm(&mut self, norm: &LayerNorm, params: &Params<f32>) {
        refill(&mut self.norm.scale, &params[norm.scale]);
        refill(&mut self.norm.shift, &params[norm.shift]);
        self.norm.epsilon = norm.epsilon as f32;
    }

    /// Returns the factor of an output.
    pub fn scale_of(&self, output: usize) -> f64 {
        self.scale.get(output).map_or(1.0, |scale| f64::from(*scale))
    }

    /// Returns the number of values allocated.
    pub fn capacity(&self) -> usize {
        self.taps.capacity()
            + self.transposed_taps.capacity()
            + self.forward.capacity()
            + self.backward.capacity()
            + self.bias.capacity()
            + self.scale.capacity()
            + self.norm.scale.capacity()
            + self.norm.shift.capacity()
            + self.tokens.capacity()
    }
}

/// Copies values into an existing buffer.
pub(super) fn refill(buffer: &mut Vec<f32>, values: &[f32]) {
    buffer.clear();
    buffer.reserve_exact(values.len());
    buffer.extend_from_slice(values);
}

/// Overwrites the targets with the values, or adds them.
pub(super) fn write_gradient(targets: &mut [f32], values: impl Iterator<Item = f32>, accumulate: Accumulate) {
    match accumulate {
        Accumulate::Overwrite => targets.iter_mut().zip(values).for_each(|(target, value)| *target = value),
        Accumulate::Add => targets.iter_mut().zip(values).for_each(|(target, value)| *target += value),
    }
}

/// Adds `⟨W, G⟩` of each channel; does nothing if G is empty.
pub(super) fn add_products(terms: &mut [f64], weight: &[f32], unscaled: &[f32]) {
    let row = unscaled.len() / terms.len().max(1);
    let rows = weight.chunks_exact(row.max(1)).zip(unscaled.chunks_exact(row.max(1)));
    terms.iter_mut().zip(rows).for_each(|(term, (weight, unscaled))| *term += dot(weight, unscaled));
}

/// Returns the dot product in f64.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f64 {
    let product = |(left, right): (&f32, &f32)| f64::from(*left) * f64::from(*right);
    let (left, right) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    // Independent partial sums hide the latency of additions.
    let mut lanes = [0.0; 8];
    for (left, right) in left.0.iter().zip(right.0) {
        for (lane, pair) in lanes.iter_mut().zip(left.iter().zip(right)) {
            *lane += product(pair);
        }
    }
    lanes.into_iter().chain(left.1.iter().zip(right.1).map(product)).sum()
}
