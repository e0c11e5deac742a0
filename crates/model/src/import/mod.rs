//! Import: makes a model folder of a checkpoint, or of a network file.
//!
//! Reads PyTorch's `.pth` in its legacy form and as a zip archive, and safetensors, also in parts with an index. Pickles
//! are interpreted as data and nothing in them is executed: a checkpoint can name dictionaries, tensors, their storages and
//! plain data such as a training program's arguments; a call of anything else is refused, by name.
//!
//! The names may be timm's, torchvision's or transformers', behind whatever prefix most of them share; the network is
//! detected by them and by the shapes. Every tensor's name, shape and type is checked against the architecture; batch
//! norm's `num_batches_tracked` serves training from scratch only and is left out. A checkpoint without a head is a headless
//! base.
//!
//! A network that was exported with its graph, `.pt2`, is imported as it is: [`graph`] reads it, and the model folder
//! gets its [description](crate::NetworkDescription).

mod archive;
mod config;
mod convert;
mod detect;
mod embedded;
mod equivalent;
mod error;
mod folder;
mod globals;
pub mod graph;
mod input_range;
mod key_mapping;
mod labels;
mod legacy;
mod network;
mod pickle;
mod preprocessing;
mod safetensors;
mod source;
mod state;
mod storage;
mod twin_networks;
mod zip;

pub use detect::Detected;
pub use embedded::EmbeddedConfig;
pub use error::{CheckpointError, PickleProblem, Program};
pub use graph::FinalOp;
pub use input_range::InputRange;
pub use network::ImportedNetwork;
pub(crate) use preprocessing::imagenet;
pub use preprocessing::{InputOverride, published_preprocessing};
pub use state::Averages;

use crate::base::BaseId;
use crate::error::ModelError;
use crate::weights_type::WeightsType;
use convert::{Stored, convert};
use detect::Fit;
use fieldfit_tensor::{Dtype, MAX_TENSORS, Preprocessing};
use glob::Pattern;
use source::Source;
use std::path::{Path, PathBuf};
use storage::{NonTensor, StateDict};

/// Import request: the checkpoint or network file, the architecture that it holds, and where the model folder goes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportRequest<'a> {
    /// The checkpoint or network file: `.pth`, `.safetensors` or `.pt2`, told apart by what is in it; the index of
    /// a checkpoint in parts,
    /// `model.safetensors.index.json`; or a folder as Hugging Face's hub has it, with `config.json` beside
    /// `model.safetensors`, `pytorch_model.bin` or an index of either.
    pub weights: &'a Path,
    /// The architecture's name in [`fieldfit_nets::ARCHITECTURES`] or
    /// [`described_architectures`](crate::described_architectures); detected by names and shapes if none is given.
    pub architecture: Option<&'a str>,
    /// A file of labels, one class a line, in the order of the logits; those of `config.json`, if none is given. A
    /// checkpoint without a head has none. The classes of a network file without labels are `class0`, `class1`, …
    pub labels: Option<&'a Path>,
    /// The model folder to make. It must not exist; its last part is the model's name.
    pub out: &'a Path,
    /// Stored type of tensors of two or more dimensions. Others are always stored as f32: running variances would
    /// underflow in f16.
    pub dtype: WeightsType,
    /// Preprocessing of images: as `config.json` states, or else as the architecture's [published
    /// checkpoint](published_preprocessing) was evaluated, if nothing is given. A network file states none; its images are
    /// scaled as ImageNet's are, to the size that it was exported for.
    pub preprocessing: Option<Preprocessing>,
    /// Parts of the preprocessing that are set in place of that.
    pub input: InputOverride,
    /// Publisher of the weights, and the version: a package, a repository, a person.
    pub source: &'a str,
    /// SPDX expression of the weights' licence.
    pub licence: &'a str,
    /// Choice between the weights and their moving average, where the checkpoint has both.
    pub averages: Averages,
    /// Tensors that are left out: patterns of their names in the checkpoint, in which `*` is any text and `?` any
    /// character.
    pub drop: &'a [String],
    /// Name of the result to take, of a network file with several: `out` of `{"out": …, "aux": …}`.
    pub output: Option<&'a str>,
}

impl<'a> ImportRequest<'a> {
    /// Creates a request for whatever network the checkpoint holds, with f16 weights, its own labels and
    /// preprocessing, and an unknown origin.
    pub const fn new(weights: &'a Path, out: &'a Path) -> Self {
        let (source, licence) = ("unknown", "LicenseRef-unknown");
        let (architecture, labels, preprocessing) = (None, None, None);
        let (averages, drop) = (Averages::Prefer, [].as_slice());
        let (dtype, input, output) = (WeightsType::Float(Dtype::F16), InputOverride::NONE, None);
        Self {
            weights,
            architecture,
            labels,
            out,
            dtype,
            preprocessing,
            input,
            source,
            licence,
            averages,
            drop,
            output,
        }
    }

    /// Returns the request for a checkpoint of that architecture under these labels.
    #[must_use]
    pub const fn of(mut self, architecture: &'a str, labels: &'a Path) -> Self {
        (self.architecture, self.labels) = (Some(architecture), Some(labels));
        self
    }

    /// Returns the request with that [`architecture`](Self::architecture).
    #[must_use]
    pub const fn with_architecture(mut self, architecture: Option<&'a str>) -> Self {
        self.architecture = architecture;
        self
    }

    /// Returns the request with that [`labels`](Self::labels).
    #[must_use]
    pub const fn with_labels(mut self, labels: Option<&'a Path>) -> Self {
        self.labels = labels;
        self
    }

    /// Returns the request with that [`dtype`](Self::dtype).
    #[must_use]
    pub fn with_dtype(mut self, dtype: impl Into<WeightsType>) -> Self {
        self.dtype = dtype.into();
        self
    }

    /// Returns the request with that [`preprocessing`](Self::preprocessing).
    #[must_use]
    pub const fn with_preprocessing(mut self, preprocessing: Option<Preprocessing>) -> Self {
        self.preprocessing = preprocessing;
        self
    }

    /// Returns the request with that [`input`](Self::input).
    #[must_use]
    pub const fn with_input(mut self, input: InputOverride) -> Self {
        self.input = input;
        self
    }

    /// Returns the request with that [`source`](Self::source).
    #[must_use]
    pub const fn with_source(mut self, source: &'a str) -> Self {
        self.source = source;
        self
    }

    /// Returns the request with that [`licence`](Self::licence).
    #[must_use]
    pub const fn with_licence(mut self, licence: &'a str) -> Self {
        self.licence = licence;
        self
    }

    /// Returns the request with that [`averages`](Self::averages).
    #[must_use]
    pub const fn with_averages(mut self, averages: Averages) -> Self {
        self.averages = averages;
        self
    }

    /// Returns the request with that [`drop`](Self::drop).
    #[must_use]
    pub const fn with_drop(mut self, drop: &'a [String]) -> Self {
        self.drop = drop;
        self
    }

    /// Returns the request with that [`output`](Self::output).
    #[must_use]
    pub const fn with_output(mut self, output: Option<&'a str>) -> Self {
        self.output = output;
        self
    }
}

/// Import report: what the checkpoint was taken for, and what was renamed and left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Format of the checkpoint.
    pub format: Format,
    /// Files that it was in: 1, or as many as its index lists.
    pub files: usize,
    /// Entry of the checkpoint that held the weights, beside others: names joined by dots.
    pub wrapper: Option<String>,
    /// Whether they are a moving average of the weights.
    pub is_average: bool,
    /// The entry that was not taken: of the weights if these are their average, of the average if these are the weights.
    pub alternative: Option<String>,
    /// The network that it holds, and on what grounds.
    pub detected: Detected,
    /// The network that a network file holds; `None` of a checkpoint.
    pub network: Option<ImportedNetwork>,
    /// Classes of its head; none of a headless backbone.
    pub classes: usize,
    /// Names of the tensors that inference does not need and that were left out, sorted.
    pub ignored: Vec<String>,
    /// Names of the tensors that were left out by request, sorted.
    pub dropped: Vec<String>,
    /// Labels that were renamed with their class's number, because another class has the same name.
    pub renamed_labels: Vec<String>,
    /// Preprocessing of images.
    pub preprocessing: Preprocessing,
    /// The file that says so; `None` if it is the request or the architecture's published checkpoint.
    pub config: Option<PathBuf>,
    /// Size of the weights file, in bytes.
    pub bytes: u64,
    /// The identity of the new base.
    pub id: BaseId,
}

/// Format of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// torch before 1.6: pickles and raw storages in a row.
    TorchLegacy,
    /// torch 1.6 and later: a zip archive.
    TorchZip,
    /// safetensors.
    Safetensors,
    /// `torch.export.save`: a network with its graph.
    Pt2,
    /// ONNX: a network with its graph.
    Onnx,
}

/// Makes a model folder of a checkpoint or network file. The folder appears whole or not at all; its weights file is
/// read-only.
///
/// # Errors
/// If the folder exists, the file can't be read or asks for anything but tensors, fits no architecture, the requested
/// one or the labels, isn't finite, or doesn't fit the stored type; if a network has what is not supported; if the folder
/// can't be written.
pub fn import(request: &ImportRequest<'_>) -> Result<ImportReport, ModelError> {
    folder::refuse_existing(request.out)?;
    match network::open(request.weights)? {
        Some(file) => network::import(request, &file),
        None => import_checkpoint(request),
    }
}

fn import_checkpoint(request: &ImportRequest<'_>) -> Result<ImportReport, ModelError> {
    if request.output.is_some() {
        return Err(ModelError::CheckpointOption { path: request.weights.to_owned(), option: "`--output`" });
    }
    let source = Source::read(request.weights)?;
    let (format, mut state) = parse_all(&source, request.averages)?;
    let dropped = drop_tensors(&mut state, request.drop)?;
    let checked = check_entries(&state).and_then(|()| equivalent::replace(&mut state));
    checked.map_err(|problem| ModelError::checkpoint(&source.path, problem))?;
    let shapes = state.entries().map(|(name, entry)| (name, entry.shape.as_slice())).collect();
    let hint = source.config.architecture.as_deref().or(state.architecture.as_deref());
    let (fit, detected) = detect::detect(&shapes, request.architecture, hint, &source.path)?;
    let labels = labels::labels(request.labels, &source.config.labels, &fit.network, &source.path)?;
    let preprocessing = preprocessing(request, &source, &fit);
    let description = fit
        .description()
        .map_err(|problem| ModelError::Network { path: source.path.clone(), source: Box::new(problem) })?;
    let written = folder::write(
        request.out,
        &folder::Description {
            name: request.out,
            architecture: fit.network.architecture,
            network: description.as_deref(),
            preprocessing,
            source: request.source,
            licence: request.licence,
            file: &source.path,
            file_hash: source.sha256(),
        },
        &labels.labels,
        &tensors(&state, &fit, request.dtype, &source.path)?,
    )?;
    let mut ignored = fit.translation.left_out;
    ignored.append(&mut state.left_out);
    ignored.sort();
    Ok(ImportReport {
        format,
        files: source.files.len(),
        wrapper: state.entry,
        is_average: state.is_average,
        alternative: state.alternative,
        detected,
        network: None,
        classes: labels.labels.len(),
        ignored,
        dropped,
        renamed_labels: labels.renamed,
        preprocessing,
        config: source.config.path.filter(|_| request.preprocessing.is_none()),
        bytes: written.bytes,
        id: written.id,
    })
}

/// The tensors of every file.
fn parse_all(source: &Source, averages: Averages) -> Result<(Format, StateDict<'_>), ModelError> {
    let mut whole: Option<(Format, StateDict<'_>)> = None;
    for part in &source.files {
        let failed = |problem| ModelError::checkpoint(&part.path, problem);
        let (format, state) = parse(&part.bytes, averages).map_err(failed)?;
        let mut listed = source.index.iter().filter(|(_, file)| **file == part.path).map(|(tensor, _)| tensor);
        if let Some(name) = listed.find(|&tensor| state.get(tensor).is_none()) {
            return Err(failed(CheckpointError::PartLacks { name: name.clone() }));
        }
        match &mut whole {
            None => whole = Some((format, state)),
            Some((_, whole)) => whole.merge(state).map_err(failed)?,
        }
    }
    whole.ok_or_else(|| ModelError::checkpoint(&source.path, CheckpointError::Empty))
}

/// What files that pack others begin with, and their names.
const PACKED: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2")];

/// First bytes of a Git LFS pointer.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

fn parse(bytes: &[u8], averages: Averages) -> Result<(Format, StateDict<'_>), CheckpointError> {
    if bytes.is_empty() {
        Err(CheckpointError::Empty)
    } else if bytes.starts_with(legacy::START) {
        Ok((Format::TorchLegacy, legacy::read(bytes, averages)?))
    } else if bytes.starts_with(zip::START) {
        Ok((Format::TorchZip, zip::read(bytes, averages)?))
    } else if safetensors::is_likely(bytes) {
        match averages {
            Averages::Require => Err(CheckpointError::NoAverage),
            Averages::Prefer | Averages::Ignore => Ok((Format::Safetensors, safetensors::read(bytes)?)),
        }
    } else if bytes.starts_with(LFS_POINTER) {
        Err(CheckpointError::LfsPointer)
    } else if let Some((_, packed)) = PACKED.iter().find(|(start, _)| bytes.starts_with(start)) {
        Err(CheckpointError::Packed { packed })
    } else {
        Err(CheckpointError::Format)
    }
}

/// Takes out the tensors that the patterns name, and returns their names. A pattern that names none is refused.
fn drop_tensors(state: &mut StateDict<'_>, patterns: &[String]) -> Result<Vec<String>, ModelError> {
    let mut dropped: Vec<String> = Vec::new();
    for text in patterns {
        let failed = |problem: String| ModelError::Drop { pattern: text.clone(), problem };
        let pattern = Pattern::new(text).map_err(|error| failed(error.to_string()))?;
        let names = state.remove(|name| pattern.matches(name));
        if names.is_empty() && !dropped.iter().any(|name| pattern.matches(name)) {
            return Err(failed("no tensor of the checkpoint has such a name".to_owned()));
        }
        dropped.extend(names);
    }
    dropped.sort();
    Ok(dropped)
}

/// Refuses entries that are no tensors, and more tensors than can be compared with every architecture.
fn check_entries(state: &StateDict<'_>) -> Result<(), CheckpointError> {
    if let Some((name, NonTensor { found, advice })) = state.others.iter().next() {
        return Err(CheckpointError::NotATensor { name: name.clone(), found: found.clone(), advice });
    }
    match state.entries().count() {
        found if found > MAX_TENSORS => Err(CheckpointError::TooManyTensors { limit: MAX_TENSORS, found }),
        _ => Ok(()),
    }
}

/// The request's preprocessing, or the configuration's over that of the published checkpoint.
fn preprocessing(request: &ImportRequest<'_>, source: &Source, fit: &Fit) -> Preprocessing {
    let published = fit.published_preprocessing();
    request.input.apply(request.preprocessing.unwrap_or_else(|| source.config.preprocessing(published)))
}

/// The network's tensors, as they go to the weights file.
fn tensors<'f>(
    state: &StateDict<'_>,
    fit: &'f Fit,
    dtype: WeightsType,
    path: &Path,
) -> Result<Vec<Stored<'f>>, ModelError> {
    let specs = fit.network.tensors.iter().filter(|spec| !spec.is_empty());
    specs.map(|spec| convert(state, spec, &fit.translation.tensors[&spec.name], dtype, path)).collect()
}
