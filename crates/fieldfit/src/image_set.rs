//! Image set: labelled images under a name, in a fixed order, as they are or corrupted.

use crate::Error;
use fieldfit_adapt::Classifier;
use fieldfit_data::{Batch, Corruption, DataError, Dataset, Loader, LoaderOptions, Perturbation, Severity};
use fieldfit_tensor::Matrix;

/// A named, ordered selection of labelled images to measure on, optionally corrupted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImageSet {
    /// Its name in reports.
    pub name: String,
    /// The data set.
    pub images: Dataset,
    /// Positions in [`Dataset::samples`] of the images that count.
    pub order: Vec<usize>,
    /// The corruption that is applied to each image first, if any.
    pub corruption: Option<(Corruption, Severity)>,
    /// The perturbation that is applied to each image then, if any.
    pub perturbation: Option<Perturbation>,
}

impl ImageSet {
    /// Returns a set of all images of a data set.
    pub fn of(name: impl Into<String>, images: Dataset) -> Self {
        let order = (0..images.samples.len()).collect();
        Self { name: name.into(), images, order, corruption: None, perturbation: None }
    }

    /// Returns a copy of this set for each corruption, at that severity; of images with masks or values, for each that moves no pixels.
    pub fn corrupted(&self, severity: Severity) -> impl Iterator<Item = Self> {
        let set = move |corruption: Corruption| Self {
            name: format!("{corruption} {severity}"),
            corruption: Some((corruption, severity)),
            ..self.clone()
        };
        let is_positional = self.images.is_positional();
        Corruption::ALL.into_iter().filter(move |corruption| !(is_positional && corruption.moves_pixels())).map(set)
    }

    /// Returns the same images with a model's labels as classes.
    pub(crate) fn with_labels(&self, labels: &[String]) -> Result<Self, DataError> {
        let images = self.images.clone().with_labels(labels)?;
        Ok(Self { images, ..self.clone() })
    }

    /// Loads the images in order, preprocessed for that classifier, and computes the [logits](Classifier::logits) of each batch.
    ///
    /// # Errors
    /// If the loader cannot start; an item is an error if an image cannot be read any more, or the device fails.
    pub(crate) fn classified_by<'a>(
        &self,
        classifier: &'a Classifier,
    ) -> Result<impl Iterator<Item = Result<(Batch, Matrix<f32>), Error>> + use<'a>, Error> {
        let (corruption, perturbation, mask_size) = (self.corruption, self.perturbation, classifier.mask_size());
        let options = LoaderOptions { corruption, perturbation, mask_size, ..LoaderOptions::default() };
        let loader = Loader::new(&self.images, &self.order, classifier.preprocessor(), &options)?;
        Ok(classifier.run(loader.map(|batch| batch.map_err(Error::from))))
    }
}
