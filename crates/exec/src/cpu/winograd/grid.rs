//! Where the tiles of a convolution lie: 2×2 outputs each, rows of them after one another through the batch.

use super::{MOST, TILES};
use crate::cpu::threads::tiles;
use fieldfit_nets::Shape;
use std::ops::Range;

/// What a tile sees beside its image.
static NOTHING: [f32; MOST] = [0.0; MOST];

/// The tiles of images of one size.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub height: usize,
    pub width: usize,
}

impl Grid {
    pub const fn new(image: Shape) -> Self {
        Self { height: image.height, width: image.width }
    }

    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows of tiles in an image.
    pub const fn bands(&self) -> usize {
        self.height.div_ceil(2)
    }

    /// Tiles in a row of them.
    pub const fn across(&self) -> usize {
        self.width.div_ceil(2)
    }

    /// The first pixel of a row of tiles; both count through the batch.
    pub const fn band_start(&self, band: usize) -> usize {
        (band / self.bands() * self.height + band % self.bands() * 2) * self.width
    }

    /// The tiles of some rows of them, some at a time.
    pub fn blocks(&self, bands: &Range<usize>) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
        tiles(bands.start * self.across()..bands.end * self.across(), TILES)
    }

    /// The first pixel of a tile's image, and the row and column of the tile's first.
    pub const fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let (band, column) = (tile / self.across(), tile % self.across() * 2);
        (band / self.bands() * self.pixels(), band % self.bands() * 2, column)
    }
}

/// An activation as tiles see it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub grid: Grid,
    pub values: &'a [f32],
    pub channels: usize,
}

impl<'a> View<'a> {
    /// All channels of the `N`×`N` pixels from `ahead` rows and columns ahead of a tile's first one; zeros beside the image.
    #[inline(always)]
    pub fn pixels<const N: usize>(&self, tile: usize, ahead: usize) -> [[&'a [f32]; N]; N] {
        let Grid { height, width } = self.grid;
        let (image, top, left) = self.grid.corner(tile);
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
