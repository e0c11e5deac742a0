//! Events and history as Python values: what the command prints as JSON.

use crate::error::FieldfitError;
use pyo3::prelude::*;
use serde::Serialize;

/// Converts a value to dictionaries, lists and scalars.
pub fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|error| FieldfitError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}
