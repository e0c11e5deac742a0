//! What a path holds, in figures: a model folder, a delta file or a store.

use crate::Error;
use crate::runtime::{parse, read};
use fieldfit_delta::{Codec, Constraint, Delta, Fidelity, Record, TensorKind};
use fieldfit_model::{Base, BaseId, MANIFEST_FILE};
use fieldfit_nets::{Shape, StageCost};
use fieldfit_store::Store;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Info {
    /// A model folder, verified.
    Model(ModelInfo),
    /// A delta file, verified.
    Delta(DeltaInfo),
    /// A store.
    Store(StoreInfo),
}

/// A base model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Its folder.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// The architecture's name.
    pub architecture: String,
    /// What deltas know it by: SHA-256 over architecture, preprocessing and weights.
    pub id: String,
    /// Values that gradient descent may move.
    pub parameters: usize,
    /// Tensors, running statistics included.
    pub tensors: usize,
    /// Size of the weights file.
    pub weights_bytes: u64,
    /// Class names in the order of the head's outputs; none of a headless backbone.
    pub labels: Vec<String>,
    /// Side of the square input in pixels.
    pub input_size: u32,
    /// The part of the image's shorter side that the input covers, 0..1.
    pub crop: f32,
    /// What each stage computes of one image of that size, and the classifier, if there is one.
    pub stages: Vec<StageInfo>,
    /// Who published the weights.
    pub origin: String,
    /// Their licence.
    pub licence: String,
}

/// One stage of a network, at one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageInfo {
    /// Its name.
    pub name: String,
    /// Its output, `[H, W, C]`; of a transformer, `[1, tokens, C]`.
    pub output: [usize; 3],
    /// Values that gradient descent may move.
    pub parameters: usize,
    /// Floating-point operations of its matrix products, two for each multiplication with its addition.
    pub flops: u64,
    /// Bytes of what its ops put out, as f32: what a backward pass keeps of one image.
    pub activation_bytes: u64,
}

impl From<StageCost> for StageInfo {
    fn from(cost: StageCost) -> Self {
        let StageCost { name, output: Shape { height, width, channels }, parameters, flops, activations } = cost;
        let activation_bytes = (activations * size_of::<f32>()) as u64;
        Self { name, output: [height, width, channels], parameters, flops, activation_bytes }
    }
}

/// An adaptation's file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeltaInfo {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its identity: the SHA-256 that it carries, in hexadecimal.
    pub hash: String,
    /// The base that it belongs to.
    pub base: String,
    /// The hash of the delta that ran before it, if one did.
    pub parent: Option<String>,
    /// The version of Fieldfit that made it.
    pub fieldfit: String,
    /// The method's name.
    pub method: String,
    /// The method's options.
    pub options: String,
    /// What every random choice followed from.
    pub seed: u64,
    /// Images that trained weights.
    pub train: u32,
    /// Images that learned radii.
    pub validation: u32,
    /// Images that judged it.
    pub gate: u32,
    /// Accuracy on the gate slice of what ran before, 0..1.
    pub before: f32,
    /// Its own accuracy on the gate slice, 0..1.
    pub after: f32,
    /// What storing it changed of what the network says, if that was measured.
    pub fidelity: Option<Fidelity>,
    /// Its signer's public key, in hexadecimal, if it is signed.
    pub key: Option<String>,
    /// The number that its signer gave it.
    pub sequence: Option<u64>,
    /// Class names in the order of its head's outputs.
    pub labels: Vec<String>,
    /// Side of the square input in pixels.
    pub input_size: u32,
    /// The part of the image's shorter side that the input covers, 0..1.
    pub crop: f32,
    /// What it stores, tensor by tensor.
    pub tensors: Vec<TensorInfo>,
}

/// One tensor of a delta.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorInfo {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape in the checkpoint.
    pub shape: Vec<u32>,
    /// Whether it is added to the base's, or stands in its place.
    pub kind: TensorKind,
    /// How its values are stored.
    pub codec: Codec,
    /// Bytes of its values in the file.
    pub bytes: usize,
    /// The ball around the base that it is held in, if it is.
    #[serde(rename = "ball")]
    pub constraint: Option<Constraint>,
}

/// A store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreInfo {
    /// Its folder.
    pub path: PathBuf,
    /// The version that runs; the base without one.
    pub active: Option<u32>,
    /// Every version, oldest first.
    pub versions: Vec<VersionInfo>,
}

/// One version in a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionInfo {
    /// Its number.
    pub version: u32,
    /// `candidate`, `trial`, `confirmed`, `retired`, `refused` or `quarantined`.
    pub state: &'static str,
    /// Whether it is the one that runs.
    pub active: bool,
    /// Why it was refused or quarantined, if it was.
    pub reason: Option<String>,
    /// Size of its delta file.
    pub bytes: u64,
    /// Its delta file.
    pub delta: PathBuf,
}

/// Looks at a path and verifies what it holds.
///
/// # Errors
/// If it holds neither a model folder, nor a delta, nor a store, or what it holds is damaged.
pub fn info(path: &Path) -> Result<Info, Error> {
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

/// The versions of a store.
///
/// # Errors
/// If there is no store at that path, or it can't be read.
pub fn store_info(path: &Path) -> Result<StoreInfo, Error> {
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
    let side = manifest.input.size as usize;
    let costs = network.costs(side, side).map_err(|source| Error::Input { path: base.path().to_owned(), source })?;
    Ok(ModelInfo {
        path: base.path().to_owned(),
        name: manifest.name.clone(),
        architecture: manifest.architecture.clone(),
        id: base.id().to_string(),
        parameters: network.parameter_count(),
        tensors: network.tensors.len(),
        weights_bytes: manifest.weights.bytes,
        labels: base.labels().to_vec(),
        input_size: manifest.input.size,
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
        input_size: header.input_size,
        crop: header.crop,
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

/// Hashes are shown as the base's identity is.
pub(crate) fn hex(hash: [u8; 32]) -> String {
    BaseId(hash).to_string()
}
