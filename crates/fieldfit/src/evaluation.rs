//! How good what runs is on labelled images, and how much of the base it has kept.

use crate::drift::Witness;
use crate::measuring::{Set, Tally};
use crate::runtime::{adapted, read};
use crate::{Error, Runtime, Version};
use fieldfit_adapt::under_base_head;
use fieldfit_data::Preprocessor;
use fieldfit_exec::{Prepared, prepare};
use fieldfit_model::Weights;
use serde::Serialize;
use std::collections::BTreeMap;

/// Accuracy on a set of labelled images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images that were evaluated.
    pub images: usize,
    /// Those of them whose likeliest class is their own.
    pub correct: usize,
    /// Their share, 0..1.
    pub accuracy: f64,
    /// The mean over classes of the share of their images that is right, 0..1.
    pub macro_accuracy: f64,
    /// Expected calibration error, 0..1, over 15 equal bins of confidence (Guo et al., ICML 2017).
    pub calibration_error: f64,
    /// Images that could not be read and don't count.
    pub skipped: usize,
    /// The same for each class that has images, by its name.
    pub per_class: BTreeMap<String, Count>,
    /// The same for each group that has a name, if the images were opened with a pattern for groups.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub per_group: BTreeMap<String, Count>,
}

/// Some of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Count {
    /// How many there are.
    pub images: usize,
    /// How many of them were recognised.
    pub correct: usize,
}

impl Count {
    fn add(&mut self, is_correct: bool) {
        self.images += 1;
        self.correct += usize::from(is_correct);
    }
}

impl Evaluation {
    fn new(set: &Set, tally: &Tally) -> Self {
        let mut per_class: BTreeMap<String, Count> = BTreeMap::new();
        let mut per_group: BTreeMap<String, Count> = BTreeMap::new();
        for (&sample, &is_correct) in set.order.iter().zip(&tally.outcomes) {
            let sample = &set.images.samples[sample];
            per_class.entry(set.images.classes[sample.class as usize].clone()).or_default().add(is_correct);
            if let Some(group) = &sample.group_name {
                per_group.entry(group.clone()).or_default().add(is_correct);
            }
        }
        let share = |count: &Count| count.correct as f64 / count.images.max(1) as f64;
        let images = tally.outcomes.len();
        let correct = tally.outcomes.iter().filter(|is_correct| **is_correct).count();
        Self {
            images,
            correct,
            accuracy: share(&Count { images, correct }),
            macro_accuracy: per_class.values().map(share).sum::<f64>() / per_class.len().max(1) as f64,
            calibration_error: tally.calibration_error(),
            skipped: set.images.unreadable(),
            per_class,
            per_group,
        }
    }
}

impl Runtime {
    /// Runs what is active now over labelled images.
    ///
    /// `progress` hears how many of how many images are done.
    ///
    /// # Errors
    /// If the images have a class that the model doesn't know, one of them can't be read any more, or the device fails.
    pub fn evaluate(&self, set: &Set, progress: &mut dyn FnMut(usize, usize)) -> Result<Evaluation, Error> {
        let active = self.active();
        let (labels, version) = (active.labels(), active.version());
        evaluate(active.prepared(), (labels, version), active.preprocessor(), set, progress)
    }

    /// The same with the base's original head and labels on the active version's backbone: what was forgotten of the
    /// base's own task.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), or if the active version's file can't be read any more, or the base has no head.
    pub fn evaluate_under_base_head(
        &self,
        set: &Set,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation, Error> {
        self.needs_base_head("be measured on its own task")?;
        let (version, weights) = self.weights()?;
        let weights = under_base_head(&weights, self.base());
        let preprocessor = Preprocessor::new(self.base().preprocessing(), weights.input_size, weights.crop)?;
        let prepared = prepare(self.device(), &weights.network, &weights.params)?;
        evaluate(&*prepared, (&weights.labels, version), &preprocessor, set, progress)
    }

    /// The share of images, 0..1, to which the active version's backbone gives the same class as the base's, both under
    /// the base's original head and at the active version's input size: what the adaptation has not forgotten.
    ///
    /// The images' labels don't matter. `progress` hears how many of how many images are done.
    ///
    /// # Errors
    /// If the active version's file can't be read any more, an image can't, the device fails, or the base has no head.
    pub fn agreement(&self, set: &Set, progress: &mut dyn FnMut(usize, usize)) -> Result<f64, Error> {
        let Witness { base, adapted, preprocessor, .. } = Witness::new(self)?;
        let (mut done, total) = (0, set.order.len());
        let batches = set.batches(&preprocessor)?.inspect(|batch| {
            done += batch.as_ref().map_or(0, |batch| batch.labels.len());
            progress(done, total);
        });
        Ok(fieldfit_adapt::agreement(&*base, &*adapted, batches)?)
    }

    /// The weights of what runs now, whole.
    pub(crate) fn weights(&self) -> Result<(Version, Weights), Error> {
        let version = self.version();
        let weights = match (version, self.store(), self.delta_file()) {
            (Version::Stored(number), Some(store), _) => {
                adapted(self.base(), &store.delta_path(number), &store.read(number)?)?
            }
            (Version::File, _, Some(path)) => adapted(self.base(), path, &read(path)?)?,
            _ => Weights::of_base(self.base()),
        };
        Ok((version, weights))
    }
}

fn evaluate(
    prepared: &dyn Prepared,
    (labels, version): (&[String], Version),
    preprocessor: &Preprocessor,
    set: &Set,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, Error> {
    let set = set.with_labels(labels).map_err(|source| Error::Classes { version, source })?;
    let total = set.order.len();
    let mut tally = Tally::new(labels.len());
    for batch in set.batches(preprocessor)? {
        let batch = batch?;
        let logits = prepared.logits(&batch.images)?;
        tally.add(&batch, &logits);
        progress(tally.outcomes.len(), total);
    }
    Ok(Evaluation::new(&set, &tally))
}
