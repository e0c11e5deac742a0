//! Winograd F(2×2, 3×3) convolution kernel for 3×3 convolutions of stride 1, after Lavin and Gray, "Fast algorithms for
//! convolutional neural networks", arXiv 1509.09308.
//!
//! A tile of 2×2 outputs depends on 4×4 inputs. In the transform domain of 16 elements, convolution is multiplication:
//! 16 matrix products over channels replace 36. With Bᵀ, G and Aᵀ as there, the output is `Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A`,
//! so the kernel's gradient is `Gᵀ[Σ (A g Aᵀ) ⊙ (Bᵀ d B)]G`; the input's is the same convolution with the kernel
//! rotated by 180°. All factors are 0, ±1 and ½: rounding is that of a few more additions.

pub(super) mod tile_grid;
pub(super) mod transforms;

use crate::cpu::epilogue::{Epilogue, ForwardEpilogue};
use crate::cpu::folded_weights::FoldedWeights;
use crate::cpu::matmul::{Accumulate, PackedMatrix, StridedMatrix, multiply_block, multiply_strided, panel_columns};
use crate::cpu::partition::{BackwardOperands, grow_to};
use crate::cpu::scratch::with_scratch;
use crate::cpu::thread_pool::{ThreadPool, split_lengths, split_rows, tiles};
use crate::cpu::tile::VECTORS;
use fieldfit_nets::{Conv, Padding, Shape, Window};
use pulp::Arch;
use std::ops::Range;
use tile_grid::{TileGrid, TiledView};
use transforms::{GradTransform, InputTransform, KernelGradTransform, KernelTransform, OutputTransform};

/// Rows and columns of a tile's outputs.
const SIDE: usize = 2;
/// Elements of a transformed tile.
const ELEMENTS: usize = 16;
/// Taps of a kernel.
pub(super) const TAPS: usize = 9;
/// Tiles per block: a panel of weights is read once per block, and an element's rows stay in the L2 cache.
const TILES: usize = 64;
/// Minimum input and output channels: with fewer, the transforms cost what the products save.
const MIN_CHANNELS: usize = 16;
/// Maximum input and output channels: 16 elements take more memory than 9 taps, and a large kernel is bound by reading
/// it.
const MAX_CHANNELS: usize = 256;
/// Pixel outside the image.
static ZERO_PIXEL: [f32; MAX_CHANNELS] = [0.0; MAX_CHANNELS];
/// Padding between elements, and between rows of the operands of a kernel's gradient: rows a power of two apart would
/// map to few cache sets.
const GAP: usize = 16;

/// Columns per panel with the widest vectors.
const MAX_PANEL_COLUMNS: usize = VECTORS * 16;

/// Winograd convolution kernel for one image size, which is also the output's.
pub(super) struct Winograd {
    conv: Conv,
    grid: TileGrid<SIDE>,
}

/// Whether a convolution is computed by this kernel, at every image size.
pub(super) fn supports(conv: &Conv) -> bool {
    let channels = MIN_CHANNELS..=MAX_CHANNELS;
    keeps_size(conv) && channels.contains(&conv.input) && channels.contains(&conv.output)
}

/// Whether a convolution is 3×3, of stride 1, and its output has the size of its input.
pub(super) fn keeps_size(conv: &Conv) -> bool {
    let is_centred = matches!(conv.window.padding, Padding::Same | Padding::Fixed([[1, 1], [1, 1]]));
    let Window { kernel, stride, dilation, .. } = conv.window;
    (kernel, stride, dilation, conv.groups) == ([3; 2], [1; 2], [1; 2], 1) && is_centred
}

/// Returns the values of a kernel packed by [`pack`].
pub(super) fn packed_len(depth: usize, columns: usize) -> usize {
    PackedMatrix::size(ELEMENTS * depth, columns)
}

/// Packs `G w Gᵀ` of the kernels from each of `depth` channels to each of `columns`, element by element; `taps` returns
/// a kernel, row by row.
pub(super) fn pack(
    packed: &mut PackedMatrix,
    depth: usize,
    columns: usize,
    taps: impl Fn(usize, usize) -> [f32; TAPS],
) {
    packed.refill_panels(ELEMENTS * depth, columns, |filled, width, panel| {
        let mut kernels = [[0.0; MAX_PANEL_COLUMNS]; TAPS];
        for channel in 0..depth {
            for (position, column) in filled.clone().enumerate() {
                for (kernel, tap) in kernels.iter_mut().zip(taps(channel, column)) {
                    kernel[position] = tap;
                }
            }
            Arch::new().dispatch(KernelTransform {
                kernels: &kernels,
                width,
                panel: &mut panel[channel * width..],
                step: depth * width,
            });
        }
    });
}

/// Returns the values of a kernel's gradient in the transform domain, which the threads of a backward pass share.
pub(super) const fn scratch_len(conv: &Conv) -> usize {
    ELEMENTS * conv.input * conv.output
}

impl Winograd {
    pub const fn new(conv: Conv, input: Shape) -> Self {
        Self { conv, grid: TileGrid::new(input) }
    }

    /// Computes `output = epilogue(weight ∗ input)`.
    pub fn forward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        input: &[f32],
        epilogue: ForwardEpilogue<'_>,
        output: &mut [f32],
    ) {
        let outputs = self.conv.output;
        let images = output.len() / (outputs * self.grid.pixels());
        let ranges = threads.ranges(images * self.grid.bands());
        let start = |band: usize| self.grid.band_start(band) * outputs;
        let parts = split_lengths(ranges.iter().map(|bands| start(bands.end) - start(bands.start)), output);
        threads.for_each(ranges.iter().cloned().zip(parts), |(bands, part): (Range<usize>, &mut [f32])| {
            for block in self.grid.blocks(&bands, TILES) {
                self.convolve(input, &folded.forward, block, (start(bands.start), part), &mut { epilogue });
            }
            epilogue.finish(part);
        });
    }

    /// Computes both gradients; returns the per-channel sums over pixels of the input's gradient.
    pub fn backward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        mut pass: BackwardOperands<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let (inputs, bands) = (self.conv.input, self.grid.bands());
        let images = pass.input.len() / (inputs * self.grid.pixels());
        if let Some((kernel, accumulate)) = pass.kernel.take() {
            self.backward_kernel(threads, (pass.gradient, pass.input), (kernel, accumulate), scratch);
        }
        pass.partitioned(threads, (images, inputs * self.grid.pixels()), inputs, scratch, |partition| {
            let Some(target) = partition.target else { return };
            let mut epilogue = target.epilogue.with_sums(target.sums);
            let first = partition.range.start * self.grid.pixels() * inputs;
            for block in self.grid.blocks(&(partition.range.start * bands..partition.range.end * bands), TILES) {
                self.convolve(partition.gradient, &folded.backward, block, (first, target.values), &mut epilogue);
                epilogue.flush();
            }
        })
    }

    /// Computes the kernel's gradient, `[out, 3, 3, in]`. Threads split its rows.
    fn backward_kernel(
        &self,
        threads: &ThreadPool,
        (gradient, input): (&[f32], &[f32]),
        (kernel, accumulate): (&mut [f32], Accumulate),
        scratch: &mut Vec<f32>,
    ) {
        let (inputs, outputs) = (self.conv.input, self.conv.output);
        let bands = 0..input.len() / (inputs * self.grid.pixels()) * self.grid.bands();
        let scratch = grow_to(scratch, scratch_len(&self.conv));
        let ranges = threads.ranges(outputs);
        let parts =
            split_rows(&ranges, TAPS * inputs, kernel).into_iter().zip(split_rows(&ranges, ELEMENTS * inputs, scratch));
        threads.for_each(ranges.iter().cloned().zip(parts), |(rows, (kernel, sums))| {
            if bands.is_empty() {
                sums.fill(0.0);
            }
            for block in self.grid.blocks(&bands, TILES) {
                self.sum_products(block, rows.clone(), (gradient, input), sums);
            }
            for (kernel, sums) in kernel.chunks_exact_mut(TAPS * inputs).zip(sums.chunks_exact(ELEMENTS * inputs)) {
                Arch::new().dispatch(KernelGradTransform { sums, channels: inputs, kernel, accumulate });
            }
        });
    }

    /// Adds the products of a block of tiles to some rows of the transformed kernel's gradient, `[rows, 16, in]`; the
    /// first block overwrites it.
    fn sum_products(
        &self,
        tiles: Range<usize>,
        rows: Range<usize>,
        (gradient, input): (&[f32], &[f32]),
        sums: &mut [f32],
    ) {
        let (inputs, count) = (self.conv.input, tiles.len());
        let (step, height) = (inputs + GAP, rows.len());
        let accumulate = if tiles.start == 0 { Accumulate::Overwrite } else { Accumulate::Add };
        let sizes = [count * step + GAP, count * height + GAP];
        with_scratch(sizes.map(|size| ELEMENTS * size), |[input_tiles, gradient_tiles]| {
            let view = self.view(input, inputs);
            Arch::new().dispatch(InputTransform { view, tiles: tiles.clone(), out: input_tiles, step });
            let view = self.view(gradient, self.conv.output);
            Arch::new().dispatch(GradTransform { view, tiles, rows, out: gradient_tiles });
            let [input_tiles, gradient_tiles] =
                [input_tiles.chunks_exact(sizes[0]), gradient_tiles.chunks_exact(sizes[1])];
            for (element, (input_tiles, gradient_tiles)) in input_tiles.zip(gradient_tiles).enumerate() {
                let out = (&mut sums[element * inputs..], ELEMENTS * inputs);
                let (left, right) =
                    (StridedMatrix::columns(gradient_tiles, height), StridedMatrix::rows(input_tiles, step));
                multiply_strided([height, inputs, count], left, right, out, accumulate);
            }
        });
    }

    /// Returns an activation viewed as tiles, in zeros.
    fn view<'a>(&self, values: &'a [f32], channels: usize) -> TiledView<'a, f32, SIDE> {
        TiledView { grid: self.grid, values, channels, outside: &ZERO_PIXEL }
    }

    /// Computes a block of tiles; `target` starts at value `first` of the activation.
    fn convolve(
        &self,
        source: &[f32],
        weights: &PackedMatrix,
        block: Range<usize>,
        (first, target): (usize, &mut [f32]),
        epilogue: &mut impl Epilogue,
    ) {
        let (inputs, outputs, count) = (weights.depth() / ELEMENTS, weights.columns(), block.len());
        let sizes = [count * inputs + GAP, count * panel_columns() + GAP];
        with_scratch(sizes.map(|size| ELEMENTS * size), |[input_tiles, products]| {
            let view = self.view(source, inputs);
            Arch::new().dispatch(InputTransform { view, tiles: block.clone(), out: input_tiles, step: inputs });
            for columns in tiles(0..outputs, panel_columns()) {
                let elements = input_tiles.chunks_exact(sizes[0]).zip(products.chunks_exact_mut(sizes[1]));
                for (element, (input_tiles, products)) in elements.enumerate() {
                    let terms = element * inputs..(element + 1) * inputs;
                    let products = &mut products[..count * columns.len()];
                    multiply_block(&input_tiles[..count * inputs], weights, terms, columns.clone(), products);
                }
                let tiles = block.clone();
                Arch::new().dispatch(OutputTransform {
                    grid: self.grid,
                    tiles,
                    products,
                    columns,
                    outputs,
                    first,
                    target,
                    epilogue,
                });
            }
        });
    }
}
