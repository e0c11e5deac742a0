//! Depthwise int8 convolution with AVX-512 VNNI: four neighbouring pixels of 64 channels are interleaved, so that one
//! instruction multiplies four taps of each of 16 channels.
//!
//! A tile's quads serve all its outputs, each with the kernel's row moved by the output's distance and filled with zeros.

use super::vnni::Vnni;
use super::{LANES, Line};
use fieldfit_nets::{Shape, SpatialAxis, Window};
use std::arch::x86_64::*;

/// Pixels of a quad.
const QUAD: usize = 4;
/// Channels of a block.
const BLOCK: usize = 64;
/// Vectors of sums of a block.
const VECTORS: usize = BLOCK / LANES;
/// The most outputs of a tile.
const OUTPUTS: usize = 4;

/// Weights of a depthwise convolution, with what its epilogue needs, in the order that interleaved channels have.
#[derive(Debug, Clone)]
pub(super) struct Quads {
    simd: Vnni,
    window: Window,
    tile: TileShape,
    zero_point: u8,
    channels: usize,
    /// Of each block of channels, kernel row, quad and output: four lines.
    weights: Vec<[Line; VECTORS]>,
    /// Of each block of channels.
    epilogues: Vec<BlockEpilogue>,
}

/// Starting sums, multipliers and addends of a block of channels.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct BlockEpilogue {
    starts: [[i32; LANES]; VECTORS],
    multipliers: [[f32; LANES]; VECTORS],
    addends: [[f32; LANES]; VECTORS],
}

/// Outputs of a tile, and quads of pixels under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TileShape {
    outputs: usize,
    quads: usize,
}

impl TileShape {
    /// Returns as many quads as one kernel spans, or one more if they serve few outputs.
    fn of(window: &Window) -> Self {
        let ([_, columns], [_, stride]) = (window.kernel, window.stride);
        let outputs = |quads: usize| (QUAD * quads - columns) / stride + 1;
        let quads = columns.div_ceil(QUAD);
        let quads = if outputs(quads) < 2 { quads + 1 } else { quads };
        Self { outputs: outputs(quads).min(OUTPUTS), quads }
    }
}

/// Returns the channel of a block at a place among interleaved ones.
const fn channel_at(vector: usize, lane: usize) -> usize {
    lane / QUAD * LANES + vector * QUAD + lane % QUAD
}

impl Quads {
    /// Whether the taps of a row are neighbours.
    pub fn supports(window: &Window) -> bool {
        window.dilation == [1, 1]
    }

    /// Returns the bytes of the weights of that many channels.
    pub fn bytes(window: &Window, channels: usize) -> usize {
        let TileShape { outputs, quads } = TileShape::of(window);
        let lines = window.kernel[0] * quads * outputs * size_of::<[Line; VECTORS]>();
        channels.div_ceil(BLOCK) * (lines + size_of::<BlockEpilogue>())
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        self.weights.capacity() * size_of::<[Line; VECTORS]>() + self.epilogues.capacity() * size_of::<BlockEpilogue>()
    }

    /// Packs taps, `[taps, channels]`, multipliers and addends, `[channels]`.
    pub fn new(simd: Vnni, window: &Window, zero_point: u8, taps: &[i8], [multipliers, addends]: [&[f32]; 2]) -> Self {
        let channels = multipliers.len();
        let tile = TileShape::of(window);
        let [rows, columns] = window.kernel;
        let blocks = channels.div_ceil(BLOCK);
        let tap_of = |channel: usize, row: usize, column: usize| {
            if channel < channels && column < columns { taps[(row * columns + column) * channels + channel] } else { 0 }
        };
        let mut weights = Vec::with_capacity(blocks * rows * tile.quads * tile.outputs);
        for block in 0..blocks {
            for (row, quad, output) in tile.places(rows) {
                let mut lines = [Line([0; LANES * QUAD]); VECTORS];
                for (vector, line) in lines.iter_mut().enumerate() {
                    for (index, weight) in line.0.iter_mut().enumerate() {
                        let channel = block * BLOCK + channel_at(vector, index / QUAD);
                        let pixel = quad * QUAD + index % QUAD;
                        let column = pixel.checked_sub(output * window.stride[1]);
                        *weight = column.map_or(0, |column| tap_of(channel, row, column));
                    }
                }
                weights.push(lines);
            }
        }
        let sum = |channel: usize| -> i32 {
            let taps = taps.iter().skip(channel).step_by(channels.max(1));
            taps.map(|tap| i32::from(*tap)).sum()
        };
        let epilogue = |block: usize| {
            let mut epilogue = BlockEpilogue {
                starts: Default::default(),
                multipliers: Default::default(),
                addends: Default::default(),
            };
            for (vector, lane) in (0..VECTORS).flat_map(|vector| (0..LANES).map(move |lane| (vector, lane))) {
                let channel = block * BLOCK + channel_at(vector, lane);
                if channel < channels {
                    epilogue.starts[vector][lane] = -i32::from(zero_point) * sum(channel);
                    epilogue.multipliers[vector][lane] = multipliers[channel];
                    epilogue.addends[vector][lane] = addends[channel];
                }
            }
            epilogue
        };
        let epilogues = (0..blocks).map(epilogue).collect();
        Self { simd, window: *window, tile, zero_point, channels, weights, epilogues }
    }

    /// Computes one row of an image's output, `[width, channels]`.
    pub fn row(&self, (image, input): (&[u8], Shape), row: usize, output: &mut [u8]) {
        assert!(image.len() == input.len() && input.channels == self.channels, "an image of another size");
        let width = output.len() / self.channels.max(1);
        assert_eq!(output.len(), width * self.channels, "a row of another size");
        let work = QuadRow { quads: self, image, input, row, width, output };
        match self.tile.outputs {
            1 => work.vectorized::<1>(self.simd),
            2 => work.vectorized::<2>(self.simd),
            3 => work.vectorized::<3>(self.simd),
            _four => work.vectorized::<4>(self.simd),
        }
    }
}

impl TileShape {
    /// Iterates over the kernel rows, quads and outputs in the order of the weights.
    fn places(self, rows: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { outputs, quads } = self;
        (0..rows * quads * outputs)
            .map(move |index| (index / outputs / quads, index / outputs % quads, index % outputs))
    }
}

struct QuadRow<'a> {
    quads: &'a Quads,
    image: &'a [u8],
    input: Shape,
    row: usize,
    width: usize,
    output: &'a mut [u8],
}

impl QuadRow<'_> {
    /// Computes the row in tiles of `P` outputs; the value of the instruction set proves that the CPU has it.
    fn vectorized<const P: usize>(self, _: Vnni) {
        // SAFETY: the value proves the features.
        unsafe { self.blocks::<P>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn blocks<const P: usize>(mut self) {
        let padding = [self.quads.zero_point; BLOCK];
        for block in 0..self.quads.epilogues.len() {
            for pixel in (0..self.width).step_by(P) {
                self.tile::<P>(block, pixel, &padding);
            }
        }
    }

    /// Computes `P` outputs of a block of channels, as far as the row goes.
    #[allow(clippy::needless_range_loop, reason = "constant indices keep the sums in registers")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    #[inline]
    fn tile<const P: usize>(&mut self, block: usize, pixel: usize, padding: &[u8; BLOCK]) {
        let Quads { window, tile, weights, epilogues, channels, .. } = self.quads;
        let first = block * BLOCK;
        let mask = u64::MAX >> (BLOCK - (channels - first).min(BLOCK));
        let (top, _) = window.padding(SpatialAxis::Rows, self.input.height);
        let rows = window.kernel[0];
        let mut weights = &weights[block * rows * tile.quads * P..][..rows * tile.quads * P];
        let mut sums: [[__m512i; VECTORS]; P] = [[_mm512_setzero_si512(); VECTORS]; P];
        for tap_row in 0..rows {
            let y = (self.row * window.stride[0] + tap_row).checked_sub(top).filter(|y| *y < self.input.height);
            for quad in 0..tile.quads {
                let [a, b, c, d] = self.pixels(y, pixel * window.stride[1] + quad * QUAD, first, padding);
                // SAFETY: each pixel has the values of the mask.
                let [a, b, c, d] = unsafe {
                    [
                        _mm512_maskz_loadu_epi8(mask, a.cast()),
                        _mm512_maskz_loadu_epi8(mask, b.cast()),
                        _mm512_maskz_loadu_epi8(mask, c.cast()),
                        _mm512_maskz_loadu_epi8(mask, d.cast()),
                    ]
                };
                let values = interleave([a, b, c, d]);
                let (now, later) = weights.split_at(P);
                for output in 0..P {
                    for vector in 0..VECTORS {
                        // SAFETY: a line has 64 bytes and is aligned to as many.
                        let weights = unsafe { _mm512_load_si512(now[output][vector].0.as_ptr().cast()) };
                        sums[output][vector] = _mm512_dpbusd_epi32(sums[output][vector], values[vector], weights);
                    }
                }
                weights = later;
            }
        }
        for (index, sums) in sums.into_iter().enumerate().take(self.width - pixel) {
            let bytes = epilogues[block].apply(sums);
            let output = &mut self.output[(pixel + index) * channels + first..];
            if let Some(output) = output.first_chunk_mut::<BLOCK>().filter(|_| mask == u64::MAX) {
                // SAFETY: the output has a block of channels.
                unsafe { _mm512_storeu_si512(output.as_mut_ptr().cast(), bytes) };
            } else {
                // SAFETY: the output has the pixel's channels, and the mask no others.
                unsafe { _mm512_mask_storeu_epi8(output.as_mut_ptr().cast(), mask, bytes) };
            }
        }
    }

    /// Returns the first values of four neighbouring pixels of a row, from a channel on; those of the padding outside the
    /// image. `x` is counted from the left of the padding.
    #[inline(always)]
    fn pixels(&self, y: Option<usize>, x: usize, channel: usize, padding: &[u8; BLOCK]) -> [*const u8; QUAD] {
        let Quads { window, channels, .. } = self.quads;
        let Some(y) = y else { return [padding.as_ptr(); QUAD] };
        let (left, _) = window.padding(SpatialAxis::Columns, self.input.width);
        let line = self.input.width * channels;
        let row = self.image[y * line..][..line][channel..].as_ptr();
        // Inside the row, the pointers are within the slice; others are not read.
        let pixel = |index: usize| row.wrapping_add((x + index).wrapping_sub(left).wrapping_mul(*channels));
        if x >= left && x + QUAD <= left + self.input.width {
            return std::array::from_fn(pixel);
        }
        let is_inside = |index: usize| (left..left + self.input.width).contains(&(x + index));
        std::array::from_fn(|index| if is_inside(index) { pixel(index) } else { padding.as_ptr() })
    }
}

/// Interleaves four pixels of 64 channels: the four bytes of a channel become one lane, see [`channel_at`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn interleave([a, b, c, d]: [__m512i; QUAD]) -> [__m512i; VECTORS] {
    let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (low_2, high_2) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(low, low_2),
        _mm512_unpackhi_epi16(low, low_2),
        _mm512_unpacklo_epi16(high, high_2),
        _mm512_unpackhi_epi16(high, high_2),
    ]
}

impl BlockEpilogue {
    /// Turns sums into u8, in the order of the channels, which packing restores.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn apply(&self, sums: [__m512i; VECTORS]) -> __m512i {
        let mut values = sums;
        for (vector, value) in values.iter_mut().enumerate() {
            // SAFETY: each array has 64 bytes, and is aligned to as many.
            let (start, multiplier, addend) = unsafe {
                (
                    _mm512_load_si512(self.starts[vector].as_ptr().cast()),
                    _mm512_load_ps(self.multipliers[vector].as_ptr()),
                    _mm512_load_ps(self.addends[vector].as_ptr()),
                )
            };
            let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(*value, start));
            let scaled = _mm512_fmadd_ps(sums, multiplier, addend);
            *value = _mm512_cvtps_epi32(_mm512_min_ps(scaled, _mm512_set1_ps(255.0)));
        }
        let [a, b, c, d] = values;
        _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d))
    }
}
