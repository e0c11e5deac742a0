//! Shapes of activations.

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
    /// Pixels of one image.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Values of one image.
    pub const fn len(self) -> usize {
        self.pixels() * self.channels
    }

    /// Refuses a shape of other channels.
    pub(crate) const fn expect_channels(self, expected: usize) -> Result<(), ShapeError> {
        if self.channels == expected { Ok(()) } else { Err(ShapeError::Channels { expected, found: self.channels }) }
    }

    /// Whether there are no values.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// An input that an op can't take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Another number of channels than the op was made for.
    #[error("expected {expected} channels, found {found}: check that the tensor belongs to this network")]
    Channels {
        /// What the op takes.
        expected: usize,
        /// What came in.
        found: usize,
    },
    /// An image without pixels.
    #[error("an image of {height}×{width} pixels has nothing to compute on: give it at least one pixel")]
    Empty {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// An image that isn't whole patches.
    #[error(
        "an image of {height}×{width} pixels is not whole patches of {patch}×{patch}: give it sides that {patch} divides"
    )]
    Patches {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Side of a patch.
        patch: usize,
    },
    /// An image that a kernel doesn't fit in.
    #[error(
        "{height}×{width} pixels and their padding have no room for a kernel of {kernel}×{kernel}: give a larger image"
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
