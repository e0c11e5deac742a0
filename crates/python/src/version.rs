//! `Version`: which weights run.

use pyo3::prelude::*;
use std::fmt;

/// Version of the weights: the base, the base with a delta file, or a version of the store.
#[pyclass(module = "fieldfit", frozen, eq, hash)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(fieldfit::Version);

impl From<fieldfit::Version> for Version {
    fn from(version: fieldfit::Version) -> Self {
        Self(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[pymethods]
impl Version {
    /// Number in the store; None for the base and for a delta file.
    #[getter]
    const fn number(&self) -> Option<u32> {
        match self.0 {
            fieldfit::Version::Stored(number) => Some(number),
            fieldfit::Version::Base | fieldfit::Version::File => None,
        }
    }

    /// Whether it is the base without a delta.
    #[getter]
    const fn is_base(&self) -> bool {
        matches!(self.0, fieldfit::Version::Base)
    }

    fn __str__(&self) -> String {
        self.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<Version: {self}>")
    }
}
