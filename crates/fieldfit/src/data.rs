//! Images: labelled data sets, their slices and augmentations, and image sets to measure on.

use crate::Error;
use crate::collect::{Contents, is_collection};
pub use crate::image_set::ImageSet;
pub use fieldfit_adapt::open_images;
pub use fieldfit_data::{
    Augmentation, Corruption, DataError, Dataset, DatasetBuilder, EXTENSIONS as IMAGE_EXTENSIONS, FolderError,
    FolderOptions, Fractions, ImageSource, MAX_FILE_BYTES as MAX_IMAGE_FILE_BYTES, MemoryImage, Purpose, ReplayError,
    RgbImage, Sample, ScanProgress, Severity, SkipKind, SkipSummary, Skipped, SplitError, images_below,
};
pub use fieldfit_durable::{BoundedReadError, read_bounded, read_text};
use std::ops::ControlFlow;
use std::path::Path;

/// Opens labelled images: a folder as [`Dataset::open_with_progress`] does, or a [collection](crate::collect::Collection) in
/// place, with its groups.
///
/// # Errors
/// As [`Dataset::open`]; [`Error::Collect`] if the collection's log cannot be read.
pub fn open_dataset(
    folder: impl AsRef<Path>,
    options: &FolderOptions,
    progress: &mut dyn FnMut(ScanProgress),
) -> Result<Dataset, Error> {
    open_dataset_until(folder, options, &mut |scanned| {
        progress(scanned);
        ControlFlow::Continue(())
    })
}

/// Opens labelled images as [`open_dataset`] does, and breaks off where `progress` does.
///
/// # Errors
/// As [`open_dataset`]; [`DataError::Interrupted`] where it was broken off.
pub fn open_dataset_until(
    folder: impl AsRef<Path>,
    options: &FolderOptions,
    progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
) -> Result<Dataset, Error> {
    let folder = folder.as_ref();
    match is_collection(folder) {
        true => Ok(Contents::read(folder)?.dataset(options, progress)?),
        false => Ok(Dataset::open_until(folder, options, progress)?),
    }
}
