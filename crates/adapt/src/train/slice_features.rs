//! Slice features: what a backbone makes of the images of a slice, each computed once, as they are.

use crate::error::AdaptError;
use crate::event::{Event, Phase};
use crate::plan::run::Run;
use crate::train::batch_source::BatchSource;
use crate::train::labelled_features::LabelledFeatures;
use crate::train::pixel_features::PixelFeatures;
use crate::train::reporter::Reporter;
use fieldfit_exec::{Executor, executor};
use fieldfit_tensor::Params;

/// Features of a slice, and the images that they are of.
pub(crate) struct SliceFeatures {
    pub labelled: LabelledFeatures,
    /// Index of each image that could be read in the data set, in the slice's order.
    pub samples: Vec<usize>,
}

/// Reader of slices' features at given weights: of whole images, or of [pixels](PixelFeatures) that are drawn from them.
pub(crate) struct FeatureReader<'a> {
    source: BatchSource<'a>,
    executor: Box<dyn Executor<f32>>,
    params: Params<f32>,
    pixels: Option<PixelFeatures>,
    done: usize,
    /// Number of images of all slices that are to be read.
    total: usize,
}

impl<'a> FeatureReader<'a> {
    /// Creates a reader of slices that have `total` images between them.
    ///
    /// # Errors
    /// If the network cannot be computed.
    pub fn new(run: Run<'a>, source: &BatchSource<'a>, params: Params<f32>, total: usize) -> Result<Self, AdaptError> {
        let Run { request, plan } = run;
        Ok(Self {
            source: run.answer_batches(source.clone()),
            executor: executor(request.options.device, &plan.network, plan.memory.passes())?,
            params,
            pixels: PixelFeatures::of(run, total)?,
            done: 0,
            total,
        })
    }

    /// Computes the features of a slice.
    ///
    /// # Errors
    /// [`AdaptError::Interrupted`] if the run is stopped; if images cannot be loaded, or the device fails.
    pub fn read(&mut self, slice: &[usize], reporter: &mut Reporter<'_>) -> Result<SliceFeatures, AdaptError> {
        let (mut labelled, mut samples) = (LabelledFeatures::default(), Vec::new());
        for batch in self.source.in_order(slice)? {
            if reporter.is_stopped() {
                return Err(AdaptError::Interrupted { checkpoint: None });
            }
            let batch = batch?;
            match &mut self.pixels {
                Some(pixels) => pixels.extend(&mut labelled, &self.params, &batch)?,
                None => labelled.extend(self.executor.features(&self.params, &batch.images)?, &batch.targets),
            }
            samples.extend(&batch.samples);
            self.done += batch.samples.len();
            reporter.report(Event::Progress { phase: Phase::Features, done: self.done, total: self.total });
            self.source.report_failures(reporter);
        }
        Ok(SliceFeatures { labelled, samples })
    }
}
