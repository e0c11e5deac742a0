//! int8 weights of a node: quantised from the folded f32 weights, one scale an output, and merged with the scales of the
//! activations.

use super::kernels::depthwise::PackedDepthwise;
use super::kernels::elementwise::CENTRE;
#[cfg(target_arch = "x86_64")]
use super::kernels::winograd::PackedWinograd;
use super::kernels::{ColumnAffine, Isa, PackedInt8};
use super::lowering::depth;
use super::quantisation::Quantisation;
use crate::cpu::conv::fold_affine;
use crate::cpu::folded_weights::FoldedWeights;
use crate::cpu::layer_norm::LayerNormKernel;
use crate::cpu::linear;
use fieldfit_nets::{Activation, Conv, Linear, Prologue};
use fieldfit_tensor::Params;

/// Greatest code of a weight; −128 is not used, so that codes are symmetric.
const GREATEST: f32 = 127.0;

/// Packed weights of a convolution, for the kernel that computes it.
#[derive(Debug)]
pub(super) enum PackedConv {
    /// Right operand of a product of patches.
    Patches(PackedInt8),
    /// Transformed weights.
    #[cfg(target_arch = "x86_64")]
    Winograd(PackedWinograd),
}

impl PackedConv {
    /// Packs weights: `column` writes those of an output in the order of patches, `[taps, in]`.
    fn new(isa: Isa, conv: &Conv, column: impl FnMut(usize, &mut [i8])) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) | Isa::Vnni(_) if let Some(simd) = PackedWinograd::instructions(isa, conv) => {
                Self::Winograd(PackedWinograd::new(simd, conv, column))
            }
            _by_patches => Self::Patches(PackedInt8::new(depth(conv), conv.output, column)),
        }
    }

    /// Returns the bytes of a convolution's packed weights.
    fn bytes(isa: Isa, conv: &Conv) -> usize {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) | Isa::Vnni(_) if PackedWinograd::instructions(isa, conv).is_some() => {
                PackedWinograd::bytes(conv)
            }
            _by_patches => PackedInt8::bytes(depth(conv), conv.output),
        }
    }

    /// Returns the bytes allocated.
    const fn allocated(&self) -> usize {
        match self {
            Self::Patches(packed) => packed.allocated(),
            #[cfg(target_arch = "x86_64")]
            Self::Winograd(packed) => packed.allocated(),
        }
    }
}

/// Weights of a convolution as a product.
#[derive(Debug)]
pub(super) struct ProductWeights {
    pub packed: PackedConv,
    pub affine: ColumnAffine,
    /// Quantisation of the input.
    pub input: Quantisation,
    /// Factor of the shortcut's codes; 0 without a shortcut.
    pub shortcut: f32,
    /// Bounds of the activation, where the output is f32.
    pub bounds: [f32; 2],
}

/// Quantisations of a convolution's values.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvQuantisation {
    pub input: Quantisation,
    pub shortcut: Option<Quantisation>,
    /// `None` if the output is f32.
    pub output: Option<Quantisation>,
}

impl ProductWeights {
    /// Quantises a convolution's weights.
    pub fn new(isa: Isa, conv: &Conv, params: &Params<f32>, quantisation: ConvQuantisation) -> Self {
        let ConvQuantisation { input, shortcut, output } = quantisation;
        let mut folded = FoldedWeights::default();
        fold_affine(conv, params, &mut folded);
        let (weight, depth, taps) = (&params[conv.weight], depth(conv), conv.window.taps());
        let mut multipliers = Vec::with_capacity(conv.output);
        let mut row = vec![0.0; depth];
        let packed = PackedConv::new(isa, conv, |column, codes| {
            // From the checkpoint's order, `[in, taps]`, to that of patches, `[taps, in]`.
            let scale = folded.scale_of(column) as f32;
            let values = &weight[column * depth..][..depth];
            for (tap, row) in row.chunks_exact_mut(conv.input).enumerate() {
                let channels = row.iter_mut().zip(values[tap..].iter().step_by(taps));
                channels.for_each(|(out, value)| *out = scale * value);
            }
            multipliers.push(input.scale * quantise_row(&row, codes));
        });
        let (affine, shortcut) = merged(multipliers, &folded.bias, shortcut, output);
        Self { packed, affine, input, shortcut, bounds: bounds(conv.activation) }
    }

    /// Returns the bytes of a convolution's weights.
    pub fn bytes(isa: Isa, conv: &Conv) -> usize {
        PackedConv::bytes(isa, conv) + ColumnAffine::bytes(conv.output)
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        self.packed.allocated() + self.affine.allocated()
    }
}

/// Merges the scales of weights and activations: `sum · multiplier + addend + shortcut · factor` is the output, or its code.
fn merged(
    mut multipliers: Vec<f32>,
    bias: &[f32],
    shortcut: Option<Quantisation>,
    output: Option<Quantisation>,
) -> (ColumnAffine, f32) {
    let (scale, zero_point) = output.map_or((1.0, 0), Quantisation::parts);
    let factor = shortcut.map_or(0.0, |shortcut| shortcut.scale / scale);
    let shift = f32::from(zero_point) - factor * shortcut.map_or(0.0, |shortcut| f32::from(shortcut.zero_point));
    multipliers.iter_mut().for_each(|multiplier| *multiplier /= scale);
    let addends: Vec<f32> = bias.iter().map(|bias| bias / scale + shift).collect();
    (ColumnAffine::new(&multipliers, &addends), factor)
}

/// Returns the bounds that an activation keeps values in.
const fn bounds(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::Identity => [f32::NEG_INFINITY, f32::INFINITY],
        Activation::Relu => [0.0, f32::INFINITY],
        Activation::Relu6 => [0.0, 6.0],
    }
}

/// 1.5 · 2²³: what is added to it is rounded to an integer, ties to even, which the sum's lowest bits hold. Without SSE 4.1, rounding is
/// a call for each weight.
const ROUNDER: f32 = 12_582_912.0;

/// Quantises the weights of one output symmetrically; returns their scale.
fn quantise_row(row: &[f32], codes: &mut [i8]) -> f32 {
    let greatest = greatest_magnitude(row);
    // Weights that are all 0, or too small to divide by.
    let factor = if greatest > f32::MIN_POSITIVE * GREATEST { GREATEST / greatest } else { 0.0 };
    for (code, value) in codes.iter_mut().zip(row) {
        let bounded = (value * factor).clamp(-GREATEST, GREATEST);
        *code = (bounded + ROUNDER).to_bits() as i8;
    }
    greatest / GREATEST
}

/// Returns the greatest magnitude of values, by sixteen maxima that the compiler may vectorise.
fn greatest_magnitude(values: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut greatest = [0.0_f32; LANES];
    for chunk in chunks {
        greatest.iter_mut().zip(chunk).for_each(|(greatest, value)| *greatest = greatest.max(value.abs()));
    }
    rest.iter().map(|value| value.abs()).chain(greatest).fold(0.0, f32::max)
}

/// Quantises a depthwise convolution's weights.
pub(super) fn depthwise(
    isa: Isa,
    conv: &Conv,
    params: &Params<f32>,
    input: Quantisation,
    output: Quantisation,
) -> PackedDepthwise {
    let mut folded = FoldedWeights::default();
    fold_affine(conv, params, &mut folded);
    let (taps, channels) = (conv.window.taps(), conv.output);
    let mut codes = vec![0; taps * channels];
    let mut multipliers = Vec::with_capacity(channels);
    let (mut row, mut row_codes) = (vec![0.0; taps], vec![0; taps]);
    for (channel, weight) in params[conv.weight].chunks_exact(taps).enumerate() {
        row.iter_mut().zip(weight).for_each(|(row, weight)| *row = folded.scale_of(channel) as f32 * weight);
        multipliers.push(input.scale * quantise_row(&row, &mut row_codes) / output.scale);
        codes.iter_mut().skip(channel).step_by(channels).zip(&row_codes).for_each(|(code, tap)| *code = *tap);
    }
    let addends = folded.bias.iter().map(|bias| bias / output.scale + f32::from(output.zero_point)).collect();
    PackedDepthwise::new(isa, conv.window, input.zero_point, codes, [multipliers, addends])
}

/// Weights of a linear layer.
#[derive(Debug)]
pub(super) struct LinearWeights {
    pub prologue: Prologue,
    pub norm: LayerNormKernel,
    pub packed: PackedInt8,
    pub affine: ColumnAffine,
}

impl LinearWeights {
    /// Code of 0 of the rows.
    pub const ZERO_POINT: u8 = CENTRE;

    /// Quantises a linear layer's weights.
    pub fn new(layer: &Linear, params: &Params<f32>) -> Self {
        let mut folded = FoldedWeights::default();
        linear::fold_affine(layer, params, &mut folded);
        let (weight, depth) = (&params[layer.weight], layer.input);
        let mut multipliers = Vec::with_capacity(layer.output);
        let mut row = vec![0.0; depth];
        let packed = PackedInt8::new(depth, layer.output, |column, codes| {
            let scale = folded.scale_of(column) as f32;
            let values = row.iter_mut().zip(&weight[column * depth..][..depth]);
            values.for_each(|(row, value)| *row = scale * value);
            multipliers.push(quantise_row(&row, codes));
        });
        let affine = ColumnAffine::new(&multipliers, &folded.bias);
        Self { prologue: layer.prologue, norm: folded.norm, packed, affine }
    }

    /// Returns the bytes of a linear layer's weights.
    pub const fn bytes(layer: &Linear) -> usize {
        let norm = if let Prologue::LayerNorm(_) = layer.prologue { 2 * layer.input * size_of::<f32>() } else { 0 };
        PackedInt8::bytes(layer.input, layer.output) + ColumnAffine::bytes(layer.output) + norm
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        let norm = (self.norm.scale.capacity() + self.norm.shift.capacity()) * size_of::<f32>();
        self.packed.allocated() + self.affine.allocated() + norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a scale that does not bring back the weights, a greatest weight that saturates, zeros that become NaN.
    #[test]
    fn rows_of_weights_are_within_half_a_step() {
        let row = [0.5, -1.27, 0.003, 0.0, 1.0];
        let mut codes = [0; 5];
        let scale = quantise_row(&row, &mut codes);
        assert_eq!(codes[1], -127);
        assert!(row.iter().zip(codes).all(|(value, code)| (value - scale * f32::from(code)).abs() <= scale / 2.0));
        let mut codes = [1; 3];
        assert_eq!((quantise_row(&[0.0; 3], &mut codes), codes), (0.0, [0; 3]));
    }

    /// Catches: ties that are rounded away from 0 or down, negative weights that are off by one, a greatest weight beside the
    /// sixteen maxima.
    #[test]
    fn codes_are_rounded_to_even() {
        let halves: Vec<f32> = (-253..=253).map(|half| half as f32 / 2.0).chain([GREATEST]).collect();
        let mut codes = vec![0; halves.len()];
        assert_eq!(quantise_row(&halves, &mut codes), 1.0);
        for (value, code) in halves.iter().zip(codes) {
            assert_eq!(f32::from(code), value.round_ties_even(), "{value}");
        }
        for length in [1, 15, 16, 17, 40] {
            let values: Vec<f32> = (0..length).map(|index| if index + 1 == length { -3.0 } else { 0.5 }).collect();
            assert_eq!(greatest_magnitude(&values), 3.0, "{length}");
        }
    }
}
