//! What a camera hands over.

use crate::error::DataError;
use std::time::Duration;

/// One image to look at, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// Pixels as they come from a camera.
    Pixels(Pixels<'a>),
    /// The bytes of a JPEG, PNG or WebP file.
    Encoded(&'a [u8]),
}

/// Borrowed pixels, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// The rows, each `stride` bytes; the last may end with its last pixel.
    pub data: &'a [u8],
    /// What the bytes of a pixel are.
    pub format: PixelFormat,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// When the frame was taken, on the camera's clock. Nothing here depends on it.
    pub timestamp: Duration,
}

/// What the bytes of a pixel are, 8 bits a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb8,
    /// Blue, green, red.
    Bgr8,
    /// Brightness; the network gets it as red, green and blue.
    Gray8,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Gray8 => 1,
        }
    }
}

impl<'a> Pixels<'a> {
    /// Pixels whose rows follow each other without padding, at time 0.
    pub const fn packed(data: &'a [u8], format: PixelFormat, width: u32, height: u32) -> Self {
        Self { data, format, width, height, stride: width as usize * format.bytes(), timestamp: Duration::ZERO }
    }

    /// Bytes of a row's pixels, without padding.
    pub(crate) const fn row_bytes(&self) -> usize {
        self.width as usize * self.format.bytes()
    }

    /// Checks that the pixels are where width, height and stride say.
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
