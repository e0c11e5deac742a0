//! Runtime reporter: a thread that publishes what a runtime does, while somebody watches its store.

use super::Activity;
use crate::Version;
use crate::drift::DriftMonitor;
use crate::running::Running;
use arc_swap::ArcSwap;
use fieldfit_store::{RuntimeStatus, Store, unix_time};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, process};

/// Time between two looks for a watcher, and between two publications.
const PAUSE: Duration = Duration::from_secs(1);

/// Number of the next runtime of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What is reported of.
pub(crate) struct Reported {
    pub activity: Arc<Activity>,
    pub running: Arc<ArcSwap<Running>>,
    pub drift: Arc<DriftMonitor>,
}

/// Reporter of a runtime. Dropping it ends its thread and removes what it published.
pub(crate) struct RuntimeReporter {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RuntimeReporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread cannot be spawned.
    pub fn begin(store: Store, reported: Reported) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let ending = is_over.clone();
        let work = move || report(&store, &reported, &ending);
        let thread = thread::Builder::new().name("fieldfit-status".into()).spawn(work)?;
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for RuntimeReporter {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It runs no code of the user's, so it ends.
            if thread.join().is_err() {
                log::error!("the thread that reports what runs panicked; please report this");
            }
        }
    }
}

/// Publishes while somebody watches, until the runtime is dropped.
fn report(store: &Store, reported: &Reported, is_over: &AtomicBool) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let started = unix_time();
    let mut has_published = false;
    while !is_over.load(Ordering::Acquire) {
        if store.is_watched() {
            match store.publish_runtime(number, &reported.status(started)) {
                Ok(()) => has_published = true,
                Err(error) => log::debug!("what runs is not published: {error}"),
            }
        }
        thread::park_timeout(PAUSE);
    }
    if has_published && let Err(error) = store.remove_runtime(number) {
        log::debug!("what ran stays published: {error}");
    }
}

impl Reported {
    fn status(&self, started: f64) -> RuntimeStatus {
        let (running, drift) = (self.running.load(), self.drift.drift());
        let latency = self.activity.latency();
        RuntimeStatus {
            process: process::id(),
            started,
            updated: unix_time(),
            version: match running.version() {
                Version::Stored(version) => Some(version),
                Version::Base | Version::File => None,
            },
            running: running.version().to_string(),
            task: running.task().to_string(),
            frames: latency.frames(),
            failures: self.activity.failures(),
            latency,
            confidence: drift.confidence,
            agreement: drift.agreement,
            compared: drift.compared,
        }
    }
}
