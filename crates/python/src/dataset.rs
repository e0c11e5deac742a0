//! `Dataset`: labelled images of a folder, or from memory.

use crate::error::{DatasetError, dataset_exception, exception};
use crate::frame::{PyFrame, is_encoded};
use fieldfit::Error;
use fieldfit::data::{DataError, Dataset as Images, DatasetBuilder, FolderOptions, open_dataset_until};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval at which opening a folder looks for signals.
const GLANCE: Duration = Duration::from_millis(100);

/// Labelled images, of a folder or from memory.
#[pyclass(module = "fieldfit", frozen)]
#[derive(Debug)]
pub struct Dataset(Arc<Images>);

impl Dataset {
    /// Takes a data set as it is, a path as a folder, and everything else as labelled frames.
    pub fn from_any(value: &Bound<'_, PyAny>) -> PyResult<Arc<Images>> {
        if let Ok(dataset) = value.cast::<Self>() {
            return Ok(dataset.get().0.clone());
        }
        match value.extract::<PathBuf>() {
            Ok(folder) => open(value.py(), &folder, None),
            Err(_) => build(value, None),
        }
        .map(Arc::new)
    }
}

#[pymethods]
impl Dataset {
    /// Copies labelled frames: pairs of a frame and its class, or triples with the frame's group or None.
    #[new]
    #[pyo3(signature = (images, *, format = None))]
    fn new(images: &Bound<'_, PyAny>, format: Option<&str>) -> PyResult<Self> {
        Ok(Self(build(images, format)?.into()))
    }

    /// Opens a folder of classes, or a collection. Files whose names match the group pattern in the same way stay in one slice.
    #[staticmethod]
    #[pyo3(signature = (folder, *, group = None))]
    fn open(py: Python<'_>, folder: PathBuf, group: Option<String>) -> PyResult<Self> {
        Ok(Self(open(py, &folder, group)?.into()))
    }

    /// Adds images of earlier days, of at most that many bytes: class after class in turn, drawn by the seed.
    #[pyo3(signature = (earlier, *, budget = None, seed = 0))]
    fn replaying(&self, earlier: &Bound<'_, PyAny>, budget: Option<u64>, seed: u64) -> PyResult<Self> {
        let (py, earlier) = (earlier.py(), Images::clone(&*Self::from_any(earlier)?));
        let both = Images::clone(&self.0).replaying(earlier, budget, seed);
        Ok(Self(both.map_err(|error| dataset_exception(py, &error))?.into()))
    }

    /// Names of the classes, sorted.
    #[getter]
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.classes)
    }

    /// Warnings about the images, for people to read.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.notes)
    }

    fn __len__(&self) -> usize {
        self.0.samples.len()
    }

    fn __repr__(&self) -> String {
        format!("<Dataset: {} images of {} classes>", self.0.samples.len(), self.0.classes.len())
    }
}

/// Opens a folder, and breaks off at a signal.
fn open(py: Python<'_>, folder: &Path, group: Option<String>) -> PyResult<Images> {
    let options = FolderOptions::default().with_group(group);
    let mut glanced = Instant::now();
    let mut signal = Ok(());
    let opened = py.detach(|| {
        open_dataset_until(folder, &options, &mut |_| {
            if glanced.elapsed() < GLANCE {
                return ControlFlow::Continue(());
            }
            glanced = Instant::now();
            signal = Python::attach(|py| py.check_signals());
            if signal.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    });
    match opened {
        Err(Error::Data(DataError::Interrupted)) => signal.and(Err(DatasetError::new_err("stopped on request"))),
        Err(Error::Data(error)) => Err(dataset_exception(py, &error)),
        opened => opened.map_err(|error| exception(py, &error)),
    }
}

/// Copies labelled frames.
fn build(images: &Bound<'_, PyAny>, format: Option<&str>) -> PyResult<Images> {
    let py = images.py();
    let mut builder = DatasetBuilder::new();
    for image in images.try_iter()? {
        py.check_signals()?;
        let image = image?;
        let image = image.cast::<PyTuple>().map_err(|_| unlabelled(builder.len()))?;
        let (frame, class, group) = match image.len() {
            2 => (image.get_item(0)?, image.get_item(1)?, None),
            3 => (image.get_item(0)?, image.get_item(1)?, image.get_item(2)?.extract::<Option<String>>()?),
            _ => return Err(unlabelled(builder.len())),
        };
        let class = class.extract::<String>()?;
        // A format is that of pixels.
        let frame = PyFrame::new(&frame, format.filter(|_| !is_encoded(&frame)), None)?;
        let pushed = builder.push(&frame.borrow()?, &class, group.as_deref());
        pushed.map_err(|error| dataset_exception(py, &error))?;
    }
    builder.build().map_err(|error| dataset_exception(py, &error))
}

fn unlabelled(number: usize) -> PyErr {
    DatasetError::new_err(format!("sample {number}: expected a tuple (frame, class) or (frame, class, group)"))
}
