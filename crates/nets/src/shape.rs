//! Activation shapes and shape errors.

use thiserror::Error;

/// The shape of one image's activation: `[height, width, channels]`, channels innermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Values in a pixel.
    pub channels: usize,
}

impl Shape {
    /// Returns the pixels of one image.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Returns the values of one image.
    pub const fn len(self) -> usize {
        self.pixels() * self.channels
    }

    /// Checks the number of channels.
    pub(crate) const fn expect_channels(self, expected: usize) -> Result<(), ShapeError> {
        if self.channels == expected { Ok(()) } else { Err(ShapeError::Channels { expected, found: self.channels }) }
    }

    /// Whether there are no values.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Shape error: an input that an op does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// The wrong number of channels.
    #[error("expected {expected} channels, found {found}: check that the tensor belongs to this network")]
    Channels {
        /// Channels of the op.
        expected: usize,
        /// Channels of the input.
        found: usize,
    },
    /// An image without pixels.
    #[error("image: expected at least 1×1 pixels, found {height}×{width}: pass a non-empty image")]
    Empty {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// An image whose sides are not multiples of the patch.
    #[error(
        "image: expected sides that are multiples of the patch size {patch}, found {height}×{width} pixels: resize the image"
    )]
    Patches {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Side of a patch.
        patch: usize,
    },
    /// An image smaller than the kernel.
    #[error(
        "image: expected at least {kernel}×{kernel} pixels with padding for the kernel, found {height}×{width} without: pass a larger image"
    )]
    Kernel {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Side of the kernel.
        kernel: usize,
    },
}
