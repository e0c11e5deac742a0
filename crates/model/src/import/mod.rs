//! From a checkpoint to a model folder.
//!
//! Reads PyTorch's `.pth` in its legacy form and as a zip archive, and safetensors. Pickles are interpreted as data: a
//! checkpoint can name an ordered dictionary, tensors and their storages, and is refused, by name, if it asks for
//! anything else. Every tensor's name, shape and type is checked against the architecture; batch norm's
//! `num_batches_tracked` serves training from scratch only and is left out.

mod error;
mod folder;
mod legacy;
mod pickle;
mod safetensors;
mod storage;
mod zip;

pub use error::{CheckpointError, PickleProblem};

use crate::base::BaseId;
use crate::check;
use crate::error::ModelError;
use crate::manifest::{Filter, Preprocessing};
use crate::view::Dtype;
use fieldfit_nets::{Network, TensorId, TensorSpec};
use pickle::{Object, Pickled, Value};
use sha2::{Digest, Sha256};
use std::path::Path;
use storage::{StateDict, Storage};

/// What to import, as what, and whence it comes.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The checkpoint: `.pth` or `.safetensors`, told apart by what is in it.
    pub weights: &'a Path,
    /// The architecture's name in [`fieldfit_nets::ARCHITECTURES`].
    pub architecture: &'a str,
    /// A file of labels, one class a line, in the order of the logits.
    pub labels: &'a Path,
    /// The model folder to make. It must not exist; its last part is the model's name.
    pub out: &'a Path,
    /// How tensors of two or more dimensions are stored. Others are always stored as f32: running variances would
    /// underflow in f16.
    pub dtype: Dtype,
    /// How images become the network's input.
    pub preprocessing: Preprocessing,
    /// Who published the weights, and in which version: a package, a repository, a person.
    pub source: &'a str,
    /// SPDX expression of the weights' licence.
    pub licence: &'a str,
}

impl<'a> Request<'a> {
    /// A request with f16 weights, the architecture's [published preprocessing](published_preprocessing) and an unknown
    /// origin.
    pub fn new(weights: &'a Path, architecture: &'a str, labels: &'a Path, out: &'a Path) -> Self {
        let preprocessing = published_preprocessing(architecture);
        let (source, licence) = ("unknown", "LicenseRef-unknown");
        Self { weights, architecture, labels, out, dtype: Dtype::F16, preprocessing, source, licence }
    }
}

/// The preprocessing under which an architecture's published checkpoint was evaluated: EfficientNet-Lite's
/// `(rgb − 127) / 128` on the middle 87.5 % of the image, resampled bicubically to 224 px, or to 32 px for the tiny
/// network.
pub fn published_preprocessing(architecture: &str) -> Preprocessing {
    let size = if architecture == "efficientnet-tiny" { 32 } else { 224 };
    Preprocessing { size, crop: 0.875, mean: [127.0; 3], std: [128.0; 3], filter: Filter::Bicubic }
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the checkpoint was.
    pub format: Format,
    /// How many tensors were taken.
    pub tensors: usize,
    /// Bookkeeping that was left out, by name, sorted.
    pub ignored: Vec<String>,
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
/// If the folder exists, the checkpoint can't be read or asks for anything but tensors, doesn't fit the architecture or
/// the labels, isn't finite, or doesn't fit the stored type; if the folder can't be written.
pub fn import(request: &Request<'_>) -> Result<Report, ModelError> {
    let Request { weights: path, labels: labels_path, .. } = request;
    folder::refuse_existing(request.out)?;
    let labels = check::labels(labels_path)?;
    let bytes = std::fs::read(path).map_err(|source| ModelError::read(path, source))?;
    let (format, mut state) = parse(&bytes).map_err(|source| ModelError::checkpoint(path, source))?;
    let ignored = state.retain(|name| !name.ends_with("num_batches_tracked"));
    let shapes = state.entries().map(|(name, entry)| (name, entry.shape.as_slice())).collect();
    let network = check::network(request.architecture, &labels, labels_path, &shapes, path)?;
    let tensors: Vec<Stored<'_>> = network
        .tensors()
        .map(|(id, spec)| convert(&state, &network, id, storage_dtype(spec, request.dtype), path))
        .collect::<Result<_, _>>()?;
    let written = folder::write(request, &labels, &tensors, Sha256::digest(&bytes).into())?;
    Ok(Report { format, tensors: tensors.len(), ignored, bytes: written.bytes, id: written.id })
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

/// The tensors that a pickled dictionary names.
fn state_dict<'a>(pickled: &Pickled<'_>, storages: Vec<Storage<'a>>) -> Result<StateDict<'a>, CheckpointError> {
    let object = |value| match value {
        Value::Object(index) => Some(&pickled.objects[index]),
        _ => None,
    };
    let Some(Object::Dict(items)) = object(pickled.root) else { return Err(CheckpointError::NotAState) };
    let mut state = StateDict::new(storages);
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

fn convert<'n>(
    state: &StateDict<'_>,
    network: &'n Network,
    id: TensorId,
    dtype: Dtype,
    path: &Path,
) -> Result<Stored<'n>, ModelError> {
    let spec = network.tensor(id);
    let (path, name) = (|| path.to_owned(), || spec.name.clone());
    let Some(entry) = state.get(&spec.name) else {
        let (expected, architecture) = (spec.shape.clone(), network.architecture);
        return Err(ModelError::TensorMissing { path: path(), name: name(), expected, architecture });
    };
    let Some(values) = state.values(entry) else {
        let (expected, found) = ("float16, bfloat16, float32 or float64", state.element(entry).name().to_owned());
        return Err(ModelError::TensorDtype { path: path(), name: name(), expected, found });
    };
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(ModelError::NotFinite { path: path(), name: name(), index });
    }
    dtype.encode(&values).map(|bytes| Stored { spec, dtype, bytes }).map_err(|index| ModelError::Overflow {
        path: path(),
        name: name(),
        index,
        value: values[index],
        dtype,
    })
}
