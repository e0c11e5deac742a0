//! Import of a network file: a model folder with the network's description beside its weights.

use super::config::ConfigLabels;
use super::convert::{Stored, store};
use super::detect::Detected;
use super::folder;
use super::graph::{
    FinalOp, IMPORTED, LowerOptions, Lowered, NetworkFile, RawDtype, RawGraph, RawSource, RawTensor, RawTensorKind,
    TensorSource, lower_with,
};
use super::input_range::InputRange;
use super::labels::{self, Labels};
use super::preprocessing::imagenet;
use super::{Averages, Format, ImportReport, ImportRequest};
use crate::description::{DescriptionError, NetworkDescription, SourceLayout};
use crate::error::ModelError;
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Fit, Preprocessing, Task, TensorId};
use half::{bf16, f16};
use std::collections::HashSet;
use std::path::Path;

/// Network of an imported file, in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedNetwork {
    /// Ops of the file's graph.
    pub ops: usize,
    /// Nodes of the network, its head excluded.
    pub nodes: usize,
    /// Trainable values.
    pub parameters: usize,
    /// Names of the sections, in order: what can be frozen.
    pub sections: Vec<String>,
    /// The head's weight, by name; `None` of a network without a head.
    pub head: Option<String>,
    /// Rows and columns of the image that the file was exported for.
    pub size: [usize; 2],
    /// Whether it accepts images of other sizes.
    pub any_size: bool,
    /// Whether it accepts the images of its preprocessing.
    pub accepts_input: bool,
    /// What it answers.
    pub task: Task,
    /// Whether its classes got names that only number them.
    pub numbered_labels: bool,
    /// Convolutions into which the exporter folded a batch norm: its scale and statistics are lost, and the convolution's
    /// weight and bias are what can be adapted.
    pub folded_norms: usize,
    /// Tensors that the import added, because the file has no values of them, by name.
    pub added: Vec<String>,
    /// Kernels that the file computes from its parameters, by name: what they were computed from is gone.
    pub computed: Vec<String>,
    /// Ops behind the head's logits that are left out, in order.
    pub final_ops: Vec<FinalOp>,
    /// Pixels that the network takes, where it normalises its images itself and nothing else was requested.
    pub input_range: Option<InputRange>,
}

/// Maps the file at `path` if it holds a network with its graph.
pub(super) fn open(path: &Path) -> Result<Option<NetworkFile>, ModelError> {
    if !path.is_file() {
        return Ok(None);
    }
    let file = NetworkFile::open(path)?;
    Ok(file.is_network().then_some(file))
}

/// Makes a model folder of a network file.
///
/// # Errors
/// As [`super::import`].
pub(super) fn import(request: &ImportRequest<'_>, file: &NetworkFile) -> Result<ImportReport, ModelError> {
    let path = file.path();
    check_options(request, path)?;
    let raw = file.read()?;
    let size = request.input.size.map(|side| [side as usize; 2]);
    let lowered = lower_with(&raw, LowerOptions { output: request.output, size })
        .map_err(|source| ModelError::Graph { path: path.to_owned(), source: Box::new(source) })?;
    let Lowered { mut network, sources, constants, size, folded_norms, final_ops, takes_bytes } = lowered;
    name_added(&mut network, &sources);
    let (network, sources) = (&network, &sources[..]);
    let layouts = layouts(&raw, network, sources, path)?;
    let unfit = |source: DescriptionError| ModelError::Network { path: path.to_owned(), source: Box::new(source) };
    let description = NetworkDescription::new(network, size, layouts.clone()).map_err(unfit)?;
    let fixed = |id: TensorId| {
        let (spec, source, layout) = (network.tensor(id), sources[id.index()], layouts[id.index()].as_ref());
        (!spec.role.is_trainable()).then(|| values((&raw, &constants), spec, source, layout, path).ok()).flatten()
    };
    let is_set = request.preprocessing.is_some() || request.input.mean.is_some() || request.input.std.is_some();
    let shown = if takes_bytes { Some(InputRange::Bytes) } else { InputRange::of(network, fixed) };
    let input_range = shown.filter(|_| !is_set);
    let preprocessing = preprocessing(request, &description, input_range, path)?;
    let names = class_names(request, network, path)?;
    let specs = network.tensors.iter().zip(sources).zip(&layouts).filter(|((spec, _), _)| !spec.is_empty());
    let tensors: Vec<Stored<'_>> = specs
        .map(|((spec, source), layout)| {
            store(&values((&raw, &constants), spec, *source, layout.as_ref(), path)?, spec, request.dtype, path)
        })
        .collect::<Result<_, _>>()?;
    let written = folder::write(
        request.out,
        &folder::Description {
            name: request.out,
            architecture: IMPORTED,
            network: Some(&description.to_json().map_err(unfit)?),
            preprocessing,
            source: request.source,
            licence: request.licence,
            file: path,
            file_hash: file.sha256(),
        },
        &names.labels,
        &tensors,
    )?;
    Ok(ImportReport {
        format: match raw.source {
            RawSource::Pt2 { .. } => Format::Pt2,
            RawSource::Onnx { .. } => Format::Onnx,
        },
        files: 1 + raw.external.len(),
        wrapper: None,
        is_average: false,
        alternative: None,
        detected: detected(network),
        network: Some(ImportedNetwork {
            folded_norms,
            final_ops,
            input_range,
            ..summary(&raw, &description, sources, &preprocessing, request.labels.is_none())
        }),
        classes: names.labels.len(),
        ignored: ignored(&raw, sources),
        dropped: Vec::new(),
        renamed_labels: names.renamed,
        preprocessing,
        config: None,
        bytes: written.bytes,
        id: written.id,
    })
}

/// Refuses what a request can ask for of checkpoints alone.
fn check_options(request: &ImportRequest<'_>, path: &Path) -> Result<(), ModelError> {
    let options = [
        (request.architecture.is_some(), "`--arch`"),
        (!request.drop.is_empty(), "`--drop`"),
        (request.averages != Averages::Prefer, "`--ema` and `--no-ema`"),
    ];
    match options.into_iter().find(|(is_set, _)| *is_set) {
        Some((_, option)) => Err(ModelError::NetworkOption { path: path.to_owned(), option }),
        None => Ok(()),
    }
}

/// Gives each tensor that the import adds a name that no tensor of the file has.
fn name_added(network: &mut Network, sources: &[TensorSource]) {
    let tensors = || network.tensors.iter().zip(sources);
    let mut taken: HashSet<String> =
        tensors().filter(|(_, source)| source.tensor.is_some()).map(|(spec, _)| spec.name.clone()).collect();
    for (spec, _) in network.tensors.iter_mut().zip(sources).filter(|(_, source)| source.tensor.is_none()) {
        while !taken.insert(spec.name.clone()) {
            spec.name.push('_');
        }
    }
}

/// The layout in the file of each tensor of the network; `None` of one that the file does not have.
fn layouts(
    raw: &RawGraph<'_>,
    network: &Network,
    sources: &[TensorSource],
    path: &Path,
) -> Result<Vec<Option<SourceLayout>>, ModelError> {
    let layout = |(spec, source): (&TensorSpec, &TensorSource)| {
        let Some(tensor) = source.tensor.map(|tensor| &raw.tensors[tensor]) else { return Ok(None) };
        let layout = SourceLayout { shape: tensor.shape.clone(), turned: source.is_turned };
        if layout.fits(&spec.shape) {
            return Ok(Some(layout));
        }
        let (name, expected, found) = (spec.name.clone(), spec.shape.clone(), layout.shape);
        Err(ModelError::SourceShape { path: path.to_owned(), name, expected, found })
    };
    network.tensors.iter().zip(sources).map(layout).collect()
}

/// The values of a tensor of the network, in its order.
fn values(
    (raw, constants): (&RawGraph<'_>, &[Vec<f64>]),
    spec: &TensorSpec,
    source: TensorSource,
    layout: Option<&SourceLayout>,
    path: &Path,
) -> Result<Vec<f32>, ModelError> {
    let (Some(tensor), Some(layout)) = (source.tensor.map(|tensor| &raw.tensors[tensor]), layout) else {
        let constant = source.constant.and_then(|constant| constants.get(constant));
        return Ok(constant.map_or_else(
            || vec![source.fill; spec.len()],
            |values| values.iter().map(|value| *value as f32).collect(),
        ));
    };
    let Some(values) = floats(raw, tensor) else {
        let (expected, found) = ("float16, bfloat16, float32 or float64", tensor.dtype.name().to_owned());
        return Err(ModelError::TensorDtype { path: path.to_owned(), name: spec.name.clone(), expected, found });
    };
    layout.to_network(values, &spec.shape).ok_or_else(|| {
        let (name, expected, found) = (spec.name.clone(), spec.shape.clone(), layout.shape.clone());
        ModelError::SourceShape { path: path.to_owned(), name, expected, found }
    })
}

/// The values of a tensor of the file, in its order; `None` if they are no floating-point numbers.
fn floats(raw: &RawGraph<'_>, tensor: &RawTensor<'_>) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|bits| read(*bits)).collect()
    }
    let bytes = raw.values(tensor);
    Some(match tensor.dtype {
        RawDtype::F16 => each(&bytes, |bits| f16::from_le_bytes(bits).to_f32()),
        RawDtype::Bf16 => each(&bytes, |bits| bf16::from_le_bytes(bits).to_f32()),
        RawDtype::F32 => each(&bytes, f32::from_le_bytes),
        RawDtype::F64 => each(&bytes, |bits| f64::from_le_bytes(bits) as f32),
        RawDtype::I8
        | RawDtype::I16
        | RawDtype::I32
        | RawDtype::I64
        | RawDtype::U8
        | RawDtype::U16
        | RawDtype::U32
        | RawDtype::U64
        | RawDtype::Bool
        | RawDtype::Other(_) => return None,
    })
}

/// The request's preprocessing, or ImageNet's for images of the size that the file was exported for. A network that normalises its
/// images itself gets the pixels that it takes.
///
/// A dense network, which answers each pixel, takes whole frames of that size. Other images are square: of a size that is not,
/// the shorter side is taken, or the longer one if the network accepts only that.
fn preprocessing(
    request: &ImportRequest<'_>,
    description: &NetworkDescription,
    input_range: Option<InputRange>,
    path: &Path,
) -> Result<Preprocessing, ModelError> {
    let exported @ [rows, columns] = description.size;
    let sides = [rows.min(columns), rows.max(columns)];
    let side = sides.into_iter().find(|side| description.accepts([*side; 2])).unwrap_or(sides[0]);
    let pixels = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let published = match description.head.is_dense() {
        true => Preprocessing { fit: Fit::Whole { width: pixels(columns) }, crop: 1.0, ..imagenet(pixels(rows)) },
        false => imagenet(pixels(side)),
    };
    let published = match input_range {
        Some(range) => Preprocessing { mean: [0.0; 3], std: [255.0 / range.greatest(); 3], ..published },
        None => published,
    };
    let preprocessing = request.input.apply(request.preprocessing.unwrap_or(published));
    let is_set = request.preprocessing.is_some() || request.input.size.is_some();
    let size = preprocessing.input(preprocessing.size);
    if is_set && !description.accepts(size.map(|side| side as usize)) {
        return Err(ModelError::NetworkSize { path: path.to_owned(), size, exported });
    }
    Ok(preprocessing)
}

/// The labels of the request; without any, names that number the classes.
fn class_names(request: &ImportRequest<'_>, network: &Network, path: &Path) -> Result<Labels, ModelError> {
    if request.labels.is_some() || network.is_headless() {
        return labels::labels(request.labels, &ConfigLabels::default(), network, path);
    }
    let labels = (0..network.head.classes).map(|class| format!("class{class}")).collect();
    Ok(Labels { labels, ..Labels::default() })
}

fn detected(network: &Network) -> Detected {
    Detected {
        architecture: IMPORTED,
        naming: "the file's own",
        prefix: String::new(),
        wrappers: Vec::new(),
        head: None,
        tensors: network.tensors.iter().filter(|spec| !spec.is_empty()).count(),
        runner_up: None,
    }
}

fn summary(
    raw: &RawGraph<'_>,
    description: &NetworkDescription,
    sources: &[TensorSource],
    preprocessing: &Preprocessing,
    without_labels: bool,
) -> ImportedNetwork {
    let network = description.network();
    // What the file computes from its constants is in it.
    let is_added = |source: &TensorSource| source.tensor.is_none() && source.constant.is_none();
    let added = description.tensors.iter().zip(sources);
    let added =
        added.filter(|(tensor, source)| is_added(source) && !tensor.shape.contains(&0)).map(|(tensor, _)| tensor);
    let computed = network.tensors.iter().zip(sources);
    let computed = computed.filter(|(spec, source)| source.constant.is_some() && spec.role.is_trainable());
    let [rows, columns] = description.size;
    ImportedNetwork {
        ops: raw.nodes.len(),
        nodes: network.graph.nodes.len(),
        parameters: network.parameter_count(),
        sections: network.graph.sections.iter().map(|section| section.name.clone()).collect(),
        head: (!network.is_headless()).then(|| network.tensor(network.head.weight).name.clone()),
        size: description.size,
        // Twice the size keeps whatever multiple the network needs.
        any_size: description.accepts([2 * rows, 2 * columns]),
        accepts_input: description.accepts(preprocessing.input(preprocessing.size).map(|side| side as usize)),
        task: network.task(),
        numbered_labels: without_labels && !network.is_headless(),
        folded_norms: 0,
        added: added.map(|tensor| tensor.name.clone()).collect(),
        computed: computed.map(|(spec, _)| spec.name.clone()).collect(),
        final_ops: Vec::new(),
        input_range: None,
    }
}

/// Tensors of the file that the network does not read, by name, sorted.
fn ignored(raw: &RawGraph<'_>, sources: &[TensorSource]) -> Vec<String> {
    let mut is_read = vec![false; raw.tensors.len()];
    sources.iter().filter_map(|source| source.tensor).for_each(|tensor| is_read[tensor] = true);
    let unread =
        raw.tensors.iter().zip(is_read).filter(|(tensor, is_read)| !is_read && tensor.kind != RawTensorKind::Constant);
    let mut names: Vec<String> = unread.map(|(tensor, _)| tensor.name.as_str().to_owned()).collect();
    names.sort();
    names
}
