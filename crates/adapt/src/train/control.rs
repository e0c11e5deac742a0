//! Control: stops and pauses a run from outside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which a waiting run checks whether it may go on.
const GLANCE: Duration = Duration::from_millis(20);

/// Pace that a guard over heat, battery or load sets for a run, between two batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// Go on.
    Full,
    /// Rest for that long first. Rests as long as a batch takes halve the load.
    Rest(Duration),
    /// Wait, keeping everything in memory, and ask again in a fraction of a second.
    Hold,
    /// Save a checkpoint and stop.
    Stop,
}

impl Pace {
    /// Returns the slower of two paces.
    fn slower(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stop, _) | (_, Self::Stop) => Self::Stop,
            (Self::Hold, _) | (_, Self::Hold) => Self::Hold,
            (Self::Rest(one), Self::Rest(other)) => Self::Rest(one.max(other)),
            (Self::Rest(rest), Self::Full) | (Self::Full, Self::Rest(rest)) => Self::Rest(rest),
            (Self::Full, Self::Full) => Self::Full,
        }
    }
}

/// Control over a run; clones share it, but for the guard that [`guarded_by`](Self::guarded_by) gives to one of them.
///
/// A run looks at it after each step and each batch of images, in every phase; while it tries files or shares, after each
/// of them, which is a pass over the validation slice. What lies between is bounded by that.
#[derive(Clone, Default)]
pub struct Control {
    wishes: Arc<Wishes>,
    guard: Option<Arc<dyn Fn() -> Pace + Send + Sync>>,
}

/// Bit of [`Wishes::stop`]: somebody asked the run to stop.
const STOP: u8 = 1;
/// Bit of [`Wishes::stop`]: the result is being stored, and a stop comes too late for this run.
const COMMITTED: u8 = 2;

#[derive(Debug, Default)]
struct Wishes {
    /// [`STOP`] and [`COMMITTED`].
    stop: AtomicU8,
    pause: AtomicBool,
}

impl Control {
    /// Creates a control that neither stops nor pauses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `guard` between two batches what the board can take: its temperature, its battery, its load. The guard is
    /// called on the run's thread, some times a second while it holds the run back; it should return at once.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl Fn() -> Pace + Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Asks `guard`, too: the run goes at the slower of both paces.
    #[must_use]
    pub fn also_guarded_by(mut self, guard: impl Fn() -> Pace + Send + Sync + 'static) -> Self {
        let Some(first) = self.guard.take() else { return self.guarded_by(guard) };
        self.guarded_by(move || first().slower(guard()))
    }

    /// Asks the run to save a checkpoint and stop, also one that is paused.
    ///
    /// Returns whether it will: `false` where the run is already complete and its result stands. A later run with this
    /// control stops at once in either case.
    pub fn stop(&self) -> bool {
        self.wishes.stop.fetch_or(STOP, Ordering::SeqCst) & COMMITTED == 0
    }

    /// Returns whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.wishes.stop.load(Ordering::SeqCst) & STOP != 0
    }

    /// Begins a run: a stop is in time again.
    pub(crate) fn begin(&self) {
        self.wishes.stop.fetch_and(!COMMITTED, Ordering::SeqCst);
    }

    /// Completes a run: returns whether its result stands, which no later stop changes, or a stop came before.
    pub(crate) fn commit(&self) -> bool {
        let before = self.wishes.stop.fetch_or(COMMITTED, Ordering::SeqCst);
        if before & STOP != 0 {
            self.begin();
        }
        before & STOP == 0
    }

    /// Asks the run to wait after the batch that it is at. It keeps its memory and gives up the processor.
    pub fn pause(&self) {
        self.wishes.pause.store(true, Ordering::Relaxed);
    }

    /// Lets a paused run go on.
    pub fn resume(&self) {
        self.wishes.pause.store(false, Ordering::Relaxed);
    }

    /// Returns whether the run was asked to pause.
    pub fn is_paused(&self) -> bool {
        self.wishes.pause.load(Ordering::Relaxed)
    }

    /// Returns when the run may go on: at once, unless it is paused or held. Calls `waiting` before it waits.
    pub(crate) fn wait(&self, waiting: impl FnOnce()) {
        let mut waiting = Some(waiting);
        while !self.is_stopped() {
            let pace = if self.is_paused() { Pace::Hold } else { self.guard.as_ref().map_or(Pace::Full, |ask| ask()) };
            match pace {
                Pace::Full => return,
                Pace::Rest(rest) => return self.rest(rest),
                Pace::Stop => {
                    self.stop();
                    return;
                }
                Pace::Hold => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    thread::sleep(GLANCE);
                }
            }
        }
    }

    /// Sleeps for that long, or until somebody asks the run to stop.
    fn rest(&self, rest: Duration) {
        let started = Instant::now();
        while let Some(left) = rest.checked_sub(started.elapsed()).filter(|left| !left.is_zero() && !self.is_stopped())
        {
            thread::sleep(left.min(GLANCE));
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("wishes", &self.wishes).field("is_guarded", &self.guard.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Catches: a pause that nobody can end, or that ends by itself; a wait that isn't told, or told again and again.
    #[test]
    fn a_paused_run_waits_until_it_is_resumed() {
        let (control, told) = (Control::new(), AtomicUsize::new(0));
        control.pause();
        thread::scope(|scope| {
            let run = scope.spawn(|| {
                control.wait(|| {
                    told.fetch_add(1, Ordering::SeqCst);
                })
            });
            while told.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            thread::sleep(3 * GLANCE);
            assert!(!run.is_finished());
            control.resume();
            run.join().unwrap();
        });
        assert_eq!(told.into_inner(), 1);
    }

    /// Catches: a paused run that Ctrl-C can't end.
    #[test]
    fn stopping_ends_a_pause_and_a_rest() {
        let control = Control::new().guarded_by(|| Pace::Rest(Duration::from_secs(3600)));
        control.pause();
        control.clone().stop();
        control.wait(|| unreachable!("a stopped run does not wait"));
        control.rest(Duration::from_secs(3600));
    }

    /// Catches: a guard that is asked once and forgotten, or whose wish to stop is lost.
    #[test]
    fn a_guard_is_asked_until_it_lets_the_run_go_on() {
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = [Pace::Hold, Pace::Hold, Pace::Full, Pace::Stop];
        let count = asked.clone();
        let control = Control::new().guarded_by(move || answers[count.fetch_add(1, Ordering::SeqCst)]);
        control.wait(|| ());
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert!(!control.is_stopped());
        control.wait(|| ());
        assert!(control.is_stopped());
    }

    /// Catches: a stop that is promised although the result is being stored, or one that is forgotten for later runs.
    #[test]
    fn a_stop_is_in_time_until_the_run_is_complete() {
        let control = Control::new();
        assert!(control.commit());
        assert!(!control.stop(), "the result stands");
        assert!(control.is_stopped());
        control.begin();
        assert!(!control.commit(), "the next run is stopped");
        assert!(control.stop(), "it has not been completed");
    }
}
