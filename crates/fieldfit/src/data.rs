//! Images: labelled data sets, their slices and augmentations, and image sets to measure on.

pub use crate::image_set::ImageSet;
pub use fieldfit_data::{
    Augmentation, Corruption, DataError, Dataset, FolderError, FolderOptions, Fractions, Part, Progress, Purpose,
    Sample, Severity, Skipped, SplitError,
};
