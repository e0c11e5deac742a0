//! Forward kernels of int8 nodes, at one image size.

use super::kernels::depthwise::PackedDepthwise;
use super::kernels::elementwise::{greatest, quantise_rows};
use super::kernels::{
    FloatEpilogue, FloatShortcut, GROUP, Int8Epilogue, Isa, PackedInt8, Product, QuantisedEpilogue, multiply,
};
use super::weights::{LinearWeights, PackedConv, ProductWeights};
use crate::cpu::dense::Dense;
use crate::cpu::linear::apply_prologue;
use crate::cpu::scratch::with_scratch;
use crate::cpu::thread_pool::{Parts, ThreadPool, split_rows};
#[cfg(target_arch = "x86_64")]
use crate::cpu::winograd::tile_grid::TileGrid;
use fieldfit_nets::{Conv, Shape, SpatialAxis, Window};
use std::ops::Range;

/// Bytes of a tile's rows and their outputs, which stay in the L2 cache while each panel of weights is applied.
const TILE_BYTES: usize = 192 * 1024;
/// Rows of a tile are a multiple of the rows of every register tile.
const TILE_ROWS: usize = 24;
/// The most pixels under a window of a max pool.
const MAX_WINDOW: usize = 64;

/// Output of a product, and what its epilogue adds.
pub(super) enum ProductOutput<'a> {
    Codes { output: &'a mut [u8], shortcut: Option<&'a [u8]> },
    Floats { output: &'a mut [f32], shortcut: Option<&'a [u8]> },
}

/// Where and on how many threads kernels run.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub isa: Isa,
    pub threads: &'a ThreadPool,
}

/// Convolution as a product of patches and weights.
pub(super) struct ProductKernel {
    dense: Dense,
    /// Whether pixels are the product's rows as they are stored.
    is_direct: bool,
}

impl ProductKernel {
    pub fn new(conv: Conv, input: Shape, output: Shape) -> Self {
        let is_direct = conv.is_pointwise() && conv.input.is_multiple_of(GROUP);
        Self { dense: Dense { conv, input, output }, is_direct }
    }

    /// Computes the convolution.
    pub fn forward(&self, place: Place<'_>, weights: &ProductWeights, input: &[u8], output: ProductOutput<'_>) {
        let affine = &weights.affine;
        match output {
            ProductOutput::Codes { output, shortcut } => {
                self.compute(place, weights, input, (output, shortcut), |output, shortcut| QuantisedEpilogue {
                    affine,
                    shortcut: shortcut.map(|shortcut| (shortcut, weights.shortcut)),
                    output,
                });
            }
            ProductOutput::Floats { output, shortcut } => {
                self.compute(place, weights, input, (output, shortcut), |output, shortcut| FloatEpilogue {
                    affine,
                    row_scales: &[],
                    shortcut: match shortcut {
                        Some(shortcut) => FloatShortcut::Codes(shortcut, weights.shortcut),
                        None => FloatShortcut::None,
                    },
                    bounds: weights.bounds,
                    output,
                });
            }
        }
    }

    /// Computes the convolution by the kernel that its weights are packed for, with the epilogue of an output and a
    /// shortcut. Threads split the pixels, or the rows of tiles.
    fn compute<'a, T: Send, E: Int8Epilogue>(
        &self,
        place: Place<'_>,
        weights: &ProductWeights,
        input: &[u8],
        (output, shortcut): (&'a mut [T], Option<&'a [u8]>),
        epilogue: impl Fn(&'a mut [T], Option<&'a [u8]>) -> E + Sync + Send,
    ) {
        let (columns, zero_point) = (self.dense.conv.output, weights.input.zero_point);
        match &weights.packed {
            PackedConv::Patches(packed) => {
                let ranges = place.threads.ranges(output.len() / columns);
                place.threads.for_each(parts(&ranges, columns, output, shortcut), |part| {
                    self.tiles(place.isa, packed, (input, zero_point), part, &epilogue);
                });
            }
            #[cfg(target_arch = "x86_64")]
            PackedConv::Winograd(packed) => {
                let grid = TileGrid::new(self.dense.input);
                let bands = place.threads.ranges(output.len() / columns / grid.pixels() * grid.bands());
                let pixels: Parts<Range<usize>> =
                    bands.iter().map(|bands| grid.band_start(bands.start)..grid.band_start(bands.end)).collect();
                let parts = bands.iter().zip(parts(&pixels, columns, output, shortcut));
                place.threads.for_each(parts, |(bands, (_, output, shortcut))| {
                    packed.convolve(grid, bands, (input, zero_point), &mut epilogue(output, shortcut));
                });
            }
        }
    }

    /// Computes one thread's pixels in tiles, each with the epilogue of its output and shortcut.
    fn tiles<'a, T, E: Int8Epilogue>(
        &self,
        isa: Isa,
        right: &PackedInt8,
        (input, zero_point): (&[u8], u8),
        (range, output, shortcut): Part<'a, T>,
        epilogue: impl Fn(&'a mut [T], Option<&'a [u8]>) -> E,
    ) {
        let (columns, step) = (self.dense.conv.output, right.groups() * GROUP);
        let tile = tile_rows(step, columns);
        for (index, output) in output.chunks_mut(tile * columns).enumerate() {
            let rows = output.len() / columns;
            let first = index * tile;
            let shortcut = shortcut.map(|shortcut| &shortcut[first * columns..][..rows * columns]);
            let pixels = range.start + first..range.start + first + rows;
            let mut epilogue = epilogue(output, shortcut);
            if self.is_direct {
                let left = &input[pixels.start * step..];
                multiply(isa, Product { left, step, rows, zero_point, right }, &mut epilogue);
                continue;
            }
            with_scratch([(rows * step).div_ceil(size_of::<f32>())], |[patches]| {
                let patches: &mut [u8] = bytemuck::cast_slice_mut(patches);
                self.dense.gather(pixels.clone(), 0..self.dense.kernel_rows(), (input, zero_point), (patches, step));
                multiply(isa, Product { left: patches, step, rows, zero_point, right }, &mut epilogue);
            });
        }
    }
}

/// One thread's range of rows, its outputs, and the shortcut's values under them.
type Part<'a, T> = (Range<usize>, &'a mut [T], Option<&'a [u8]>);

/// Splits an output of `columns` values a row by ranges of its rows.
fn parts<'a, T>(
    ranges: &Parts<Range<usize>>,
    columns: usize,
    output: &'a mut [T],
    shortcut: Option<&'a [u8]>,
) -> impl Iterator<Item = Part<'a, T>> {
    ranges.clone().into_iter().zip(split_rows(ranges, columns, output)).map(move |(range, output)| {
        let shortcut = shortcut.map(|shortcut| &shortcut[range.start * columns..range.end * columns]);
        (range, output, shortcut)
    })
}

/// Returns the rows of a tile.
fn tile_rows(step: usize, columns: usize) -> usize {
    (TILE_BYTES / (step + columns)).next_multiple_of(TILE_ROWS)
}

/// Computes a depthwise convolution. Threads split the output's rows.
pub(super) fn depthwise(
    place: Place<'_>,
    weights: &PackedDepthwise,
    (input, input_shape): (&[u8], Shape),
    (output, shape): (&mut [u8], Shape),
) {
    let line = shape.width * shape.channels;
    let ranges = place.threads.ranges(output.len() / line);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, line, output));
    place.threads.for_each(parts, |(range, part)| {
        for (row, output) in range.zip(part.chunks_exact_mut(line)) {
            let image = &input[row / shape.height * input_shape.len()..][..input_shape.len()];
            weights.row(place.isa, (image, input_shape), row % shape.height, output);
        }
    });
}

/// Computes a max pool. Threads split the output's rows.
pub(super) fn max_pool(
    place: Place<'_>,
    window: &Window,
    (input, input_shape): (&[u8], Shape),
    (output, shape): (&mut [u8], Shape),
) {
    let (line, channels) = (shape.width * shape.channels, shape.channels);
    let ranges = place.threads.ranges(output.len() / line);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, line, output));
    place.threads.for_each(parts, |(range, part): (Range<usize>, &mut [u8])| {
        for (row, line) in range.zip(part.chunks_exact_mut(line)) {
            let image = &input[row / shape.height * input_shape.len()..][..input_shape.len()];
            let rows = window.covered(SpatialAxis::Rows, row % shape.height, input_shape.height);
            for (column, output) in line.chunks_exact_mut(channels).enumerate() {
                let columns = window.covered(SpatialAxis::Columns, column, input_shape.width);
                let pixels: heapless::Vec<usize, MAX_WINDOW> = rows
                    .clone()
                    .flat_map(|y| columns.clone().map(move |x| (y * input_shape.width + x) * channels))
                    .collect();
                greatest(place.isa, image, &pixels, output);
            }
        }
    });
}

/// Whether a max pool has at most as many pixels as the kernel takes.
pub(super) const fn takes_window(window: &Window) -> bool {
    window.taps() <= MAX_WINDOW
}

/// Computes a linear layer of f32 rows: prologue, quantisation, product. Threads split the rows.
pub(super) fn linear(
    place: Place<'_>,
    weights: &LinearWeights,
    input: &[f32],
    shortcut: Option<&[f32]>,
    output: &mut [f32],
) {
    let (inputs, columns, step) = (weights.packed.depth(), weights.packed.columns(), weights.packed.groups() * GROUP);
    let tile = tile_rows(step + inputs * size_of::<f32>(), columns * size_of::<f32>());
    let ranges = place.threads.ranges(output.len() / columns);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, columns, output));
    place.threads.for_each(parts, |(range, part): (Range<usize>, &mut [f32])| {
        for (index, output) in part.chunks_mut(tile * columns).enumerate() {
            let (first, rows) = (range.start + index * tile, output.len() / columns);
            let sizes = [rows * inputs, (rows * step).div_ceil(size_of::<f32>()), rows];
            with_scratch(sizes, |[values, codes, row_scales]| {
                let codes: &mut [u8] = bytemuck::cast_slice_mut(codes);
                apply_prologue(&weights.prologue, &weights.norm, &input[first * inputs..][..rows * inputs], values);
                quantise_rows(place.isa, (values, inputs), (codes, step), row_scales);
                let shortcut = shortcut.map(|shortcut| &shortcut[first * columns..][..rows * columns]);
                let zero_point = LinearWeights::ZERO_POINT;
                multiply(
                    place.isa,
                    Product { left: codes, step, rows, zero_point, right: &weights.packed },
                    &mut FloatEpilogue {
                        affine: &weights.affine,
                        row_scales,
                        shortcut: shortcut.map_or(FloatShortcut::None, FloatShortcut::Floats),
                        bounds: [f32::NEG_INFINITY, f32::INFINITY],
                        output,
                    },
                );
            });
        }
    });
}
