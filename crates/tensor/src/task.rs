//! Task: what a network answers about an image, and what a data set labels its images with.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Task of a network or a data set.
///
/// The order of the variants is part of the delta format: they are appended, never moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One class per image.
    #[default]
    Classification,
    /// One class per pixel: semantic segmentation.
    Segmentation,
}

impl Task {
    /// Returns the name in messages and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Segmentation => "segmentation",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
