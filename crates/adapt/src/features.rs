//! Features of frames and of labelled images, by the backbone of a version.

use crate::error::AdaptError;
use crate::error::TeachError;
use crate::train::labelled_features::LabelledFeatures;
use fieldfit_data::{Batch, DataError, Dataset, Frame, Loader, LoaderOptions, Preprocessor};
use fieldfit_exec::{Device, Executor, Passes, executor};
use fieldfit_model::{Base, Weights};
use fieldfit_tensor::{Images, Matrix};
use std::thread;

/// Images that are computed in one call: each call folds the weights anew.
const BATCH: usize = 64;

/// Backbone of a version with its preprocessing, which computes features.
pub(crate) struct FeatureExtractor {
    executor: Box<dyn Executor<f32>>,
    weights: Weights,
    preprocessor: Preprocessor,
    threads: usize,
}

impl FeatureExtractor {
    /// Extractor of a version's features.
    ///
    /// # Errors
    /// If input size or crop are out of range, or the device is unavailable.
    pub fn new(base: &Base, weights: Weights, device: Device) -> Result<Self, AdaptError> {
        let preprocessor = Preprocessor::new(base.preprocessing(), weights.input_size, weights.crop)?;
        let executor = executor(device, &weights.network, Passes::default())?;
        let threads = match device {
            Device::Cpu { threads } => threads,
            Device::Cuda { .. } | Device::Metal | Device::Candle => 1,
        };
        Ok(Self { executor, weights, preprocessor, threads })
    }

    /// The version's weights.
    pub const fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Features of each frame, `[frames, features]`.
    ///
    /// # Errors
    /// [`TeachError::Image`] for a frame that cannot be decoded; if the device fails.
    pub fn of_frames(&mut self, frames: &[Frame<'_>]) -> Result<Matrix<f32>, AdaptError> {
        let mut values = Vec::new();
        for (batch, frames) in frames.chunks(BATCH).enumerate() {
            let images = self.preprocess(batch * BATCH, frames)?;
            values.extend(self.executor.features(&self.weights.params, &images)?.values);
        }
        Ok(Matrix { rows: frames.len(), columns: self.weights.network.head.features, values })
    }

    /// Decodes frames, the first of which is number `before`, on as many threads as compute.
    fn preprocess(&self, before: usize, frames: &[Frame<'_>]) -> Result<Images, AdaptError> {
        let [height, width] = self.preprocessor.input();
        let mut images = Images::zeros(frames.len(), height, width);
        let stride = images.stride();
        let share = frames.len().div_ceil(self.threads.max(1)).max(1);
        let preprocessor = &self.preprocessor;
        let work = |first: usize, frames: &[Frame<'_>], out: &mut [f32]| {
            let mut preprocessor = preprocessor.clone();
            for (index, (frame, out)) in frames.iter().zip(out.chunks_exact_mut(stride)).enumerate() {
                let prepared = preprocessor.prepare(frame, out);
                prepared.map_err(|source| TeachError::Image { number: before + first + index + 1, source })?;
            }
            Ok::<_, AdaptError>(())
        };
        thread::scope(|scope| {
            let parts = frames.chunks(share).zip(images.values.chunks_mut(share * stride)).enumerate();
            let spawn = |(part, (frames, out))| {
                let thread = thread::Builder::new().name("fieldfit-teach".into());
                let thread = thread.spawn_scoped(scope, move || work(part * share, frames, out));
                thread.map_err(|error| DataError::Thread { reason: error.to_string() })
            };
            let threads = parts.map(spawn).collect::<Result<Vec<_>, _>>()?;
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(images)
    }

    /// Features of the images of these batches, `[images, features]`, with their labels.
    ///
    /// # Errors
    /// If a batch is an error, or the device fails.
    pub fn of_batches<E: Into<AdaptError>>(
        &mut self,
        batches: impl Iterator<Item = Result<Batch, E>>,
    ) -> Result<LabelledFeatures, AdaptError> {
        let mut features = LabelledFeatures::default();
        for batch in batches {
            let batch = batch.map_err(Into::into)?;
            let matrix = self.executor.features(&self.weights.params, &batch.images)?;
            features.extend(matrix, &batch.targets);
        }
        Ok(features)
    }

    /// Features of the samples at these indices, in their order.
    ///
    /// # Errors
    /// If an image cannot be read any more, or the device fails.
    pub fn of_samples(&mut self, dataset: &Dataset, order: &[usize]) -> Result<LabelledFeatures, AdaptError> {
        let options = LoaderOptions { batch: BATCH, ..LoaderOptions::default() };
        self.of_batches(Loader::new(dataset, order, &self.preprocessor, &options)?)
    }
}
