//! How good a version is on labelled images, and how much of the base it has kept.

use crate::runtime::{adapted, read};
use crate::{Error, Runtime};
use fieldfit_adapt::{ClassScore, evaluate, under_base_head};
use fieldfit_data::{Batch, DataError, Dataset, Loader, LoaderOptions, Preprocessor};
use fieldfit_exec::{Device, prepare};
use fieldfit_model::{Base, Weights};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Accuracy on a folder of labelled images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images that were evaluated.
    pub images: usize,
    /// Those of them whose likeliest class is their own.
    pub correct: usize,
    /// Their share, 0..1.
    pub accuracy: f64,
    /// Images that could not be read and don't count.
    pub skipped: usize,
    /// The same for each class that has images, by its name.
    pub per_class: BTreeMap<String, ClassCount>,
}

/// The images of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ClassCount {
    /// How many there are.
    pub images: usize,
    /// How many of them were recognised.
    pub correct: usize,
}

impl From<ClassScore> for ClassCount {
    fn from(ClassScore { images, correct, .. }: ClassScore) -> Self {
        Self { images, correct }
    }
}

impl Runtime {
    /// Runs what is active now over labelled images.
    ///
    /// `progress` hears how many of how many images are done.
    ///
    /// # Errors
    /// If the images have a class that the model doesn't know, one of them can't be read any more, or the device fails.
    pub fn evaluate(&self, images: &Dataset, progress: &mut dyn FnMut(usize, usize)) -> Result<Evaluation, Error> {
        let active = self.active();
        let known = images.clone().with_labels(active.labels());
        let images = known.map_err(|source| Error::Classes { version: active.version(), source })?;
        let batches = batches(&images, active.preprocessor())?;
        let total = images.samples.len();
        let classes = active.labels().len();
        let scores =
            evaluate(classes, batches, |images| active.prepared().logits(images), |done| progress(done, total))?;
        let per_class = images.classes.iter().cloned().zip(scores.per_class.iter().map(|&score| score.into()));
        Ok(Evaluation {
            images: scores.images(),
            correct: scores.correct(),
            accuracy: scores.accuracy(),
            skipped: images.skipped.len(),
            per_class: per_class.filter(|(_, count): &(_, ClassCount)| count.images > 0).collect(),
        })
    }
}

/// The share of images, 0..1, to which a delta's backbone gives the same class as the base's, both under the base's
/// original head and at the delta's input size: what the adaptation has not forgotten.
///
/// The images' labels don't matter. `progress` hears how many of how many images are done.
///
/// # Errors
/// If the delta can't be read or belongs to another base, an image can't be read any more, or the device fails.
pub fn agreement(
    base: &Base,
    delta: &Path,
    device: Device,
    images: &Dataset,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<f64, Error> {
    let adapted = under_base_head(&adapted(base, delta, &read(delta)?)?, base);
    let preprocessor = Preprocessor::new(base.preprocessing(), adapted.input_size, adapted.crop)?;
    let prepare = |weights: &Weights| prepare(device, &weights.network, &weights.params);
    let (original, adapted) = (prepare(&Weights::of_base(base))?, prepare(&adapted)?);
    let (mut done, total) = (0, images.samples.len());
    let batches = batches(images, &preprocessor)?.inspect(|batch| {
        done += batch.as_ref().map_or(0, |batch| batch.labels.len());
        progress(done, total);
    });
    Ok(fieldfit_adapt::agreement(&*original, &*adapted, batches)?)
}

/// All images in order, as at inference.
fn batches(
    images: &Dataset,
    preprocessor: &Preprocessor,
) -> Result<impl Iterator<Item = Result<Batch, DataError>>, DataError> {
    let order: Vec<usize> = (0..images.samples.len()).collect();
    Loader::new(images, &order, preprocessor, &LoaderOptions::default())
}
