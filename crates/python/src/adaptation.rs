//! `Adaptation`: a run on a thread of its own, whose events and result Python threads take.

use crate::error::{AdaptError, exception};
use crate::json;
use fieldfit::data::Dataset;
use fieldfit::train::{Adapted as Outcome, Control, Event, Options};
use fieldfit::{Error, Runtime};
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which a waiting thread looks for signals.
const GLANCE: Duration = Duration::from_millis(50);

/// A run on a thread of its own: an iterator over its events.
#[pyclass(module = "fieldfit", frozen)]
pub struct Adaptation {
    control: Control,
    events: Mutex<Receiver<Event>>,
    end: Arc<End>,
}

/// End of a run: its result, once it is there.
#[derive(Default)]
struct End {
    result: Mutex<Option<Arc<Result<Outcome, Failure>>>>,
    changed: Condvar,
}

/// Why there is no result.
enum Failure {
    Run(Error),
    /// The thread panicked.
    Panic,
}

/// Result of an adaptation. It is in the store, whatever the gate decided.
#[pyclass(module = "fieldfit", frozen, get_all)]
#[derive(Debug, Clone)]
pub struct Adapted {
    version: u32,
    delta: PathBuf,
    delta_bytes: u64,
    active: bool,
    reason: String,
    gate: Gate,
    seconds: f64,
    peak_bytes: Option<u64>,
}

/// Accuracies on the gate slice, 0..1, of the reference and of the new version.
#[pyclass(module = "fieldfit", frozen, get_all)]
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    images: usize,
    before: f64,
    after: f64,
}

impl From<&Outcome> for Adapted {
    fn from(outcome: &Outcome) -> Self {
        Self {
            version: outcome.version,
            delta: outcome.delta.clone(),
            delta_bytes: outcome.delta_bytes,
            active: outcome.active,
            reason: outcome.reason.clone(),
            gate: Gate { images: outcome.gate.images, before: outcome.gate.before, after: outcome.gate.after },
            seconds: outcome.seconds,
            peak_bytes: outcome.peak,
        }
    }
}

#[pymethods]
impl Adapted {
    fn __repr__(&self) -> String {
        let state = if self.active { "active" } else { "refused" };
        format!("<Adapted: version {}, {state}: {}>", self.version, self.reason)
    }
}

#[pymethods]
impl Gate {
    fn __repr__(&self) -> String {
        let [before, after] = [self.before, self.after].map(|accuracy| 100.0 * accuracy);
        format!("<Gate: {before:.1} % before and {after:.1} % after, of {} images>", self.images)
    }
}

impl Adaptation {
    /// Starts a run on a thread of its own.
    pub fn start(runtime: Arc<Runtime>, images: Arc<Dataset>, options: Options, resume: bool) -> PyResult<Self> {
        let (control, end) = (Control::new(), Arc::new(End::default()));
        let (sender, events) = channel();
        let run = {
            let (control, end) = (control.clone(), EndGuard(end.clone()));
            move || end.set(run(&runtime, &images, options, resume, &control, &sender).map_err(Failure::Run))
        };
        let thread = thread::Builder::new().name("fieldfit-adapt".into()).spawn(run);
        thread.map_err(|error| AdaptError::new_err(format!("the run's thread cannot be started: {error}")))?;
        Ok(Self { control, events: Mutex::new(events), end })
    }

    /// Runs to the end on behalf of the calling thread, which hears each event. A signal, or an exception of the listener, stops the
    /// run and waits for it.
    pub fn finish(&self, py: Python<'_>, on_event: Option<&Bound<'_, PyAny>>) -> PyResult<Adapted> {
        let heard = self.hear(py, on_event);
        if heard.is_err() {
            self.control.stop();
            py.detach(|| self.end.wait(None));
        }
        heard.and_then(|()| self.result(py, None))
    }

    /// Passes each event to the listener, until the run ends.
    fn hear(&self, py: Python<'_>, on_event: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        while let Some(event) = self.next_event(py)? {
            if let Some(on_event) = on_event {
                on_event.call1((json::to_python(py, &event)?,))?;
            }
        }
        Ok(())
    }

    /// Waits for the next event; `None` at the end of the run.
    fn next_event(&self, py: Python<'_>) -> PyResult<Option<Event>> {
        loop {
            let received =
                py.detach(|| self.events.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(GLANCE));
            match received {
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            }
        }
    }
}

#[pymethods]
impl Adaptation {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let event = self.next_event(py)?;
        event.map(|event| json::to_python(py, &event)).transpose()
    }

    /// Asks the run to wait after the batch that it is at.
    fn pause(&self) {
        self.control.pause();
    }

    /// Lets a paused run go on.
    fn resume(&self) {
        self.control.resume();
    }

    /// Asks the run to save a checkpoint and stop. Returns whether it will: False once its result stands.
    fn stop(&self) -> bool {
        self.control.stop()
    }

    /// Whether the run has ended.
    #[getter]
    fn done(&self) -> bool {
        self.end.get().is_some()
    }

    /// Waits for the end, at most so many seconds, and returns the result or raises what ended the run.
    #[pyo3(signature = (timeout = None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Adapted> {
        // A timeout beyond all clocks is none.
        let deadline =
            timeout.and_then(|seconds| Instant::now().checked_add(Duration::try_from_secs_f64(seconds.max(0.0)).ok()?));
        loop {
            if let Some(result) = py.detach(|| self.end.wait(Some(GLANCE))) {
                return match &*result {
                    Ok(outcome) => Ok(outcome.into()),
                    Err(Failure::Run(error)) => Err(exception(py, error)),
                    Err(Failure::Panic) => Err(AdaptError::new_err("the run panicked; please report this")),
                };
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(PyTimeoutError::new_err("the adaptation goes on"));
            }
        }
    }
}

fn run(
    runtime: &Runtime,
    images: &Dataset,
    options: Options,
    resume: bool,
    control: &Control,
    events: &Sender<Event>,
) -> Result<Outcome, Error> {
    let adaptation = runtime.adaptation(images).options(options).control(control).resume(resume);
    // Without a receiver nobody wants the events.
    adaptation.on_event(|event| drop(events.send(event))).run()
}

impl End {
    fn get(&self) -> Option<Arc<Result<Outcome, Failure>>> {
        self.lock().clone()
    }

    /// Waits for the result, at most that long.
    fn wait(&self, timeout: Option<Duration>) -> Option<Arc<Result<Outcome, Failure>>> {
        let result = self.lock();
        let is_missing = |result: &mut Option<_>| result.is_none();
        match timeout {
            None => self.changed.wait_while(result, is_missing).unwrap_or_else(PoisonError::into_inner).clone(),
            Some(timeout) => {
                let waited = self.changed.wait_timeout_while(result, timeout, is_missing);
                waited.unwrap_or_else(PoisonError::into_inner).0.clone()
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Result<Outcome, Failure>>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets the result of a run; dropped without one, as by a panic, it says so.
struct EndGuard(Arc<End>);

impl EndGuard {
    fn set(&self, result: Result<Outcome, Failure>) {
        *self.0.lock() = Some(Arc::new(result));
        self.0.changed.notify_all();
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if self.0.get().is_none() {
            self.set(Err(Failure::Panic));
        }
    }
}
