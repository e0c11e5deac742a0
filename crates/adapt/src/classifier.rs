//! Classifier: a prepared network with its preprocessor and labels, which turns frames and batches into outputs of images or
//! pixels: logits of classes or labels, or values.

use crate::heads::{under_both_heads, with_feature_outputs};
use fieldfit_data::{Batch, DataError, Frame, Preprocessor};
use fieldfit_exec::{Device, ExecError, Precision, Prepared, prepare, prepare_int8};
use fieldfit_model::{Base, HeadOutputs, ModelError, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Matrix, Task};
use std::slice::ChunksExact;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Classifier: a network whose weights are folded and packed for one device, with the preprocessing and the labels
/// that belong to them. Serving, evaluation, comparison, base agreement and gate all compute with it, from any number
/// of threads.
///
/// Immutable but for spare buffers.
pub struct Classifier {
    labels: Arc<[String]>,
    /// Labels of the base's own head, whose logits follow; `None` without it.
    base_labels: Option<Arc<[String]>>,
    prepared: Box<dyn Prepared>,
    preprocessor: Preprocessor,
    task: Task,
    outputs: HeadOutputs,
    /// Rows and columns of a dense network's output.
    mask_size: Option<[usize; 2]>,
    /// Buffers that no thread uses now; as many as threads have ever inferred at once.
    spare: Mutex<Vec<FrameBuffers>>,
}

impl Classifier {
    /// Prepares weights on a device in a precision, with the base's preprocessing at the weights' input size. The scales of
    /// int8 activations are those of the weights' ranges, else of the base's.
    ///
    /// # Errors
    /// If the input size or the crop is out of range, the network cannot take images of this size, or the device is unavailable;
    /// for int8, if neither the weights nor the base have been calibrated, or a weight is not finite.
    pub fn new(base: &Base, weights: Weights, placement: impl Into<Placement>) -> Result<Self, ClassifierError> {
        let task = weights.task();
        let Weights { network, labels, outputs, params, ranges, input_size, crop } = weights;
        let preprocessor = Preprocessor::new(base.preprocessing(), input_size, crop)?;
        let Placement { device, precision } = placement.into();
        let prepared = match precision {
            Precision::F32 => prepare(device, &network, &params)?,
            Precision::Int8 => {
                let ranges = ranges.map_or_else(|| base.activation_ranges(), |ranges| Ok(Some(ranges)))?;
                prepare_int8(device, &network, &params, &ranges.unwrap_or_default())?
            }
        };
        let mask_size = output_size(&network, preprocessor.input())?;
        let (labels, spare) = (labels.into(), Mutex::default());
        Ok(Self { labels, base_labels: None, prepared, preprocessor, task, outputs, mask_size, spare })
    }

    /// Prepares weights as [`new`](Self::new) does, with further outputs behind the logits of their own classes: the logits of
    /// the base's own head, then the features.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_extra_outputs(
        base: &Base,
        weights: Weights,
        placement: impl Into<Placement>,
        extra: ExtraOutputs,
    ) -> Result<Self, ClassifierError> {
        let weights = if extra.base { under_both_heads(weights, base) } else { weights };
        let weights = if extra.features { with_feature_outputs(weights) } else { weights };
        let base_labels = extra.base.then(|| base.labels().into());
        Ok(Self { base_labels, ..Self::new(base, weights, placement)? })
    }

    /// Returns what the network answers about an image.
    pub const fn task(&self) -> Task {
        self.task
    }

    /// Returns rows and columns of a dense network's output, which are those of masks to compare it with; `None` of others.
    pub const fn mask_size(&self) -> Option<[usize; 2]> {
        self.mask_size
    }

    /// Returns what the outputs of the own head mean.
    pub const fn head_outputs(&self) -> &HeadOutputs {
        &self.outputs
    }

    /// Divides the outputs of one image, or of one pixel, by what they are of.
    pub fn outputs<'a>(&self, outputs: &'a [f32]) -> Outputs<'a> {
        let (own, rest) = outputs.split_at(self.labels.len());
        let (base, features) = rest.split_at(self.base_labels.as_ref().map_or(0, |labels| labels.len()));
        Outputs { own, base, features }
    }

    /// Returns the names of the own head's outputs, in their order: classes, labels or targets.
    pub const fn labels(&self) -> &Arc<[String]> {
        &self.labels
    }

    /// Returns the class names of the base's own head, in the order of the logits that follow; `None` unless it was prepared
    /// [with them](Self::with_extra_outputs).
    pub const fn base_labels(&self) -> Option<&Arc<[String]>> {
        self.base_labels.as_ref()
    }

    /// Returns the preprocessor of the classifier's images.
    pub const fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Lends buffers to `work`. They hold what the work before left in them.
    pub fn with_input<R>(&self, work: impl FnOnce(&mut FrameBuffers) -> R) -> R {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut input = spare.unwrap_or_else(|| FrameBuffers::new(self.preprocessor.clone()));
        let result = work(&mut input);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(input);
        result
    }

    /// Computes the logits of preprocessed frames, `[N, classes]`, or of each of their pixels, `[N, H, W, classes]`; behind those of
    /// each frame come its further [`outputs`](Self::outputs).
    ///
    /// # Errors
    /// If the network cannot take images of this size, or the device fails.
    pub fn logits_of<'a>(&self, input: &'a mut FrameBuffers) -> Result<ChunksExact<'a, f32>, ExecError> {
        self.prepared.logits_into(&input.images, &mut input.outputs)?;
        let of_frame = input.outputs.len() / input.images.count.max(1);
        Ok(input.outputs.chunks_exact(of_frame.max(1)))
    }

    /// Computes the features of preprocessed frames, which the head reads, `[N, features]`.
    ///
    /// # Errors
    /// As [`logits_of`](Self::logits_of).
    pub fn features_of<'a>(&self, input: &'a mut FrameBuffers) -> Result<&'a [f32], ExecError> {
        self.prepared.features_into(&input.images, &mut input.outputs)?;
        Ok(&input.outputs)
    }

    /// Computes the logits of a batch, `[N, classes]`; of a dense network, `[N · H · W, classes]`.
    ///
    /// # Errors
    /// As [`logits_of`](Self::logits_of).
    pub fn logits(&self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        self.prepared.logits(images)
    }

    /// Computes the [logits](Self::logits) of each batch. An item is an error if its batch is one, or the device fails.
    pub fn run<E: From<ExecError>>(
        &self,
        batches: impl Iterator<Item = Result<Batch, E>>,
    ) -> impl Iterator<Item = Result<(Batch, Matrix<f32>), E>> {
        batches.map(|batch| {
            let batch = batch?;
            let logits = self.logits(&batch.images)?;
            Ok((batch, logits))
        })
    }
}

/// Returns rows and columns of a dense network's output for an image of that size; `None` of others.
pub(crate) fn output_size(network: &Network, [height, width]: [usize; 2]) -> Result<Option<[usize; 2]>, ExecError> {
    if !network.head.is_dense() {
        return Ok(None);
    }
    let shapes = network.shapes(height, width)?;
    Ok(shapes.last().map(|output| [output.height, output.width]))
}

/// Extra outputs of a classifier, behind the logits of its own classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtraOutputs {
    /// Whether it computes the logits of the base's own head.
    pub base: bool,
    /// Whether it puts out the features.
    pub features: bool,
}

/// Outputs of one image; empty where they are not computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outputs<'a> {
    /// Logits of the classifier's own classes.
    pub own: &'a [f32],
    /// Logits of the base's own head.
    pub base: &'a [f32],
    /// Features.
    pub features: &'a [f32],
}

/// Where and in which precision a network is inferred. A device alone means f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Device that computes.
    pub device: Device,
    /// Precision of weights and activations.
    pub precision: Precision,
}

impl From<Device> for Placement {
    fn from(device: Device) -> Self {
        Self { device, precision: Precision::F32 }
    }
}

/// Error of a classifier that cannot be prepared.
#[derive(Debug, Error)]
pub enum ClassifierError {
    /// An input size or a crop that is out of range.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An unavailable device, or an unsupported network.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Activation ranges of the base that cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Buffers of the frames that are computed in one pass: their pixels after preprocessing, `[N, H, W, 3]`, and their logits or
/// features.
pub struct FrameBuffers {
    preprocessor: Preprocessor,
    images: Images,
    outputs: Vec<f32>,
}

impl FrameBuffers {
    fn new(preprocessor: Preprocessor) -> Self {
        let [height, width] = preprocessor.input();
        Self { preprocessor, images: Images::zeros(1, height, width), outputs: Vec::new() }
    }

    /// Decodes, crops and normalises a frame.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded: the frame's fault, never the network's.
    pub fn preprocess(&mut self, frame: &Frame<'_>) -> Result<(), DataError> {
        self.resize(1);
        self.preprocessor.prepare(frame, self.images.image_mut(0))
    }

    /// Decodes, crops and normalises frames for one pass.
    ///
    /// # Errors
    /// As [`preprocess`](Self::preprocess), with the position of the frame.
    pub fn preprocess_all(&mut self, frames: &[Frame<'_>]) -> Result<(), (usize, DataError)> {
        self.resize(frames.len());
        frames.iter().enumerate().try_for_each(|(index, frame)| {
            let prepared = self.preprocessor.prepare(frame, self.images.image_mut(index));
            prepared.map_err(|error| (index, error))
        })
    }

    /// Returns the preprocessed frames, `[N, H, W, 3]`.
    pub const fn images(&self) -> &Images {
        &self.images
    }

    fn resize(&mut self, count: usize) {
        self.images.count = count;
        self.images.values.resize(count * self.images.stride(), 0.0);
    }
}
