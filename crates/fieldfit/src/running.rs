//! Running version: the classifier that answers frames, and the tally that counts its answers.

use crate::trial::Tally;
use crate::{Error, Novelty, Prediction, Segmentation, Version};
use fieldfit_adapt::novelty::NoveltyModel;
use fieldfit_adapt::{Classifier, ExtraOutputs};
use fieldfit_data::Frame;
use fieldfit_delta::Header;
use fieldfit_exec::Device;
use fieldfit_model::{Base, Weights};
use fieldfit_tensor::Task;
use std::sync::Arc;

/// A version that answers frames, behind one pointer: weights, labels and preprocessing change together.
pub(crate) struct Running {
    version: Version,
    classifier: Classifier,
    base_answers: bool,
    novelty: Option<NoveltyModel>,
    tally: Arc<Tally>,
}

/// How versions are prepared to answer frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serving {
    pub device: Device,
    /// Whether predictions also rank the base's own classes.
    pub base_answers: bool,
    /// Whether predictions have the novelty of their frames.
    pub novelty: bool,
}

impl Serving {
    /// Returns the number of outputs beside those of the classes of a delta's head.
    pub fn more_outputs(self, base: &Base, header: &Header) -> usize {
        let head = base.network().head;
        let answers = if self.base_answers { head.classes } else { 0 };
        let features = if self.novelty && header.head.novelty.is_some() { head.features } else { 0 };
        answers + features
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
    /// Prepares a version; `novelty` is what it records to tell unknown frames by.
    ///
    /// # Errors
    /// As [`Classifier::new`].
    pub fn new(
        version: Version,
        base: &Base,
        weights: Weights,
        novelty: Option<NoveltyModel>,
        serving: Serving,
    ) -> Result<Self, Error> {
        let novelty = novelty.filter(|_| serving.novelty);
        // The base has one head, which answers for both.
        let is_ranked = weights.network.task() == Task::Classification;
        let base_head = serving.base_answers && is_ranked && version != Version::Base;
        let extra = ExtraOutputs { base: base_head, features: novelty.is_some() };
        let classifier = Classifier::with_extra_outputs(base, weights, serving.device, extra)?;
        Ok(Self { version, classifier, base_answers: serving.base_answers, novelty, tally: Arc::default() })
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
            match self.classifier.mask_size() {
                None => self.prediction(logits).map(drop),
                Some(size) => Segmentation::new(self.version, self.labels(), size, logits).map(drop),
            }
        })
    }

    /// Ranks the logits of one image under each head, and measures its novelty.
    fn prediction(&self, outputs: &[f32]) -> Result<Prediction, Error> {
        let outputs = self.classifier.outputs(outputs);
        let mut prediction = Prediction::new(self.version, self.labels(), outputs.own)?;
        if self.base_answers {
            let (labels, logits) = match self.classifier.base_labels() {
                Some(labels) => (labels, outputs.base),
                None => (self.labels(), outputs.own),
            };
            prediction = prediction.with_base(labels, logits)?;
        }
        let novelty = self.novelty.as_ref().and_then(|model| {
            let threshold = model.threshold()?;
            Some(Novelty::new(model.distance(outputs.features), threshold))
        });
        Ok(prediction.with_novelty(novelty))
    }

    /// Ranks the classes of a frame.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Unanswered> {
        self.answer(frame, |logits| self.prediction(logits))
    }

    /// Names the class of each pixel of a frame.
    pub fn segment(&self, frame: &Frame<'_>) -> Result<Segmentation, Unanswered> {
        let size = self.classifier.mask_size().unwrap_or([1, 1]);
        self.answer(frame, |logits| Segmentation::new(self.version, self.labels(), size, logits))
    }

    /// Answers a frame by its logits. A frame that cannot be preprocessed says nothing of the version.
    fn answer<R>(&self, frame: &Frame<'_>, read: impl FnOnce(&[f32]) -> Result<R, Error>) -> Result<R, Unanswered> {
        self.classifier.with_input(|input| {
            input.preprocess(frame).map_err(|error| Unanswered::Frame(error.into()))?;
            self.tally.begin();
            let logits = self.classifier.logits_of(input).map_err(Error::from);
            match logits.and_then(read) {
                Ok(answer) => {
                    self.tally.complete();
                    Ok(answer)
                }
                Err(error) => Err(Unanswered::Version(error, self.tally.fail())),
            }
        })
    }
}
