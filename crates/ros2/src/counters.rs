//! Counters of images: what came in, what was answered, and why the rest was not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counters since the node started; threads share them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Images and detections that arrived.
    pub received: Counter,
    /// Those that were answered.
    pub answered: Counter,
    /// Those that a newer one replaced before they were answered.
    pub dropped: Counter,
    /// Those that were left out to keep the greatest rate.
    pub skipped: Counter,
    /// Those whose description or encoding was refused.
    pub refused: Counter,
    /// Those that the runtime could not answer.
    pub failed: Counter,
    recent: Mutex<Recent>,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// What happened since the last report.
#[derive(Debug, Default, Clone)]
pub struct Recent {
    /// Number of answers.
    pub answers: u32,
    /// Sum of the times from an image's arrival to its answer.
    pub latency: Duration,
    /// Greatest of these times.
    pub max_latency: Duration,
    /// The last reason why an image was refused or not answered.
    pub problem: Option<String>,
    /// Number of images that were refused or not answered.
    pub problems: u32,
}

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts an answer to an image that arrived at that time.
    pub fn answer(&self, arrived: Instant) {
        self.answered.add();
        let latency = arrived.elapsed();
        let mut recent = self.recent();
        recent.answers += 1;
        recent.latency += latency;
        recent.max_latency = recent.max_latency.max(latency);
    }

    /// Counts a refused image. Returns whether its reason differs from the last one.
    pub fn refuse(&self, reason: &str) -> bool {
        self.refused.add();
        self.problem(reason)
    }

    /// Counts an image that could not be answered. Returns whether its reason differs from the last one.
    pub fn fail(&self, reason: &str) -> bool {
        self.failed.add();
        self.problem(reason)
    }

    /// Returns what happened since the last call.
    pub fn take_recent(&self) -> Recent {
        std::mem::take(&mut self.recent())
    }

    fn problem(&self, reason: &str) -> bool {
        let mut recent = self.recent();
        recent.problems += 1;
        let is_new = recent.problem.as_deref() != Some(reason);
        if is_new {
            recent.problem = Some(reason.to_owned());
        }
        is_new
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
