//! Preprocessing: how pixels become a network's input.

use serde::{Deserialize, Serialize};

/// Preprocessing of an image: crop, resize, `(value − mean) / std` per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// Rows of the network's input, in pixels: the side of a square.
    pub size: u32,
    /// The part of the frame that is resized, and its columns.
    pub fit: Fit,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1. Of a whole frame 1.
    pub crop: f32,
    /// Subtracted, red, green, blue, in units of 0..255.
    pub mean: [f32; 3],
    /// Divided by, red, green, blue, in units of 0..255.
    pub std: [f32; 3],
    /// How images are resampled.
    pub filter: Filter,
}

impl Preprocessing {
    /// Returns rows and columns of the network's input where it has `size` rows: as wide for its height as at its own
    /// size, rounded.
    pub fn input(&self, size: u32) -> [u32; 2] {
        match self.fit {
            Fit::Crop => [size; 2],
            Fit::Whole { width } => {
                let (width, rows) = (u64::from(width) * u64::from(size), u64::from(self.size.max(1)));
                [size, u32::try_from((width + rows / 2) / rows).unwrap_or(u32::MAX)]
            }
        }
    }
}

/// Part of a frame that becomes a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// A square in the frame's centre.
    #[default]
    Crop,
    /// The whole frame, whatever its aspect ratio: each of its pixels gets an answer.
    Whole {
        /// Columns of the network's input, in pixels.
        width: u32,
    },
}

impl Fit {
    /// Returns the whole frame in that many columns, or without a width the square.
    pub const fn of_width(width: Option<u32>) -> Self {
        match width {
            None => Self::Crop,
            Some(width) => Self::Whole { width },
        }
    }

    /// Returns the columns of a whole frame.
    pub const fn width(self) -> Option<u32> {
        match self {
            Self::Crop => None,
            Self::Whole { width } => Some(width),
        }
    }
}

/// A resampling filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Linear in both directions.
    Bilinear,
    /// Catmull-Rom cubic.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos3,
}

impl Filter {
    /// Returns the name that manifests use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos3 => "lanczos3",
        }
    }
}
