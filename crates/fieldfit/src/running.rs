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
    tally: Arc<Tally>,
}

/// Reason for which a frame is not answered.
pub(crate) enum Unanswered {
    /// The frame is malformed or cannot be decoded.
    Frame(Error),
    /// The version fails, the last so many times in a row.
    Version(Error, u32),
}

impl Running {
    /// Prepares a version on a device.
    ///
    /// # Errors
    /// As [`Classifier::new`].
    pub fn new(version: Version, base: &Base, weights: Weights, device: Device) -> Result<Self, Error> {
        Ok(Self { version, classifier: Classifier::new(base, weights, device)?, tally: Arc::default() })
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
            Prediction::new(self.version, self.labels(), logits).map(drop)
        })
    }

    /// Answers a frame. A frame that cannot be preprocessed says nothing of the version.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Unanswered> {
        self.classifier.with_input(|input| {
            input.preprocess(frame).map_err(|error| Unanswered::Frame(error.into()))?;
            self.tally.begin();
            let logits = self.classifier.logits_of(input).map_err(Error::from);
            match logits.and_then(|logits| Prediction::new(self.version, self.labels(), logits)) {
                Ok(prediction) => {
                    self.tally.complete();
                    Ok(prediction)
                }
                Err(error) => Err(Unanswered::Version(error, self.tally.fail())),
            }
        })
    }
}
