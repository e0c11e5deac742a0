//! Labelling: how the images of a data set are labelled, and the task that follows from it.

use crate::mask::MaskEncoding;
use fieldfit_tensor::Task;

/// Labelling of a data set's images.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Labelling {
    /// One class an image.
    Classes,
    /// A mask an image, whose values are classes so.
    Masks(MaskEncoding),
    /// Numbers for each image.
    Values,
    /// Any number of labels for each image.
    Labels,
}

impl Labelling {
    /// The task that such images are for.
    pub const fn task(&self) -> Task {
        match self {
            Self::Classes => Task::Classification,
            Self::Masks(_) => Task::Segmentation,
            Self::Values => Task::Regression,
            Self::Labels => Task::MultiLabel,
        }
    }

    /// How masks name the classes; `None` of images that have none.
    pub const fn encoding(&self) -> Option<&MaskEncoding> {
        match self {
            Self::Masks(encoding) => Some(encoding),
            Self::Classes | Self::Values | Self::Labels => None,
        }
    }

    /// Returns whether labels are no longer true of an image whose pixels move.
    pub const fn moves_with_pixels(&self) -> bool {
        match self {
            Self::Masks(_) | Self::Values => true,
            Self::Classes | Self::Labels => false,
        }
    }
}
