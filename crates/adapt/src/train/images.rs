//! Opening of images: opens a data set under a control, so that a run can be stopped before it begins.

use crate::error::AdaptError;
use crate::train::control::Control;
use fieldfit_data::{DataError, Dataset, FolderOptions, ScanProgress};
use std::ops::ControlFlow;
use std::path::Path;

/// Opens a data set as [`Dataset::open_with_progress`] does, and stops after the file that it is at once `control` says so.
///
/// # Errors
/// As [`Dataset::open`]; [`AdaptError::Interrupted`] if it was stopped.
pub fn open_images(
    folder: &Path,
    options: &FolderOptions,
    control: &Control,
    progress: &mut dyn FnMut(ScanProgress),
) -> Result<Dataset, AdaptError> {
    let opened = Dataset::open_until(folder, options, &mut |scanned| {
        progress(scanned);
        if control.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match opened {
        Err(DataError::Interrupted) => Err(AdaptError::Interrupted { checkpoint: None }),
        opened => Ok(opened?),
    }
}
