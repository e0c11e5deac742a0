//! Image set: labelled images under a name, in a fixed order, as they are or corrupted.

use fieldfit_data::{Corruption, DataError, Dataset, Loader, LoaderOptions, Preprocessor, Severity};

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
}

impl ImageSet {
    /// Returns a set of all images of a data set.
    pub fn of(name: impl Into<String>, images: Dataset) -> Self {
        let order = (0..images.samples.len()).collect();
        Self { name: name.into(), images, order, corruption: None }
    }

    /// Returns a copy of this set for each corruption, at that severity.
    pub fn corrupted(&self, severity: Severity) -> impl Iterator<Item = Self> {
        let set = move |corruption: Corruption| Self {
            name: format!("{corruption} {severity}"),
            corruption: Some((corruption, severity)),
            ..self.clone()
        };
        Corruption::ALL.into_iter().map(set)
    }

    /// Returns the same images with a model's labels as classes.
    pub(crate) fn with_labels(&self, labels: &[String]) -> Result<Self, DataError> {
        let images = self.images.clone().with_labels(labels)?;
        Ok(Self { images, ..self.clone() })
    }

    /// Loads the images in order, preprocessed as at inference.
    pub(crate) fn batches(&self, preprocessor: &Preprocessor) -> Result<Loader, DataError> {
        let options = LoaderOptions { corruption: self.corruption, ..LoaderOptions::default() };
        Loader::new(&self.images, &self.order, preprocessor, &options)
    }
}
