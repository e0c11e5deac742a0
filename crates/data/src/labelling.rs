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
    /// Any number of labels for each image. Of open ones, a label that the data set does not name is on no image.
    Labels { is_open: bool },
}

impl Labelling {
    /// The task that such images are for.
    pub const fn task(&self) -> Task {
        match self {
            Self::Classes => Task::Classification,
            Self::Masks(_) => Task::Segmentation,
            Self::Values => Task::Regression,
            Self::Labels { .. } => Task::MultiLabel,
        }
    }

    /// How masks name the classes; `None` of images that have none.
    pub const fn encoding(&self) -> Option<&MaskEncoding> {
        match self {
            Self::Masks(encoding) => Some(encoding),
            Self::Classes | Self::Values | Self::Labels { .. } => None,
        }
    }

    /// Returns whether labels depend on where things lie in an image, so that they are no longer true once its pixels move.
    pub const fn is_positional(&self) -> bool {
        match self {
            Self::Masks(_) | Self::Values => true,
            Self::Classes | Self::Labels { .. } => false,
        }
    }
}
