//! Epilogues: what is applied to a tile of sums in registers before it is written, forward and backward.

use super::activate::apply;
use super::thread_pool::{ThreadPool, split_rows};
use super::tile::{Block, Sums, VECTORS, with_vectors};
use fieldfit_nets::{Activation, Function};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Upper bound of ReLU6.
const SIX: f32 = 6.0;

/// Rows that [`BackwardEpilogue::finish`] sums in f32.
const ROWS: usize = 64;

/// Epilogue of a tiled kernel, applied once to each tile.
pub(super) trait Epilogue {
    /// Transforms the sums of one tile, which are written afterwards.
    fn apply<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: &Block<S>,
        sums: &mut Sums<S, R, V>,
    );
}

/// Epilogue that leaves the sums unchanged.
pub(super) struct IdentityEpilogue;

impl Epilogue for IdentityEpilogue {
    #[inline(always)]
    fn apply<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        _: S,
        _: &Block<S>,
        _: &mut Sums<S, R, V>,
    ) {
    }
}

/// Forward epilogue: adds the bias (the folded norm's shift) and the shortcut, then applies the activation.
#[derive(Clone, Copy)]
pub(super) struct ForwardEpilogue<'a> {
    /// One per channel.
    pub bias: &'a [f32],
    pub activation: Activation,
    /// The values of a shortcut, as many as the whole output; `None` without a shortcut.
    pub shortcut: Option<&'a [f32]>,
    /// Function that [`finish`](Self::finish) applies.
    pub function: Option<Function>,
}

impl ForwardEpilogue<'_> {
    /// Applies the function to values that are written and complete, while they are in the cache.
    pub fn finish(&self, values: &mut [f32]) {
        if let Some(function) = self.function {
            apply(function, values);
        }
    }
}

impl Epilogue for ForwardEpilogue<'_> {
    #[inline(always)]
    fn apply<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
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
            Activation::Relu => map_vectors(sums, |sum| simd.max_f32s(sum, zero)),
            Activation::Relu6 => map_vectors(sums, |sum| simd.min_f32s(simd.max_f32s(sum, zero), six)),
        }
    }
}

/// Applies `work` to each vector of a tile.
#[inline(always)]
fn map_vectors<V: Copy, const R: usize, const N: usize>(tile: &mut [[V; N]; R], work: impl Fn(V) -> V) {
    for vector in 0..N {
        for row in tile.iter_mut() {
            row[vector] = work(row[vector]);
        }
    }
}

/// Backward epilogue: converts the gradient of an op's input to the gradient before the activation of the op that
/// produced it.
#[derive(Clone, Copy)]
pub(super) struct BackwardEpilogue<'a> {
    /// The op's input: the previous op's output.
    pub input: &'a [f32],
    /// The activation that made `input`.
    pub activation: Activation,
    /// The gradient of a shortcut around this op.
    pub shortcut: Option<&'a [f32]>,
}

impl<'a> BackwardEpilogue<'a> {
    /// Returns an epilogue that masks and adds nothing.
    pub const fn identity(input: &'a [f32]) -> Self {
        Self { input, activation: Activation::Identity, shortcut: None }
    }

    /// Applies the epilogue in place to a whole gradient of rows of that many channels; returns its sums over rows.
    pub fn finish(&self, threads: &ThreadPool, channels: usize, values: &mut [f32]) -> Vec<f64> {
        let ranges = threads.ranges(values.len() / channels.max(1));
        let mut sums = vec![ChannelSums::new(channels); ranges.len()];
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, channels, values)).zip(&mut sums);
        threads.for_each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), &mut ChannelSums)| {
            for (index, rows) in part.chunks_mut(ROWS * channels).enumerate() {
                self.with_sums(sums).apply_rows((range.start + index * ROWS) * channels, rows);
            }
        });
        ChannelSums::merge(sums)
    }

    /// Adds per-channel sums to the epilogue.
    pub const fn with_sums(self, sums: &'a mut ChannelSums) -> SummingEpilogue<'a> {
        SummingEpilogue { epilogue: self, sums }
    }
}

/// [`BackwardEpilogue`] that also accumulates per-channel sums of its results.
pub(super) struct SummingEpilogue<'a> {
    epilogue: BackwardEpilogue<'a>,
    sums: &'a mut ChannelSums,
}

impl SummingEpilogue<'_> {
    /// Applies the epilogue in place to whole rows that start at value `first` of the activation.
    pub fn apply_rows(&mut self, first: usize, rows: &mut [f32]) {
        Arch::new().dispatch(ApplyRows { first, rows, epilogue: self });
        self.sums.flush();
    }

    /// Adds the f32 sums to the f64 totals. Must be called after each tile of rows.
    pub fn flush(&mut self) {
        self.sums.flush();
    }
}

impl Epilogue for SummingEpilogue<'_> {
    #[inline(always)]
    fn apply<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: &Block<S>,
        sums: &mut Sums<S, R, V>,
    ) {
        if let Some(shortcut) = self.epilogue.shortcut {
            block.update::<R, V, TAIL>(simd, sums, shortcut, |sum, shortcut| simd.add_f32s(sum, shortcut));
        }
        // An activation passes a gradient where it was not clipped.
        let (zero, six, input) = (simd.splat_f32s(0.0), simd.splat_f32s(SIX), self.epilogue.input);
        match self.epilogue.activation {
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

/// Per-channel sums: f32 within a tile of rows, f64 over tiles.
#[derive(Clone)]
pub(super) struct ChannelSums {
    tile: Vec<f32>,
    totals: Vec<f64>,
}

impl ChannelSums {
    pub fn new(channels: usize) -> Self {
        Self { tile: vec![0.0; channels], totals: vec![0.0; channels] }
    }

    /// Adds the totals of the parts, in order.
    pub fn merge(parts: Vec<Self>) -> Vec<f64> {
        let mut parts = parts.into_iter().map(|part| part.totals);
        let mut totals = parts.next().unwrap_or_default();
        for part in parts {
            totals.iter_mut().zip(part).for_each(|(total, value)| *total += value);
        }
        totals
    }

    /// The f32 sums of the current tile.
    pub fn tile(&mut self) -> &mut [f32] {
        &mut self.tile
    }

    /// Adds the f32 sums to the f64 totals and resets them.
    pub fn flush(&mut self) {
        for (total, sum) in self.totals.iter_mut().zip(&mut self.tile) {
            *total += f64::from(std::mem::take(sum));
        }
    }
}

/// SIMD kernel that applies an epilogue to rows in memory.
struct ApplyRows<'a, E> {
    first: usize,
    rows: &'a mut [f32],
    epilogue: &'a mut E,
}

impl WithSimd for ApplyRows<'_, SummingEpilogue<'_>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let channels = self.epilogue.sums.tile.len();
        for row in (0..self.rows.len()).step_by(channels) {
            for channel in (0..channels).step_by(VECTORS * S::F32_LANES) {
                with_vectors!(S::F32_LANES, channels, channel, self.tile::<S>(simd, row, channel));
            }
        }
    }
}

impl ApplyRows<'_, SummingEpilogue<'_>> {
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, row: usize, channel: usize) {
        let channels = self.epilogue.sums.tile.len();
        let here = Block::new::<V>(simd, row + channel, channels, channel, channels);
        let mut values = [here.read_row::<V, TAIL>(simd, self.rows)];
        let block = here.at(self.first + here.start);
        self.epilogue.apply::<S, 1, V, TAIL>(simd, &block, &mut values);
        here.write::<1, V, TAIL>(simd, &values, 0, self.rows);
    }
}
