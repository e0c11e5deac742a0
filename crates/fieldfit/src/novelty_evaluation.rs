//! Novelty evaluation: how well the running version tells unknown images from those of its classes.

use crate::delta::file::parse;
use crate::image_set::ImageSet;
use crate::{Error, Runtime};
use fieldfit_adapt::novelty::{NoveltyModel, NoveltyScores};
use fieldfit_adapt::{Classifier, ExtraOutputs};
use fieldfit_model::Weights;
use serde::Serialize;

/// How well unknown images are told from known ones, by their distance from the nearest class mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NoveltyEvaluation {
    /// Images of the version's classes.
    pub known: usize,
    /// Images of none of them.
    pub unknown: usize,
    /// Probability, 0..1, that an unknown image is further away than a known one.
    pub auroc: f64,
    /// Share of unknown images, 0..1, that pass for known at the distance at which 95 % of the known ones do.
    pub fpr_at_95_tpr: f64,
    /// Distance above which the version calls an image unknown.
    pub threshold: f64,
    /// Share of known images, 0..1, that are called unknown.
    pub false_alarms: f64,
    /// Share of unknown images, 0..1, that are called unknown.
    pub detected: f64,
}

impl Runtime {
    /// Returns whether the running version records a threshold of novelty.
    ///
    /// # Errors
    /// If its file cannot be read any more.
    pub fn has_novelty_threshold(&self) -> Result<bool, Error> {
        let Some((path, bytes)) = self.delta_of(self.version())? else { return Ok(false) };
        Ok(NoveltyModel::of_delta(&parse(&path, &bytes)?, self.base.network().head.features)?.is_some())
    }

    /// Evaluates how well the running version tells images of other things from those of its own classes. Labels are not used.
    ///
    /// `progress` is called with the number of images done and their total.
    ///
    /// # Errors
    /// [`Error::NoNovelty`] if the version records no threshold; if its file or an image cannot be read any more, or the device
    /// fails.
    pub fn evaluate_novelty(
        &self,
        known: &ImageSet,
        unknown: &ImageSet,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<NoveltyEvaluation, Error> {
        let version = self.version();
        let (path, bytes) = self.delta_of(version)?.ok_or(Error::NoNovelty { version })?;
        let delta = parse(&path, &bytes)?;
        let model = NoveltyModel::of_delta(&delta, self.base.network().head.features)?;
        let (model, threshold) = model
            .and_then(|model| model.threshold().map(|threshold| (model, threshold)))
            .ok_or(Error::NoNovelty { version })?;
        let weights = Weights::adapted(&self.base, &delta)?;
        let features = ExtraOutputs { base: false, features: true };
        let classifier = Classifier::with_extra_outputs(&self.base, weights, self.placement(), features)?;
        let total = known.order.len() + unknown.order.len();
        let mut done = 0;
        let mut distances = |set: &ImageSet| {
            let mut distances = Vec::new();
            for batch in set.classified_by(&classifier)? {
                let (_, outputs) = batch?;
                let of_row = |row| model.distance(classifier.outputs(outputs.row(row)).features);
                distances.extend((0..outputs.rows).map(of_row));
                done += outputs.rows;
                progress(done, total);
            }
            Ok::<_, Error>(distances)
        };
        let scores = NoveltyScores { known: distances(known)?, unknown: distances(unknown)? };
        let [false_alarms, detected] = scores.flagged(threshold.distance);
        Ok(NoveltyEvaluation {
            known: scores.known.len(),
            unknown: scores.unknown.len(),
            auroc: scores.auroc(),
            fpr_at_95_tpr: scores.fpr_at_95_tpr(),
            threshold: threshold.distance.into(),
            false_alarms,
            detected,
        })
    }
}
