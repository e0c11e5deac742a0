//! Drift monitor: confidence and base agreement of the running version over a window of the latest frames, without labels.

use crate::{Prediction, Runtime, Version};
use heapless::HistoryBuf;
use serde::Serialize;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Length of the window of latest frames that [`Drift`] covers.
pub const DRIFT_WINDOW: usize = 256;

/// Drift figures: confidence and base agreement of the running version over its latest [`DRIFT_WINDOW`] frames. A swap
/// empties the window.
///
/// Figures, not a decision: the caller decides from them when to adapt or to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Drift {
    /// The running version.
    pub version: Version,
    /// Answered frames in the window.
    pub frames: usize,
    /// Mean probability of the top class, 0..1; `None` before the first frame.
    pub confidence: Option<f64>,
    /// Frames in the window that [`Runtime::agrees_with_base`] compared.
    pub compared: usize,
    /// Share of them to which the running version's backbone gives the base's class, 0..1; `None` before the first.
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

/// Drift monitor of a runtime, of fixed capacity; a frame waits for no more than a few writes.
pub(crate) struct DriftMonitor {
    window: Mutex<Window>,
    /// Number of frames between two drift events.
    every: Option<NonZeroU32>,
}

/// Window: the latest frames of one version.
struct Window {
    version: Version,
    confidences: HistoryBuf<f32, DRIFT_WINDOW>,
    agreements: HistoryBuf<bool, DRIFT_WINDOW>,
    /// Frames since the last drift event.
    since: u32,
}

impl DriftMonitor {
    pub(crate) fn new(version: Version, every: Option<NonZeroU32>) -> Self {
        Self { window: Mutex::new(Window::new(version)), every }
    }

    /// Empties the window for another version.
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

    pub(crate) fn compared(&self, version: Version, agrees: bool) {
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

impl Runtime {
    /// Returns the drift figures of the running version.
    pub fn drift(&self) -> Drift {
        self.drift.drift()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn answer(version: Version, logit: f32) -> Prediction {
        let labels: Arc<[String]> = ["one".to_owned(), "other".to_owned()].into();
        Prediction::new(version, &labels, &[logit, 0.0]).unwrap()
    }

    fn probability(logit: f32) -> f64 {
        1.0 / (1.0 + f64::from(-logit).exp())
    }

    /// Catches: a mean over all frames ever, or one in which the oldest frame stays for good.
    #[test]
    fn the_window_holds_the_latest_frames() {
        let watch = DriftMonitor::new(Version::Base, None);
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

    /// Catches: answers of one version counted for another: those of before a swap, or those that a swap overtook.
    #[test]
    fn a_swap_begins_anew() {
        let watch = DriftMonitor::new(Version::Base, None);
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

    /// Catches: figures that are due at every frame, or never again after the first time.
    #[test]
    fn figures_are_due_once_in_so_many_frames() {
        let watch = DriftMonitor::new(Version::Base, NonZeroU32::new(3));
        let due = (0..8).filter_map(|_| watch.answered(&answer(Version::Base, 1.0)));
        assert_eq!(due.map(|drift| drift.frames).collect::<Vec<_>>(), [3, 6]);
        let silent = DriftMonitor::new(Version::Base, None);
        assert!((0..300).all(|_| silent.answered(&answer(Version::Base, 1.0)).is_none()));
    }
}
