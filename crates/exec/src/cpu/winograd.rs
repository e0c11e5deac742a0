//! 3×3 convolutions of stride 1 with fewer multiplications: Winograd's F(2×2, 3×3), after Lavin and Gray, "Fast algorithms
//! for convolutional neural networks", arXiv 1509.09308.
//!
//! A tile of 2×2 outputs sees 4×4 inputs. Both, and the kernel, have a counterpart of 16 places at which convolving is
//! multiplying: 16 matrix products over channels stand for what takes 36. With Bᵀ, G and Aᵀ as there, the output is
//! `Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A`, so the kernel's gradient is `Gᵀ[Σ (A g Aᵀ) ⊙ (Bᵀ d B)]G`; the input's is the same
//! convolution with the kernel turned about. All factors are 0, ±1 and ½: rounding is that of a few more additions.

use super::finish::{Ending, Finish};
use super::fold::Folded;
use super::product::{Onto, Packed, Strided, multiply_block, panel, strided};
use super::room::with_room;
use super::share::{Backward, lend};
use super::threads::{Threads, cut, cut_at, tiles};
use super::tile::{Block, VECTORS};
use fieldfit_nets::{Conv, Padding, Shape};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

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

/// What a tile sees beside its image.
static NOTHING: [f32; MOST] = [0.0; MOST];

/// One convolution at one size of image; its output has the same.
pub(super) struct Winograd {
    conv: Conv,
    height: usize,
    width: usize,
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

/// The largest buffer that a backward pass shares among its threads: the kernel's gradient at all places.
pub(super) const fn scratch_len(conv: &Conv) -> usize {
    PLACES * conv.input * conv.output
}

impl Winograd {
    pub const fn new(conv: Conv, input: Shape) -> Self {
        Self { conv, height: input.height, width: input.width }
    }

    /// `output = finish(weight ∗ input)`.
    pub fn forward(&self, threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
        let outputs = self.conv.output;
        let images = output.len() / (outputs * self.pixels());
        let ranges = threads.ranges(images * self.bands());
        let start = |band: usize| self.band_start(band) * outputs;
        let parts = cut_at(ranges.iter().map(|bands| start(bands.end) - start(bands.start)), output);
        threads.each(ranges.iter().cloned().zip(parts), |(bands, part): (Range<usize>, &mut [f32])| {
            for seen in self.blocks(&bands) {
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
        let (inputs, bands) = (self.conv.input, self.bands());
        let images = pass.input.len() / (inputs * self.pixels());
        if let Some((kernel, onto)) = pass.kernel.take() {
            self.backward_kernel(threads, (pass.gradient, pass.input), (kernel, onto), scratch);
        }
        pass.shared(threads, (images, inputs * self.pixels()), inputs, scratch, |share| {
            let Some(target) = share.target else { return };
            let mut ending = target.upstream.summing(target.sums);
            let first = share.range.start * self.pixels() * inputs;
            for seen in self.blocks(&(share.range.start * bands..share.range.end * bands)) {
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
        let bands = 0..input.len() / (inputs * self.pixels()) * self.bands();
        let scratch = lend(scratch, scratch_len(&self.conv));
        let ranges = threads.ranges(outputs);
        let parts = cut(&ranges, TAPS * inputs, kernel).into_iter().zip(cut(&ranges, PLACES * inputs, scratch));
        threads.each(ranges.iter().cloned().zip(parts), |(rows, (kernel, sums))| {
            if bands.is_empty() {
                sums.fill(0.0);
            }
            for block in self.blocks(&bands) {
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
            let view = View { convolution: self, values: input, channels: inputs };
            Arch::new().dispatch(See { view, tiles: tiles.clone(), seen, step });
            let view = View { convolution: self, values: gradient, channels: self.conv.output };
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
        tiles: Range<usize>,
        (first, target): (usize, &mut [f32]),
        ending: &mut impl Ending,
    ) {
        let (inputs, outputs, count) = (weights.depth() / PLACES, weights.columns(), tiles.len());
        let sizes = [count * inputs + GAP, count * panel() + GAP];
        with_room(sizes.map(|size| PLACES * size), |[seen, products]| {
            let view = View { convolution: self, values: source, channels: inputs };
            Arch::new().dispatch(See { view, tiles: tiles.clone(), seen, step: inputs });
            for columns in super::threads::tiles(0..outputs, panel()) {
                let places = seen.chunks_exact(sizes[0]).zip(products.chunks_exact_mut(sizes[1]));
                for (place, (seen, products)) in places.enumerate() {
                    let terms = place * inputs..(place + 1) * inputs;
                    let products = &mut products[..count * columns.len()];
                    multiply_block(&seen[..count * inputs], weights, terms, columns.clone(), products);
                }
                let tiles = tiles.clone();
                Arch::new().dispatch(Put {
                    convolution: self,
                    tiles,
                    products,
                    columns,
                    outputs,
                    first,
                    target,
                    ending,
                });
            }
        });
    }

    const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows of tiles in an image.
    const fn bands(&self) -> usize {
        self.height.div_ceil(2)
    }

    /// Tiles in a row of them.
    const fn across(&self) -> usize {
        self.width.div_ceil(2)
    }

    /// The first pixel of a row of tiles; both count through the batch.
    const fn band_start(&self, band: usize) -> usize {
        (band / self.bands() * self.height + band % self.bands() * 2) * self.width
    }

    /// The tiles of some rows of them, some at a time.
    fn blocks(&self, bands: &Range<usize>) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
        tiles(bands.start * self.across()..bands.end * self.across(), TILES)
    }

    /// The first pixel of a tile's image, and the row and column of the tile's first.
    const fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let (band, column) = (tile / self.across(), tile % self.across() * 2);
        (band / self.bands() * self.pixels(), band % self.bands() * 2, column)
    }
}

/// An activation as tiles see it.
#[derive(Clone, Copy)]
struct View<'a> {
    convolution: &'a Winograd,
    values: &'a [f32],
    channels: usize,
}

impl<'a> View<'a> {
    /// All channels of the `N`×`N` pixels from `ahead` rows and columns ahead of a tile's first one; zeros beside the image.
    #[inline(always)]
    fn pixels<const N: usize>(&self, tile: usize, ahead: usize) -> [[&'a [f32]; N]; N] {
        let Winograd { height, width, .. } = *self.convolution;
        let (image, top, left) = self.convolution.corner(tile);
        let mut pixels = [[&NOTHING[..self.channels]; N]; N];
        for (i, row) in pixels.iter_mut().enumerate() {
            let y = (top + i).wrapping_sub(ahead);
            for (j, pixel) in row.iter_mut().enumerate() {
                let x = (left + j).wrapping_sub(ahead);
                if y < height && x < width {
                    *pixel = &self.values[(image + y * width + x) * self.channels..][..self.channels];
                }
            }
        }
        pixels
    }
}

/// `T tile Tᵀ`, where `once` is T's product with a column.
#[inline(always)]
fn transform<V: Copy, const M: usize, const N: usize>(
    tile: [[V; M]; M],
    once: impl Fn([V; M]) -> [V; N],
) -> [[V; N]; N] {
    let mut half = [[tile[0][0]; M]; N];
    for (m, row) in tile.iter().enumerate() {
        for (half, value) in half.iter_mut().zip(&once(*row)) {
            half[m] = *value;
        }
    }
    let mut whole = [[tile[0][0]; N]; N];
    for (n, column) in half.iter().enumerate() {
        for (whole, value) in whole.iter_mut().zip(&once(*column)) {
            whole[n] = *value;
        }
    }
    whole
}

/// A square whose values `value` says, row by row; `before` is what is there until then.
#[inline(always)]
fn fill<V: Copy, const N: usize>(before: V, value: impl Fn(usize) -> V) -> [[V; N]; N] {
    let mut square = [[before; N]; N];
    for (y, row) in square.iter_mut().enumerate() {
        for (x, target) in row.iter_mut().enumerate() {
            *target = value(y * N + x);
        }
    }
    square
}

/// Calls `visit` with each value of a square, row by row.
#[inline(always)]
fn each<V: Copy, const N: usize>(square: &[[V; N]; N], mut visit: impl FnMut(usize, V)) {
    for (y, row) in square.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            visit(y * N + x, *value);
        }
    }
}

/// One vector of each pixel's channels.
#[inline(always)]
fn read<S: Simd, const N: usize, const TAIL: bool>(
    simd: S,
    block: &Block<S>,
    pixels: &[[&[f32]; N]; N],
) -> [[S::f32s; N]; N] {
    fill(simd.splat_f32s(0.0), |place| {
        let [value] = block.read_row::<1, TAIL>(simd, pixels[place / N][place % N]);
        value
    })
}

/// Calls `$this.$method::<S, TAIL>($simd, channel, $(argument),*)` for each vector of `$channels`, which may end within the last.
macro_rules! each_vector {
    ($channels:expr, $this:ident.$method:ident::<$s:ty>($simd:expr $(, $argument:expr)*)) => {{
        let channels: Range<usize> = $channels;
        let mut channel = channels.start;
        while channel + <$s>::F32_LANES <= channels.end {
            $this.$method::<$s, false>($simd, channel $(, $argument)*);
            channel += <$s>::F32_LANES;
        }
        if channel < channels.end {
            $this.$method::<$s, true>($simd, channel $(, $argument)*);
        }
    }};
}

/// `Bᵀ d B` of tiles' inputs, `[16, tiles, channels]` with rows that are `step` values apart.
struct See<'a> {
    view: View<'a>,
    tiles: Range<usize>,
    seen: &'a mut [f32],
    step: usize,
}

impl WithSimd for See<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (position, tile) in self.tiles.clone().enumerate() {
            let pixels = self.view.pixels::<4>(tile, 1);
            each_vector!(0..self.view.channels, self.vector::<S>(simd, position, &pixels));
        }
    }
}

impl See<'_> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(
        &mut self,
        simd: S,
        channel: usize,
        position: usize,
        pixels: &[[&[f32]; 4]; 4],
    ) {
        let block = Block::new::<1>(simd, channel, 0, channel, self.view.channels);
        let tile = read::<S, 4, TAIL>(simd, &block, pixels);
        let seen = transform(tile, |[a, b, c, d]| {
            [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
        });
        each(&seen, |place, value| {
            let start = place * (self.tiles.len() * self.step + GAP) + position * self.step + channel;
            block.at(start).write::<1, 1, TAIL>(simd, &[[value]], 0, self.seen);
        });
    }
}

/// `A g Aᵀ` of some channels of tiles' gradients, `[16, tiles, rows]`.
struct Give<'a> {
    view: View<'a>,
    tiles: Range<usize>,
    /// The channels.
    rows: Range<usize>,
    given: &'a mut [f32],
}

impl WithSimd for Give<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (position, tile) in self.tiles.clone().enumerate() {
            let pixels = self.view.pixels::<2>(tile, 0);
            each_vector!(self.rows.clone(), self.vector::<S>(simd, position, &pixels));
        }
    }
}

impl Give<'_> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(
        &mut self,
        simd: S,
        channel: usize,
        position: usize,
        pixels: &[[&[f32]; 2]; 2],
    ) {
        let block = Block::new::<1>(simd, channel, 0, channel, self.rows.end);
        let tile = read::<S, 2, TAIL>(simd, &block, pixels);
        let zero = simd.splat_f32s(0.0);
        let given = transform(tile, |[a, b]| [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.sub_f32s(zero, b)]);
        each(&given, |place, value| {
            let row = place * (self.tiles.len() * self.rows.len() + GAP) + position * self.rows.len();
            let start = row + channel - self.rows.start;
            block.at(start).write::<1, 1, TAIL>(simd, &[[value]], 0, self.given);
        });
    }
}

/// `Aᵀ m A` of tiles' products, `[16, tiles, columns]`, ended and written to the pixels that there are.
struct Put<'a, E> {
    convolution: &'a Winograd,
    tiles: Range<usize>,
    products: &'a [f32],
    columns: Range<usize>,
    /// Channels of the target.
    outputs: usize,
    /// Where in its activation the target begins.
    first: usize,
    target: &'a mut [f32],
    ending: &'a mut E,
}

impl<E: Ending> WithSimd for Put<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (position, tile) in self.tiles.clone().enumerate() {
            let corner = self.convolution.corner(tile);
            each_vector!(self.columns.clone(), self.vector::<S>(simd, position, corner));
        }
    }
}

impl<E: Ending> Put<'_, E> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(
        &mut self,
        simd: S,
        column: usize,
        position: usize,
        (image, top, left): (usize, usize, usize),
    ) {
        let Winograd { height, width, .. } = *self.convolution;
        let block = Block::new::<1>(simd, column, self.outputs, column, self.outputs);
        let panel = VECTORS * S::F32_LANES;
        let products = fill(simd.splat_f32s(0.0), |place| {
            let row = place * (self.tiles.len() * panel + GAP) + position * self.columns.len();
            let here = block.at(row + column - self.columns.start);
            let [value] = here.read_row::<1, TAIL>(simd, self.products);
            value
        });
        let values = transform::<_, 4, 2>(products, |[a, b, c, d]| {
            [simd.add_f32s(simd.add_f32s(a, b), c), simd.sub_f32s(simd.sub_f32s(b, c), d)]
        });
        for (y, [one, other]) in (top..height).zip(values) {
            let block = block.at((image + y * width + left) * self.outputs + column);
            if left + 1 < width {
                self.put::<S, 2, TAIL>(simd, block, [[one], [other]]);
            } else {
                self.put::<S, 1, TAIL>(simd, block, [[one]]);
            }
        }
    }

    #[inline(always)]
    fn put<S: Simd, const R: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: Block<S>,
        mut sums: [[S::f32s; 1]; R],
    ) {
        self.ending.end::<S, R, 1, TAIL>(simd, &block, &mut sums);
        block.write::<R, 1, TAIL>(simd, &sums, self.first, self.target);
    }
}

/// `G w Gᵀ` of a panel's kernels from one channel: rows of a packed operand that are `step` values apart.
struct Pack<'a> {
    kernels: &'a [[f32; WIDEST]; TAPS],
    width: usize,
    panel: &'a mut [f32],
    step: usize,
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        each_vector!(0..self.width, self.vector::<S>(simd));
    }
}

impl Pack<'_> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(&mut self, simd: S, column: usize) {
        let block = Block::new::<1>(simd, column, 0, column, self.width);
        let half = simd.splat_f32s(0.5);
        let kernel = fill(half, |tap| {
            let [value] = block.read_row::<1, TAIL>(simd, &self.kernels[tap]);
            value
        });
        let places = transform::<_, 3, 4>(kernel, |[a, b, c]| {
            let (outer, inner) = (simd.mul_f32s(half, simd.add_f32s(a, c)), simd.mul_f32s(half, b));
            [a, simd.add_f32s(outer, inner), simd.sub_f32s(outer, inner), c]
        });
        each(&places, |place, value| {
            block.at(place * self.step + column).write::<1, 1, TAIL>(simd, &[[value]], 0, self.panel);
        });
    }
}

/// `Gᵀ m G` of one row's sums, `[16, channels]`, into or onto its kernels' gradient, `[9, channels]`.
struct Collect<'a> {
    sums: &'a [f32],
    channels: usize,
    kernel: &'a mut [f32],
    onto: Onto,
}

impl WithSimd for Collect<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        each_vector!(0..self.channels, self.vector::<S>(simd));
    }
}

impl Collect<'_> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(&mut self, simd: S, channel: usize) {
        let block = Block::new::<1>(simd, channel, 0, channel, self.channels);
        let half = simd.splat_f32s(0.5);
        let sums = fill(half, |place| {
            let [value] = block.at(place * self.channels + channel).read_row::<1, TAIL>(simd, self.sums);
            value
        });
        let taps = transform::<_, 4, 3>(sums, |[a, b, c, d]| {
            let (sum, difference) = (simd.add_f32s(b, c), simd.sub_f32s(b, c));
            let sum = simd.mul_f32s(half, sum);
            [simd.add_f32s(a, sum), simd.mul_f32s(half, difference), simd.add_f32s(sum, d)]
        });
        each(&taps, |tap, value| {
            let here = block.at(tap * self.channels + channel);
            let mut value = [[value]];
            if self.onto == Onto::Sum {
                here.update::<1, 1, TAIL>(simd, &mut value, self.kernel, |value, before| simd.add_f32s(before, value));
            }
            here.write::<1, 1, TAIL>(simd, &value, 0, self.kernel);
        });
    }
}
