//! `Collector`: frames are buffered, and a label stores those that it is for.

use crate::error::exception;
use crate::frame::PyFrame;
use crate::json::to_python;
use crate::prediction::Prediction;
use fieldfit::Error;
use fieldfit::collect::{Collector as Images, CollectorOptions, Label, ModelOutput, Origin, Span};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;
use std::time::Duration;

/// Collector of labelled images: a collection on disk, and the frames before a label in memory.
#[pyclass(module = "fieldfit", frozen)]
#[derive(Debug)]
pub struct Collector(Images);

#[pymethods]
impl Collector {
    /// Opens a collector that stores into a collection, which is made if there is none.
    #[new]
    #[pyo3(signature = (collection, **options))]
    fn new(py: Python<'_>, collection: PathBuf, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let options = match options {
            Some(options) => parsed(options)?,
            None => CollectorOptions::default(),
        };
        let opened = py.detach(|| Images::open(&collection, options));
        opened.map(Self).map_err(|error| exception(py, &error.into()))
    }

    /// Takes a frame into the buffer, and tells whether it is there now.
    #[pyo3(signature = (frame, *, at, prediction = None, format = None))]
    fn observe(
        &self,
        frame: &Bound<'_, PyAny>,
        at: f64,
        prediction: Option<&Prediction>,
        format: Option<&str>,
    ) -> PyResult<bool> {
        let py = frame.py();
        let (at, output) = (seconds("at", at)?, prediction.map_or_else(ModelOutput::default, Prediction::output));
        let frame = PyFrame::new(frame, format, None)?;
        let frame = frame.borrow()?;
        let taken = py.detach(|| self.0.observe(&frame, at, output));
        taken.map(|id| id.is_some()).map_err(|error| exception(py, &error.into()))
    }

    /// Labels buffered frames, and stores those that are worth it.
    #[pyo3(signature = (label, *, last = None, between = None, origin = "operator", confidence = 1.0, by = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn label<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        last: Option<f64>,
        between: Option<(f64, f64)>,
        origin: &str,
        confidence: f32,
        by: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let span = match (last, between) {
            (Some(last), None) => Span::Last(seconds("last", last)?),
            (None, Some((from, to))) => Span::Between(seconds("between", from)?, seconds("between", to)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(PyValueError::new_err("label either the `last` seconds or the frames `between` two times"));
            }
        };
        let origin = origin.parse::<Origin>();
        let origin = origin.map_err(|expected| PyValueError::new_err(format!("`origin`: {expected}")))?;
        let label = Label::new(label, origin).with_confidence(confidence).with_by(by);
        let kept = py.detach(|| self.0.label(span, &label)).map_err(|error| exception(py, &Error::from(error)))?;
        to_python(py, &kept)
    }

    /// Numbers of the collection.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &py.detach(|| self.0.statistics()))
    }

    /// Name of the recording.
    #[getter]
    fn session(&self) -> &str {
        self.0.session()
    }
}

/// Options from keyword arguments.
fn parsed(options: &Bound<'_, PyDict>) -> PyResult<CollectorOptions> {
    let text: String = options.py().import("json")?.call_method1("dumps", (options,))?.extract()?;
    serde_json::from_str(&text).map_err(|error| PyValueError::new_err(format!("options of a collector: {error}")))
}

fn seconds(argument: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("`{argument}` is {seconds}: expected a time in seconds from 0 on")))
}
