//! Retained images: unlabelled images on which the base's predictions are to stay what they are.

use crate::error::AdaptError;
use crate::methods::method::Method;
use crate::request::AdaptRequest;
use crate::train::control::Control;
use crate::train::images::open_images;
use fieldfit_data::{Dataset, FolderOptions, Purpose, shuffled};
use std::path::Path;

/// Maximum number of retained images that are looked at: each costs as much as a validation image in every radius step.
pub(crate) const MOST_RETAINED: usize = 256;

/// Retained images of a run.
pub(crate) struct RetainedImages {
    pub images: Dataset,
    /// Indices of the images that are used.
    pub order: Vec<usize>,
}

impl RetainedImages {
    /// The images that the options name, for a method that compares with the base's predictions of them; opened until
    /// `control` stops.
    pub fn of(request: &AdaptRequest<'_>, method: &dyn Method, control: &Control) -> Result<Option<Self>, AdaptError> {
        let options = request.options;
        let Some(folder) = &options.retain else { return Ok(None) };
        let refused = |expected| AdaptError::Option { name: "retain", found: folder.display().to_string(), expected };
        if !method.requirements().retained_images {
            return Err(refused("no folder: this method uses no images beside those that it learns from"));
        }
        if request.base.network().is_headless() {
            return Err(refused(
                "no folder: this base has no head, so that it predicts nothing that could be retained",
            ));
        }
        Self::open(folder, options.seed, control).map(Some)
    }

    /// Draws at most [`MOST_RETAINED`] of the folder's images by the run's seed.
    fn open(folder: &Path, seed: u64, control: &Control) -> Result<Self, AdaptError> {
        let images = open_images(folder, &FolderOptions::new(Purpose::Unlabelled), control, &mut |_| ())?;
        let all: Vec<usize> = (0..images.samples.len()).collect();
        let mut order = shuffled(&all, seed, 0);
        order.truncate(MOST_RETAINED);
        Ok(Self { images, order })
    }
}
