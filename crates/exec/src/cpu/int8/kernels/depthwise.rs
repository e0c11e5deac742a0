//! Depthwise int8 convolution: one k×k kernel a channel, row by row of the output.
//!
//! With VNNI, see [`quads`](super::quads); with NEON's dot products, `tap_pairs`. Elsewhere, the compiler vectorises a loop over
//! channels.

use super::LANES;
use super::isa::{Int8Simd, Isa, Work};
#[cfg(target_arch = "x86_64")]
use super::quads::Quads;
#[cfg(target_arch = "aarch64")]
use super::tap_pairs::TapPairs;
use fieldfit_nets::{Shape, SpatialAxis, Window};

/// The most taps of a kernel.
pub(in crate::cpu) const MAX_TAPS: usize = 128;

/// Weights of a depthwise convolution, with what its epilogue needs: `requantise(sum · multiplier + addend)`.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct PackedDepthwise {
    window: Window,
    /// The activation that stands for 0, and for padding.
    zero_point: u8,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    /// Taps `[taps, channels]`, multipliers and addends `[channels]`.
    Taps { taps: Vec<i8>, multipliers: Vec<f32>, addends: Vec<f32> },
    #[cfg(target_arch = "x86_64")]
    Quads(Quads),
    #[cfg(target_arch = "aarch64")]
    TapPairs(TapPairs),
}

impl PackedDepthwise {
    /// Packs taps, `[taps, channels]`, multipliers and addends for an instruction set.
    pub fn new(isa: Isa, window: Window, zero_point: u8, taps: Vec<i8>, [multipliers, addends]: [Vec<f32>; 2]) -> Self {
        let layout = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Vnni(simd) if Quads::supports(&window) => {
                Layout::Quads(Quads::new(simd, &window, zero_point, &taps, [&multipliers, &addends]))
            }
            #[cfg(target_arch = "aarch64")]
            Isa::DotProd(simd) if TapPairs::supports(multipliers.len()) => {
                Layout::TapPairs(TapPairs::new(simd, window, zero_point, taps, [multipliers, addends]))
            }
            _by_taps => Layout::Taps { taps, multipliers, addends },
        };
        Self { window, zero_point, layout }
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        match &self.layout {
            Layout::Taps { taps, multipliers, addends } => {
                taps.capacity() + size_of::<f32>() * (multipliers.capacity() + addends.capacity())
            }
            #[cfg(target_arch = "x86_64")]
            Layout::Quads(quads) => quads.allocated(),
            #[cfg(target_arch = "aarch64")]
            Layout::TapPairs(pairs) => pairs.allocated(),
        }
    }

    /// Returns the bytes of packed weights of a convolution over that many channels.
    pub fn bytes(isa: Isa, window: &Window, channels: usize) -> usize {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Vnni(_) if Quads::supports(window) => Quads::bytes(window, channels),
            #[cfg(target_arch = "aarch64")]
            Isa::DotProd(_) if TapPairs::supports(channels) => TapPairs::bytes(window, channels),
            _by_taps => channels * (window.taps() + 2 * size_of::<f32>()),
        }
    }

    /// Computes one row of an image's output, `[width, channels]`.
    pub fn row(&self, isa: Isa, (image, input): (&[u8], Shape), row: usize, output: &mut [u8]) {
        match &self.layout {
            Layout::Taps { taps, multipliers, addends } => {
                let Self { window, zero_point, .. } = self;
                isa.dispatch(TapRow {
                    window,
                    zero_point: *zero_point,
                    taps,
                    multipliers,
                    addends,
                    image,
                    input,
                    row,
                    output,
                });
            }
            #[cfg(target_arch = "x86_64")]
            Layout::Quads(quads) => quads.row((image, input), row, output),
            #[cfg(target_arch = "aarch64")]
            Layout::TapPairs(pairs) => pairs.row((image, input), row, output),
        }
    }
}

/// Row of the output by a loop over the taps of each pixel.
struct TapRow<'a> {
    window: &'a Window,
    zero_point: u8,
    taps: &'a [i8],
    multipliers: &'a [f32],
    addends: &'a [f32],
    image: &'a [u8],
    input: Shape,
    row: usize,
    output: &'a mut [u8],
}

impl Work for TapRow<'_> {
    #[inline(always)]
    fn run<S: Int8Simd>(self, simd: S) {
        let Self { window, zero_point, taps, multipliers, addends, image, input, row, output } = self;
        let (channels, columns) = (input.channels, window.kernel[1]);
        // Offsets of each tap inside the image: into the image and into the taps.
        let mut visible = heapless::Vec::<(usize, usize), MAX_TAPS>::new();
        for (pixel, output) in output.chunks_exact_mut(channels).enumerate() {
            visible.clear();
            for (tap_row, y) in window.taps_inside(SpatialAxis::Rows, row, input.height) {
                let taps = window.taps_inside(SpatialAxis::Columns, pixel, input.width);
                visible.extend(taps.map(|(tap_column, x)| {
                    ((y * input.width + x) * channels, (tap_row * columns + tap_column) * channels)
                }));
            }
            for (block, output) in output.chunks_mut(LANES).enumerate() {
                let (first, lanes) = (block * LANES, output.len());
                let mut sums = [0; LANES];
                for (pixel, tap) in &visible {
                    let (values, taps) = (&image[pixel + first..][..lanes], &taps[tap + first..][..lanes]);
                    add_products(&mut sums, values, taps, zero_point);
                }
                let (multiplier, addend) = (&multipliers[first..][..lanes], &addends[first..][..lanes]);
                let sums = simd.to_f32(simd.scaled_i32(&sums, 1));
                simd.store_u8(simd.mul_add(sums, simd.load_f32(multiplier), simd.load_f32(addend)), output);
            }
        }
    }
}

/// Adds `(value − zero_point) · tap` of each channel.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the loop over as many lanes as there are is vectorised")]
fn add_products(sums: &mut [i32; LANES], values: &[u8], taps: &[i8], zero_point: u8) {
    // A product of at most 255 · 127 fits in i16.
    let product =
        |value: u8, tap: i8| i32::from((i16::from(value) - i16::from(zero_point)).wrapping_mul(i16::from(tap)));
    if let (Some((values, [])), Some((taps, []))) =
        (values.split_first_chunk::<LANES>(), taps.split_first_chunk::<LANES>())
    {
        for lane in 0..LANES {
            sums[lane] += product(values[lane], taps[lane]);
        }
        return;
    }
    for (sum, (value, tap)) in sums.iter_mut().zip(values.iter().zip(taps)) {
        *sum += product(*value, *tap);
    }
}
