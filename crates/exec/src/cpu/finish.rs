//! What is done to a tile of rows while it is still in the cache: after a forward product, and after a backward one.

use fieldfit_nets::Activation;
use pulp::Arch;

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
        let shortcut = self.shortcut.map(|values| &values[offset..][..tile.len()]);
        Arch::new().dispatch(|| {
            match self.activation {
                Activation::Identity => add_bias(tile, self.bias, |value| value),
                Activation::Relu6 => add_bias(tile, self.bias, |value| value.clamp(0.0, SIX)),
            }
            if let Some(shortcut) = shortcut {
                add(tile, shortcut);
            }
        });
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
        let input = &self.input[offset..][..tile.len()];
        let shortcut = self.shortcut.map(|values| &values[offset..][..tile.len()]);
        Arch::new().dispatch(|| {
            if let Some(shortcut) = shortcut {
                add(tile, shortcut);
            }
            if self.activation == Activation::Relu6 {
                for (gradient, &value) in tile.iter_mut().zip(input) {
                    *gradient = if value > 0.0 && value < SIX { *gradient } else { 0.0 };
                }
            }
            sums.add(tile);
        });
    }
}

/// One sum a channel: f32 within a tile, f64 over tiles.
#[derive(Clone)]
pub(super) struct ChannelSums {
    tile: Vec<f32>,
    pub totals: Vec<f64>,
}

impl ChannelSums {
    pub fn new(channels: usize) -> Self {
        Self { tile: vec![0.0; channels], totals: vec![0.0; channels] }
    }

    /// Adds other parts' totals, in their order.
    pub fn merge(parts: Vec<Self>) -> Vec<f64> {
        let mut parts = parts.into_iter().map(|part| part.totals);
        let mut totals = parts.next().unwrap_or_default();
        for part in parts {
            totals.iter_mut().zip(part).for_each(|(total, value)| *total += value);
        }
        totals
    }

    #[inline(always)]
    fn add(&mut self, rows: &[f32]) {
        self.tile.fill(0.0);
        for row in rows.chunks_exact(self.tile.len()) {
            for (sum, value) in self.tile.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for (total, sum) in self.totals.iter_mut().zip(&self.tile) {
            *total += f64::from(*sum);
        }
    }
}

#[inline(always)]
fn add_bias(tile: &mut [f32], bias: &[f32], activate: impl Fn(f32) -> f32) {
    for row in tile.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value = activate(*value + bias);
        }
    }
}

#[inline(always)]
fn add(tile: &mut [f32], other: &[f32]) {
    for (value, other) in tile.iter_mut().zip(other) {
        *value += other;
    }
}
