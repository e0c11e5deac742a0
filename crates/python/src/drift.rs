//! `Drift`: confidence and base agreement over the latest frames.

use crate::version::Version;
use pyo3::prelude::*;

/// Drift figures of the running version over its latest frames.
#[pyclass(module = "fieldfit", frozen, get_all)]
#[derive(Debug, Clone, Copy)]
pub struct Drift {
    version: Version,
    frames: usize,
    confidence: Option<f64>,
    compared: usize,
    agreement: Option<f64>,
}

impl From<fieldfit::Drift> for Drift {
    fn from(drift: fieldfit::Drift) -> Self {
        let fieldfit::Drift { version, frames, confidence, compared, agreement, .. } = drift;
        Self { version: version.into(), frames, confidence, compared, agreement }
    }
}

#[pymethods]
impl Drift {
    fn __repr__(&self) -> String {
        let Self { version, frames, confidence, compared, agreement } = self;
        format!(
            "<Drift: {frames} frames of {version}, confidence {confidence:?}, agreement {agreement:?} of {compared}>"
        )
    }
}
