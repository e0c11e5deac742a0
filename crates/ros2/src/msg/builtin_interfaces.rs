//! Package `builtin_interfaces`: time.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time since the epoch of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Time {
    /// Seconds.
    pub sec: i32,
    /// Nanoseconds of the second, below 10⁹.
    pub nanosec: u32,
}

impl Time {
    /// Returns the time as a duration since the epoch; `None` if it lies before.
    pub fn since_epoch(self) -> Option<Duration> {
        Some(Duration::from_secs(self.sec.try_into().ok()?) + Duration::from_nanos(self.nanosec.into()))
    }
}

/// The time so long after the epoch, at most the last that the message can hold.
impl From<Duration> for Time {
    fn from(since: Duration) -> Self {
        Self { sec: since.as_secs().try_into().unwrap_or(i32::MAX), nanosec: since.subsec_nanos() }
    }
}
