//! Latency histogram: how many frames took how long.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds; one more bucket is above them all.
pub const LATENCY_BOUNDS: [f64; 15] =
    [0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.033, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Histogram of the time that frames took, since a process began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencyHistogram {
    /// Frames of each bucket of [`LATENCY_BOUNDS`], and of those above.
    pub counts: [u64; LatencyHistogram::BUCKETS],
    /// The time of all frames, in seconds.
    pub seconds: f64,
}

impl LatencyHistogram {
    /// Number of buckets.
    pub const BUCKETS: usize = LATENCY_BOUNDS.len() + 1;

    /// Returns the bucket that a time falls into: the first whose bound it does not exceed.
    pub fn bucket(time: Duration) -> usize {
        LATENCY_BOUNDS.partition_point(|&bound| bound < time.as_secs_f64())
    }

    /// Returns the number of frames.
    pub fn frames(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the bound that this share of the frames stays within, in seconds; `None` without frames, and above the last
    /// bound.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.frames() as f64).ceil().max(1.0);
        let within = self.counts.iter().scan(0, |sum, &count| {
            *sum += count;
            Some(*sum)
        });
        let bucket = within.take(LATENCY_BOUNDS.len()).position(|sum| sum as f64 >= wanted)?;
        Some(LATENCY_BOUNDS[bucket])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a time on a bound that falls above it, and quantiles that are off by a bucket.
    #[test]
    fn quantiles_are_bounds_that_hold() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for milliseconds in [1, 2, 2, 3, 6, 5000, 5001] {
            histogram.counts[LatencyHistogram::bucket(Duration::from_millis(milliseconds))] += 1;
        }
        assert_eq!(histogram.counts, [1, 2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.quantile(0.5), Some(0.003));
        assert_eq!(histogram.quantile(0.85), Some(5.0));
        assert_eq!(histogram.quantile(1.0), None);
    }
}
