//! Trial: counts the answers and failures of the running version, and records those of a version on trial in the store.

use crate::RuntimeEvent;
use crate::event::Listener;
use fieldfit_store::{Store, TrialProgress, TrialRules, Undecided};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Interval at which completed predictions are recorded: what a crash can take from a trial's count.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tally of one process's answers by a version: a few atomic writes a frame.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Whether a prediction was ever begun, with a frame that could be preprocessed.
    was_asked: AtomicBool,
    /// Whether the version fails for a reason that is not its own.
    is_excused: AtomicBool,
    completed: AtomicU32,
    failed: AtomicU32,
    failed_in_a_row: AtomicU32,
    /// Number of predictions that confirm the version.
    needed: u32,
    is_over: AtomicBool,
    recorder: OnceLock<Thread>,
}

impl Tally {
    /// Counts the beginning of a prediction.
    pub fn begin(&self) {
        self.was_asked.store(true, Ordering::Relaxed);
    }

    /// Counts a completed prediction. The first one and the one that confirms are recorded at once, by another thread.
    pub fn complete(&self) {
        self.failed_in_a_row.store(0, Ordering::Relaxed);
        self.completed.fetch_add(1, Ordering::Relaxed);
        let counted = self.counted();
        if counted == 1 || counted == self.needed {
            self.wake();
        }
    }

    /// Counts a failed prediction; returns how many have failed in a row.
    pub fn fail(&self) -> u32 {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failed_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Records that the failures are not the version's: the base fails at the same frame.
    pub fn excuse(&self) {
        self.is_excused.store(true, Ordering::Relaxed);
        self.failed_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Predictions that count: each failure takes one back.
    fn counted(&self) -> u32 {
        self.completed.load(Ordering::Relaxed).saturating_sub(self.failed.load(Ordering::Relaxed))
    }

    fn wake(&self) {
        if let Some(recorder) = self.recorder.get() {
            recorder.unpark();
        }
    }
}

/// A version's trial in this process: a thread that records what its [`Tally`] counts. Dropping it records the rest.
#[derive(Debug)]
pub(crate) struct Trial {
    tally: Arc<Tally>,
    recorder: Option<JoinHandle<()>>,
}

impl Trial {
    /// Begins with a start that the store has recorded.
    ///
    /// # Errors
    /// If the thread cannot be spawned; the start is then taken back, as it says nothing of the version.
    pub fn begin(store: Store, rules: TrialRules, start: Undecided, listener: Listener) -> io::Result<Self> {
        Self::begin_on(store, rules, start, listener, |recorder| {
            thread::Builder::new().name("fieldfit-trial".into()).spawn(recorder)
        })
    }

    fn begin_on(
        store: Store,
        rules: TrialRules,
        start: Undecided,
        listener: Listener,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<Self> {
        let needed = rules.predictions.saturating_sub(start.completed()).max(1);
        let tally = Arc::new(Tally { needed, ..Tally::default() });
        let version = start.version();
        let recorder = Recorder { store, rules, version, start: Some(start), tally: tally.clone(), listener };
        // If the thread is not spawned, what it was to run is dropped with the start in it, which is taken back.
        let recorder = spawn(Box::new(move || recorder.run()))?;
        // Nobody else has set it.
        let _ = tally.recorder.set(recorder.thread().clone());
        Ok(Self { tally, recorder: Some(recorder) })
    }

    /// The count of this trial.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.tally.is_over.store(true, Ordering::Release);
        self.tally.wake();
        // It runs no code of the user's, so it ends.
        if let Some(recorder) = self.recorder.take()
            && recorder.join().is_err()
        {
            log::error!("the thread that records a trial panicked; please report this");
        }
    }
}

/// The thread that writes a trial's count to the store.
struct Recorder {
    store: Store,
    rules: TrialRules,
    version: u32,
    /// Start of the trial, until the first prediction is recorded.
    start: Option<Undecided>,
    tally: Arc<Tally>,
    listener: Listener,
}

impl Recorder {
    fn run(mut self) {
        let mut recorded = 0;
        loop {
            let is_over = self.tally.is_over.load(Ordering::Acquire);
            let counted = self.tally.counted();
            if counted > recorded {
                match self.store.completed(self.version, counted - recorded, self.rules) {
                    Ok(TrialProgress::OnTrial) => {
                        recorded = counted;
                        self.start = None;
                    }
                    Ok(TrialProgress::Confirmed) => {
                        self.start = None;
                        return self.listener.post(RuntimeEvent::Confirmed { version: self.version });
                    }
                    Ok(TrialProgress::Over) => return,
                    Err(error) => log::warn!("predictions of version {} are not recorded yet: {error}", self.version),
                }
            }
            if is_over {
                return;
            }
            thread::park_timeout(INTERVAL);
        }
    }

    /// Whether the start says anything of the version.
    fn is_evidence(&self) -> bool {
        let Tally { was_asked, is_excused, completed, .. } = &*self.tally;
        was_asked.load(Ordering::Relaxed) && !is_excused.load(Ordering::Relaxed)
            || completed.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Recorder {
    /// A start that was asked for nothing, or that failed for a reason that is not the version's, is taken back.
    fn drop(&mut self) {
        if !self.is_evidence()
            && let Some(start) = self.start.take()
        {
            take_back(&self.store, start);
        }
    }
}

/// Takes back a start that says nothing of its version.
pub(crate) fn take_back(store: &Store, start: Undecided) {
    let version = start.version();
    if let Err(error) = store.take_back(start) {
        log::warn!("a start that says nothing of version {version} counts against it: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_store::VersionState;
    use fieldfit_tests::deltas;

    const RULES: TrialRules = TrialRules::new(20, 3);

    fn on_trial() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create_or_open(folder.path().join("store")).unwrap();
        store.activate(store.add(&deltas::poisoned([7; 32])).unwrap()).unwrap();
        (folder, store)
    }

    fn starts(store: &Store) -> u32 {
        let VersionState::Trial(trial) = store.version(1).unwrap().state else { panic!("not on trial") };
        trial.starts
    }

    /// Catches: a thread that the system refuses (EAGAIN), counted as a failed start: three quarantine a good version.
    #[test]
    fn a_thread_that_cannot_be_spawned_is_not_a_failed_start() {
        let (_folder, store) = on_trial();
        for _ in 0..5 {
            let start = store.start(RULES, None).unwrap().undecided.unwrap();
            let refused = |_| Err(io::Error::from(io::ErrorKind::WouldBlock));
            assert!(Trial::begin_on(store.clone(), RULES, start, Listener::default(), refused).is_err());
            assert_eq!(starts(&store), 0);
        }
    }

    /// Catches: failures that do not count: 900 of them and 100 answers confirm a version.
    #[test]
    fn each_failure_takes_a_prediction_back() {
        let (_folder, store) = on_trial();
        let start = store.start(RULES, None).unwrap().undecided.unwrap();
        let trial = Trial::begin(store.clone(), RULES, start, Listener::default()).unwrap();
        let tally = trial.tally();
        for frame in 0..1000 {
            tally.begin();
            if frame % 10 == 9 {
                tally.complete();
            } else {
                tally.fail();
            }
        }
        drop(trial);
        assert_eq!(starts(&store), 1, "the start counts, and nothing is confirmed");
    }

    /// Catches: a start whose failures the base shares, and that counts against the version.
    #[test]
    fn an_excused_start_is_taken_back() {
        let (_folder, store) = on_trial();
        let start = store.start(RULES, None).unwrap().undecided.unwrap();
        let trial = Trial::begin(store.clone(), RULES, start, Listener::default()).unwrap();
        trial.tally().begin();
        assert_eq!(trial.tally().fail(), 1);
        trial.tally().excuse();
        drop(trial);
        assert_eq!(starts(&store), 0);
    }
}
