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
    /// Numbers per image, each with a unit.
    Regression,
    /// Any number of labels per image.
    MultiLabel,
}

impl Task {
    /// Returns the name in messages and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Segmentation => "segmentation",
            Self::Regression => "regression",
            Self::MultiLabel => "multi-label classification",
        }
    }

    /// Returns whether a network has an answer for each pixel, and not one for the image.
    pub const fn is_dense(self) -> bool {
        match self {
            Self::Segmentation => true,
            Self::Classification | Self::Regression | Self::MultiLabel => false,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
