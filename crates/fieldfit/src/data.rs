//! Images: labelled data sets, their slices and augmentations, and image sets to measure on.

pub use crate::image_set::ImageSet;
pub use fieldfit_adapt::open_images;
pub use fieldfit_data::{
    Augmentation, Corruption, DataError, Dataset, DatasetBuilder, EXTENSIONS as IMAGE_EXTENSIONS, FolderError,
    FolderOptions, Fractions, ImageSource, MAX_FILE_BYTES as MAX_IMAGE_FILE_BYTES, MemoryImage, Purpose, RgbImage,
    Sample, ScanProgress, Severity, SkipKind, SkipSummary, Skipped, SplitError, images_below,
};
pub use fieldfit_durable::{BoundedReadError, read_bounded};
