//! Running version: the classifier that answers frames, and the trial that counts its answers.

use crate::classifier::Classifier;
use crate::trial::Tally;
use crate::{Error, Prediction, Version};
use fieldfit_data::Frame;
use fieldfit_exec::Device;
use fieldfit_model::{Base, Weights};
use std::sync::Arc;

/// A version that answers frames, behind one pointer: weights, labels and preprocessing change together.
pub(crate) struct Running {
    version: Version,
    classifier: Classifier,
    /// Counts predictions, if the version is on trial.
    tally: Option<Arc<Tally>>,
}

impl Running {
    /// Prepares a version on a device.
    ///
    /// # Errors
    /// As [`Classifier::new`].
    pub fn new(version: Version, base: &Base, weights: Weights, device: Device) -> Result<Self, Error> {
        Ok(Self { version, classifier: Classifier::new(base, weights, device)?, tally: None })
    }

    pub const fn version(&self) -> Version {
        self.version
    }

    pub const fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Class names in the order of the logits.
    pub const fn labels(&self) -> &Arc<[String]> {
        self.classifier.labels()
    }

    /// Counts predictions there from now on.
    pub fn count(&mut self, tally: Arc<Tally>) {
        self.tally = Some(tally);
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

    /// Answers a frame.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded, the device fails, or a logit is not finite.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Error> {
        self.classifier.with_input(|input| {
            if let Some(tally) = &self.tally {
                tally.begin();
            }
            input.preprocess(frame)?;
            let prediction = Prediction::new(self.version, self.labels(), self.classifier.logits_of(input)?)?;
            if let Some(tally) = &self.tally {
                tally.complete();
            }
            Ok(prediction)
        })
    }
}
