//! Running version: the classifier that answers frames, and the tally that counts its answers.

use crate::trial::Tally;
use crate::{Error, Prediction, Version};
use fieldfit_adapt::Classifier;
use fieldfit_data::Frame;
use fieldfit_exec::Device;
use fieldfit_model::{Base, Weights};
use std::sync::Arc;

/// A version that answers frames, behind one pointer: weights, labels and preprocessing change together.
pub(crate) struct Running {
    version: Version,
    classifier: Classifier,
    base_answers: bool,
    tally: Arc<Tally>,
}

/// How versions are prepared to answer frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serving {
    pub device: Device,
    /// Whether predictions also rank the base's own classes.
    pub base_answers: bool,
}

impl Serving {
    /// Returns the number of outputs beside those of a version's own classes.
    pub fn more_outputs(self, base: &Base) -> usize {
        if self.base_answers { base.network().head.classes } else { 0 }
    }
}

/// Reason for which a frame is not answered.
pub(crate) enum Unanswered {
    /// The frame is malformed or cannot be decoded.
    Frame(Error),
    /// The version fails, the last so many times in a row.
    Version(Error, u32),
}

impl Running {
    /// Prepares a version.
    ///
    /// # Errors
    /// As [`Classifier::new`].
    pub fn new(version: Version, base: &Base, weights: Weights, serving: Serving) -> Result<Self, Error> {
        let device = serving.device;
        // The base has one head, which answers for both.
        let classifier = match serving.base_answers && version != Version::Base {
            true => Classifier::beside_base(base, weights, device)?,
            false => Classifier::new(base, weights, device)?,
        };
        Ok(Self { version, classifier, base_answers: serving.base_answers, tally: Arc::default() })
    }

    pub const fn version(&self) -> Version {
        self.version
    }

    /// Names the version, once the store has given it a number.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    pub const fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Class names in the order of the logits.
    pub const fn labels(&self) -> &Arc<[String]> {
        self.classifier.labels()
    }

    /// The count of its answers and failures.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts in that tally from now on, which a trial records.
    pub fn count_in(&mut self, tally: Arc<Tally>) {
        self.tally = tally;
    }

    /// Computes the logits of one empty image, so that a version with non-finite outputs never answers a frame.
    ///
    /// # Errors
    /// If the network cannot be computed, or a logit is not finite.
    pub fn check(&self) -> Result<(), Error> {
        self.classifier.with_input(|input| {
            let logits = self.classifier.logits_of(input)?;
            self.prediction(logits).map(drop)
        })
    }

    /// Ranks the logits of one image under each head.
    fn prediction(&self, logits: &[f32]) -> Result<Prediction, Error> {
        let (own, base) = logits.split_at(self.labels().len());
        let prediction = Prediction::new(self.version, self.labels(), own)?;
        match self.classifier.base_labels() {
            Some(labels) => prediction.with_base(labels, base),
            None if self.base_answers => prediction.with_base(self.labels(), own),
            None => Ok(prediction),
        }
    }

    /// Answers a frame. A frame that cannot be preprocessed says nothing of the version.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Unanswered> {
        self.classifier.with_input(|input| {
            input.preprocess(frame).map_err(|error| Unanswered::Frame(error.into()))?;
            self.tally.begin();
            let logits = self.classifier.logits_of(input).map_err(Error::from);
            match logits.and_then(|logits| self.prediction(logits)) {
                Ok(prediction) => {
                    self.tally.complete();
                    Ok(prediction)
                }
                Err(error) => Err(Unanswered::Version(error, self.tally.fail())),
            }
        })
    }
}
