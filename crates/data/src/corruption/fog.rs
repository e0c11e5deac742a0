//! Fog of uneven density.

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Value of the fog's airlight.
const AIRLIGHT: f32 = 225.0;
/// Sides of the grids of random values whose sum is the fog's density, and their weights.
const OCTAVES: [(usize, f32); 3] = [(3, 0.55), (6, 0.3), (12, 0.15)];

/// Adds fog by Koschmieder's law: what is left of a value is `t = exp(−extinction · depth)`, the rest is airlight. The
/// depth is 1 on average, random by place, and grows upwards, where the world is farther away.
pub(super) fn add(random: &mut ChaCha8Rng, image: &mut RgbImage, extinction: f32) {
    let octaves = OCTAVES.map(|(cells, part)| (Grid::draw(random, cells), part));
    let (width, height) = (image.width() as f32, image.height() as f32);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (right, down) = ((x as f32 + 0.5) / width, (y as f32 + 0.5) / height);
        let density: f32 = octaves.iter().map(|(grid, part)| part * grid.at(right, down)).sum();
        let depth = (0.5 + density) * (1.4 - 0.8 * down);
        let left = (-extinction * depth).exp();
        pixel.0 = pixel.0.map(|value| (AIRLIGHT + left * (f32::from(value) - AIRLIGHT)).round() as u8);
    }
}

/// Random values 0 to 1 at the corners of square cells, smooth in between.
struct Grid {
    cells: usize,
    corners: Vec<f32>,
}

impl Grid {
    fn draw(random: &mut ChaCha8Rng, cells: usize) -> Self {
        Self { cells, corners: (0..(cells + 1) * (cells + 1)).map(|_| random.random()).collect() }
    }

    /// The value at a place, both coordinates 0 to 1.
    fn at(&self, right: f32, down: f32) -> f32 {
        let cell = |position: f32| {
            let position = position * self.cells as f32;
            let index = (position as usize).min(self.cells - 1);
            let inside = position - index as f32;
            (index, inside * inside * (3.0 - 2.0 * inside))
        };
        let ((x, right), (y, down)) = (cell(right), cell(down));
        let row = |y: usize| {
            let corners = &self.corners[y * (self.cells + 1) + x..][..2];
            corners[0] + right * (corners[1] - corners[0])
        };
        row(y) + down * (row(y + 1) - row(y))
    }
}
