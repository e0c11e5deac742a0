//! Running version: the classifier that answers frames, and the tally that counts its answers.

use crate::prediction::write_probabilities;
use crate::trial::Tally;
use crate::{Error, Estimate, Novelty, Prediction, Segmentation, Tags, Version};
use fieldfit_adapt::novelty::NoveltyModel;
use fieldfit_adapt::{Classifier, ExtraOutputs, FrameBuffers, Placement};
use fieldfit_data::Frame;
use fieldfit_delta::Header;
use fieldfit_exec::{Device, Precision};
use fieldfit_model::{Base, HeadOutputs, LabelThresholds, Weights};
use fieldfit_tensor::Task;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A version that answers frames, behind one pointer: weights, labels and preprocessing change together.
pub(crate) struct Running {
    version: Version,
    classifier: Classifier,
    precision: Precision,
    base_answers: bool,
    novelty: Option<NoveltyModel>,
    /// Threshold of each label, of a version that tells any number of labels.
    thresholds: Arc<[f32]>,
    tally: Arc<Tally>,
}

/// How versions are prepared to answer frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serving {
    pub device: Device,
    /// Precision of weights and activations.
    pub precision: Precision,
    /// Whether predictions also rank the base's own classes.
    pub base_answers: bool,
    /// Whether predictions have the novelty of their frames.
    pub novelty: bool,
}

impl Serving {
    /// Returns where versions run.
    pub const fn placement(self) -> Placement {
        Placement { device: self.device, precision: self.precision }
    }

    /// Returns the number of outputs beside those of the classes of a delta's head.
    pub fn more_outputs(self, base: &Base, header: &Header) -> usize {
        let head = base.network().head;
        let answers = if self.base_answers && header.task == Task::Classification { head.classes } else { 0 };
        let features = if self.novelty && header.head.novelty.is_some() { head.features } else { 0 };
        answers + features
    }
}

/// Reason for which frames are not answered.
pub(crate) enum Unanswered {
    /// A frame is malformed or cannot be decoded, or the caller's buffer does not fit.
    Caller(Error),
    /// The version fails at that frame, the last so many times in a row.
    Version { error: Error, frame: usize, failures: u32 },
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
        let is_ranked = weights.task() == Task::Classification;
        let base_head = serving.base_answers && is_ranked && version != Version::Base;
        let thresholds = match &weights.outputs {
            HeadOutputs::Labels(LabelThresholds(thresholds)) => thresholds.as_slice().into(),
            HeadOutputs::Classes | HeadOutputs::Values(_) => Arc::default(),
        };
        let extra = ExtraOutputs { base: base_head, features: novelty.is_some() };
        let classifier = Classifier::with_extra_outputs(base, weights, serving.placement(), extra)?;
        let (base_answers, tally) = (serving.base_answers, Arc::default());
        let precision = serving.precision;
        Ok(Self { version, classifier, precision, base_answers, novelty, thresholds, tally })
    }

    pub const fn version(&self) -> Version {
        self.version
    }

    /// Precision that it runs in.
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Names the version, once the store has given it a number.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    pub const fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// What it answers about a frame.
    pub const fn task(&self) -> Task {
        self.classifier.task()
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
            let mut outputs = self.classifier.logits_of(input)?;
            outputs.try_for_each(|outputs| match self.task() {
                Task::Classification => self.prediction(outputs).map(drop),
                Task::Segmentation => self.segmentation(outputs).map(drop),
                Task::Regression => self.estimated(outputs).map(drop),
                Task::MultiLabel => self.tags(outputs).map(drop),
            })
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

    /// Answers a frame.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Unanswered> {
        self.answer_one(frame, |outputs| self.prediction(outputs))
    }

    /// Names the class of each pixel of a frame.
    pub fn segment(&self, frame: &Frame<'_>) -> Result<Segmentation, Unanswered> {
        self.answer_one(frame, |logits| self.segmentation(logits))
    }

    /// Estimates the values of a frame's targets.
    pub fn estimate(&self, frame: &Frame<'_>) -> Result<Estimate, Unanswered> {
        self.answer_one(frame, |outputs| self.estimated(outputs))
    }

    /// Tells the labels of a frame.
    pub fn tag(&self, frame: &Frame<'_>) -> Result<Tags, Unanswered> {
        self.answer_one(frame, |outputs| self.tags(outputs))
    }

    fn estimated(&self, outputs: &[f32]) -> Result<Estimate, Error> {
        Estimate::new(self.version, self.labels(), self.classifier.outputs(outputs).own)
    }

    fn tags(&self, outputs: &[f32]) -> Result<Tags, Error> {
        Tags::new(self.version, self.labels(), &self.thresholds, self.classifier.outputs(outputs).own)
    }

    /// Names the class of each pixel by its logits, `[H, W, classes]`.
    fn segmentation(&self, logits: &[f32]) -> Result<Segmentation, Error> {
        let size = self.classifier.mask_size().unwrap_or([1, 1]);
        Segmentation::new(self.version, self.labels(), size, logits)
    }

    /// Answers a frame, and writes the probability of each class.
    pub fn scores(&self, frame: &Frame<'_>, scores: &mut [f32]) -> Result<Prediction, Unanswered> {
        check_length("scores", self.labels().len(), scores)?;
        self.answer_one(frame, |outputs| {
            let prediction = self.prediction(outputs)?;
            write_probabilities(self.classifier.outputs(outputs).own, scores);
            Ok(prediction)
        })
    }

    /// Answers frames that are computed in passes of so many, and adds the predictions.
    pub fn infer_batch(
        &self,
        frames: &[Frame<'_>],
        pass: NonZeroUsize,
        predictions: &mut Vec<Prediction>,
    ) -> Result<(), Unanswered> {
        let passes = frames.chunks(pass.get()).enumerate();
        passes.map(|(index, frames)| (index * pass.get(), frames)).try_for_each(|(first, frames)| {
            self.classifier.with_input(|input| {
                input.preprocess_all(frames).map_err(|(index, source)| {
                    Unanswered::Caller(Error::BatchFrame { index: first + index, source })
                })?;
                self.tally.begin();
                let outputs = self.classifier.logits_of(input).map_err(|error| self.failed(first, error.into()))?;
                outputs.enumerate().try_for_each(|(index, outputs)| {
                    let prediction = self.prediction(outputs).map_err(|error| self.failed(first + index, error))?;
                    predictions.push(prediction);
                    self.tally.complete();
                    Ok(())
                })
            })
        })
    }

    /// Writes the features of a frame, which the head reads.
    pub fn embed(&self, frame: &Frame<'_>, features: &mut [f32], expected: usize) -> Result<Version, Unanswered> {
        check_length("features", expected, features)?;
        self.compute(frame, |input| {
            let values = self.classifier.features_of(input)?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(Error::Feature { version: self.version, index, value: values[index] });
            }
            features.copy_from_slice(values);
            Ok(self.version)
        })
    }

    /// Answers a frame by the outputs of the network.
    fn answer_one<R>(
        &self,
        frame: &Frame<'_>,
        answer: impl FnOnce(&[f32]) -> Result<R, Error>,
    ) -> Result<R, Unanswered> {
        self.compute(frame, |input| answer(self.classifier.logits_of(input)?.next().unwrap_or_default()))
    }

    /// Computes a frame, and counts it. A frame that cannot be preprocessed says nothing of the version.
    fn compute<R>(
        &self,
        frame: &Frame<'_>,
        compute: impl FnOnce(&mut FrameBuffers) -> Result<R, Error>,
    ) -> Result<R, Unanswered> {
        self.classifier.with_input(|input| {
            input.preprocess(frame).map_err(|error| Unanswered::Caller(error.into()))?;
            self.tally.begin();
            let result = compute(input).map_err(|error| self.failed(0, error))?;
            self.tally.complete();
            Ok(result)
        })
    }

    /// Counts a failure of the version at a frame.
    fn failed(&self, frame: usize, error: Error) -> Unanswered {
        Unanswered::Version { error, frame, failures: self.tally.fail() }
    }
}

/// Refuses a buffer of another length than what is written to it.
fn check_length(what: &'static str, expected: usize, buffer: &[f32]) -> Result<(), Unanswered> {
    match buffer.len() {
        found if found == expected => Ok(()),
        found => Err(Unanswered::Caller(Error::BufferLength { what, expected, found })),
    }
}
