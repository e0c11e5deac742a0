//! Clocks: the time of storing, on machines whose wall clock may be wrong or jump.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Earliest wall-clock time that is believed, since 1970: the start of 2025. A board without a battery starts at 1970.
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

/// The two clocks of a machine.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the time since 1970, as the machine believes.
    fn wall(&self) -> Duration;

    /// Returns the time since any fixed moment of this process; it never goes back.
    fn steady(&self) -> Duration;
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Clock of one session: reads the wall clock once, as soon as that is credible, and counts steadily from there.
///
/// A wall clock that jumps while a collection is open can therefore neither expire images nor make them immortal.
#[derive(Debug)]
pub(crate) struct SessionClock {
    clock: Box<dyn Clock>,
    /// Wall and steady time of the first credible reading.
    anchor: Option<(Duration, Duration)>,
}

impl SessionClock {
    pub fn new(clock: Box<dyn Clock>) -> Self {
        Self { clock, anchor: None }
    }

    /// Returns the seconds since 1970; `None` as long as the wall clock is not credible.
    pub fn now(&mut self) -> Option<u64> {
        let steady = self.clock.steady();
        if self.anchor.is_none() {
            let wall = self.clock.wall();
            self.anchor = (wall >= EARLIEST).then_some((wall, steady));
        }
        let (wall, start) = self.anchor?;
        Some((wall + steady.saturating_sub(start)).as_secs())
    }
}
