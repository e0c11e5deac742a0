//! What ends a tile of sums before it is written: after a forward op, and after a backward one.

use super::tile::{Block, Sums, VECTORS, with_vectors};
use fieldfit_nets::Activation;
use pulp::{Arch, Simd, WithSimd};

/// The largest value that ReLU6 lets through.
const SIX: f32 = 6.0;

/// Ends tiles of an activation, each once.
pub(super) trait Ending {
    /// Ends the sums of one tile, which are written thereafter.
    fn end<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: &Block<S>,
        sums: &mut Sums<S, R, V>,
    );
}

/// The sums are the result.
pub(super) struct AsItIs;

impl Ending for AsItIs {
    #[inline(always)]
    fn end<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        _: S,
        _: &Block<S>,
        _: &mut Sums<S, R, V>,
    ) {
    }
}

/// Ends a forward op: bias (the folded norm's shift), shortcut, activation.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// One a channel.
    pub bias: &'a [f32],
    pub activation: Activation,
    /// The stage's input, where a shortcut ends here: as many values as the whole output.
    pub shortcut: Option<&'a [f32]>,
}

impl Ending for Finish<'_> {
    #[inline(always)]
    fn end<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: &Block<S>,
        sums: &mut Sums<S, R, V>,
    ) {
        let bias = block.read_channels::<V, TAIL>(simd, self.bias);
        for vector in 0..V {
            for sums in sums.iter_mut() {
                sums[vector] = simd.add_f32s(sums[vector], bias[vector]);
            }
        }
        if let Some(shortcut) = self.shortcut {
            block.update::<R, V, TAIL>(simd, sums, shortcut, |sum, shortcut| simd.add_f32s(sum, shortcut));
        }
        let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(SIX));
        match self.activation {
            Activation::Identity => {}
            Activation::Relu => each(sums, |sum| simd.max_f32s(sum, zero)),
            Activation::Relu6 => each(sums, |sum| simd.min_f32s(simd.max_f32s(sum, zero), six)),
        }
    }
}

/// Puts each vector of a tile through `work`.
#[inline(always)]
fn each<V: Copy, const R: usize, const N: usize>(tile: &mut [[V; N]; R], work: impl Fn(V) -> V) {
    for vector in 0..N {
        for row in tile.iter_mut() {
            row[vector] = work(row[vector]);
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

impl<'a> Upstream<'a> {
    /// Nothing to mask and nothing to add.
    pub const fn open(input: &'a [f32]) -> Self {
        Self { input, activation: Activation::Identity, shortcut: None }
    }

    /// Ends tiles and sums them up.
    pub const fn summing(self, sums: &'a mut ChannelSums) -> Summing<'a> {
        Summing { upstream: self, sums }
    }
}

/// [`Upstream`], and the sums of what it lets through.
pub(super) struct Summing<'a> {
    upstream: Upstream<'a>,
    sums: &'a mut ChannelSums,
}

impl Summing<'_> {
    /// Ends whole rows in place, `first` values into the activation.
    pub fn apply(&mut self, first: usize, rows: &mut [f32]) {
        Arch::new().dispatch(Apply { first, rows, ending: self });
        self.sums.flush();
    }

    /// To be called after a tile's worth of rows: the sums so far go from f32 to f64.
    pub fn flush(&mut self) {
        self.sums.flush();
    }
}

impl Ending for Summing<'_> {
    #[inline(always)]
    fn end<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: &Block<S>,
        sums: &mut Sums<S, R, V>,
    ) {
        if let Some(shortcut) = self.upstream.shortcut {
            block.update::<R, V, TAIL>(simd, sums, shortcut, |sum, shortcut| simd.add_f32s(sum, shortcut));
        }
        // An activation passes a gradient where it was at neither of its ends.
        let (zero, six, input) = (simd.splat_f32s(0.0), simd.splat_f32s(SIX), self.upstream.input);
        match self.upstream.activation {
            Activation::Identity => {}
            Activation::Relu => block.update::<R, V, TAIL>(simd, sums, input, |gradient, output| {
                simd.select_f32s(simd.less_than_f32s(zero, output), gradient, zero)
            }),
            Activation::Relu6 => block.update::<R, V, TAIL>(simd, sums, input, |gradient, output| {
                let passed = simd.select_f32s(simd.less_than_f32s(output, six), gradient, zero);
                simd.select_f32s(simd.less_than_f32s(zero, output), passed, zero)
            }),
        }
        let mut totals = [simd.splat_f32s(0.0); V];
        for vector in 0..V {
            for sums in sums.iter() {
                totals[vector] = simd.add_f32s(totals[vector], sums[vector]);
            }
        }
        block.add_channels::<V, TAIL>(simd, totals, &mut self.sums.tile);
    }
}

/// One sum a channel: f32 within a tile's worth of rows, f64 over them.
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

    /// The sums that aren't in f64 yet.
    pub fn tile(&mut self) -> &mut [f32] {
        &mut self.tile
    }

    pub fn flush(&mut self) {
        for (total, sum) in self.totals.iter_mut().zip(&mut self.tile) {
            *total += f64::from(std::mem::take(sum));
        }
    }
}

/// Ends rows that are in memory already.
struct Apply<'a, E> {
    first: usize,
    rows: &'a mut [f32],
    ending: &'a mut E,
}

impl WithSimd for Apply<'_, Summing<'_>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let channels = self.ending.sums.tile.len();
        for row in (0..self.rows.len()).step_by(channels) {
            for channel in (0..channels).step_by(VECTORS * S::F32_LANES) {
                with_vectors!(S::F32_LANES, channels, channel, self.tile::<S>(simd, row, channel));
            }
        }
    }
}

impl Apply<'_, Summing<'_>> {
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, row: usize, channel: usize) {
        let channels = self.ending.sums.tile.len();
        let here = Block::new::<V>(simd, row + channel, channels, channel, channels);
        let mut values = [here.read_row::<V, TAIL>(simd, self.rows)];
        let block = here.at(self.first + here.start);
        self.ending.end::<S, 1, V, TAIL>(simd, &block, &mut values);
        here.write::<1, V, TAIL>(simd, &values, 0, self.rows);
    }
}
