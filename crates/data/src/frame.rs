//! Camera frames: borrowed pixels or encoded images.

use crate::error::DataError;
use std::time::Duration;

/// Frame: one borrowed image, as pixels or encoded.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// Pixels of a camera.
    Pixels(Pixels<'a>),
    /// Bytes of a JPEG, PNG, WebP, BMP, TIFF or GIF file.
    Encoded(&'a [u8]),
}

/// Borrowed pixels, `[height, width, channels]`, with a stride between rows.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// Rows of `stride` bytes each; the last may end with its last pixel.
    pub data: &'a [u8],
    /// Format of a pixel.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// Time of capture on the camera's clock. No result depends on it.
    pub timestamp: Duration,
}

/// Pixel format: order of the channels, 8 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb8,
    /// Blue, green, red.
    Bgr8,
    /// Grey; red, green and blue of the network's input take its value.
    Gray8,
}

impl PixelFormat {
    /// Number of bytes of one pixel.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Gray8 => 1,
        }
    }
}

impl<'a> Pixels<'a> {
    /// Pixels without padding between rows, at time 0.
    pub const fn packed(data: &'a [u8], format: PixelFormat, width: u32, height: u32) -> Self {
        Self { data, format, width, height, stride: width as usize * format.bytes(), timestamp: Duration::ZERO }
    }

    /// Number of bytes of a row without padding.
    pub(crate) const fn row_bytes(&self) -> usize {
        self.width as usize * self.format.bytes()
    }

    /// Checks that the data has the length that width, height and stride imply.
    ///
    /// # Errors
    /// If a side is 0, the stride is shorter than a row, or the data is too short or too long for them.
    pub fn check(&self) -> Result<(), DataError> {
        let Self { width, height, stride, .. } = *self;
        if width == 0 || height == 0 {
            return Err(DataError::EmptyFrame { width, height });
        }
        let row = self.row_bytes();
        if stride < row {
            return Err(DataError::Stride { width, format: self.format, expected: row, found: stride });
        }
        let padded = stride.saturating_mul(height as usize);
        let expected = padded - (stride - row);
        if !(expected..=padded).contains(&self.data.len()) {
            return Err(DataError::Length { width, height, stride, expected, found: self.data.len() });
        }
        Ok(())
    }
}
