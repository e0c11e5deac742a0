//! Info: describes a model folder, a delta file or a store.

use crate::Error;
use crate::delta::file::{parse, read};
use fieldfit_delta::{Codec, Constraint, Delta, Fidelity, HeadDescription, Record, TensorKind};
use fieldfit_model::{Base, BaseId, MANIFEST_FILE};
use fieldfit_nets::{SectionCost, Shape};
use fieldfit_store::Store;
use fieldfit_tensor::Task;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Description of what a path holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Info {
    /// A model folder, verified.
    Model(ModelInfo),
    /// A delta file, verified.
    Delta(DeltaInfo),
    /// Description of a store.
    Store(StoreInfo),
}

/// Description of a base model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// Its folder.
    pub path: PathBuf,
    /// Its display name.
    pub name: String,
    /// The architecture's name.
    pub architecture: String,
    /// Its identity in deltas: SHA-256 over architecture, preprocessing and weights, in hexadecimal.
    pub id: String,
    /// Number of trainable values.
    pub parameters: usize,
    /// Number of tensors, running statistics included.
    pub tensors: usize,
    /// Size of the weights file, in bytes.
    pub weights_bytes: u64,
    /// Class names in the order of the head's outputs; none of a headless backbone.
    pub labels: Vec<String>,
    /// What it answers about a frame.
    pub task: Task,
    /// Rows of the input in pixels: the side of a square.
    pub input_size: u32,
    /// Columns of the input in pixels, if it is the whole frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_width: Option<u32>,
    /// The part of the image's shorter side that the input covers, 0..1.
    pub crop: f32,
    /// Cost of each stage for one image of that size, and of the classifier, if there is one.
    pub stages: Vec<StageInfo>,
    /// Who published the weights.
    pub origin: String,
    /// Their licence.
    pub licence: String,
}

/// Cost of one stage of a network for one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StageInfo {
    /// Its name.
    pub name: String,
    /// Its output, `[H, W, C]`; of a transformer, `[1, tokens, C]`.
    pub output: [usize; 3],
    /// Number of trainable values.
    pub parameters: usize,
    /// Floating-point operations of its matrix products, two for each multiplication with its addition.
    pub flops: u64,
    /// Bytes of what its ops put out, as f32: what a backward pass keeps of one image.
    pub activation_bytes: u64,
}

impl From<SectionCost> for StageInfo {
    fn from(cost: SectionCost) -> Self {
        let SectionCost { name, output: Shape { height, width, channels }, parameters, flops, activations } = cost;
        let activation_bytes = (activations * size_of::<f32>()) as u64;
        Self { name, output: [height, width, channels], parameters, flops, activation_bytes }
    }
}

/// Description of a delta file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeltaInfo {
    /// The file.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Its identity: the SHA-256 that it carries, in hexadecimal.
    pub hash: String,
    /// Identity of its base, in hexadecimal.
    pub base: String,
    /// Hash of the delta that was active when it was made, if one was.
    pub parent: Option<String>,
    /// The version of Fieldfit that made it.
    pub fieldfit: String,
    /// The method's name.
    pub method: String,
    /// The method's options.
    pub options: String,
    /// Seed of all random choices.
    pub seed: u64,
    /// Images that trained weights.
    pub train: u32,
    /// Images that learned radii.
    pub validation: u32,
    /// Images of the gate slice.
    pub gate: u32,
    /// Accuracy on the gate slice of the reference, 0..1.
    pub before: f32,
    /// Its own accuracy on the gate slice, 0..1.
    pub after: f32,
    /// How encoding changed the network's answers, if that was measured.
    pub fidelity: Option<Fidelity>,
    /// The signer's public key, in hexadecimal, if it is signed.
    pub key: Option<String>,
    /// The signer's sequence number.
    pub sequence: Option<u64>,
    /// Class names in the order of its head's outputs.
    pub labels: Vec<String>,
    /// What it answers about a frame.
    pub task: Task,
    /// Rows of the input in pixels: the side of a square.
    pub input_size: u32,
    /// The part of the image's shorter side that the input covers, 0..1.
    pub crop: f32,
    /// Its head: whether it replaces the base's, and what it tells unknown images by.
    pub head: HeadDescription,
    /// Its tensors.
    pub tensors: Vec<TensorInfo>,
}

/// Description of one tensor of a delta.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape in the checkpoint.
    pub shape: Vec<u32>,
    /// Whether it is added to the base's tensor or replaces it.
    pub kind: TensorKind,
    /// Codec of its values.
    pub codec: Codec,
    /// Size of its values in the file, in bytes.
    pub bytes: usize,
    /// Its radius around the base, if it is constrained.
    #[serde(rename = "ball")]
    pub constraint: Option<Constraint>,
}

/// Description of a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreInfo {
    /// Its folder.
    pub path: PathBuf,
    /// The active version; `None` is the base.
    pub active: Option<u32>,
    /// Every version, oldest first.
    pub versions: Vec<VersionInfo>,
}

/// Description of one version in a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VersionInfo {
    /// Its number.
    pub version: u32,
    /// `candidate`, `trial`, `confirmed`, `retired`, `refused` or `quarantined`.
    pub state: &'static str,
    /// Whether it is the active version.
    pub active: bool,
    /// Why it was refused or quarantined, if it was.
    pub reason: Option<String>,
    /// Size of its delta file, in bytes.
    pub bytes: u64,
    /// Its delta file.
    pub delta: PathBuf,
}

/// Verifies and describes what a path holds.
///
/// # Errors
/// If it holds neither a model folder, nor a delta, nor a store, or what it holds is damaged.
pub fn info(path: impl AsRef<Path>) -> Result<Info, Error> {
    let path = path.as_ref();
    if path.join(MANIFEST_FILE).exists() {
        Ok(Info::Model(model_info(&Base::open(path)?)?))
    } else if path.is_file() {
        let bytes = read(path)?;
        Ok(Info::Delta(delta_info(path, bytes.len(), &parse(path, &bytes)?)))
    } else if path.is_dir() {
        Ok(Info::Store(store_info(path)?))
    } else {
        Err(Error::Unknown { path: path.to_owned() })
    }
}

/// Describes a store.
///
/// # Errors
/// If there is no store at that path, or it cannot be read.
pub fn store_info(path: impl AsRef<Path>) -> Result<StoreInfo, Error> {
    let path = path.as_ref();
    let store = Store::open(path)?;
    let (active, entries) = (store.active()?, store.versions()?);
    let versions = entries.into_iter().map(|entry| VersionInfo {
        version: entry.version,
        state: entry.state.name(),
        active: active == Some(entry.version),
        reason: entry.state.reason().map(str::to_owned),
        bytes: entry.bytes,
        delta: store.delta_path(entry.version),
    });
    Ok(StoreInfo { path: path.to_owned(), active, versions: versions.collect() })
}

fn model_info(base: &Base) -> Result<ModelInfo, Error> {
    let (manifest, network) = (base.manifest(), base.network());
    let [rows, columns] = base.preprocessing().input(manifest.input.size).map(|side| side as usize);
    let costs = network.costs(rows, columns).map_err(|source| Error::Input { path: base.path().to_owned(), source })?;
    Ok(ModelInfo {
        path: base.path().to_owned(),
        name: manifest.name.clone(),
        architecture: manifest.architecture.clone(),
        id: base.id().to_string(),
        parameters: network.parameter_count(),
        tensors: network.tensors.len(),
        weights_bytes: manifest.weights.bytes,
        labels: base.labels().to_vec(),
        task: network.task(),
        input_size: manifest.input.size,
        input_width: manifest.input.width,
        crop: manifest.input.crop,
        stages: costs.into_iter().map(StageInfo::from).collect(),
        origin: manifest.origin.source.clone(),
        licence: manifest.origin.licence.clone(),
    })
}

pub(crate) fn delta_info(path: &Path, bytes: usize, delta: &Delta<'_>) -> DeltaInfo {
    let (header, made) = (delta.header(), &delta.header().provenance);
    DeltaInfo {
        path: path.to_owned(),
        bytes: bytes as u64,
        hash: hex(delta.hash()),
        base: hex(header.base),
        parent: header.parent.map(hex),
        fieldfit: made.fieldfit.to_string(),
        method: made.method.to_string(),
        options: made.options.to_string(),
        seed: made.seed,
        train: made.train,
        validation: made.validation,
        gate: made.gate,
        before: made.before,
        after: made.after,
        fidelity: made.fidelity,
        key: delta.signature().map(|signature| signature.key.to_string()),
        sequence: delta.signature().map(|signature| signature.sequence),
        labels: delta.labels().map(str::to_owned).collect(),
        task: header.task,
        input_size: header.input_size,
        crop: header.crop,
        head: header.head,
        tensors: delta.records().map(|record| tensor_info(&record)).collect(),
    }
}

fn tensor_info(record: &Record<'_>) -> TensorInfo {
    TensorInfo {
        name: record.name.to_owned(),
        shape: record.shape.to_vec(),
        kind: record.kind,
        codec: record.codec,
        bytes: record.payload.len(),
        constraint: record.constraint,
    }
}

/// Formats a hash as the base's identity is formatted.
pub(crate) fn hex(hash: [u8; 32]) -> String {
    BaseId(hash).to_string()
}
