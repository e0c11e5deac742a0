//! Activation shapes and shape errors.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The shape of one image's activation: `[height, width, channels]`, channels innermost.
///
/// Tokens are one row of pixels, `[1, tokens, width]`; a vector is one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Values in a pixel.
    pub channels: usize,
}

impl Shape {
    /// Creates the shape of a vector.
    pub const fn vector(channels: usize) -> Self {
        Self { height: 1, width: 1, channels }
    }

    /// Returns `[height, width, channels]`.
    pub const fn sides(self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Creates a shape from `[height, width, channels]`.
    pub const fn of([height, width, channels]: [usize; 3]) -> Self {
        Self { height, width, channels }
    }

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
        "image: expected at least {}×{} pixels with padding for the kernel, found {height}×{width} without: pass a larger image",
        kernel[0], kernel[1]
    )]
    Kernel {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Rows and columns that the kernel spans.
        kernel: [usize; 2],
    },
    /// A window whose kernel, stride or dilation is 0.
    #[error("window: expected a kernel, stride and dilation of at least 1, found 0: correct the network's graph")]
    Window,
    /// Inputs whose shapes do not fit each other, or the op.
    #[error(
        "{op}: expected inputs that fit, found {found:?} and {other:?} (height, width, channels): correct the network's graph"
    )]
    Inputs {
        /// The op's name.
        op: &'static str,
        /// Shape of the first input.
        found: Shape,
        /// Shape of the other input, or the one that the op expects.
        other: Shape,
    },
    /// Another number of inputs than the op takes.
    #[error("{op}: expected {expected} inputs, found {found}: correct the network's graph")]
    InputCount {
        /// The op's name.
        op: &'static str,
        /// Inputs that it takes.
        expected: usize,
        /// Inputs that it has.
        found: usize,
    },
}
