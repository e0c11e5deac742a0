//! Activity: frames of a runtime since it was opened, counted without a lock.

use fieldfit_store::LatencyHistogram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Frames that were answered or not, and the time that they took.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    counts: [AtomicU64; LatencyHistogram::BUCKETS],
    nanoseconds: AtomicU64,
    failures: AtomicU64,
}

impl Activity {
    /// Counts frames that were answered together, each with its part of the time.
    pub fn answered(&self, frames: usize, time: Duration) {
        let each = time / u32::try_from(frames.max(1)).unwrap_or(u32::MAX);
        self.counts[LatencyHistogram::bucket(each)].fetch_add(frames as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts frames that were not answered.
    pub fn failed(&self, frames: usize) {
        self.failures.fetch_add(frames as u64, Ordering::Relaxed);
    }

    /// Returns the number of frames that were not answered.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the time of the frames that were answered.
    pub fn latency(&self) -> LatencyHistogram {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        LatencyHistogram { counts, seconds: self.nanoseconds.load(Ordering::Relaxed) as f64 * 1e-9 }
    }
}
