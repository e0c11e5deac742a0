//! Weights monitor: a thread that hashes the mapped weights again and again, to find changes that the file's times do not show.

use crate::event::Listener;
use crate::{Error, RuntimeEvent};
use fieldfit_durable::Rehash;
use fieldfit_model::{MappedWeightsFile, ModelError};
use fieldfit_store::Store;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two passes over the file.
const PAUSE: Duration = Duration::from_secs(1);

/// Monitor of the mapped weights. Dropping it ends its thread.
pub(crate) struct WeightsMonitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    altered: OnceLock<Altered>,
}

/// As [`ModelError::Altered`].
#[derive(Clone)]
struct Altered {
    path: PathBuf,
    expected: [u8; 32],
    found: [u8; 32],
}

impl WeightsMonitor {
    /// Starts the thread. What it finds is posted to the listener, and removes the store's verification.
    ///
    /// # Errors
    /// If the thread cannot be spawned.
    pub fn begin(file: MappedWeightsFile, rate: Rehash, store: Option<Store>, listener: Listener) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watched = shared.clone();
        let watch = move || watch(file, rate, store.as_ref(), &listener, &watched);
        let thread = thread::Builder::new().name("fieldfit-rehash".into()).spawn(watch)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Refuses to go on with weights that were found changed.
    ///
    /// # Errors
    /// [`ModelError::Altered`].
    pub fn check(&self) -> Result<(), Error> {
        match self.shared.altered.get().cloned() {
            Some(Altered { path, expected, found }) => Err(ModelError::Altered { path, expected, found }.into()),
            None => Ok(()),
        }
    }
}

impl Drop for WeightsMonitor {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It runs no code of the user's, so it ends.
            if thread.join().is_err() {
                log::error!("the thread that hashes the weights again panicked; please report this");
            }
        }
    }
}

/// Hashes the file until it is found changed or the monitor is dropped.
fn watch(mut file: MappedWeightsFile, rate: Rehash, store: Option<&Store>, listener: &Listener, shared: &Shared) {
    let is_over = || shared.is_over.load(Ordering::Acquire);
    while !is_over() {
        match file.rehash(rate, &is_over) {
            Ok(_) => {}
            Err(ModelError::Altered { path, expected, found }) => {
                let error = ModelError::Altered { path: path.clone(), expected, found };
                if let Some(Err(error)) = store.map(Store::forget_verification) {
                    log::warn!("the next start may not hash the base's weights: {error}");
                }
                // Nobody else sets it.
                let _ = shared.altered.set(Altered { path, expected, found });
                return listener.post(RuntimeEvent::BaseAltered { reason: error.to_string() });
            }
            Err(error) => log::warn!("the base's weights are not hashed again now: {error}"),
        }
        thread::park_timeout(PAUSE);
    }
}
