//! Answers of other tasks than classification: `Segmentation`, `Estimate` and `Tags`.

use crate::version::Version;
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Segmentation of one frame: a class for each pixel, and the version that answered.
#[pyclass(module = "fieldfit", frozen)]
#[derive(Debug)]
pub struct Segmentation(fieldfit::Segmentation);

/// Values of one frame's targets, and the version that answered.
#[pyclass(module = "fieldfit", frozen)]
#[derive(Debug)]
pub struct Estimate(fieldfit::Estimate);

/// Labels of one frame, each with its probability, and the version that answered.
#[pyclass(module = "fieldfit", frozen)]
#[derive(Debug)]
pub struct Tags(fieldfit::Tags);

impl From<fieldfit::Segmentation> for Segmentation {
    fn from(segmentation: fieldfit::Segmentation) -> Self {
        Self(segmentation)
    }
}

impl From<fieldfit::Estimate> for Estimate {
    fn from(estimate: fieldfit::Estimate) -> Self {
        Self(estimate)
    }
}

impl From<fieldfit::Tags> for Tags {
    fn from(tags: fieldfit::Tags) -> Self {
        Self(tags)
    }
}

#[pymethods]
impl Segmentation {
    /// Class of each pixel, (height, width), uint16: an index into `labels`. A new array.
    #[getter]
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u16>>> {
        let shape = (self.0.height(), self.0.width());
        let classes = Array2::from_shape_vec(shape, self.0.classes().to_vec());
        Ok(classes.map_err(|error| PyValueError::new_err(error.to_string()))?.into_pyarray(py))
    }

    /// Class names, in the order of the classes.
    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.labels().iter())
    }

    /// Share of pixels of each class, 0..1, by its name.
    #[getter]
    fn shares<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let shares = PyDict::new(py);
        self.0.labels().iter().zip(self.0.shares()).try_for_each(|(label, share)| shares.set_item(label, share))?;
        Ok(shares)
    }

    /// Version that answered.
    #[getter]
    fn version(&self) -> Version {
        self.0.version().into()
    }

    /// The segmentation at another size, such as the frame's: each pixel has the class of the nearest one.
    fn resized(&self, height: usize, width: usize) -> PyResult<Self> {
        if height == 0 || width == 0 {
            return Err(PyValueError::new_err("expected a height and a width of at least 1"));
        }
        Ok(Self(self.0.resized(height, width)))
    }

    fn __repr__(&self) -> String {
        format!("<Segmentation: {} × {}, by {}>", self.0.height(), self.0.width(), self.0.version())
    }
}

#[pymethods]
impl Estimate {
    /// Value of each target, by its name without the unit.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values = PyDict::new(py);
        self.0.values().try_for_each(|value| values.set_item(value.name, value.value))?;
        Ok(values)
    }

    /// Unit of each target, by its name; None without one.
    #[getter]
    fn units<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let units = PyDict::new(py);
        self.0.values().try_for_each(|value| units.set_item(value.name, value.unit))?;
        Ok(units)
    }

    /// Version that answered.
    #[getter]
    fn version(&self) -> Version {
        self.0.version().into()
    }

    fn __str__(&self) -> String {
        let value = |value: fieldfit::EstimatedValue<'_>| {
            let unit = value.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
            format!("{}: {:.4}{unit}", value.name, value.value)
        };
        self.0.values().map(value).collect::<Vec<_>>().join(", ")
    }

    fn __repr__(&self) -> String {
        format!("<Estimate: {}, by {}>", self.__str__(), self.0.version())
    }
}

#[pymethods]
impl Tags {
    /// Probability of each label, 0..1, by its name.
    #[getter]
    fn probabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let probabilities = PyDict::new(py);
        self.0.all().try_for_each(|tag| probabilities.set_item(tag.label, tag.probability))?;
        Ok(probabilities)
    }

    /// Labels that are predicted, by each label's threshold.
    #[getter]
    fn present<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.present().map(|tag| tag.label).collect::<Vec<_>>())
    }

    /// Version that answered.
    #[getter]
    fn version(&self) -> Version {
        self.0.version().into()
    }

    fn __str__(&self) -> String {
        self.0.present().map(|tag| tag.label).collect::<Vec<_>>().join(", ")
    }

    fn __repr__(&self) -> String {
        format!("<Tags: {}, by {}>", self.__str__(), self.0.version())
    }
}
