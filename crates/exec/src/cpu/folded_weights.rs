//! Folded weights: checkpoint weights with the frozen norm folded in, packed for the kernels.

use super::checkpoint_weight::CheckpointWeight;
use super::layer_norm::LayerNormKernel;
use super::matmul::{Accumulate, PackedMatrix};
use super::winograd;
use fieldfit_nets::{ClassToken, Conv, Embed, LayerNorm, Linear, Op, Prologue};
use fieldfit_tensor::Params;

/// Folded weights of one op: `s·W` and `β − s·μ` with `s = γ / √(σ² + ε)`, so that one convolution computes convolution
/// and norm.
#[derive(Debug, Clone, Default)]
pub(super) struct FoldedWeights {
    /// Kernel of a depthwise convolution, `[k, k, C]`; empty for other ops.
    pub taps: Vec<f32>,
    /// Kernel of other ops, `[k · k · in, out]`.
    pub forward: PackedMatrix,
    /// The same transposed, `[out, k · k · in]`; for training only.
    pub backward: PackedMatrix,
    /// `[out]`.
    pub bias: Vec<f32>,
    /// s, `[out]`; for a linear layer, LayerScale's γ or empty.
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
    /// Folds the weights of an op into the existing buffers.
    pub fn refill_op(&mut self, op: &Op, params: &Params<f32>, purpose: FoldPurpose) {
        match op {
            Op::Conv(conv) => self.refill(conv, params, purpose),
            Op::Linear(linear) => self.refill_linear(linear, params, purpose),
            Op::Embed(embed) => self.refill_embed(embed, params),
            Op::ClassToken(ClassToken { norm, .. }) => self.refill_norm(norm, params),
            Op::MaxPool(_) | Op::GlobalAveragePool | Op::Attention(_) => {}
        }
    }

    fn refill_norm(&mut self, norm: &LayerNorm, params: &Params<f32>) {
        refill(&mut self.norm.scale, &params[norm.scale]);
        refill(&mut self.norm.shift, &params[norm.shift]);
        self.norm.epsilon = norm.epsilon as f32;
    }

    /// Packs a linear layer with LayerScale's γ folded in.
    fn refill_linear(&mut self, linear: &Linear, params: &Params<f32>, purpose: FoldPurpose) {
        if let Prologue::LayerNorm(norm) = &linear.prologue {
            self.refill_norm(norm, params);
        }
        refill(&mut self.bias, &params[linear.bias]);
        refill(&mut self.scale, linear.scale.map_or(&[], |scale| &params[scale]));
        self.bias.iter_mut().zip(&self.scale).for_each(|(bias, scale)| *bias *= scale);
        let weight =
            CheckpointWeight { scale: &self.scale, ..CheckpointWeight::matrix(&params[linear.weight], linear.input) };
        weight.pack_forward(&mut self.forward);
        if purpose == FoldPurpose::Training {
            weight.pack_backward(&mut self.backward);
        }
    }

    fn refill_embed(&mut self, embed: &Embed, params: &Params<f32>) {
        let Embed { width, prefix_positions, .. } = *embed;
        refill(&mut self.bias, &params[embed.bias]);
        CheckpointWeight::matrix(&params[embed.weight], embed.patch_len()).pack_forward(&mut self.forward);
        let (ahead, learned) = params[embed.positions].split_at(prefix_positions * width);
        let registers: &[f32] = embed.registers.map_or(&[], |registers| &params[registers]);
        self.tokens.clear();
        self.tokens.reserve_exact(embed.prefix * width + learned.len());
        self.tokens.extend(params[embed.class_token].iter().chain(registers));
        self.tokens.iter_mut().zip(ahead).for_each(|(token, position)| *token += position);
        self.tokens.extend_from_slice(learned);
    }

    /// Folds a convolution's batch norm and packs its kernel.
    pub fn refill(&mut self, conv: &Conv, params: &Params<f32>, purpose: FoldPurpose) {
        let (gamma, beta) = (&params[conv.norm.scale], &params[conv.norm.shift]);
        let (mean, variance) = (&params[conv.norm.mean], &params[conv.norm.variance]);
        self.scale.clear();
        self.scale.extend(gamma.iter().zip(variance).map(|(gamma, variance)| gamma * inverse_std(conv, *variance)));
        self.bias.clear();
        self.bias.extend(self.scale.iter().zip(mean).zip(beta).map(|((scale, mean), beta)| beta - scale * mean));
        let weight = &params[conv.weight];
        if conv.is_depthwise() {
            let taps = conv.kernel * conv.kernel;
            self.taps.resize(weight.len(), 0.0);
            for (tap, values) in self.taps.chunks_exact_mut(conv.output).enumerate() {
                let weights = weight.iter().skip(tap).step_by(taps);
                values.iter_mut().zip(weights).zip(&self.scale).for_each(|((value, weight), s)| *value = s * weight);
            }
            return;
        }
        let weight = CheckpointWeight {
            values: weight,
            inputs: conv.input,
            taps: conv.kernel * conv.kernel,
            scale: &self.scale,
        };
        let is_winograds = winograd::supports(conv);
        if is_winograds {
            weight.pack_winograd(&mut self.forward)
        } else {
            weight.pack_forward(&mut self.forward)
        }
        match purpose {
            FoldPurpose::Inference => {}
            FoldPurpose::Training if is_winograds => weight.pack_winograd_rotated(&mut self.backward),
            FoldPurpose::Training => weight.pack_backward(&mut self.backward),
        }
    }
}

/// Copies values into an existing buffer.
fn refill(buffer: &mut Vec<f32>, values: &[f32]) {
    buffer.clear();
    buffer.reserve_exact(values.len());
    buffer.extend_from_slice(values);
}

/// Returns `1 / √(σ² + ε)`.
pub(super) fn inverse_std(conv: &Conv, variance: f32) -> f32 {
    (1.0 / (f64::from(variance) + conv.norm.epsilon).sqrt()) as f32
}

/// Permutes a kernel's gradient, in place, from the kernels' layout (`[k, k, C]` for a depthwise convolution, else
/// `[out, k, k, in]`) to the checkpoint's, `[out, in / groups, k, k]`.
pub(super) fn to_checkpoint_layout(conv: &Conv, values: &mut [f32]) {
    let taps = conv.kernel * conv.kernel;
    if taps == 1 {
        return;
    }
    let (block, inner) =
        if conv.is_depthwise() { (values.len(), conv.output) } else { (taps * conv.input, conv.input) };
    let mut ours = vec![0.0; block.min(values.len())];
    for checkpoint in values.chunks_exact_mut(block.max(1)) {
        ours.copy_from_slice(checkpoint);
        for (channel, values) in checkpoint.chunks_exact_mut(taps).enumerate() {
            values.iter_mut().enumerate().for_each(|(tap, value)| *value = ours[tap * inner + channel]);
        }
    }
}

/// Overwrites the targets with the values, or adds them.
pub(super) fn write_gradient(targets: &mut [f32], values: impl Iterator<Item = f32>, accumulate: Accumulate) {
    match accumulate {
        Accumulate::Overwrite => targets.iter_mut().zip(values).for_each(|(target, value)| *target = value),
        Accumulate::Add => targets.iter_mut().zip(values).for_each(|(target, value)| *target += value),
    }
}
