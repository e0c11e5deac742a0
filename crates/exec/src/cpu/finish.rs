//! What is done to a tile of rows while it is still in the cache: after a forward product, and after a backward one.

use fieldfit_nets::Activation;
use pulp::{Arch, Simd, WithSimd};

/// The largest value that ReLU6 lets through.
const SIX: f32 = 6.0;

/// Ends a forward op: bias (the folded norm's shift), activation, shortcut.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// One a channel.
    pub bias: &'a [f32],
    pub activation: Activation,
    /// The stage's input, where a shortcut ends here: as many values as the whole output.
    pub shortcut: Option<&'a [f32]>,
}

impl Finish<'_> {
    /// `tile` are whole rows of the output, `offset` values into it.
    pub fn apply(&self, offset: usize, tile: &mut [f32]) {
        let arch = Arch::new();
        match self.activation {
            Activation::Identity => arch.dispatch(AddBias { tile, bias: self.bias, clamp: false }),
            Activation::Relu6 => arch.dispatch(AddBias { tile, bias: self.bias, clamp: true }),
        }
        if let Some(shortcut) = self.shortcut {
            arch.dispatch(Add { other: &shortcut[offset..][..tile.len()], values: tile });
        }
    }
}

/// Ends a backward op: turns the gradient of an op's input into that of the op before it, ahead of its activation.
#[derive(Clone, Copy)]
pub(super) struct Upstream<'a> {
    /// The op's input: the activated output of the op before it.
    pub input: &'a [f32],
    /// The activation that made `input`.
    pub activation: Activation,
    /// The gradient that comes by a shortcut around this op.
    pub shortcut: Option<&'a [f32]>,
}

impl Upstream<'_> {
    /// `tile` are whole rows of the gradient, `offset` values into it. Adds each channel's sum to `sums`.
    pub fn apply(&self, offset: usize, tile: &mut [f32], sums: &mut ChannelSums) {
        let arch = Arch::new();
        if let Some(shortcut) = self.shortcut {
            arch.dispatch(Add { other: &shortcut[offset..][..tile.len()], values: tile });
        }
        if self.activation == Activation::Relu6 {
            arch.dispatch(Mask { output: &self.input[offset..][..tile.len()], gradient: tile });
        }
        sums.add(tile);
    }
}

/// One sum a channel: f32 within a tile, f64 over tiles.
#[derive(Clone)]
pub(super) struct ChannelSums {
    tile: Vec<f32>,
    totals: Vec<f64>,
}

impl ChannelSums {
    pub fn new(channels: usize) -> Self {
        Self { tile: vec![0.0; channels], totals: vec![0.0; channels] }
    }

    /// The parts' totals, added in their order.
    pub fn merge(parts: Vec<Self>) -> Vec<f64> {
        let mut parts = parts.into_iter().map(|part| part.totals);
        let mut totals = parts.next().unwrap_or_default();
        for part in parts {
            totals.iter_mut().zip(part).for_each(|(total, value)| *total += value);
        }
        totals
    }

    fn add(&mut self, rows: &[f32]) {
        self.tile.fill(0.0);
        let channels = self.tile.len();
        let arch = Arch::new();
        rows.chunks_exact(channels).for_each(|row| arch.dispatch(Add { values: &mut self.tile, other: row }));
        for (total, sum) in self.totals.iter_mut().zip(&self.tile) {
            *total += f64::from(*sum);
        }
    }
}

/// `tile = activation(tile + bias)`, row by row.
struct AddBias<'a> {
    tile: &'a mut [f32],
    bias: &'a [f32],
    /// Whether the activation is ReLU6.
    clamp: bool,
}

impl WithSimd for AddBias<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(SIX));
        let (biases, bias_rest) = S::as_simd_f32s(self.bias);
        for row in self.tile.chunks_exact_mut(self.bias.len()) {
            let (values, rest) = S::as_mut_simd_f32s(row);
            for (value, bias) in values.iter_mut().zip(biases) {
                let sum = simd.add_f32s(*value, *bias);
                *value = if self.clamp { simd.min_f32s(simd.max_f32s(sum, zero), six) } else { sum };
            }
            for (value, bias) in rest.iter_mut().zip(bias_rest) {
                let sum = *value + bias;
                *value = if self.clamp { sum.clamp(0.0, SIX) } else { sum };
            }
        }
    }
}

/// `values += other`.
struct Add<'a> {
    values: &'a mut [f32],
    other: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (values, rest) = S::as_mut_simd_f32s(self.values);
        let (others, other_rest) = S::as_simd_f32s(self.other);
        values.iter_mut().zip(others).for_each(|(value, other)| *value = simd.add_f32s(*value, *other));
        rest.iter_mut().zip(other_rest).for_each(|(value, other)| *value += other);
    }
}

/// Zeroes the gradient where ReLU6 was at one of its ends: `0 < output < 6` elsewhere.
struct Mask<'a> {
    gradient: &'a mut [f32],
    output: &'a [f32],
}

impl WithSimd for Mask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(SIX));
        let (gradients, rest) = S::as_mut_simd_f32s(self.gradient);
        let (outputs, output_rest) = S::as_simd_f32s(self.output);
        for (gradient, output) in gradients.iter_mut().zip(outputs) {
            let passed = simd.select_f32s(simd.less_than_f32s(*output, six), *gradient, zero);
            *gradient = simd.select_f32s(simd.less_than_f32s(zero, *output), passed, zero);
        }
        for (gradient, output) in rest.iter_mut().zip(output_rest) {
            *gradient = if *output > 0.0 && *output < SIX { *gradient } else { 0.0 };
        }
    }
}
