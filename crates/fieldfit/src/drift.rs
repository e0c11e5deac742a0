//! How what runs does on the latest frames, without labels: how sure it is, and how often it agrees with the base.

use crate::{Error, Prediction, Runtime, Version};
use fieldfit_adapt::{largest, under_base_head};
use fieldfit_data::{Frame, Preprocessor};
use fieldfit_exec::{Prepared, prepare};
use fieldfit_model::Weights;
use fieldfit_tensor::Images;
use heapless::HistoryBuf;
use serde::Serialize;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many of the latest frames [`Drift`] looks back over.
pub const DRIFT_WINDOW: usize = 256;

/// How the running version did on the latest [`DRIFT_WINDOW`] frames that it answered. A swap begins anew.
///
/// Figures, not a verdict: a robot that knows its place decides from them when to adapt, or to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// What runs.
    pub version: Version,
    /// Frames that were answered and are looked back over.
    pub frames: usize,
    /// The mean probability of their likeliest class, 0..1; `None` before the first frame.
    pub confidence: Option<f64>,
    /// Frames that [`Runtime::agrees_with_base`] has compared and that are looked back over.
    pub compared: usize,
    /// The share of those to which the running version's backbone gives the base's class, 0..1; `None` before the first.
    pub agreement: Option<f64>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, frames, compared, .. } = self;
        let percent = |share: Option<f64>| 100.0 * share.unwrap_or_default();
        write!(f, "{version} was {:.0} % sure over {frames} frames", percent(self.confidence))?;
        match self.agreement {
            Some(_) => write!(f, ", and agreed with the base on {:.0} % of {compared}", percent(self.agreement)),
            None => Ok(()),
        }
    }
}

/// Watches the answers of a runtime. Of fixed capacity; a frame waits for no more than a few writes.
pub(crate) struct DriftWatch {
    window: Mutex<Window>,
    /// After how many frames the figures are due.
    every: Option<NonZeroU32>,
}

/// The latest frames of one version.
struct Window {
    version: Version,
    confidences: HistoryBuf<f32, DRIFT_WINDOW>,
    agreements: HistoryBuf<bool, DRIFT_WINDOW>,
    /// Frames since the figures were last due.
    since: u32,
}

impl DriftWatch {
    pub(crate) fn new(version: Version, every: Option<NonZeroU32>) -> Self {
        Self { window: Mutex::new(Window::new(version)), every }
    }

    /// Forgets what another version did.
    pub(crate) fn begin(&self, version: Version) {
        *self.window() = Window::new(version);
    }

    /// Counts an answer, unless a swap has overtaken it. Returns the figures when they are due.
    pub(crate) fn answered(&self, prediction: &Prediction) -> Option<Drift> {
        let best = prediction.best()?;
        let mut window = self.window();
        if window.version != prediction.version() {
            return None;
        }
        window.confidences.write(best.probability);
        window.since += 1;
        self.every.filter(|every| window.since >= every.get()).map(|_| {
            window.since = 0;
            window.drift()
        })
    }

    pub(crate) fn drift(&self) -> Drift {
        self.window().drift()
    }

    fn compared(&self, version: Version, agrees: bool) {
        let mut window = self.window();
        if window.version == version {
            window.agreements.write(agrees);
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    const fn new(version: Version) -> Self {
        Self { version, confidences: HistoryBuf::new(), agreements: HistoryBuf::new(), since: 0 }
    }

    fn drift(&self) -> Drift {
        let confidences = self.confidences.iter().map(|&confidence| f64::from(confidence));
        let agreements = self.agreements.iter().map(|&agrees| f64::from(u8::from(agrees)));
        Drift {
            version: self.version,
            frames: self.confidences.len(),
            confidence: mean(confidences),
            compared: self.agreements.len(),
            agreement: mean(agreements),
        }
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

/// The base and a version's backbone, both under the base's own head and at the version's input size.
pub(crate) struct Witness {
    version: Version,
    pub(crate) base: Box<dyn Prepared>,
    pub(crate) adapted: Box<dyn Prepared>,
    pub(crate) preprocessor: Preprocessor,
}

impl Witness {
    /// Of what runs now.
    pub(crate) fn new(runtime: &Runtime) -> Result<Self, Error> {
        runtime.needs_base_head("tell what was forgotten")?;
        let (version, weights) = runtime.weights()?;
        let (base, adapted) = (Weights::of_base(runtime.base()), under_base_head(&weights, runtime.base()));
        let preprocessor = Preprocessor::new(runtime.base().preprocessing(), adapted.input_size, adapted.crop)?;
        let prepare = |weights: &Weights| prepare(runtime.device(), &weights.network, &weights.params);
        Ok(Self { version, base: prepare(&base)?, adapted: prepare(&adapted)?, preprocessor })
    }

    fn agrees(&self, frame: &Frame<'_>) -> Result<bool, Error> {
        let mut preprocessor = self.preprocessor.clone();
        let side = preprocessor.size() as usize;
        let mut image = Images::zeros(1, side, side);
        preprocessor.prepare(frame, image.image_mut(0))?;
        let (base, adapted) = (self.base.logits(&image)?, self.adapted.logits(&image)?);
        Ok(largest(base.row(0)) == largest(adapted.row(0)))
    }
}

impl Runtime {
    /// How the running version did on the latest frames.
    pub fn drift(&self) -> Drift {
        self.drift.drift()
    }

    /// Whether the running version's backbone still sees in a frame what the base sees, both under the base's own head;
    /// [`drift`](Self::drift) counts the answer.
    ///
    /// It computes two networks, and keeps both in memory until the next swap, once it has been called: for a thread
    /// beside the frames', and for one frame in many.
    ///
    /// # Errors
    /// If the frame is malformed, the active version's file can't be read any more, the device fails, or the base has no
    /// head.
    pub fn agrees_with_base(&self, frame: &Frame<'_>) -> Result<bool, Error> {
        let witness = self.witness()?;
        let agrees = witness.agrees(frame)?;
        self.drift.compared(witness.version, agrees);
        Ok(agrees)
    }

    /// The witness of what runs now, made at the first call after a swap.
    fn witness(&self) -> Result<Arc<Witness>, Error> {
        let mut kept = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(witness) if witness.version == self.version() => Ok(witness.clone()),
            _ => {
                // Two networks less, while two others are made.
                *kept = None;
                let witness = Arc::new(Witness::new(self)?);
                *kept = Some(witness.clone());
                Ok(witness)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: Version, logit: f32) -> Prediction {
        let labels: Arc<[String]> = ["one".to_owned(), "other".to_owned()].into();
        Prediction::new(version, &labels, &[logit, 0.0]).unwrap()
    }

    fn probability(logit: f32) -> f64 {
        1.0 / (1.0 + f64::from(-logit).exp())
    }

    /// A mean over all frames ever, or one in which the oldest frame stays for good.
    #[test]
    fn the_window_holds_the_latest_frames() {
        let watch = DriftWatch::new(Version::Base, None);
        assert_eq!((watch.drift().frames, watch.drift().confidence), (0, None));
        for _ in 0..10 {
            watch.answered(&answer(Version::Base, 0.0));
        }
        assert!((watch.drift().confidence.unwrap() - 0.5).abs() < 1e-6);
        for _ in 0..DRIFT_WINDOW {
            watch.answered(&answer(Version::Base, 3.0));
        }
        let drift = watch.drift();
        assert_eq!(drift.frames, DRIFT_WINDOW);
        assert!((drift.confidence.unwrap() - probability(3.0)).abs() < 1e-6, "{drift:?}");
    }

    /// Answers of one version counted for another: those of before a swap, or those that a swap overtook.
    #[test]
    fn a_swap_begins_anew() {
        let watch = DriftWatch::new(Version::Base, None);
        watch.answered(&answer(Version::Base, 0.0));
        watch.compared(Version::Base, true);
        watch.begin(Version::Stored(1));
        watch.answered(&answer(Version::Base, 0.0));
        watch.compared(Version::Base, true);
        let nothing = Drift { version: Version::Stored(1), frames: 0, confidence: None, compared: 0, agreement: None };
        assert_eq!(watch.drift(), nothing);
        watch.answered(&answer(Version::Stored(1), 2.0));
        for agrees in [true, false, true, true] {
            watch.compared(Version::Stored(1), agrees);
        }
        let drift = watch.drift();
        assert_eq!((drift.frames, drift.compared, drift.agreement), (1, 4, Some(0.75)));
    }

    /// Figures that are due at every frame, or never again after the first time.
    #[test]
    fn figures_are_due_once_in_so_many_frames() {
        let watch = DriftWatch::new(Version::Base, NonZeroU32::new(3));
        let due = (0..8).filter_map(|_| watch.answered(&answer(Version::Base, 1.0)));
        assert_eq!(due.map(|drift| drift.frames).collect::<Vec<_>>(), [3, 6]);
        let silent = DriftWatch::new(Version::Base, None);
        assert!((0..300).all(|_| silent.answered(&answer(Version::Base, 1.0)).is_none()));
    }
}
