//! What runs: weights ready to compute with and all that belongs to them, as one value behind one pointer.

use crate::trial::Tally;
use crate::{Error, Prediction, Version};
use fieldfit_data::{Frame, Preprocessor};
use fieldfit_exec::{Device, Prepared, prepare};
use fieldfit_model::Weights;
use fieldfit_tensor::{Images, Preprocessing};
use std::sync::{Arc, Mutex, PoisonError};

/// A version of the model, ready to answer frames from any number of threads.
///
/// Immutable but for spare buffers, so that whoever holds it sees weights, labels and preprocessing of one version.
pub(crate) struct Active {
    version: Version,
    labels: Arc<[String]>,
    prepared: Box<dyn Prepared>,
    preprocessor: Preprocessor,
    /// Where predictions are counted, if these weights are on trial.
    tally: Option<Arc<Tally>>,
    /// Buffers that no thread is using; as many as threads have ever inferred at once.
    spare: Mutex<Vec<Buffers>>,
}

/// What one thread needs for one frame, kept between frames.
struct Buffers {
    preprocessor: Preprocessor,
    image: Images,
    logits: Vec<f32>,
}

impl Active {
    /// Folds and packs the weights for the device.
    pub(crate) fn new(
        version: Version,
        weights: Weights,
        preprocessing: &Preprocessing,
        device: Device,
    ) -> Result<Self, Error> {
        let Weights { network, labels, params, input_size, crop } = weights;
        let preprocessor = Preprocessor::new(preprocessing, input_size, crop)?;
        let prepared = prepare(device, &network, &params)?;
        Ok(Self { version, labels: labels.into(), prepared, preprocessor, tally: None, spare: Mutex::default() })
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn labels(&self) -> &Arc<[String]> {
        &self.labels
    }

    /// A preprocessor for what these weights take.
    pub(crate) const fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    pub(crate) fn prepared(&self) -> &dyn Prepared {
        &*self.prepared
    }

    /// Counts predictions there from now on.
    pub(crate) fn count(&mut self, tally: Arc<Tally>) {
        self.tally = Some(tally);
    }

    /// Answers an image that shows nothing, so that weights whose output is no number never get to see a frame.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut buffers = self.borrow();
        let logits = self.prepared.logits_into(&buffers.image, &mut buffers.logits);
        let checked = logits.map_err(Error::from).and_then(|()| {
            Prediction::new(self.version, &self.labels, &buffers.logits)?;
            Ok(())
        });
        self.give_back(buffers);
        checked
    }

    /// What the frame shows.
    pub(crate) fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Error> {
        if let Some(tally) = &self.tally {
            tally.begin();
        }
        let mut buffers = self.borrow();
        let answer = self.answer(frame, &mut buffers);
        self.give_back(buffers);
        if let (Some(tally), Ok(_)) = (&self.tally, &answer) {
            tally.complete();
        }
        answer
    }

    fn answer(&self, frame: &Frame<'_>, buffers: &mut Buffers) -> Result<Prediction, Error> {
        buffers.preprocessor.prepare(frame, buffers.image.image_mut(0))?;
        self.prepared.logits_into(&buffers.image, &mut buffers.logits)?;
        Prediction::new(self.version, &self.labels, &buffers.logits)
    }

    fn borrow(&self) -> Buffers {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| {
            let side = self.preprocessor.size() as usize;
            Buffers { preprocessor: self.preprocessor.clone(), image: Images::zeros(1, side, side), logits: Vec::new() }
        })
    }

    fn give_back(&self, buffers: Buffers) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
    }
}
