//! Image batch: preprocessed images as a network reads them.

/// A batch of preprocessed images, `[N, H, W, 3]`, f32, channels innermost, red first; or, for the later part of a network
/// that was split in two, a batch of activations of the earlier part, `[N, H, W, C]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Rows of pixels of an image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Values of a pixel: 3 for images.
    pub channels: usize,
    /// `count · height · width · channels` values.
    pub values: Vec<f32>,
}

impl Images {
    /// Returns zeros of shape `[count, height, width, 3]`.
    pub fn zeros(count: usize, height: usize, width: usize) -> Self {
        Self { count, height, width, channels: 3, values: vec![0.0; count * height * width * 3] }
    }

    /// Returns the number of values of one image.
    pub const fn stride(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Returns the values of the image at that position.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, position: usize) -> &[f32] {
        &self.values[position * self.stride()..][..self.stride()]
    }

    /// Returns the values of the image at that position, mutably.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image_mut(&mut self, position: usize) -> &mut [f32] {
        let stride = self.stride();
        &mut self.values[position * stride..][..stride]
    }
}
