//! Winograd transforms of inputs, gradients, outputs and kernels, one vector of channels at a time.

use super::tile_grid::{TileGrid, TiledView};
use super::{GAP, MAX_PANEL_COLUMNS, SIDE, TAPS};
use crate::cpu::epilogue::Epilogue;
use crate::cpu::matmul::Accumulate;
use crate::cpu::tile::{Block, VECTORS};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Matrix of a transform, which multiplies a column.
pub(in crate::cpu) trait TransformMatrix<V, const M: usize, const N: usize> {
    /// Computes the matrix times a column.
    fn times(&self, column: [V; M]) -> [V; N];
}

impl<V, F: Fn([V; M]) -> [V; N], const M: usize, const N: usize> TransformMatrix<V, M, N> for F {
    #[inline(always)]
    fn times(&self, column: [V; M]) -> [V; N] {
        self(column)
    }
}

/// Computes `T tile Tᵀ`; `once` multiplies T by a column.
#[inline(always)]
pub(in crate::cpu) fn transform<V: Copy, const M: usize, const N: usize>(
    tile: [[V; M]; M],
    once: impl Fn([V; M]) -> [V; N],
) -> [[V; N]; N] {
    transform_by(tile, once)
}

/// Computes `T tile Tᵀ` of a matrix T.
#[inline(always)]
pub(in crate::cpu) fn transform_by<V: Copy, const M: usize, const N: usize>(
    tile: [[V; M]; M],
    matrix: impl TransformMatrix<V, M, N>,
) -> [[V; N]; N] {
    let mut half = [[tile[0][0]; M]; N];
    for (m, row) in tile.iter().enumerate() {
        for (half, value) in half.iter_mut().zip(&matrix.times(*row)) {
            half[m] = *value;
        }
    }
    let mut whole = [[tile[0][0]; N]; N];
    for (n, column) in half.iter().enumerate() {
        for (whole, value) in whole.iter_mut().zip(&matrix.times(*column)) {
            whole[n] = *value;
        }
    }
    whole
}

/// Creates a square from `value(index)`, row by row; `before` is its initial value.
#[inline(always)]
pub(in crate::cpu) fn fill<V: Copy, const N: usize>(before: V, value: impl Fn(usize) -> V) -> [[V; N]; N] {
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
pub(in crate::cpu) fn each<V: Copy, const N: usize>(square: &[[V; N]; N], mut visit: impl FnMut(usize, V)) {
    for (y, row) in square.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            visit(y * N + x, *value);
        }
    }
}

/// Reads one vector of channels of each pixel.
#[inline(always)]
fn read<S: Simd, const N: usize, const TAIL: bool>(
    simd: S,
    block: &Block<S>,
    pixels: &[[&[f32]; N]; N],
) -> [[S::f32s; N]; N] {
    fill(simd.splat_f32s(0.0), |element| {
        let [value] = block.read_row::<1, TAIL>(simd, pixels[element / N][element % N]);
        value
    })
}

/// Calls `$this.$method::<S, TAIL>($simd, channel, $(argument),*)` for each vector of `$channels`; the last may be
/// partial.
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

/// Input transform `Bᵀ d B` of tiles, `[16, tiles, channels]` with rows `step` values apart.
pub(super) struct InputTransform<'a> {
    pub view: TiledView<'a, f32, SIDE>,
    pub tiles: Range<usize>,
    pub out: &'a mut [f32],
    pub step: usize,
}

impl WithSimd for InputTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (position, tile) in self.tiles.clone().enumerate() {
            let pixels = self.view.pixels::<4>(tile, 1);
            each_vector!(0..self.view.channels, self.vector::<S>(simd, position, &pixels));
        }
    }
}

impl InputTransform<'_> {
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
        let transformed = transform(tile, |[a, b, c, d]| {
            [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
        });
        each(&transformed, |element, value| {
            let start = element * (self.tiles.len() * self.step + GAP) + position * self.step + channel;
            block.at(start).write::<1, 1, TAIL>(simd, &[[value]], 0, self.out);
        });
    }
}

/// Gradient transform `A g Aᵀ` of some channels of tiles' gradients, `[16, tiles, rows]`.
pub(super) struct GradTransform<'a> {
    pub view: TiledView<'a, f32, SIDE>,
    pub tiles: Range<usize>,
    /// The channels.
    pub rows: Range<usize>,
    pub out: &'a mut [f32],
}

impl WithSimd for GradTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (position, tile) in self.tiles.clone().enumerate() {
            let pixels = self.view.pixels::<2>(tile, 0);
            each_vector!(self.rows.clone(), self.vector::<S>(simd, position, &pixels));
        }
    }
}

impl GradTransform<'_> {
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
        let transformed =
            transform(tile, |[a, b]| [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.sub_f32s(zero, b)]);
        each(&transformed, |element, value| {
            let row = element * (self.tiles.len() * self.rows.len() + GAP) + position * self.rows.len();
            let start = row + channel - self.rows.start;
            block.at(start).write::<1, 1, TAIL>(simd, &[[value]], 0, self.out);
        });
    }
}

/// Output transform `Aᵀ m A` of tiles' products, `[16, tiles, columns]`; applies the epilogue and writes the pixels
/// inside the image.
pub(super) struct OutputTransform<'a, E> {
    pub grid: TileGrid<SIDE>,
    pub tiles: Range<usize>,
    pub products: &'a [f32],
    pub columns: Range<usize>,
    /// Channels of the target.
    pub outputs: usize,
    /// Index in the activation of the target's first value.
    pub first: usize,
    pub target: &'a mut [f32],
    pub epilogue: &'a mut E,
}

impl<E: Epilogue> WithSimd for OutputTransform<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (position, tile) in self.tiles.clone().enumerate() {
            let corner = self.grid.corner(tile);
            each_vector!(self.columns.clone(), self.vector::<S>(simd, position, corner));
        }
    }
}

impl<E: Epilogue> OutputTransform<'_, E> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(
        &mut self,
        simd: S,
        column: usize,
        position: usize,
        (image, top, left): (usize, usize, usize),
    ) {
        let TileGrid { height, width } = self.grid;
        let block = Block::new::<1>(simd, column, self.outputs, column, self.outputs);
        let panel = VECTORS * S::F32_LANES;
        let products = fill(simd.splat_f32s(0.0), |element| {
            let row = element * (self.tiles.len() * panel + GAP) + position * self.columns.len();
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
                self.write::<S, 2, TAIL>(simd, block, [[one], [other]]);
            } else {
                self.write::<S, 1, TAIL>(simd, block, [[one]]);
            }
        }
    }

    #[inline(always)]
    fn write<S: Simd, const R: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        block: Block<S>,
        mut sums: [[S::f32s; 1]; R],
    ) {
        self.epilogue.apply::<S, R, 1, TAIL>(simd, &block, &mut sums);
        block.write::<R, 1, TAIL>(simd, &sums, self.first, self.target);
    }
}

/// Kernel transform `G w Gᵀ` of a panel's kernels from one channel, into rows `step` values apart.
pub(super) struct KernelTransform<'a> {
    pub kernels: &'a [[f32; MAX_PANEL_COLUMNS]; TAPS],
    pub width: usize,
    pub panel: &'a mut [f32],
    pub step: usize,
}

impl WithSimd for KernelTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        each_vector!(0..self.width, self.vector::<S>(simd));
    }
}

impl KernelTransform<'_> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(&mut self, simd: S, column: usize) {
        let block = Block::new::<1>(simd, column, 0, column, self.width);
        let half = simd.splat_f32s(0.5);
        let kernel = fill(half, |tap| {
            let [value] = block.read_row::<1, TAIL>(simd, &self.kernels[tap]);
            value
        });
        let elements = transform::<_, 3, 4>(kernel, |[a, b, c]| {
            let (multiply_transposed, inner) = (simd.mul_f32s(half, simd.add_f32s(a, c)), simd.mul_f32s(half, b));
            [a, simd.add_f32s(multiply_transposed, inner), simd.sub_f32s(multiply_transposed, inner), c]
        });
        each(&elements, |element, value| {
            block.at(element * self.step + column).write::<1, 1, TAIL>(simd, &[[value]], 0, self.panel);
        });
    }
}

/// Kernel gradient transform `Gᵀ m G` of one row's sums, `[16, channels]`, to its kernels' gradient, `[9, channels]`.
pub(super) struct KernelGradTransform<'a> {
    pub sums: &'a [f32],
    pub channels: usize,
    pub kernel: &'a mut [f32],
    pub accumulate: Accumulate,
}

impl WithSimd for KernelGradTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        each_vector!(0..self.channels, self.vector::<S>(simd));
    }
}

impl KernelGradTransform<'_> {
    #[inline(always)]
    fn vector<S: Simd, const TAIL: bool>(&mut self, simd: S, channel: usize) {
        let block = Block::new::<1>(simd, channel, 0, channel, self.channels);
        let half = simd.splat_f32s(0.5);
        let sums = fill(half, |element| {
            let [value] = block.at(element * self.channels + channel).read_row::<1, TAIL>(simd, self.sums);
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
            if self.accumulate == Accumulate::Add {
                here.update::<1, 1, TAIL>(simd, &mut value, self.kernel, |value, before| simd.add_f32s(before, value));
            }
            here.write::<1, 1, TAIL>(simd, &value, 0, self.kernel);
        });
    }
}
