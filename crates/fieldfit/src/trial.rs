//! Counting what a version on trial does, beside the frames.

use crate::RuntimeEvent;
use crate::event::Listener;
use fieldfit_store::{Store, TrialProgress, TrialRules, Undecided};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// How long completed predictions may go unrecorded: what a crash can take from a trial's count.
const INTERVAL: Duration = Duration::from_secs(5);

/// What one process has seen of a version on trial. Counting is two atomic writes a frame.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Whether a prediction was ever begun.
    was_asked: AtomicBool,
    completed: AtomicU32,
    /// So many confirm the version.
    needed: u32,
    is_over: AtomicBool,
    keeper: OnceLock<Thread>,
}

impl Tally {
    /// A prediction begins.
    pub fn begin(&self) {
        self.was_asked.store(true, Ordering::Relaxed);
    }

    /// A prediction is completed. The first one and the one that confirms are recorded at once, by another thread.
    pub fn complete(&self) {
        let completed = self.completed.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if completed == 1 || completed == self.needed {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }
}

/// A version's trial in this process: a thread that records what its [`Tally`] counts. Dropping it records the rest.
#[derive(Debug)]
pub(crate) struct Trial {
    tally: Arc<Tally>,
    keeper: Option<JoinHandle<()>>,
}

impl Trial {
    /// Begins with a start that the store has recorded.
    pub fn new(store: Store, rules: TrialRules, start: Undecided, listener: Listener) -> Self {
        let tally = Arc::new(Tally {
            was_asked: AtomicBool::new(false),
            completed: AtomicU32::new(0),
            needed: rules.predictions.saturating_sub(start.completed()).max(1),
            is_over: AtomicBool::new(false),
            keeper: OnceLock::new(),
        });
        let keeper =
            Keeper { store, rules, version: start.version(), start: Some(start), tally: tally.clone(), listener };
        let keeper = thread::Builder::new().name("fieldfit-trial".into()).spawn(|| keeper.run());
        let keeper = keeper.inspect_err(|error| log::warn!("a trial is not counted: {error}")).ok();
        if let Some(keeper) = &keeper {
            // Nobody else has set it.
            let _ = tally.keeper.set(keeper.thread().clone());
        }
        Self { tally, keeper }
    }

    /// Where frames are counted.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.tally.is_over.store(true, Ordering::Release);
        self.tally.wake();
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            log::error!("the thread that records a trial panicked; please report this");
        }
    }
}

/// The thread that writes.
struct Keeper {
    store: Store,
    rules: TrialRules,
    version: u32,
    /// Until the first prediction is recorded.
    start: Option<Undecided>,
    tally: Arc<Tally>,
    listener: Listener,
}

impl Keeper {
    fn run(mut self) {
        let mut recorded = 0;
        loop {
            let is_over = self.tally.is_over.load(Ordering::Acquire);
            let completed = self.tally.completed.load(Ordering::Relaxed);
            if completed > recorded {
                match self.store.completed(self.version, completed - recorded, self.rules) {
                    Ok(TrialProgress::OnTrial) => {
                        recorded = completed;
                        self.start = None;
                    }
                    Ok(TrialProgress::Confirmed) => {
                        return self.listener.tell(RuntimeEvent::Confirmed { version: self.version });
                    }
                    Ok(TrialProgress::Over) => return,
                    Err(error) => log::warn!("predictions of version {} are not recorded yet: {error}", self.version),
                }
            }
            if is_over {
                return self.end(completed);
            }
            thread::park_timeout(INTERVAL);
        }
    }

    /// A start that was never asked for anything says nothing of the version.
    fn end(&mut self, completed: u32) {
        if let Some(start) = self.start.take()
            && completed == 0
            && !self.tally.was_asked.load(Ordering::Relaxed)
            && let Err(error) = self.store.take_back(start)
        {
            log::warn!("a start that was asked for nothing counts against version {}: {error}", self.version);
        }
    }
}
