//! `Prediction`: the top classes of a frame, and the version that answered.

use crate::version::Version;
use fieldfit::collect::ModelOutput;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Prediction for one frame: the top classes by descending probability, and the version that answered.
#[pyclass(module = "fieldfit", frozen)]
#[derive(Debug)]
pub struct Prediction(fieldfit::Prediction);

/// Ranked class of a prediction.
#[pyclass(module = "fieldfit", frozen, get_all, eq)]
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    index: u32,
    label: String,
    probability: f32,
}

/// Novelty of a frame: how far its features are from all that the version was trained on.
#[pyclass(module = "fieldfit", frozen, get_all)]
#[derive(Debug, Clone, Copy)]
pub struct Novelty {
    distance: f32,
    threshold: f32,
    false_alarm_rate: f32,
    is_unknown: bool,
}

impl From<fieldfit::Prediction> for Prediction {
    fn from(prediction: fieldfit::Prediction) -> Self {
        Self(prediction)
    }
}

impl From<fieldfit::Ranked<'_>> for Ranked {
    fn from(ranked: fieldfit::Ranked<'_>) -> Self {
        Self { index: ranked.index, label: ranked.label.to_owned(), probability: ranked.probability }
    }
}

impl From<fieldfit::Novelty> for Novelty {
    fn from(novelty: fieldfit::Novelty) -> Self {
        let fieldfit::Novelty { distance, threshold, false_alarm_rate, .. } = novelty;
        Self { distance, threshold, false_alarm_rate, is_unknown: novelty.is_unknown() }
    }
}

impl Prediction {
    /// What a collector keeps of it.
    pub fn output(&self) -> ModelOutput {
        (&self.0).into()
    }

    /// The top class, which every model folder with a head has.
    fn best(&self) -> fieldfit::Ranked<'_> {
        self.0.best().unwrap_or_else(|| unreachable!("a version without classes answers no frame"))
    }
}

#[pymethods]
impl Prediction {
    /// Name of the top class.
    #[getter]
    fn label(&self) -> &str {
        self.best().label
    }

    /// Index of the top class in the labels.
    #[getter]
    fn index(&self) -> u32 {
        self.best().index
    }

    /// Probability of the top class, 0..1.
    #[getter]
    fn probability(&self) -> f32 {
        self.best().probability
    }

    /// Version that answered.
    #[getter]
    fn version(&self) -> Version {
        self.0.version().into()
    }

    /// Up to 16 classes by descending probability.
    #[getter]
    fn top<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.top().map(Ranked::from))
    }

    /// The base's own classes; None unless the runtime was opened with `base_answers=True`.
    #[getter]
    fn base<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.0.base().map(|base| PyTuple::new(py, base.map(Ranked::from))).transpose()
    }

    /// Novelty of the frame; None unless the runtime was opened with `novelty=True` and the version has a threshold.
    #[getter]
    fn novelty(&self) -> Option<Novelty> {
        self.0.novelty().map(Novelty::from)
    }

    fn __str__(&self) -> String {
        let best = self.best();
        format!("{} {:.0} %", best.label, 100.0 * best.probability)
    }

    fn __repr__(&self) -> String {
        format!("<Prediction: {}, by {}>", self.__str__(), self.0.version())
    }
}

#[pymethods]
impl Ranked {
    fn __repr__(&self) -> String {
        format!("<Ranked: {} {:.0} %>", self.label, 100.0 * self.probability)
    }
}

#[pymethods]
impl Novelty {
    fn __repr__(&self) -> String {
        let verdict = if self.is_unknown { "unknown" } else { "known" };
        format!("<Novelty: {verdict}, distance {:.2}, threshold {:.2}>", self.distance, self.threshold)
    }
}
