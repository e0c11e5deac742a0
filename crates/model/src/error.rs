//! Errors of opening, merging, encoding and importing a model.

use crate::base::BaseId;
use crate::description::DescriptionError;
use crate::import::CheckpointError;
use crate::import::graph::GraphError;
use crate::text::excerpt;
use fieldfit_delta::{DeltaError, TensorKind};
use fieldfit_tensor::{Dtype, Task};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of opening, merging, encoding or importing a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A delta longer than any for its base.
    #[error("expected a delta of at most {limit} bytes for this base, found {found}: it was not made by fieldfit")]
    DeltaLength {
        /// Maximum for this base.
        limit: usize,
        /// Bytes of the delta.
        found: usize,
    },
    /// A delta of more values than any for its base.
    #[error("expected a delta of at most {limit} values for this base, found {found}: it was not made by fieldfit")]
    DeltaValues {
        /// Maximum for this base.
        limit: usize,
        /// Number of values that it decodes to.
        found: usize,
    },
    /// A delta for another task than the base's.
    #[error("the delta is for {found}, but the base does {expected}: use the base that it was made for")]
    DeltaTask {
        /// Task of the base.
        expected: Task,
        /// Task of the delta.
        found: Task,
    },
    /// A delta of targets or labels without what its head's outputs are read by.
    #[error("the delta has no record `{name}`, which its outputs are read by: take another delta")]
    DeltaOutputs {
        /// Name of the record.
        name: &'static str,
    },
    /// A value that outputs cannot be read by.
    #[error("record `{name}` of the delta: expected values {expected}, found {found}: take another delta")]
    DeltaOutput {
        /// Name of the record.
        name: &'static str,
        /// The allowed values.
        expected: &'static str,
        /// The value.
        found: f32,
    },
    /// A missing file of the model.
    #[error("{} is missing: a model folder holds manifest.toml, labels.txt and its weights; import it again", path.display())]
    Missing {
        /// Path of the file.
        path: PathBuf,
    },
    /// An unreadable file.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Activation ranges that cannot be used.
    #[error("invalid activation ranges {}: {problem}: calibrate the model again", path.display())]
    ActivationRanges {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A manifest that is not valid TOML.
    #[error("invalid manifest {}: import the model again, or correct the line", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The parse error with its position.
        source: Box<toml::de::Error>,
    },
    /// A manifest with an invalid value.
    #[error("{}: `{field}` {problem}", path.display())]
    ManifestValue {
        /// The manifest.
        path: PathBuf,
        /// The key.
        field: &'static str,
        /// The expected value.
        problem: &'static str,
    },
    /// An unknown architecture.
    #[error(transparent)]
    Architecture(#[from] fieldfit_nets::UnknownArchitecture),
    /// A requested architecture that an import does not know.
    #[error("unknown architecture `{}`: use one of {}", name.escape_debug(), known.join(", "))]
    UnknownArchitecture {
        /// The requested name.
        name: String,
        /// Names of those that there are.
        known: Vec<&'static str>,
    },
    /// A number of labels unlike the classifier's classes.
    #[error("{} has {found} labels, but the classifier has {expected} classes: write one label a line, in the order of the logits", path.display())]
    Labels {
        /// The labels file.
        path: PathBuf,
        /// Classes of the classifier.
        expected: usize,
        /// Labels in the file.
        found: usize,
    },
    /// A labels file that is not UTF-8.
    #[error("{}, line {line}: expected UTF-8, found {found}: save the file as UTF-8", path.display())]
    LabelEncoding {
        /// The labels file.
        path: PathBuf,
        /// The first invalid line, from 1.
        line: usize,
        /// The encoding that it seems to have.
        found: &'static str,
    },
    /// A label that is blank, duplicate, or has control characters.
    #[error("{}, line {line}: label `{}` {problem}: every class needs a name of its own", path.display(), excerpt(label))]
    Label {
        /// The labels file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The label.
        label: String,
        /// The defect.
        problem: &'static str,
    },
    /// A weights file of another length than the manifest states.
    #[error("{} has {found} bytes, but the manifest says {expected}: it is cut short or was replaced; restore it or import it again", path.display())]
    Length {
        /// The weights file.
        path: PathBuf,
        /// Bytes according to the manifest.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A weights file with another hash than the manifest states.
    #[error("{} was altered: its sha256 is {}, the manifest says {}; restore it or import it again", path.display(), hex::encode(found), hex::encode(expected))]
    Altered {
        /// The weights file.
        path: PathBuf,
        /// The manifest's hash.
        expected: [u8; 32],
        /// The file's hash.
        found: [u8; 32],
    },
    /// An invalid safetensors file.
    #[error("invalid safetensors file {}: {}; restore it or import it again", path.display(), excerpt(problem))]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The defect of its header.
        problem: String,
    },
    /// A missing tensor.
    #[error("{}: tensor `{}` of shape {expected:?} is missing: is this a checkpoint of {architecture}?", path.display(), excerpt(name))]
    TensorMissing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The architecture's shape.
        expected: Vec<usize>,
        /// The architecture.
        architecture: &'static str,
    },
    /// An unknown tensor.
    #[error("{}: {architecture} has no tensor `{}` (of shape {found:?}): is this a checkpoint of {architecture}? An import leaves it out with `--drop`", path.display(), excerpt(name))]
    TensorExtra {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The architecture.
        architecture: &'static str,
    },
    /// A tensor of another shape.
    #[error("{}: tensor `{}` has shape {found:?}, expected {expected:?} of {architecture}: name the architecture that it is", path.display(), excerpt(name))]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The architecture's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
        /// The architecture.
        architecture: &'static str,
    },
    /// A tensor of an unsupported type.
    #[error("{}: tensor `{}` is stored as {found}, expected {expected}: convert it and save it again", path.display(), excerpt(name))]
    TensorDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The supported types.
        expected: &'static str,
        /// The file's type.
        found: String,
    },
    /// NaN or infinity among the weights.
    #[error("{}: tensor `{}` is not finite at value {index}: the checkpoint is broken or overflowed; get it again", path.display(), excerpt(name))]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such value, in the file's order.
        index: usize,
    },
    /// A running variance below zero.
    #[error("{}: tensor `{}` has variance {value} at value {index}, expected at least 0: the checkpoint is broken; get it again", path.display(), excerpt(name))]
    NegativeVariance {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A delta that cannot be read or written.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// A delta for another base.
    #[error("the delta is for base {found}, this is {}, {expected}: use the model that it was made on", excerpt(name))]
    DeltaBase {
        /// This base's name.
        name: String,
        /// This base.
        expected: BaseId,
        /// The delta's base.
        found: BaseId,
    },
    /// A delta of an unknown tensor.
    #[error(
        "the delta changes tensor `{}`, which {architecture} does not have: use the model that it was made on",
        excerpt(name)
    )]
    DeltaTensor {
        /// The tensor.
        name: String,
        /// The architecture.
        architecture: &'static str,
    },
    /// A delta of a tensor of another shape.
    #[error(
        "the delta's tensor `{}` has shape {found:?}, expected {expected:?}: use the model that it was made on",
        excerpt(name)
    )]
    DeltaShape {
        /// The tensor.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The delta's shape.
        found: Vec<usize>,
    },
    /// A delta that replaces a tensor that it may only move, moves one that it may only replace, or changes a fixed one.
    #[error("the delta's tensor `{}` is a {}, but {expected}", excerpt(name), kind_name(*.found))]
    DeltaKind {
        /// The tensor.
        name: String,
        /// The allowed kind.
        expected: &'static str,
        /// The kind in the delta.
        found: TensorKind,
    },
    /// A delta without a classifier for its labels.
    #[error("the delta has no tensor `{}`, expected the classifier of its labels: adapt again", excerpt(name))]
    DeltaHead {
        /// The missing tensor.
        name: String,
    },
    /// A delta that keeps the base's head under other labels than the base's.
    #[error(
        "the delta keeps the base's head, expected its {expected} labels in their order, found others ({found}): adapt again"
    )]
    DeltaKeptHead {
        /// Number of the base's labels.
        expected: usize,
        /// Number of the delta's.
        found: usize,
    },
    /// A difference that leaves its constraint: ‖δ‖ > γ.
    #[error(
        "the delta's tensor `{}` is at distance {distance} from the base, expected at most its radius {radius}: adapt again",
        excerpt(name)
    )]
    OutsideBall {
        /// The tensor.
        name: String,
        /// γ.
        radius: f32,
        /// ‖δ‖, the greatest of its rows' under MARS.
        distance: f32,
    },
    /// A merged weight that is NaN or infinite.
    #[error("tensor `{}` is not finite at value {index} once the delta is added: adapt again", excerpt(name))]
    DeltaNotFinite {
        /// The tensor.
        name: String,
        /// The first such value.
        index: usize,
    },
    /// An activation range that is none.
    #[error(
        "the delta's activation range of value {value} is {found:?}, expected two finite numbers in order: adapt again"
    )]
    DeltaRange {
        /// Position of the value in the network's graph.
        value: usize,
        /// The range.
        found: [f32; 2],
    },
    /// A weight that is too large for the type it should be stored in.
    #[error("{}: tensor `{}` has {value} at value {index}, too large for {dtype}: import as bf16 or f32", path.display(), excerpt(name))]
    Overflow {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such value.
        index: usize,
        /// The value.
        value: f32,
        /// The type.
        dtype: Dtype,
    },
    /// A checkpoint of none of the architectures.
    #[error(
        "{} fits no architecture: the nearest is {nearest}, from which {differing} tensors differ; {}{}; {advice}",
        path.display(), first.join("; "), if *differing > first.len() { "; and so on" } else { "" }
    )]
    Unrecognised {
        /// The checkpoint.
        path: PathBuf,
        /// The architecture with the fewest differences; none that is there for tests alone.
        nearest: &'static str,
        /// Number of differences.
        differing: usize,
        /// The first differences, each a sentence.
        first: Vec<String>,
        /// Advice to the user.
        advice: &'static str,
    },
    /// A checkpoint with the tensors of two networks side by side.
    #[error(
        "{} holds two networks of the same tensors, as weights and their moving average are: leave one out, with `--drop \
         '{one}.*'` or `--drop '{other}.*'`",
        path.display(), one = excerpt(one), other = excerpt(other)
    )]
    TwoNetworks {
        /// The checkpoint.
        path: PathBuf,
        /// First segment of the names of one.
        one: String,
        /// First segment of the names of the other.
        other: String,
    },
    /// A pattern of tensors to leave out that is invalid or matches none.
    #[error("cannot leave out `{}`: {problem}", excerpt(pattern))]
    Drop {
        /// The pattern.
        pattern: String,
        /// The defect.
        problem: String,
    },
    /// An error in a part of a checkpoint.
    #[error("{} is a part of a checkpoint: name its index, {}, or their folder", path.display(), index.display())]
    Part {
        /// The part.
        path: PathBuf,
        /// The index of all parts.
        index: PathBuf,
    },
    /// An index of parts that cannot be used.
    #[error("invalid index of a checkpoint's parts {}: {problem}; get it again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// The defect.
        problem: String,
    },
    /// A checkpoint of several architectures.
    #[error("{} fits {} alike, which differ in preprocessing: name the one that it is", path.display(), architectures.join(" and "))]
    Ambiguous {
        /// The checkpoint.
        path: PathBuf,
        /// The architectures.
        architectures: Vec<&'static str>,
    },
    /// A checkpoint whose tensor names match no architecture.
    #[error("{}: two of its tensors would be one and the same of the architecture: save the state dict of one network alone", path.display())]
    NoTensors {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A head without labels.
    #[error("{} has a head of {expected} classes: give a file of their labels, one a line, in the order of the logits", path.display())]
    Unlabelled {
        /// The checkpoint.
        path: PathBuf,
        /// Number of classes.
        expected: usize,
    },
    /// A folder without weights.
    #[error("{} holds none of {looked_for}: name the checkpoint itself", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The names that were looked for.
        looked_for: String,
    },
    /// A folder in which every process of a distributed run has saved its part.
    #[error(
        "{} is a distributed checkpoint: make one file of it with\n    python -m \
         torch.distributed.checkpoint.format_utils dcp_to_torch {0} checkpoint.pth",
        path.display()
    )]
    Distributed {
        /// The folder.
        path: PathBuf,
    },
    /// A configuration that is not valid JSON.
    #[error("invalid JSON in {}: get it again, or import the weights file alone", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The parse error with its position.
        source: serde_json::Error,
    },
    /// An unreadable checkpoint.
    #[error("cannot import {}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The cause.
        source: Box<CheckpointError>,
    },
    /// A network description that cannot be used.
    #[error("invalid network description {}: import the model again", path.display())]
    Description {
        /// The description.
        path: PathBuf,
        /// The cause.
        source: Box<DescriptionError>,
    },
    /// A network file whose network is beyond the limits of a model folder.
    #[error("cannot import {}", path.display())]
    Network {
        /// The network file.
        path: PathBuf,
        /// The cause.
        source: Box<DescriptionError>,
    },
    /// A network file whose tensor has another shape than its network.
    #[error("{}: tensor `{}` has shape {found:?}, which does not fit shape {expected:?} of the network: export the network again", path.display(), excerpt(name))]
    SourceShape {
        /// The network file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A request that does not fit a file that has a network in it.
    #[error("{} holds a network, which is imported as it is: import without {option}", path.display())]
    NetworkOption {
        /// The network file.
        path: PathBuf,
        /// What was requested.
        option: &'static str,
    },
    /// A request that only fits a file that has a network in it.
    #[error("{} holds a checkpoint of weights, which has no results of its own: import without {option}", path.display())]
    CheckpointOption {
        /// The checkpoint.
        path: PathBuf,
        /// What was requested.
        option: &'static str,
    },
    /// An input size that the network does not accept.
    #[error("{}: the network does not accept an image of {}×{} pixels: it was exported for {}×{}", path.display(), size[0], size[1], exported[0], exported[1])]
    NetworkSize {
        /// The network file or its description.
        path: PathBuf,
        /// Rows and columns of the image that it is to read, in pixels.
        size: [u32; 2],
        /// Rows and columns that the network was exported for.
        exported: [usize; 2],
    },
    /// A network file that cannot be read.
    #[error("cannot import {}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<GraphError>,
    },
    /// A folder that exists already.
    #[error("{} exists: an import never replaces a model; remove it or choose another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
}

impl ModelError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Missing { path }
            | Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::ActivationRanges { path, .. }
            | Self::Manifest { path, .. }
            | Self::ManifestValue { path, .. }
            | Self::Labels { path, .. }
            | Self::LabelEncoding { path, .. }
            | Self::Label { path, .. }
            | Self::Length { path, .. }
            | Self::Altered { path, .. }
            | Self::Safetensors { path, .. }
            | Self::TensorMissing { path, .. }
            | Self::TensorExtra { path, .. }
            | Self::TensorShape { path, .. }
            | Self::TensorDtype { path, .. }
            | Self::NotFinite { path, .. }
            | Self::NegativeVariance { path, .. }
            | Self::Overflow { path, .. }
            | Self::Unrecognised { path, .. }
            | Self::TwoNetworks { path, .. }
            | Self::Part { path, .. }
            | Self::Index { path, .. }
            | Self::Ambiguous { path, .. }
            | Self::NoTensors { path }
            | Self::Unlabelled { path, .. }
            | Self::NoWeights { path, .. }
            | Self::Distributed { path }
            | Self::Config { path, .. }
            | Self::Checkpoint { path, .. }
            | Self::Description { path, .. }
            | Self::Network { path, .. }
            | Self::SourceShape { path, .. }
            | Self::NetworkOption { path, .. }
            | Self::CheckpointOption { path, .. }
            | Self::NetworkSize { path, .. }
            | Self::Graph { path, .. }
            | Self::Exists { path } => Some(path),
            Self::DeltaLength { .. }
            | Self::UnknownArchitecture { .. }
            | Self::DeltaValues { .. }
            | Self::Architecture(_)
            | Self::Delta(_)
            | Self::DeltaTask { .. }
            | Self::DeltaOutputs { .. }
            | Self::DeltaOutput { .. }
            | Self::DeltaBase { .. }
            | Self::DeltaTensor { .. }
            | Self::DeltaShape { .. }
            | Self::DeltaKind { .. }
            | Self::DeltaHead { .. }
            | Self::DeltaKeptHead { .. }
            | Self::OutsideBall { .. }
            | Self::DeltaNotFinite { .. }
            | Self::DeltaRange { .. }
            | Self::Drop { .. } => None,
        }
    }
}

impl ModelError {
    /// Makes the error of a file of the model that is unreadable or missing.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Read { path, source },
        }
    }

    /// An unreadable checkpoint.
    pub(crate) fn checkpoint(path: &Path, source: CheckpointError) -> Self {
        Self::Checkpoint { path: path.to_owned(), source: Box::new(source) }
    }
}

/// Name of a kind of record in a sentence.
const fn kind_name(kind: TensorKind) -> &'static str {
    match kind {
        TensorKind::Difference => "difference",
        TensorKind::Replacement => "replacement",
        TensorKind::Statistic => "statistic",
    }
}
