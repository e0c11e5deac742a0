//! Convolution kernels with the frozen norm folded in, laid out as the kernels read them.

use super::layer_norm::Norm;
use super::product::{Onto, Packed};
use super::weight::Weight;
use super::winograd;
use fieldfit_nets::{ClassToken, Conv, Embed, Entry, LayerNorm, Linear, Op};
use fieldfit_tensor::Params;

/// `s·W` and `β − s·μ` with `s = γ / √(σ² + ε)`: convolving with them is convolution and norm at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Folded {
    /// Of a depthwise convolution, `[k, k, C]`; else empty.
    pub taps: Vec<f32>,
    /// Of any other: `[k · k · in, out]`.
    pub forward: Packed,
    /// The same transposed, `[out, k · k · in]`, where a backward pass follows.
    pub backward: Packed,
    /// `[out]`.
    pub bias: Vec<f32>,
    /// s, `[out]`; of a linear map LayerScale's γ, or empty.
    pub scale: Vec<f32>,
    /// The layer norm ahead, if there is one.
    pub norm: Norm,
    /// Of an embedding: the tokens ahead of the patches with their positions, and the patches' positions as they were
    /// learned, `[prefix + grid · grid, width]`.
    pub tokens: Vec<f32>,
}

/// What weights are folded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Inference,
    Training,
}

impl Folded {
    /// Folds an op anew into the buffers that there are.
    pub fn refill_op(&mut self, op: &Op, params: &Params<f32>, purpose: Purpose) {
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

    /// With LayerScale's γ folded in.
    fn refill_linear(&mut self, linear: &Linear, params: &Params<f32>, purpose: Purpose) {
        if let Entry::LayerNorm(norm) = &linear.entry {
            self.refill_norm(norm, params);
        }
        refill(&mut self.bias, &params[linear.bias]);
        refill(&mut self.scale, linear.scale.map_or(&[], |scale| &params[scale]));
        self.bias.iter_mut().zip(&self.scale).for_each(|(bias, scale)| *bias *= scale);
        let weight = Weight { scale: &self.scale, ..Weight::matrix(&params[linear.weight], linear.input) };
        weight.pack_forward(&mut self.forward);
        if purpose == Purpose::Training {
            weight.pack_backward(&mut self.backward);
        }
    }

    fn refill_embed(&mut self, embed: &Embed, params: &Params<f32>) {
        let Embed { width, placed, .. } = *embed;
        refill(&mut self.bias, &params[embed.bias]);
        Weight::matrix(&params[embed.weight], embed.patch_len()).pack_forward(&mut self.forward);
        let (ahead, learned) = params[embed.positions].split_at(placed * width);
        let registers: &[f32] = embed.registers.map_or(&[], |registers| &params[registers]);
        self.tokens.clear();
        self.tokens.reserve_exact(embed.prefix * width + learned.len());
        self.tokens.extend(params[embed.class_token].iter().chain(registers));
        self.tokens.iter_mut().zip(ahead).for_each(|(token, position)| *token += position);
        self.tokens.extend_from_slice(learned);
    }

    /// Folds a convolution anew.
    pub fn refill(&mut self, conv: &Conv, params: &Params<f32>, purpose: Purpose) {
        let (gamma, beta) = (&params[conv.norm.scale], &params[conv.norm.shift]);
        let (mean, variance) = (&params[conv.norm.mean], &params[conv.norm.variance]);
        self.scale.clear();
        self.scale
            .extend(gamma.iter().zip(variance).map(|(gamma, variance)| gamma * inverse_deviation(conv, *variance)));
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
        let weight = Weight { values: weight, inputs: conv.input, taps: conv.kernel * conv.kernel, scale: &self.scale };
        let is_winograds = winograd::suits(conv);
        if is_winograds {
            weight.pack_winograd(&mut self.forward)
        } else {
            weight.pack_forward(&mut self.forward)
        }
        match purpose {
            Purpose::Inference => {}
            Purpose::Training if is_winograds => weight.pack_winograd_turned(&mut self.backward),
            Purpose::Training => weight.pack_backward(&mut self.backward),
        }
    }
}

/// Copies into the buffer that there is.
fn refill(buffer: &mut Vec<f32>, values: &[f32]) {
    buffer.clear();
    buffer.reserve_exact(values.len());
    buffer.extend_from_slice(values);
}

/// `1 / √(σ² + ε)`.
pub(super) fn inverse_deviation(conv: &Conv, variance: f32) -> f32 {
    (1.0 / (f64::from(variance) + conv.norm.epsilon).sqrt()) as f32
}

/// Puts a kernel's gradient from our order, taps ahead of channels (`[k, k, C]` for a depthwise convolution, else
/// `[out, k, k, in]`), into the checkpoint's `[out, in / groups, k, k]`.
pub(super) fn to_checkpoint(conv: &Conv, values: &mut [f32]) {
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

/// Writes the values over the targets, or adds them.
pub(super) fn put(targets: &mut [f32], values: impl Iterator<Item = f32>, onto: Onto) {
    match onto {
        Onto::Fresh => targets.iter_mut().zip(values).for_each(|(target, value)| *target = value),
        Onto::Sum => targets.iter_mut().zip(values).for_each(|(target, value)| *target += value),
    }
}
