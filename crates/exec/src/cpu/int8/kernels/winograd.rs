//! Winograd F(4×4, 3×3) convolution in integers, after Lavin and Gray, arXiv 1509.09308: 36 products replace 144, and the
//! result is exactly that of the direct convolution.
//!
//! The output is `Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A`. Bᵀ and Aᵀ have integers; the rows of G become integers times 1, 1/4, −1/6 or
//! 1/24. The transform of weights takes the integers alone, and Aᵀ takes 24 times the factor, so that the sum is 576 times
//! the output. With activations less 128, transformed ones lie within ±100 · 128 and transformed weights within ±49 · 127:
//! both fit in i16. Sums wrap around, and nothing is lost: 576 = 9 · 64, so that multiplying by the inverse of 9 modulo 2³²
//! leaves 64 times the output, which is exact while the output lies within ±2²⁵ ([`MAX_INPUTS`]).
//!
//! A product of i16 costs twice one of i8 with VNNI, and as much with AVX2, whose i8 products are of widened bytes. NEON's
//! cost four times its dot products, which is what the transform saves.

use super::LANES;
use super::epilogue::{Int8Epilogue, columns_of};
use super::isa::Isa;
use super::pairs::{PairIsa, PairLine, PairSimd, PairWork, WIDE_LANES};
use crate::cpu::scratch::with_scratch;
use crate::cpu::winograd::keeps_size;
use crate::cpu::winograd::tile_grid::{TileGrid, TiledView};
use crate::cpu::winograd::transforms::{TransformMatrix, each, fill, transform, transform_by};
use fieldfit_nets::Conv;
use std::ops::Range;

/// Rows and columns of a tile's outputs.
pub(in crate::cpu) const SIDE: usize = 4;
/// Rows and columns of the inputs under a tile.
const INPUT_SIDE: usize = SIDE + 2;
/// Elements of a transformed tile.
const ELEMENTS: usize = INPUT_SIDE * INPUT_SIDE;
/// Taps of a kernel.
const TAPS: usize = 9;
/// Vectors of a panel of columns.
const PANEL: usize = 2;
/// Columns of a panel.
const PANEL_COLUMNS: usize = PANEL * LANES;
/// The most input channels: `9 · 224 · 128 · 127 < 2²⁵`.
const MAX_INPUTS: usize = 224;
/// The most bytes of transformed weights, which are eight times the weights: more of them are bound by reading them.
const MAX_BYTES: usize = 1280 * 1024;
/// Bytes of a block's transformed inputs and products, which stay in the L2 cache.
const BLOCK_BYTES: usize = 512 * 1024;
/// Tiles of a block are a multiple of the rows of the largest tile of products.
const BLOCK_TILES: usize = 12;
/// Bytes between elements: rows a power of two apart would map to few cache sets.
const GAP: usize = 64;
/// Inverse of 9 modulo 2³².
const INVERSE_OF_9: i32 = 0x38e3_8e39;
/// What is subtracted from each activation.
const OFFSET: i32 = 128;

/// Transformed weights of a convolution.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct PackedWinograd {
    simd: PairIsa,
    /// Panel by panel, element by element, pair of channels by pair, vector by vector.
    lines: Vec<PairLine>,
    /// Sum of each column's weights.
    sums: Vec<[i32; LANES]>,
    inputs: usize,
}

impl PackedWinograd {
    /// Returns the instructions of the kernel, if they compute a convolution, at every image size.
    pub fn instructions(isa: Isa, conv: &Conv) -> Option<PairIsa> {
        let fits = keeps_size(conv)
            && conv.input.is_multiple_of(WIDE_LANES)
            && conv.output.is_multiple_of(PANEL_COLUMNS)
            && conv.input <= MAX_INPUTS
            && Self::bytes(conv) <= MAX_BYTES;
        PairIsa::of(isa).filter(|_| fits)
    }

    /// Returns the bytes of transformed weights.
    pub const fn bytes(conv: &Conv) -> usize {
        let vectors = conv.output / LANES;
        vectors * (ELEMENTS * conv.input / 2 * size_of::<PairLine>() + size_of::<[i32; LANES]>())
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        self.lines.capacity() * size_of::<PairLine>() + self.sums.capacity() * size_of::<[i32; LANES]>()
    }

    /// Transforms weights: `column` writes the weights of a column in the order of patches, `[taps, in]`.
    pub fn new(simd: PairIsa, conv: &Conv, mut column: impl FnMut(usize, &mut [i8])) -> Self {
        let (inputs, vectors) = (conv.input, conv.output / LANES);
        let pairs = inputs / 2;
        let mut lines = vec![PairLine([0; 2 * LANES]); ELEMENTS * pairs * vectors];
        let mut sums = vec![[0; LANES]; vectors];
        let mut codes = vec![0; TAPS * inputs];
        for index in 0..conv.output {
            column(index, &mut codes);
            let (vector, lane) = (index / LANES, index % LANES);
            sums[vector][lane] = codes.iter().map(|code| i32::from(*code)).sum();
            let panel = &mut lines[vector / PANEL * PANEL * ELEMENTS * pairs..];
            for channel in 0..inputs {
                let kernel = fill::<_, 3>(0, |tap| i16::from(codes[tap * inputs + channel]));
                each(&transform(kernel, transformed_weights), |element, value| {
                    let line = (element * pairs + channel / 2) * PANEL + vector % PANEL;
                    panel[line].0[2 * lane + channel % 2] = value;
                });
            }
        }
        Self { simd, lines, sums, inputs }
    }

    /// Returns the lines of a panel's element, and of those behind it.
    #[inline(always)]
    fn element(&self, panel: usize, element: usize) -> &[PairLine] {
        &self.lines[(panel * ELEMENTS + element) * self.inputs / 2 * PANEL..]
    }

    /// Tiles of a block.
    fn block_tiles(&self) -> usize {
        let bytes = ELEMENTS * (size_of::<i16>() * self.inputs + size_of::<i32>() * PANEL_COLUMNS);
        (BLOCK_BYTES / bytes).next_multiple_of(BLOCK_TILES)
    }

    /// Computes some rows of tiles; the epilogue's rows are the pixels from the first one on.
    pub fn convolve(
        &self,
        grid: TileGrid<SIDE>,
        bands: &Range<usize>,
        (input, zero_point): (&[u8], u8),
        epilogue: &mut impl Int8Epilogue,
    ) {
        let outside = [zero_point; MAX_INPUTS];
        let view = TiledView { grid, values: input, channels: self.inputs, outside: &outside };
        for tiles in grid.blocks(bands, self.block_tiles()) {
            let input_step = tiles.len() * self.inputs + GAP / size_of::<i16>();
            let product_step = tiles.len() * PANEL_COLUMNS + GAP / size_of::<i32>();
            let sizes = [ELEMENTS * input_step / 2, ELEMENTS * product_step];
            with_scratch(sizes, |[inputs, products]| {
                let inputs: &mut [i16] = bytemuck::cast_slice_mut(inputs);
                let products: &mut [i32] = bytemuck::cast_slice_mut(products);
                let work = InputTransform { view, tiles: tiles.clone(), step: input_step, out: inputs };
                self.simd.dispatch(work);
                for panel in 0..self.sums.len() / PANEL {
                    self.simd.dispatch(Products {
                        weights: self,
                        panel,
                        inputs: (inputs, input_step),
                        products: (products, product_step),
                        tiles: tiles.len(),
                    });
                    self.simd.dispatch(OutputTransform {
                        weights: self,
                        panel,
                        grid,
                        tiles: tiles.clone(),
                        products: (products, product_step),
                        first: grid.band_start(bands.start),
                        zero_point,
                        epilogue,
                    });
                }
            });
        }
    }
}

/// Rows of G times a column of weights, without their factors.
fn transformed_weights([a, b, c]: [i16; 3]) -> [i16; INPUT_SIDE] {
    let (ends, far) = (a + c, a + 4 * c);
    [a, ends + b, ends - b, far + 2 * b, far - 2 * b, c]
}

/// Input transform `Bᵀ d B` of tiles, `[36, tiles, channels]` with elements `step` values apart.
struct InputTransform<'a> {
    view: TiledView<'a, u8, SIDE>,
    tiles: Range<usize>,
    step: usize,
    out: &'a mut [i16],
}

impl PairWork for InputTransform<'_> {
    #[inline(always)]
    fn run<S: PairSimd>(self, simd: S) {
        let Self { view, tiles, step, out } = self;
        for (position, tile) in tiles.enumerate() {
            let pixels = view.pixels::<INPUT_SIDE>(tile, 1).map(|row| row.map(|pixel| pixel.as_chunks().0));
            for channel in (0..view.channels).step_by(WIDE_LANES) {
                let chunk = channel / WIDE_LANES;
                let inputs = fill(simd.load_centred(&pixels[0][0][chunk]), |element| {
                    simd.load_centred(&pixels[element / INPUT_SIDE][element % INPUT_SIDE][chunk])
                });
                let first = position * view.channels + channel;
                each(&transform_by(inputs, InputMatrix(simd)), |element, value| {
                    if let Some(out) = out[element * step + first..].first_chunk_mut() {
                        simd.store_i16(value, out);
                    }
                });
            }
        }
    }
}

/// Bᵀ.
struct InputMatrix<S>(S);

impl<S: PairSimd> TransformMatrix<S::I16, INPUT_SIDE, INPUT_SIDE> for InputMatrix<S> {
    #[inline(always)]
    fn times(&self, [a, b, c, d, e, f]: [S::I16; INPUT_SIDE]) -> [S::I16; INPUT_SIDE] {
        let Self(simd) = self;
        let (even, odd) = (simd.sub_i16(e, c), simd.sub_i16(d, b));
        let twice = simd.add_i16(odd, odd);
        let (far_even, far_odd) = (simd.sub_i16(e, simd.quadruple_i16(c)), simd.sub_i16(d, simd.quadruple_i16(b)));
        [
            simd.add_i16(simd.quadruple_i16(simd.sub_i16(a, c)), even),
            simd.add_i16(far_even, far_odd),
            simd.sub_i16(far_even, far_odd),
            simd.add_i16(even, twice),
            simd.sub_i16(even, twice),
            simd.sub_i16(simd.sub_i16(f, d), simd.add_i16(twice, twice)),
        ]
    }
}

/// Products of each element's transformed inputs and weights, of one panel: `[36, tiles, 32]`.
struct Products<'a> {
    weights: &'a PackedWinograd,
    panel: usize,
    /// `[36, tiles, channels]`, and the values from one element to the next.
    inputs: (&'a [i16], usize),
    /// `[36, tiles, 32]`, and the values from one element to the next.
    products: (&'a mut [i32], usize),
    tiles: usize,
}

impl PairWork for Products<'_> {
    #[inline(always)]
    fn run<S: PairSimd>(mut self, simd: S) {
        for element in 0..ELEMENTS {
            for vector in (0..PANEL).step_by(S::PAIR_VECTORS) {
                let mut row = 0;
                while row < self.tiles {
                    let left = (self.tiles - row).min(S::PAIR_ROWS);
                    match (S::PAIR_VECTORS, left) {
                        (2, 12..) => self.rows::<S, 12, 2>(simd, element, vector, &mut row),
                        (2, 8..) => self.rows::<S, 8, 2>(simd, element, vector, &mut row),
                        (2, 4..) => self.rows::<S, 4, 2>(simd, element, vector, &mut row),
                        (2, 2..) => self.rows::<S, 2, 2>(simd, element, vector, &mut row),
                        (2, _few) => self.rows::<S, 1, 2>(simd, element, vector, &mut row),
                        (_, 6..) => self.rows::<S, 6, 1>(simd, element, vector, &mut row),
                        (_, 3..) => self.rows::<S, 3, 1>(simd, element, vector, &mut row),
                        _few => self.rows::<S, 1, 1>(simd, element, vector, &mut row),
                    }
                }
            }
        }
    }
}

impl Products<'_> {
    /// Computes `R` rows of `V` vectors, and moves on to the next rows.
    #[inline(always)]
    fn rows<S: PairSimd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        element: usize,
        vector: usize,
        row: &mut usize,
    ) {
        // A tile that the instruction set never uses is not compiled for it.
        if R > S::PAIR_ROWS || V != S::PAIR_VECTORS {
            return;
        }
        let channels = self.weights.inputs;
        let (inputs, input_step) = self.inputs;
        let left = &inputs[element * input_step + *row * channels..][..R * channels];
        let lines = &self.weights.element(self.panel, element)[vector..channels / 2 * PANEL];
        let mut sums = [[simd.load_i32(&[0; LANES]); V]; R];
        for pair in 0..channels / 2 {
            // SAFETY: a pair has `PANEL` lines, and `vector + V` is at most as many.
            let lines: &[PairLine; V] = unsafe { &*lines.as_ptr().add(pair * PANEL).cast() };
            let weights: [S::PairLine; V] = std::array::from_fn(|vector| simd.load_line(&lines[vector]));
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `left` has `R` rows of as many channels.
                let left = unsafe { simd.load_pair(left.as_ptr().add(row * channels + 2 * pair)) };
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = simd.dot_pair(*sum, left, weights);
                }
            }
        }
        let (products, product_step) = &mut self.products;
        let out = &mut products[element * *product_step + *row * PANEL_COLUMNS..][..R * PANEL_COLUMNS];
        for (out, sums) in out.as_chunks_mut::<PANEL_COLUMNS>().0.iter_mut().zip(sums) {
            for (out, sums) in out.as_chunks_mut().0[vector..].iter_mut().zip(sums) {
                simd.store_i32(sums, out);
            }
        }
        *row += R;
    }
}

/// Output transform `Aᵀ m A` of one panel's products; hands the pixels inside the image to the epilogue.
struct OutputTransform<'a, E> {
    weights: &'a PackedWinograd,
    panel: usize,
    grid: TileGrid<SIDE>,
    tiles: Range<usize>,
    /// `[36, tiles, 32]`, and the values from one element to the next.
    products: (&'a [i32], usize),
    /// The pixel that is the epilogue's first row.
    first: usize,
    zero_point: u8,
    epilogue: &'a mut E,
}

impl<E: Int8Epilogue> PairWork for OutputTransform<'_, E> {
    #[inline(always)]
    fn run<S: PairSimd>(self, simd: S) {
        let Self { weights, panel, grid, tiles, products: (products, step), first, zero_point, epilogue } = self;
        let TileGrid { height, width } = grid;
        for index in 0..PANEL {
            let vector = panel * PANEL + index;
            let of_columns = epilogue.load(simd, vector);
            let columns = columns_of(vector, weights.sums.len() * LANES);
            let start = simd.scaled_i32(&weights.sums[vector], OFFSET - i32::from(zero_point));
            for (position, tile) in tiles.clone().enumerate() {
                let of_tile = &products[position * PANEL_COLUMNS + index * LANES..];
                let sums = fill(start, |element| match of_tile[element * step..].first_chunk() {
                    Some(values) => simd.load_i32(values),
                    None => start,
                });
                let (image, top, left) = grid.corner(tile);
                let outputs = transform_by(sums, OutputMatrix(simd));
                for (y, row) in (top..height).zip(outputs) {
                    for (x, value) in (left..width).zip(row) {
                        let sum = simd.add_i32(simd.sixty_fourth(simd.mul_i32(value, INVERSE_OF_9)), start);
                        epilogue.write(simd, of_columns, sum, image + y * width + x - first, columns.clone());
                    }
                }
            }
        }
    }
}

/// Aᵀ, times 24 times the factors of G's rows.
struct OutputMatrix<S>(S);

impl<S: PairSimd> TransformMatrix<S::I32, INPUT_SIDE, SIDE> for OutputMatrix<S> {
    #[inline(always)]
    fn times(&self, [a, b, c, d, e, f]: [S::I32; INPUT_SIDE]) -> [S::I32; SIDE] {
        let Self(simd) = self;
        let (near, near_slope) = (simd.add_i32(b, c), simd.sub_i32(b, c));
        let (far, far_slope) = (simd.add_i32(d, e), simd.sub_i32(d, e));
        let far_slope = simd.add_i32(far_slope, far_slope);
        let six_times = |value| simd.add_i32(simd.quadruple_i32(value), simd.add_i32(value, value));
        [
            simd.add_i32(simd.sub_i32(six_times(a), simd.quadruple_i32(near)), far),
            simd.sub_i32(far_slope, simd.quadruple_i32(near_slope)),
            simd.quadruple_i32(simd.sub_i32(far, near)),
            simd.quadruple_i32(simd.add_i32(simd.sub_i32(far_slope, near_slope), six_times(f))),
        ]
    }
}
