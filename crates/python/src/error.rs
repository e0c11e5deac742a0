//! Exceptions: one class for each thing that a program handles in its own way, all below `FieldfitError`.

use fieldfit::data::DataError;
use fieldfit::train::AdaptError as RunError;
use fieldfit::{Error, error_messages, escape};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::path::PathBuf;

create_exception!(
    fieldfit,
    FieldfitError,
    PyException,
    "Any error of this package. `path` names the file it is about, or is None."
);
create_exception!(
    fieldfit,
    ModelError,
    FieldfitError,
    "A model folder that cannot be used, or has no head to answer with."
);
create_exception!(fieldfit, FrameError, FieldfitError, "A frame, or a buffer for its results, that cannot be used.");
create_exception!(fieldfit, DatasetError, FieldfitError, "Labelled images that cannot be used.");
create_exception!(fieldfit, DeltaError, FieldfitError, "A delta or key file that cannot be used.");
create_exception!(fieldfit, StoreError, FieldfitError, "A store that cannot be used, or refuses the operation.");
create_exception!(fieldfit, VersionError, FieldfitError, "A version that cannot answer.");
create_exception!(fieldfit, AdaptError, FieldfitError, "An adaptation that was not completed; nothing was stored.");
create_exception!(fieldfit, Stopped, AdaptError, "An adaptation that was stopped on request.");
create_exception!(fieldfit, DeviceError, FieldfitError, "A computation that failed, or an unavailable device.");

/// Adds the exceptions to the module.
pub fn add_exceptions(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = py.get_type::<FieldfitError>();
    base.setattr("path", py.None())?;
    module.add("FieldfitError", base)?;
    module.add("ModelError", py.get_type::<ModelError>())?;
    module.add("FrameError", py.get_type::<FrameError>())?;
    module.add("DatasetError", py.get_type::<DatasetError>())?;
    module.add("DeltaError", py.get_type::<DeltaError>())?;
    module.add("StoreError", py.get_type::<StoreError>())?;
    module.add("VersionError", py.get_type::<VersionError>())?;
    module.add("AdaptError", py.get_type::<AdaptError>())?;
    module.add("Stopped", py.get_type::<Stopped>())?;
    module.add("DeviceError", py.get_type::<DeviceError>())
}

/// Converts an error of the runtime to its exception.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let exception = class_of(error)(full_message(error));
    with_path(py, exception, error.path().map(PathBuf::from))
}

/// Converts an error about labelled images to its exception.
pub fn dataset_exception(py: Python<'_>, error: &DataError) -> PyErr {
    with_path(py, DatasetError::new_err(full_message(error)), error.path().map(PathBuf::from))
}

fn with_path(py: Python<'_>, exception: PyErr, path: Option<PathBuf>) -> PyErr {
    match path.map_or(Ok(()), |path| exception.value(py).setattr("path", path)) {
        Ok(()) => exception,
        Err(error) => error,
    }
}

/// The messages of an error and its causes in one line, escaped.
fn full_message(error: &dyn std::error::Error) -> String {
    escape(&error_messages(error).join(": ")).to_string()
}

fn class_of(error: &Error) -> fn(String) -> PyErr {
    match error {
        Error::Data(_) | Error::BatchFrame { .. } | Error::BufferLength { .. } => FrameError::new_err,
        Error::Model(_)
        | Error::Input { .. }
        | Error::Headless { .. }
        | Error::NoBaseAnswers { .. }
        | Error::OtherTask { .. }
        | Error::ImagesOfTask { .. }
        | Error::SetOfTask { .. }
        | Error::Unknown { .. } => ModelError::new_err,
        Error::Delta { .. }
        | Error::Read { .. }
        | Error::File(_)
        | Error::TooLong { .. }
        | Error::Transport { .. }
        | Error::Key { .. }
        | Error::OpenKey { .. }
        | Error::Made { .. } => DeltaError::new_err,
        Error::Store(_) | Error::NoStore { .. } | Error::FailedHere { .. } => StoreError::new_err,
        Error::Logit { .. } | Error::Feature { .. } | Error::MemoryBudget { .. } | Error::NoNovelty { .. } => {
            VersionError::new_err
        }
        Error::Adapt(RunError::Interrupted { .. }) => Stopped::new_err,
        Error::Adapt(_) => AdaptError::new_err,
        Error::Exec(_) => DeviceError::new_err,
        Error::Classes { .. } => DatasetError::new_err,
        // Errors of what the package does not offer.
        _ => FieldfitError::new_err,
    }
}
