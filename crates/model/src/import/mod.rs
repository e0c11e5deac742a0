//! From a checkpoint to a model folder.
//!
//! Reads PyTorch's `.pth` in its legacy form and as a zip archive, and safetensors. Pickles are interpreted as data: a
//! checkpoint can name an ordered dictionary, tensors and their storages, and is refused, by name, if it asks for
//! anything else.
//!
//! The names may be timm's, torchvision's or transformers', behind the prefixes of wrappers; the network is recognised by
//! them and by the shapes. Every tensor's name, shape and type is checked against the architecture; batch norm's
//! `num_batches_tracked` serves training from scratch only and is left out. A checkpoint without a head is a headless
//! base.

mod config;
mod error;
mod folder;
mod legacy;
mod pickle;
mod preprocessing;
mod recognise;
mod safetensors;
mod spelling;
mod storage;
mod zip;

pub use error::{CheckpointError, PickleProblem};
pub use preprocessing::published_preprocessing;
pub use recognise::Recognised;

use crate::base::BaseId;
use crate::check;
use crate::error::ModelError;
use config::Config;
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Dtype, Preprocessing};
use pickle::{Object, Pickled, Value};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use storage::{StateDict, Storage};

/// What to import, as what, and whence it comes.
#[derive(Debug, Clone)]
pub struct ImportRequest<'a> {
    /// The checkpoint: `.pth` or `.safetensors`, told apart by what is in it; or a folder as Hugging Face's hub has it,
    /// with `config.json` beside `model.safetensors` or `pytorch_model.bin`.
    pub weights: &'a Path,
    /// The architecture's name in [`fieldfit_nets::ARCHITECTURES`]; recognised by names and shapes if none is given.
    pub architecture: Option<&'a str>,
    /// A file of labels, one class a line, in the order of the logits; those of `config.json`, if none is given. A
    /// checkpoint without a head has none.
    pub labels: Option<&'a Path>,
    /// The model folder to make. It must not exist; its last part is the model's name.
    pub out: &'a Path,
    /// How tensors of two or more dimensions are stored. Others are always stored as f32: running variances would
    /// underflow in f16.
    pub dtype: Dtype,
    /// How images become the network's input: as `config.json` says, or else as the architecture's [published
    /// checkpoint](published_preprocessing) was evaluated, if nothing is given.
    pub preprocessing: Option<Preprocessing>,
    /// Who published the weights, and in which version: a package, a repository, a person.
    pub source: &'a str,
    /// SPDX expression of the weights' licence.
    pub licence: &'a str,
}

impl<'a> ImportRequest<'a> {
    /// Whatever network the checkpoint holds, with f16 weights, what it says itself of labels and preprocessing, and an
    /// unknown origin.
    pub const fn new(weights: &'a Path, out: &'a Path) -> Self {
        let (source, licence) = ("unknown", "LicenseRef-unknown");
        let (architecture, labels, preprocessing) = (None, None, None);
        Self { weights, architecture, labels, out, dtype: Dtype::F16, preprocessing, source, licence }
    }

    /// The same, for a checkpoint of that architecture under these labels.
    #[must_use]
    pub const fn of(mut self, architecture: &'a str, labels: &'a Path) -> Self {
        (self.architecture, self.labels) = (Some(architecture), Some(labels));
        self
    }
}

/// What was imported.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportReport {
    /// What the checkpoint was.
    pub format: Format,
    /// The entry of the checkpoint that held the weights, beside others.
    pub wrapper: Option<&'static str>,
    /// What it was taken for, and why.
    pub recognised: Recognised,
    /// Classes of its head; none of a headless backbone.
    pub classes: usize,
    /// What inference doesn't need and was left out, by name, sorted.
    pub ignored: Vec<String>,
    /// How images become the network's input.
    pub preprocessing: Preprocessing,
    /// The file that says so; nothing if it is the request or the architecture's published checkpoint.
    pub config: Option<PathBuf>,
    /// Size of the weights file, in bytes.
    pub bytes: u64,
    /// What identifies the new base.
    pub id: BaseId,
}

/// A checkpoint's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// torch before 1.6: pickles and raw storages in a row.
    TorchLegacy,
    /// torch 1.6 and later: a zip archive.
    TorchZip,
    /// safetensors.
    Safetensors,
}

/// Makes a model folder of a checkpoint. The folder appears whole or not at all; its weights file is read-only.
///
/// # Errors
/// If the folder exists, the checkpoint can't be read or asks for anything but tensors, fits no architecture, the requested
/// one or the labels, isn't finite, or doesn't fit the stored type; if the folder can't be written.
pub fn import(request: &ImportRequest<'_>) -> Result<ImportReport, ModelError> {
    folder::refuse_existing(request.out)?;
    let (path, config) = config::find(request.weights)?;
    let bytes = std::fs::read(&path).map_err(|source| ModelError::read(&path, source))?;
    let (format, state) = parse(&bytes).map_err(|source| ModelError::checkpoint(&path, source))?;
    let shapes = state.entries().map(|(name, entry)| (name, entry.shape.as_slice())).collect();
    let (fit, recognised) = recognise::recognise(&shapes, request.architecture, config.architecture.as_deref(), &path)?;
    let labels = labels(request, &config, &fit.network, &path)?;
    let tensors: Vec<Stored<'_>> = fit
        .network
        .tensors
        .iter()
        .filter(|spec| !spec.is_empty())
        .map(|spec| convert(&state, spec, &fit.translation.tensors[&spec.name], request.dtype, &path))
        .collect::<Result<_, _>>()?;
    let said = config.preprocessing(published_preprocessing(fit.network.architecture));
    let preprocessing = request.preprocessing.unwrap_or(said);
    let manifest = folder::Description {
        name: request.out,
        architecture: fit.network.architecture,
        preprocessing,
        source: request.source,
        licence: request.licence,
        file: &path,
        file_hash: Sha256::digest(&bytes).into(),
    };
    let written = folder::write(request.out, &manifest, &labels, &tensors)?;
    Ok(ImportReport {
        format,
        wrapper: state.wrapper,
        recognised,
        classes: labels.len(),
        ignored: fit.translation.left_out,
        preprocessing,
        config: config.path.filter(|_| request.preprocessing.is_none()),
        bytes: written.bytes,
        id: written.id,
    })
}

/// One label a class of the network: the request's, or the configuration's.
fn labels(
    request: &ImportRequest<'_>,
    config: &Config,
    network: &Network,
    path: &Path,
) -> Result<Vec<String>, ModelError> {
    let expected = network.head.classes;
    let Some(file) = request.labels else {
        let is_enough = network.is_headless() || config.labels.len() == expected;
        let labels = if network.is_headless() { Vec::new() } else { config.labels.clone() };
        return if is_enough { Ok(labels) } else { Err(ModelError::Unlabelled { path: path.to_owned(), expected }) };
    };
    let labels = check::labels(file)?;
    if labels.len() == expected {
        return Ok(labels);
    }
    Err(ModelError::Labels { path: file.to_owned(), expected, found: labels.len() })
}

/// A tensor as it goes to the weights file.
pub(crate) struct Stored<'a> {
    spec: &'a TensorSpec,
    dtype: Dtype,
    bytes: Vec<u8>,
}

fn parse(bytes: &[u8]) -> Result<(Format, StateDict<'_>), CheckpointError> {
    if bytes.is_empty() {
        Err(CheckpointError::Empty)
    } else if bytes.starts_with(legacy::START) {
        Ok((Format::TorchLegacy, legacy::read(bytes)?))
    } else if bytes.starts_with(zip::START) {
        Ok((Format::TorchZip, zip::read(bytes)?))
    } else if bytes.get(8) == Some(&b'{') {
        Ok((Format::Safetensors, safetensors::read(bytes)?))
    } else {
        Err(CheckpointError::Format)
    }
}

/// Entries under which training programs save the weights, beside their own state.
const WRAPPERS: [&str; 3] = ["state_dict", "model", "model_state_dict"];

/// The tensors that a pickled dictionary names, or those that one of its [`WRAPPERS`] does.
fn state_dict<'a>(pickled: &Pickled<'_>, storages: Vec<Storage<'a>>) -> Result<StateDict<'a>, CheckpointError> {
    let object = |value| match value {
        Value::Object(index) => Some(&pickled.objects[index]),
        _ => None,
    };
    let Some(Object::Dict(items)) = object(pickled.root) else { return Err(CheckpointError::NotAState) };
    let wrapped = WRAPPERS.iter().find_map(|&wrapper| {
        let entry = items.iter().find(|(key, _)| *key == Value::Text(wrapper))?;
        match object(entry.1) {
            Some(Object::Dict(items)) => Some((wrapper, items)),
            _ => None,
        }
    });
    let (wrapper, items) = wrapped.map_or((None, items), |(wrapper, items)| (Some(wrapper), items));
    let mut state = StateDict::new(storages);
    state.wrapper = wrapper;
    for &(key, value) in items {
        let Value::Text(name) = key else { return Err(CheckpointError::NotAState) };
        let Some(Object::Tensor(tensor)) = object(value) else {
            return Err(CheckpointError::NotATensor { name: name.to_owned() });
        };
        state.insert(name, tensor.storage, tensor.offset, tensor.shape.clone(), tensor.strides.clone())?;
    }
    Ok(state)
}

/// Vectors and running statistics stay f32.
fn storage_dtype(spec: &TensorSpec, requested: Dtype) -> Dtype {
    if spec.shape.len() < 2 { Dtype::F32 } else { requested }
}

/// A tensor of ours out of the checkpoint's parts of it.
fn convert<'n>(
    state: &StateDict<'_>,
    spec: &'n TensorSpec,
    parts: &[String],
    requested: Dtype,
    path: &Path,
) -> Result<Stored<'n>, ModelError> {
    let (path, name) = (|| path.to_owned(), || spec.name.clone());
    let mut values = Vec::with_capacity(spec.len());
    for entry in parts.iter().filter_map(|part| state.get(part)) {
        let Some(part) = state.values(entry) else {
            let (expected, found) = ("float16, bfloat16, float32 or float64", state.element(entry).name().to_owned());
            return Err(ModelError::TensorDtype { path: path(), name: name(), expected, found });
        };
        values.extend(part);
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(ModelError::NotFinite { path: path(), name: name(), index });
    }
    let dtype = storage_dtype(spec, requested);
    dtype.encode(&values).map(|bytes| Stored { spec, dtype, bytes }).map_err(|index| ModelError::Overflow {
        path: path(),
        name: name(),
        index,
        value: values[index],
        dtype,
    })
}
