//! Convolution kernels with the frozen norm folded in, laid out as the kernels read them.

use super::product::Packed;
use fieldfit_model::Params;
use fieldfit_nets::Conv;

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
    /// s, `[out]`.
    pub scale: Vec<f32>,
}

/// What weights are folded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Inference,
    Training,
}

impl Folded {
    /// Folds anew into the buffers that there are.
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
            self.taps.resize(weight.len(), 0.0);
            permute(conv, weight, &mut self.taps, Direction::FromCheckpoint);
            for tap in self.taps.chunks_exact_mut(conv.output) {
                tap.iter_mut().zip(&self.scale).for_each(|(weight, scale)| *weight *= scale);
            }
            return;
        }
        let (taps, scale) = (conv.kernel * conv.kernel, &self.scale);
        let patch = taps * conv.input;
        // Where the checkpoint has the k-th value of a patch.
        let place = |k: usize| if taps == 1 { k } else { k % conv.input * taps + k / conv.input };
        self.forward.refill(patch, conv.output, |k, outputs, row| {
            let place = place(k);
            for (value, output) in row.iter_mut().zip(outputs) {
                *value = scale[output] * weight[output * patch + place];
            }
        });
        if purpose == Purpose::Training {
            self.backward.refill(conv.output, patch, |output, patches, row| {
                let (scale, weight) = (scale[output], &weight[output * patch..][..patch]);
                if taps == 1 {
                    row.iter_mut().zip(&weight[patches]).for_each(|(value, weight)| *value = scale * weight);
                } else {
                    row.iter_mut().zip(patches).for_each(|(value, k)| *value = scale * weight[place(k)]);
                }
            });
        }
    }
}

/// `1 / √(σ² + ε)`.
pub(super) fn inverse_deviation(conv: &Conv, variance: f32) -> f32 {
    (1.0 / (f64::from(variance) + conv.norm.epsilon).sqrt()) as f32
}

/// Which way a kernel's values are reordered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    FromCheckpoint,
    ToCheckpoint,
}

/// Reorders between the checkpoint's `[out, in / groups, k, k]` and taps ahead of channels: `[k, k, C]` for a depthwise
/// convolution, else `[out, k, k, in]`.
pub(super) fn permute(conv: &Conv, source: &[f32], target: &mut [f32], direction: Direction) {
    let taps = conv.kernel * conv.kernel;
    if taps == 1 {
        target.copy_from_slice(source);
        return;
    }
    let (block, inner) =
        if conv.is_depthwise() { (source.len(), conv.output) } else { (taps * conv.input, conv.input) };
    for (source, target) in source.chunks_exact(block).zip(target.chunks_exact_mut(block)) {
        for tap in 0..taps {
            for channel in 0..inner {
                let (checkpoint, ours) = (channel * taps + tap, tap * inner + channel);
                match direction {
                    Direction::FromCheckpoint => target[ours] = source[checkpoint],
                    Direction::ToCheckpoint => target[checkpoint] = source[ours],
                }
            }
        }
    }
}
