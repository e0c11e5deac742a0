//! `ImageBuffer`: an image in f32 planes, `[3, height, width]`, that augmentations change in place.

/// Image as three planes, red, green and blue, each row by row: `[3, height, width]`, values in 0..=255.
#[derive(Debug, Clone)]
pub(crate) struct ImageBuffer {
    pub height: usize,
    pub width: usize,
    pub values: Vec<f32>,
}

impl ImageBuffer {
    /// Black image of these rows and columns.
    pub fn new([height, width]: [usize; 2]) -> Self {
        Self { height, width, values: vec![0.0; 3 * height * width] }
    }

    /// Number of pixels.
    pub const fn area(&self) -> usize {
        self.height * self.width
    }

    /// Fills the buffer with 8-bit pixels, `height · width` of them.
    pub fn fill(&mut self, pixels: impl Iterator<Item = [u8; 3]>) {
        let (red, green, blue) = self.channels_mut();
        for (pixel, ((red, green), blue)) in pixels.zip(red.iter_mut().zip(green).zip(blue)) {
            [*red, *green, *blue] = pixel.map(f32::from);
        }
    }

    /// Copies another image of the same size.
    pub fn copy_from(&mut self, other: &Self) {
        self.values.copy_from_slice(&other.values);
    }

    /// Iterates over the pixels row by row.
    pub fn pixels(&self) -> impl Iterator<Item = [f32; 3]> {
        let area = self.area();
        let (red, rest) = self.values.split_at(area);
        let (green, blue) = rest.split_at(area);
        red.iter().zip(green).zip(blue).map(|((red, green), blue)| [*red, *green, *blue])
    }

    /// Maps each pixel on its own.
    pub fn map(&mut self, change: impl Fn([f32; 3]) -> [f32; 3]) {
        let (red, green, blue) = self.channels_mut();
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            [*red, *green, *blue] = change([*red, *green, *blue]);
        }
    }

    /// Flips the image horizontally.
    pub fn mirror(&mut self) {
        self.values.chunks_exact_mut(self.width).for_each(<[f32]>::reverse);
    }

    fn channels_mut(&mut self) -> (&mut [f32], &mut [f32], &mut [f32]) {
        let area = self.area();
        let (red, rest) = self.values.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        (red, green, blue)
    }
}

/// Luma of a pixel (ITU-R BT.601).
pub(crate) fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}
