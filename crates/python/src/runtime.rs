//! `Runtime`: a base model and the adaptation that runs on it, shared by any number of threads.

use crate::adaptation::{Adaptation, Adapted};
use crate::answers::{Estimate, Segmentation, Tags};
use crate::dataset::Dataset;
use crate::drift::Drift;
use crate::error::{FieldfitError, FrameError, exception};
use crate::frame::{PyFrame, borrow_all};
use crate::json;
use crate::options::{named, options};
use crate::prediction::Prediction;
use crate::version::Version;
use fieldfit::delta::read_key;
use fieldfit::{Device, Error, Frame, Precision, RuntimeEvent};
use numpy::{PyArray1, PyArrayMethods, PyReadwriteArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Runtime events that wait for `take_events`; older ones are dropped.
const EVENTS: usize = 256;

/// Runtime of a base model and the adaptation that runs on it.
#[pyclass(module = "fieldfit", frozen)]
pub struct Runtime {
    /// `None` once it is closed.
    inner: Mutex<Option<Arc<fieldfit::Runtime>>>,
    events: Arc<Mutex<VecDeque<RuntimeEvent>>>,
}

impl Runtime {
    fn inner(&self) -> PyResult<Arc<fieldfit::Runtime>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        inner.ok_or_else(|| FieldfitError::new_err("the runtime is closed"))
    }

    /// Does work detached from the interpreter.
    fn detached<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&fieldfit::Runtime) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let inner = self.inner()?;
        py.detach(|| work(&inner)).map_err(|error| exception(py, &error))
    }

    /// Answers a frame, given with its format and crop, detached from the interpreter.
    fn answered<R: Send>(
        &self,
        py: Python<'_>,
        (frame, format, crop): (&Bound<'_, PyAny>, Option<&str>, Option<[u32; 4]>),
        answer: impl FnOnce(&fieldfit::Runtime, &Frame<'_>) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let frame = PyFrame::new(frame, format, crop)?;
        let frame = frame.borrow()?;
        self.detached(py, |runtime| answer(runtime, &frame))
    }

    fn start(
        &self,
        data: &Bound<'_, PyAny>,
        resume: bool,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Adaptation> {
        let runtime = self.inner()?;
        let options = options(runtime.device(), arguments)?;
        Adaptation::start(runtime, Dataset::from_any(data)?, options, resume)
    }

    /// Writes values of a frame to a new array or to `out`; `len` is how many there are.
    fn write<'py>(
        &self,
        py: Python<'py>,
        out: Option<Bound<'py, PyArray1<f32>>>,
        len: impl Fn(&fieldfit::Runtime) -> usize,
        write: impl Fn(&fieldfit::Runtime, &mut [f32]) -> Result<(), Error> + Send + Sync,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let inner = self.inner()?;
        if let Some(out) = out {
            let mut guard: PyReadwriteArray1<'py, f32> = out
                .try_readwrite()
                .map_err(|error| FrameError::new_err(format!("`out` cannot be written: {error}")))?;
            let values = guard.as_slice_mut().map_err(|error| FrameError::new_err(format!("`out`: {error}")))?;
            py.detach(|| write(&inner, values)).map_err(|error| exception(py, &error))?;
            return Ok(out);
        }
        loop {
            let mut values = vec![0.0; len(&inner)];
            match py.detach(|| write(&inner, &mut values)) {
                Ok(()) => return Ok(PyArray1::from_vec(py, values)),
                // A swap to other classes came between.
                Err(Error::BufferLength { .. }) => py.check_signals()?,
                Err(error) => return Err(exception(py, &error)),
            }
        }
    }
}

#[pymethods]
impl Runtime {
    /// Maps and verifies the base in that model folder, and prepares the version that runs first.
    #[new]
    #[pyo3(signature = (
        model, *, store = None, create = true, delta = None, key = None, threads = None, trials = true, copy_base = false,
        base_answers = false, novelty = false, memory_budget = None, precision = "f32"
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        store: Option<PathBuf>,
        create: bool,
        delta: Option<PathBuf>,
        key: Option<PathBuf>,
        threads: Option<usize>,
        trials: bool,
        copy_base: bool,
        base_answers: bool,
        novelty: bool,
        memory_budget: Option<u64>,
        precision: &str,
    ) -> PyResult<Self> {
        let precision = named("precision", precision, Precision::ALL.map(|precision| (precision.name(), precision)))?;
        let events = Arc::new(Mutex::new(VecDeque::new()));
        let heard = events.clone();
        let opened = py.detach(|| {
            let mut builder = fieldfit::Runtime::builder(model);
            builder = builder.copy_base(copy_base).base_answers(base_answers).novelty(novelty).precision(precision);
            builder = builder.on_event(move |event| keep(&heard, event));
            if let Some(store) = store {
                builder = if create { builder.store_or_new(store) } else { builder.store(store) };
            }
            if let Some(delta) = delta {
                builder = builder.delta(delta);
            }
            if let Some(key) = key {
                builder = builder.key(read_key(key)?);
            }
            if let Some(threads) = threads {
                builder = builder.device(Device::Cpu { threads });
            }
            if !trials {
                builder = builder.without_trials();
            }
            if let Some(budget) = memory_budget {
                builder = builder.memory_budget(budget);
            }
            builder.open()
        });
        let inner = opened.map_err(|error| exception(py, &error))?;
        Ok(Self { inner: Mutex::new(Some(inner.into())), events })
    }

    /// Classifies a frame.
    #[pyo3(signature = (frame, *, format = None, crop = None))]
    fn infer(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
    ) -> PyResult<Prediction> {
        Ok(self.answered(py, (frame, format, crop), fieldfit::Runtime::infer)?.into())
    }

    /// Classifies frames with one version.
    #[pyo3(signature = (frames, *, format = None))]
    fn infer_many(&self, py: Python<'_>, frames: &Bound<'_, PyAny>, format: Option<&str>) -> PyResult<Vec<Prediction>> {
        let frames = PyFrame::all(frames, format)?;
        let frames = borrow_all(&frames)?;
        let mut predictions = Vec::new();
        self.detached(py, |runtime| runtime.infer_batch(&frames, &mut predictions))?;
        Ok(predictions.into_iter().map(Prediction::from).collect())
    }

    /// Names the class of each pixel of a frame.
    #[pyo3(signature = (frame, *, format = None, crop = None))]
    fn segment(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
    ) -> PyResult<Segmentation> {
        Ok(self.answered(py, (frame, format, crop), fieldfit::Runtime::segment)?.into())
    }

    /// Estimates the values of a frame's targets.
    #[pyo3(signature = (frame, *, format = None, crop = None))]
    fn estimate(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
    ) -> PyResult<Estimate> {
        Ok(self.answered(py, (frame, format, crop), fieldfit::Runtime::estimate)?.into())
    }

    /// Tells which labels a frame has.
    #[pyo3(signature = (frame, *, format = None, crop = None))]
    fn tag(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
    ) -> PyResult<Tags> {
        Ok(self.answered(py, (frame, format, crop), fieldfit::Runtime::tag)?.into())
    }

    /// Probability of every class, in the labels' order.
    #[pyo3(signature = (frame, *, format = None, crop = None, out = None))]
    fn scores<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
        out: Option<Bound<'py, PyArray1<f32>>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let frame = PyFrame::new(frame, format, crop)?;
        let frame = frame.borrow()?;
        let write = |runtime: &fieldfit::Runtime, scores: &mut [f32]| runtime.scores(&frame, scores).map(drop);
        self.write(py, out, |runtime| runtime.labels().len(), write)
    }

    /// Features of a frame, which the head reads.
    #[pyo3(signature = (frame, *, format = None, crop = None, out = None))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
        out: Option<Bound<'py, PyArray1<f32>>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let frame = PyFrame::new(frame, format, crop)?;
        let frame = frame.borrow()?;
        let write = |runtime: &fieldfit::Runtime, features: &mut [f32]| runtime.embed(&frame, features).map(drop);
        self.write(py, out, fieldfit::Runtime::embedding_len, write)
    }

    /// Adapts to labelled images, and waits for the result.
    #[pyo3(signature = (data, *, resume = false, on_event = None, **options))]
    fn adapt(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        resume: bool,
        on_event: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Adapted> {
        self.start(data, resume, options)?.finish(py, on_event)
    }

    /// Adapts to labelled images on a thread of its own.
    #[pyo3(signature = (data, *, resume = false, **options))]
    fn adapt_async(
        &self,
        data: &Bound<'_, PyAny>,
        resume: bool,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Adaptation> {
        self.start(data, resume, options)
    }

    /// Adds a class by the mean of its images' features, without training.
    #[pyo3(signature = (label, frames, *, known = None, format = None))]
    fn teach(
        &self,
        py: Python<'_>,
        label: &str,
        frames: &Bound<'_, PyAny>,
        known: Option<&Bound<'_, PyAny>>,
        format: Option<&str>,
    ) -> PyResult<Adapted> {
        let known = known.map(Dataset::from_any).transpose()?;
        let frames = PyFrame::all(frames, format)?;
        let frames = borrow_all(&frames)?;
        let taught = self.detached(py, |runtime| {
            let addition = runtime.teach(label, &frames);
            match known.as_deref() {
                Some(known) => addition.known(known),
                None => addition,
            }
            .run()
        })?;
        Ok((&taught).into())
    }

    /// Removes a class that was taught.
    fn remove_taught(&self, py: Python<'_>, label: &str) -> PyResult<Adapted> {
        Ok((&self.detached(py, |runtime| runtime.remove_taught(label))?).into())
    }

    /// Runs that version of the store.
    fn activate(&self, py: Python<'_>, version: u32) -> PyResult<()> {
        self.detached(py, |runtime| runtime.activate(version))
    }

    /// Confirms the running version, if it is on trial.
    fn confirm(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, fieldfit::Runtime::confirm)
    }

    /// Runs the version that was active before, at last the base, and returns it.
    fn rollback(&self, py: Python<'_>) -> PyResult<Version> {
        Ok(self.detached(py, fieldfit::Runtime::rollback)?.into())
    }

    /// Runs the store's active version if it has changed; returns it, or None if nothing has changed.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Version>> {
        Ok(self.detached(py, fieldfit::Runtime::poll)?.map(Version::from))
    }

    /// Adds a delta file to the store, as a candidate, and returns its number.
    fn add(&self, py: Python<'_>, delta: PathBuf) -> PyResult<u32> {
        self.detached(py, |runtime| runtime.add(&delta))
    }

    /// Whether the running version's backbone gives a frame the base's class. Computes two networks.
    #[pyo3(signature = (frame, *, format = None, crop = None))]
    fn agrees_with_base(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        format: Option<&str>,
        crop: Option<[u32; 4]>,
    ) -> PyResult<bool> {
        self.answered(py, (frame, format, crop), fieldfit::Runtime::agrees_with_base)
    }

    /// Version that runs.
    #[getter]
    fn version(&self) -> PyResult<Version> {
        Ok(self.inner()?.version().into())
    }

    /// Class names of the running version.
    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner()?.labels().iter())
    }

    /// What the running version answers about a frame.
    #[getter]
    fn task(&self) -> PyResult<&'static str> {
        Ok(self.inner()?.task().name())
    }

    /// Precision that the running version is inferred in.
    #[getter]
    fn running_precision(&self) -> PyResult<&'static str> {
        Ok(self.inner()?.running_precision().name())
    }

    /// Number of values of an embedding.
    #[getter]
    fn embedding_len(&self) -> PyResult<usize> {
        Ok(self.inner()?.embedding_len())
    }

    /// Drift figures of the running version.
    #[getter]
    fn drift(&self) -> PyResult<Drift> {
        Ok(self.inner()?.drift().into())
    }

    /// Operations on the store, the latest last, as the command prints them in JSON.
    #[getter]
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let entries = self.detached(py, |runtime| match runtime.store() {
            Some(store) => Ok(store.history()?),
            None => Err(Error::NoStore { action: "read the history of" }),
        })?;
        json::to_python(py, &entries)
    }

    /// Returns and removes the events since the last call, at most 256.
    fn take_events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let events = std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner));
        let events = events.iter().map(|event| json::to_python(py, event)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, events)
    }

    /// Frees the runtime, once running calls have ended. Later calls raise.
    fn close(&self, py: Python<'_>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(inner));
    }

    fn __enter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }
}

/// Keeps an event of the runtime, on whatever thread it arises.
fn keep(events: &Mutex<VecDeque<RuntimeEvent>>, event: &RuntimeEvent) {
    let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
    if events.len() == EVENTS {
        events.pop_front();
    }
    events.push_back(event.clone());
}
