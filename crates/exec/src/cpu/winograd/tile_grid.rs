//! Tile grid of a Winograd convolution: square tiles of outputs, row by row through the batch.

use crate::cpu::thread_pool::tiles;
use fieldfit_nets::Shape;
use std::ops::Range;

/// Tile grid for images of one size, in tiles of `SIDE`×`SIDE` outputs.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct TileGrid<const SIDE: usize> {
    pub height: usize,
    pub width: usize,
}

impl<const SIDE: usize> TileGrid<SIDE> {
    pub const fn new(image: Shape) -> Self {
        Self { height: image.height, width: image.width }
    }

    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows of tiles per image.
    pub const fn bands(&self) -> usize {
        self.height.div_ceil(SIDE)
    }

    /// Tiles per row.
    pub const fn across(&self) -> usize {
        self.width.div_ceil(SIDE)
    }

    /// Returns the first pixel of a row of tiles; both are indexed through the batch.
    pub const fn band_start(&self, band: usize) -> usize {
        (band / self.bands() * self.height + band % self.bands() * SIDE) * self.width
    }

    /// Splits the tiles of some rows into blocks of that many.
    pub fn blocks(&self, bands: &Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone + use<SIDE> {
        tiles(bands.start * self.across()..bands.end * self.across(), size)
    }

    /// Returns the first pixel of a tile's image, and the row and column of the tile's first pixel.
    pub const fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let (band, column) = (tile / self.across(), tile % self.across() * SIDE);
        (band / self.bands() * self.pixels(), band % self.bands() * SIDE, column)
    }
}

/// Activation viewed as tiles.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct TiledView<'a, T, const SIDE: usize> {
    pub grid: TileGrid<SIDE>,
    pub values: &'a [T],
    pub channels: usize,
    /// Pixel outside the image: at least as many values.
    pub outside: &'a [T],
}

impl<'a, T, const SIDE: usize> TiledView<'a, T, SIDE> {
    /// Returns the `N`×`N` pixels that start `ahead` rows and columns before a tile's first one.
    #[inline(always)]
    pub fn pixels<const N: usize>(&self, tile: usize, ahead: usize) -> [[&'a [T]; N]; N] {
        let TileGrid { height, width } = self.grid;
        let (image, top, left) = self.grid.corner(tile);
        let mut pixels = [[&self.outside[..self.channels]; N]; N];
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
