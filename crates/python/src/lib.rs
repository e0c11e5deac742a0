//! The Python package `fieldfit`: the runtime for frames as NumPy arrays, and adaptation with events. Its API is described in
//! `fieldfit.pyi`.
//!
//! | file | content |
//! |---|---|
//! | `runtime` | `Runtime`: opening, frames, versions |
//! | `frame` | arrays, DLPack tensors, bytes and paths as frames |
//! | `prediction` | `Prediction`, `Ranked`, `Novelty` |
//! | `answers` | `Segmentation`, `Estimate`, `Tags` |
//! | `dataset` | `Dataset`: labelled images of a folder or from memory |
//! | `model_import` | `import_model`: checkpoints and network files as model folders |
//! | `options` | keyword arguments as options of a run |
//! | `adaptation` | `Adaptation`: a run on a thread of its own; `Adapted` |
//! | `version`, `drift`, `json` | values that these return |
//! | `error` | exceptions |
//!
//! Computation runs detached from the interpreter, so that other Python threads go on. No thread of the runtime calls Python:
//! events wait in a queue until a Python thread takes them.

mod adaptation;
mod answers;
mod collector;
mod dataset;
mod drift;
mod error;
mod frame;
mod json;
mod model_import;
mod options;
mod prediction;
mod runtime;
mod version;

use pyo3::prelude::*;

#[pymodule(name = "fieldfit", gil_used = false)]
fn package(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(model_import::import_model, module)?)?;
    module.add_class::<runtime::Runtime>()?;
    module.add_class::<dataset::Dataset>()?;
    module.add_class::<collector::Collector>()?;
    module.add_class::<prediction::Prediction>()?;
    module.add_class::<prediction::Ranked>()?;
    module.add_class::<prediction::Novelty>()?;
    module.add_class::<answers::Segmentation>()?;
    module.add_class::<answers::Estimate>()?;
    module.add_class::<answers::Tags>()?;
    module.add_class::<version::Version>()?;
    module.add_class::<drift::Drift>()?;
    module.add_class::<adaptation::Adaptation>()?;
    module.add_class::<adaptation::Adapted>()?;
    module.add_class::<adaptation::Gate>()?;
    error::add_exceptions(module)
}
