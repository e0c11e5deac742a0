//! Tile grid of a Winograd convolution: tiles of 2×2 outputs, row by row through the batch.

use super::{MAX_CHANNELS, TILES};
use crate::cpu::thread_pool::tiles;
use fieldfit_nets::Shape;
use std::ops::Range;

/// Pixel outside the image.
static ZERO_PIXEL: [f32; MAX_CHANNELS] = [0.0; MAX_CHANNELS];

/// Tile grid for images of one size.
#[derive(Clone, Copy)]
pub(super) struct TileGrid {
    pub height: usize,
    pub width: usize,
}

impl TileGrid {
    pub const fn new(image: Shape) -> Self {
        Self { height: image.height, width: image.width }
    }

    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows of tiles per image.
    pub const fn bands(&self) -> usize {
        self.height.div_ceil(2)
    }

    /// Tiles per row.
    pub const fn across(&self) -> usize {
        self.width.div_ceil(2)
    }

    /// Returns the first pixel of a row of tiles; both are indexed through the batch.
    pub const fn band_start(&self, band: usize) -> usize {
        (band / self.bands() * self.height + band % self.bands() * 2) * self.width
    }

    /// Splits the tiles of some rows into blocks.
    pub fn blocks(&self, bands: &Range<usize>) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
        tiles(bands.start * self.across()..bands.end * self.across(), TILES)
    }

    /// Returns the first pixel of a tile's image, and the row and column of the tile's first pixel.
    pub const fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let (band, column) = (tile / self.across(), tile % self.across() * 2);
        (band / self.bands() * self.pixels(), band % self.bands() * 2, column)
    }
}

/// Activation viewed as tiles.
#[derive(Clone, Copy)]
pub(super) struct TiledView<'a> {
    pub grid: TileGrid,
    pub values: &'a [f32],
    pub channels: usize,
}

impl<'a> TiledView<'a> {
    /// Returns the `N`×`N` pixels that start `ahead` rows and columns before a tile's first one; zeros outside the
    /// image.
    #[inline(always)]
    pub fn pixels<const N: usize>(&self, tile: usize, ahead: usize) -> [[&'a [f32]; N]; N] {
        let TileGrid { height, width } = self.grid;
        let (image, top, left) = self.grid.corner(tile);
        let mut pixels = [[&ZERO_PIXEL[..self.channels]; N]; N];
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
