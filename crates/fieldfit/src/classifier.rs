//! Classifier: a prepared network with its preprocessor and labels, which turns frames and batches into logits.

use crate::Error;
use crate::image_set::ImageSet;
use fieldfit_data::{Batch, Frame, Preprocessor};
use fieldfit_exec::{Device, Prepared, prepare};
use fieldfit_model::{Base, Weights};
use fieldfit_tensor::{Images, Matrix};
use std::sync::{Arc, Mutex, PoisonError};

/// A network whose weights are folded and packed for one device, with the preprocessing and the labels that belong to
/// them. Serving, evaluation, comparison and base agreement all compute with it, from any number of threads.
///
/// Immutable but for spare buffers.
pub(crate) struct Classifier {
    labels: Arc<[String]>,
    prepared: Box<dyn Prepared>,
    preprocessor: Preprocessor,
    /// Buffers that no thread uses now; as many as threads have ever inferred at once.
    spare: Mutex<Vec<Input>>,
}

impl Classifier {
    /// Prepares weights on a device, with the base's preprocessing at the weights' input size.
    ///
    /// # Errors
    /// If the input size or the crop is out of range, or the device is unavailable.
    pub fn new(base: &Base, weights: Weights, device: Device) -> Result<Self, Error> {
        let Weights { network, labels, params, input_size, crop } = weights;
        let preprocessor = Preprocessor::new(base.preprocessing(), input_size, crop)?;
        let prepared = prepare(device, &network, &params)?;
        Ok(Self { labels: labels.into(), prepared, preprocessor, spare: Mutex::default() })
    }

    /// Class names in the order of the logits.
    pub const fn labels(&self) -> &Arc<[String]> {
        &self.labels
    }

    /// Lends buffers for one frame to `work`. They hold zeros or an earlier frame.
    pub fn with_input<R>(&self, work: impl FnOnce(&mut Input) -> R) -> R {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut input = spare.unwrap_or_else(|| Input::new(self.preprocessor.clone()));
        let result = work(&mut input);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(input);
        result
    }

    /// Computes the logits of a preprocessed frame, `[classes]`.
    ///
    /// # Errors
    /// If the network cannot take images of this size, or the device fails.
    pub fn logits_of<'a>(&self, input: &'a mut Input) -> Result<&'a [f32], Error> {
        self.prepared.logits_into(&input.image, &mut input.logits)?;
        Ok(&input.logits)
    }

    /// Computes the logits of a batch, `[N, classes]`.
    ///
    /// # Errors
    /// As [`logits_of`](Self::logits_of).
    pub fn logits(&self, images: &Images) -> Result<Matrix<f32>, Error> {
        Ok(self.prepared.logits(images)?)
    }

    /// Loads the images of a set in order, a batch at a time, and computes the logits of each, `[N, classes]`.
    ///
    /// # Errors
    /// If the loader cannot start; an item is an error if an image cannot be read any more, or the device fails.
    pub fn run<'a>(
        &'a self,
        set: &ImageSet,
    ) -> Result<impl Iterator<Item = Result<(Batch, Matrix<f32>), Error>> + use<'a>, Error> {
        Ok(set.batches(&self.preprocessor)?.map(|batch| {
            let batch = batch?;
            let logits = self.logits(&batch.images)?;
            Ok((batch, logits))
        }))
    }
}

/// One preprocessed frame, `[1, H, W, 3]`, and room for its logits.
pub(crate) struct Input {
    preprocessor: Preprocessor,
    image: Images,
    logits: Vec<f32>,
}

impl Input {
    fn new(preprocessor: Preprocessor) -> Self {
        let side = preprocessor.size() as usize;
        Self { preprocessor, image: Images::zeros(1, side, side), logits: Vec::new() }
    }

    /// Decodes, crops and normalises a frame.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded: the frame's fault, never the network's.
    pub fn preprocess(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        Ok(self.preprocessor.prepare(frame, self.image.image_mut(0))?)
    }

    /// The preprocessed frame.
    pub const fn image(&self) -> &Images {
        &self.image
    }
}
