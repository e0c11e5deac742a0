//! What a network eats.

/// A batch of preprocessed images: f32, `[N, H, W, 3]`, channels innermost, red first. For the later part of a network
/// that was cut in two, what the earlier part made of them: `[N, H, W, C]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// How many images.
    pub count: usize,
    /// Rows of pixels in each.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Values of a pixel: 3 in images.
    pub channels: usize,
    /// `count · height · width · channels` values.
    pub values: Vec<f32>,
}

impl Images {
    /// Zeros of that shape.
    pub fn zeros(count: usize, height: usize, width: usize) -> Self {
        Self { count, height, width, channels: 3, values: vec![0.0; count * height * width * 3] }
    }

    /// Values of one image.
    pub const fn stride(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The values of the image at that position.
    pub fn image(&self, position: usize) -> &[f32] {
        &self.values[position * self.stride()..][..self.stride()]
    }

    /// The values of the image at that position, to be written in place.
    pub fn image_mut(&mut self, position: usize) -> &mut [f32] {
        let stride = self.stride();
        &mut self.values[position * stride..][..stride]
    }
}
