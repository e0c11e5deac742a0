//! Preprocessing: how pixels become a network's input.

use serde::{Deserialize, Serialize};

/// Preprocessing of an image: centre crop, resize to a square, `(value − mean) / std` per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// Side of the square image, in pixels.
    pub size: u32,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: f32,
    /// Subtracted, red, green, blue, in units of 0..255.
    pub mean: [f32; 3],
    /// Divided by, red, green, blue, in units of 0..255.
    pub std: [f32; 3],
    /// How images are resampled.
    pub filter: Filter,
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
