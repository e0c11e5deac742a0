//! `import_model`: a model folder of a checkpoint or network file.

use crate::error::exception;
use fieldfit::import::{ImportRequest, import};
use pyo3::prelude::*;
use std::path::PathBuf;

/// Makes a model folder of a checkpoint or network file, and returns its path.
#[pyfunction]
#[pyo3(signature = (weights, out, *, labels = None, architecture = None))]
pub fn import_model(
    py: Python<'_>,
    weights: PathBuf,
    out: PathBuf,
    labels: Option<PathBuf>,
    architecture: Option<String>,
) -> PyResult<PathBuf> {
    let request = ImportRequest::new(&weights, &out).with_labels(labels.as_deref());
    let request = request.with_architecture(architecture.as_deref());
    py.detach(|| import(&request)).map_err(|error| exception(py, &error.into()))?;
    Ok(out)
}
