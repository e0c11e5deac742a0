//! 3×3 convolutions of stride 1 with fewer multiplications: Winograd's F(2×2, 3×3), after Lavin and Gray, "Fast algorithms
//! for convolutional neural networks", arXiv 1509.09308.
//!
//! A tile of 2×2 outputs sees 4×4 inputs. Both, and the kernel, have a counterpart of 16 places at which convolving is
//! multiplying: 16 matrix products over channels stand for what takes 36. With Bᵀ, G and Aᵀ as there, the output is
//! `Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A`, so the kernel's gradient is `Gᵀ[Σ (A g Aᵀ) ⊙ (Bᵀ d B)]G`; the input's is the same
//! convolution with the kernel turned about. All factors are 0, ±1 and ½: rounding is that of a few more additions.

mod grid;
mod transforms;

use crate::cpu::finish::{Ending, Finish};
use crate::cpu::fold::Folded;
use crate::cpu::product::{Onto, Packed, Strided, multiply_block, panel, strided};
use crate::cpu::room::with_room;
use crate::cpu::share::{Backward, lend};
use crate::cpu::threads::{Threads, cut, cut_at, tiles};
use crate::cpu::tile::VECTORS;
use fieldfit_nets::{Conv, Padding, Shape};
use grid::{Grid, View};
use pulp::Arch;
use std::ops::Range;
use transforms::{Collect, Give, Pack, Put, See};

/// Places of a tile's counterpart.
const PLACES: usize = 16;
/// Values of a kernel for one pair of channels.
pub(super) const TAPS: usize = 9;
/// Tiles at once: each panel of weights is read once for so many, and a place's rows stay in the second-level cache.
const TILES: usize = 64;
/// Channels on either side, at least: with fewer, the way there and back takes what is saved.
const FEWEST: usize = 16;
/// Channels on either side, at most: 16 places take more memory than 9 taps, and a large kernel is read from memory more
/// than it is multiplied with.
const MOST: usize = 256;
/// Values between places, and between the rows of what is summed up to a kernel's gradient: what is a power of two apart would
/// share a few places of the cache.
const GAP: usize = 16;

/// Columns of a panel where vectors are widest.
const WIDEST: usize = VECTORS * 16;

/// One convolution at one size of image; its output has the same.
pub(super) struct Winograd {
    conv: Conv,
    grid: Grid,
}

/// Whether a convolution is computed this way, at every size of image.
pub(super) fn suits(conv: &Conv) -> bool {
    let channels = FEWEST..=MOST;
    let is_centred = matches!(conv.padding, Padding::Same | Padding::Symmetric(1));
    (conv.kernel, conv.stride, conv.groups) == (3, 1, 1)
        && is_centred
        && channels.contains(&conv.input)
        && channels.contains(&conv.output)
}

/// Values that [`pack`] takes.
pub(super) fn packed_len(depth: usize, columns: usize) -> usize {
    Packed::size(PLACES * depth, columns)
}

/// Packs `G w Gᵀ` of the kernels from each of `depth` channels to each of `columns`, a place after another; `taps` says a
/// kernel's, row by row.
pub(super) fn pack(packed: &mut Packed, depth: usize, columns: usize, taps: impl Fn(usize, usize) -> [f32; TAPS]) {
    packed.refill_panels(PLACES * depth, columns, |filled, width, panel| {
        let mut kernels = [[0.0; WIDEST]; TAPS];
        for channel in 0..depth {
            for (position, column) in filled.clone().enumerate() {
                for (kernel, tap) in kernels.iter_mut().zip(taps(channel, column)) {
                    kernel[position] = tap;
                }
            }
            Arch::new().dispatch(Pack {
                kernels: &kernels,
                width,
                panel: &mut panel[channel * width..],
                step: depth * width,
            });
        }
    });
}

/// Values of the kernel's gradient at all places, which the threads of a backward pass share.
pub(super) const fn scratch_len(conv: &Conv) -> usize {
    PLACES * conv.input * conv.output
}

impl Winograd {
    pub const fn new(conv: Conv, input: Shape) -> Self {
        Self { conv, grid: Grid::new(input) }
    }

    /// `output = finish(weight ∗ input)`.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let outputs = self.conv.output;
        let images = output.len() / (outputs * self.grid.pixels());
        let ranges = threads.ranges(images * self.grid.bands());
        let start = |band: usize| self.grid.band_start(band) * outputs;
        let parts = cut_at(ranges.iter().map(|bands| start(bands.end) - start(bands.start)), output);
        threads.each(ranges.iter().cloned().zip(parts), |(bands, part): (Range<usize>, &mut [f32])| {
            for seen in self.grid.blocks(&bands) {
                self.convolve(input, &folded.forward, seen, (start(bands.start), part), &mut { finish });
            }
        });
    }

    /// Both gradients; returns the sums over pixels of the input's gradient, a channel each.
    pub fn backward(
        &self,
        threads: &Threads,
        folded: &Folded,
        mut pass: Backward<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let (inputs, bands) = (self.conv.input, self.grid.bands());
        let images = pass.input.len() / (inputs * self.grid.pixels());
        if let Some((kernel, onto)) = pass.kernel.take() {
            self.backward_kernel(threads, (pass.gradient, pass.input), (kernel, onto), scratch);
        }
        pass.shared(threads, (images, inputs * self.grid.pixels()), inputs, scratch, |share| {
            let Some(target) = share.target else { return };
            let mut ending = target.upstream.summing(target.sums);
            let first = share.range.start * self.grid.pixels() * inputs;
            for seen in self.grid.blocks(&(share.range.start * bands..share.range.end * bands)) {
                self.convolve(share.gradient, &folded.backward, seen, (first, target.values), &mut ending);
                ending.flush();
            }
        })
    }

    /// The kernel's gradient, `[out, 3, 3, in]`: each thread has some of its rows.
    fn backward_kernel(
        &self,
        threads: &Threads,
        (gradient, input): (&[f32], &[f32]),
        (kernel, onto): (&mut [f32], Onto),
        scratch: &mut Vec<f32>,
    ) {
        let (inputs, outputs) = (self.conv.input, self.conv.output);
        let bands = 0..input.len() / (inputs * self.grid.pixels()) * self.grid.bands();
        let scratch = lend(scratch, scratch_len(&self.conv));
        let ranges = threads.ranges(outputs);
        let parts = cut(&ranges, TAPS * inputs, kernel).into_iter().zip(cut(&ranges, PLACES * inputs, scratch));
        threads.each(ranges.iter().cloned().zip(parts), |(rows, (kernel, sums))| {
            if bands.is_empty() {
                sums.fill(0.0);
            }
            for block in self.grid.blocks(&bands) {
                self.sum_products(block, rows.clone(), (gradient, input), sums);
            }
            for (kernel, sums) in kernel.chunks_exact_mut(TAPS * inputs).zip(sums.chunks_exact(PLACES * inputs)) {
                Arch::new().dispatch(Collect { sums, channels: inputs, kernel, onto });
            }
        });
    }

    /// Adds some tiles' products, the first of which begin them, to the sums of some rows of the kernel's gradient, `[rows, 16, in]`.
    fn sum_products(
        &self,
        tiles: Range<usize>,
        rows: Range<usize>,
        (gradient, input): (&[f32], &[f32]),
        sums: &mut [f32],
    ) {
        let (inputs, count) = (self.conv.input, tiles.len());
        let (step, height) = (inputs + GAP, rows.len());
        let onto = if tiles.start == 0 { Onto::Fresh } else { Onto::Sum };
        let sizes = [count * step + GAP, count * height + GAP];
        with_room(sizes.map(|size| PLACES * size), |[seen, given]| {
            let view = View { grid: self.grid, values: input, channels: inputs };
            Arch::new().dispatch(See { view, tiles: tiles.clone(), seen, step });
            let view = View { grid: self.grid, values: gradient, channels: self.conv.output };
            Arch::new().dispatch(Give { view, tiles, rows, given });
            let [seen, given] = [seen.chunks_exact(sizes[0]), given.chunks_exact(sizes[1])];
            for (place, (seen, given)) in seen.zip(given).enumerate() {
                let out = (&mut sums[place * inputs..], PLACES * inputs);
                let (left, right) = (Strided::columns(given, height), Strided::rows(seen, step));
                strided([height, inputs, count], left, right, out, onto);
            }
        });
    }

    /// Some tiles of a convolution, into an activation of which `target` begins at the value `first`.
    fn convolve(
        &self,
        source: &[f32],
        weights: &Packed,
        block: Range<usize>,
        (first, target): (usize, &mut [f32]),
        ending: &mut impl Ending,
    ) {
        let (inputs, outputs, count) = (weights.depth() / PLACES, weights.columns(), block.len());
        let sizes = [count * inputs + GAP, count * panel() + GAP];
        with_room(sizes.map(|size| PLACES * size), |[seen, products]| {
            let view = View { grid: self.grid, values: source, channels: inputs };
            Arch::new().dispatch(See { view, tiles: block.clone(), seen, step: inputs });
            for columns in tiles(0..outputs, panel()) {
                let places = seen.chunks_exact(sizes[0]).zip(products.chunks_exact_mut(sizes[1]));
                for (place, (seen, products)) in places.enumerate() {
                    let terms = place * inputs..(place + 1) * inputs;
                    let products = &mut products[..count * columns.len()];
                    multiply_block(&seen[..count * inputs], weights, terms, columns.clone(), products);
                }
                let tiles = block.clone();
                Arch::new().dispatch(Put { grid: self.grid, tiles, products, columns, outputs, first, target, ending });
            }
        });
    }
}
