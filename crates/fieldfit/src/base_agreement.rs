//! Base agreement: whether the running version's backbone predicts the base's class, both under the base's own head.

use crate::image_set::ImageSet;
use crate::runtime::TaskRequirement;
use crate::{Error, Runtime, Version};
use fieldfit_adapt::metrics::{agreeing, predictions};
use fieldfit_adapt::{Classifier, under_base_head};
use fieldfit_data::Frame;
use fieldfit_model::Weights;
use fieldfit_tensor::Task;
use std::sync::{Arc, PoisonError};

/// The base and a version's backbone, both under the base's own head and at the version's input size.
pub(crate) struct BaseAgreement {
    version: Version,
    base: Classifier,
    adapted: Classifier,
}

impl BaseAgreement {
    /// Prepares the base and the version that runs now.
    fn new(runtime: &Runtime) -> Result<Self, Error> {
        runtime.needs_base_head("compare a version with it")?;
        let (version, weights) = runtime.weights()?;
        let adapted = under_base_head(&weights, runtime.base());
        drop(weights);
        let (input_size, crop) = (adapted.input_size, adapted.crop);
        let base = Weights { input_size, crop, ..Weights::of_base(runtime.base()) };
        let classifier = |weights| Classifier::new(runtime.base(), weights, runtime.placement());
        Ok(Self { version, base: classifier(base)?, adapted: classifier(adapted)? })
    }

    fn agrees(&self, frame: &Frame<'_>) -> Result<bool, Error> {
        self.base.with_input(|input| {
            input.preprocess(frame)?;
            let (base, adapted) = (self.base.logits(input.images())?, self.adapted.logits(input.images())?);
            Ok(agreeing(predictions(&base, 0..base.columns), predictions(&adapted, 0..adapted.columns)) == 1)
        })
    }

    /// The share of a set's images or their pixels, 0..1, on which both agree.
    fn over(&self, set: &ImageSet, progress: &mut dyn FnMut(usize, usize)) -> Result<f64, Error> {
        let (mut images, mut answers, mut agreed) = (0, 0, 0);
        for batch in set.classified_by(&self.base)? {
            let (batch, base) = batch?;
            let adapted = self.adapted.logits(&batch.images)?;
            agreed += agreeing(predictions(&base, 0..base.columns), predictions(&adapted, 0..adapted.columns));
            images += batch.samples.len();
            answers += base.rows;
            progress(images, set.order.len());
        }
        Ok(agreed as f64 / answers.max(1) as f64)
    }
}

impl Runtime {
    /// Returns whether the running version's backbone gives a frame the same class as the base, both under the base's own
    /// head; [`drift`](Self::drift) counts the answer.
    ///
    /// Computes two networks, and keeps both in memory until the next swap once it has been called: call it on a thread
    /// beside the frames', for one frame in many.
    ///
    /// # Errors
    /// If the frame is malformed, the active version's file cannot be read any more, the device fails, or the base has no
    /// head; [`Error::OtherTask`] if the model classifies pixels.
    pub fn agrees_with_base(&self, frame: &Frame<'_>) -> Result<bool, Error> {
        let required =
            TaskRequirement { task: Task::Classification, action: "be compared with the base by one class a frame" };
        required.check(self.base().network().task())?;
        let agreement = self.base_agreement()?;
        let agrees = agreement.agrees(frame)?;
        self.drift.compared(agreement.version, agrees);
        Ok(agrees)
    }

    /// Returns the share of images, 0..1, or of all their pixels, to which the active version's backbone gives the same class as the base's, both
    /// under the base's own head and at the active version's input size: what the adaptation has not forgotten.
    ///
    /// The images' labels are not used. `progress` is called with the number of images done and their total.
    ///
    /// # Errors
    /// If the active version's file or an image cannot be read any more, the device fails, or the base has no head.
    pub fn agreement(&self, set: &ImageSet, progress: &mut dyn FnMut(usize, usize)) -> Result<f64, Error> {
        BaseAgreement::new(self)?.over(set, progress)
    }

    /// The base agreement of what runs now, prepared at the first call after a swap.
    fn base_agreement(&self) -> Result<Arc<BaseAgreement>, Error> {
        let mut kept = self.base_agreement.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(agreement) if agreement.version == self.version() => Ok(agreement.clone()),
            _ => {
                // Two networks less, while two others are made.
                *kept = None;
                let agreement = Arc::new(BaseAgreement::new(self)?);
                *kept = Some(agreement.clone());
                Ok(agreement)
            }
        }
    }
}
