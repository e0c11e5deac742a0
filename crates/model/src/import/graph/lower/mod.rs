//! Lowering: makes a network of a raw graph. The ops under their names in a file become nodes of [`fieldfit_nets`].

mod array;
mod aten;
mod final_op;
mod fuse;
mod onnx;
mod sections;
mod sketch;
mod traced;
mod view;

use super::GraphError;
use super::name::Name;
use super::raw::{MAX_NODES, RawArgument, RawDim, RawDtype, RawEnd, RawGraph, RawSource, RawType};
use super::tensor::{RawTensor, RawTensorKind};
use aten::{Known, Lowering, kernel_name};
use fieldfit_nets::{Activation, Conv, Graph, Head, Linear, Network, Op, Prologue, Role, Shape, TensorSpec, ValueId};
use fieldfit_tensor::TensorId;
pub use final_op::FinalOp;
use final_op::{FinalArgMax, ends_in_head};
use onnx::{OnnxLowering, folded_norms};
use sketch::Sketch;
use std::collections::{HashMap, HashSet};
use traced::Traced;

/// Network of a file, and where its tensors' values come from.
#[derive(Debug)]
pub struct Lowered {
    /// The network; its architecture is [`IMPORTED`].
    pub network: Network,
    /// Of each tensor of the network, in order, its source.
    pub sources: Vec<TensorSource>,
    /// Values of the tensors that the file computes from constants, see [`TensorSource::constant`].
    pub constants: Vec<Vec<f64>>,
    /// Rows and columns of the image that the file was exported for.
    pub size: [usize; 2],
    /// Convolutions into which the exporter folded a batch norm: its scale and statistics are lost.
    pub folded_norms: usize,
    /// Ops behind the head's logits that are left out, in order.
    pub final_ops: Vec<FinalOp>,
    /// Whether the file takes images of bytes.
    pub takes_bytes: bool,
}

/// Choices that a file leaves open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LowerOptions<'o> {
    /// Name of the result, of a file with several.
    pub output: Option<&'o str>,
    /// Rows and columns of the image, of a file whose image has any size.
    pub size: Option<[usize; 2]>,
}

/// The architecture's name of a network that a file brings.
pub const IMPORTED: &str = "imported";

/// Source of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorSource {
    /// Position in [`RawGraph::tensors`]; `None` of a tensor that the network adds, whose values are all `fill`.
    pub tensor: Option<usize>,
    /// Position in [`Lowered::constants`] of a tensor whose values the file computes.
    pub constant: Option<usize>,
    /// Value of each element without a source.
    pub fill: f32,
    /// Whether the first two axes are exchanged: a transposed convolution, or a matrix as ONNX has it.
    pub is_turned: bool,
}

/// Makes a network of a raw graph.
///
/// # Errors
/// If an op, or a way that it is used, has no form in a network; the error names the op, its module path, and what to do.
pub fn lower(raw: &RawGraph<'_>) -> Result<Lowered, GraphError> {
    lower_with(raw, LowerOptions::default())
}

/// Makes a network of a raw graph, with the choices that the file leaves open.
///
/// # Errors
/// As [`lower`]; if the file has several results or an image of any size, and the choice is missing or not one of them.
pub fn lower_with(raw: &RawGraph<'_>, options: LowerOptions<'_>) -> Result<Lowered, GraphError> {
    let RawImage { name, shape: image, is_channels_last, takes_bytes, batch } = image(raw, options.size)?;
    let mut uses = HashMap::new();
    for node in &raw.nodes {
        *uses.entry(node.op.as_str().to_owned()).or_insert(0) += 1;
    }
    let mut lowering = Lowering {
        raw,
        sketch: Sketch::new(image),
        known: HashMap::new(),
        batch,
        uses,
        views: HashMap::new(),
        views_of: HashMap::new(),
        results_in_place: HashMap::new(),
        evaluated_values: 0,
        kernels: HashMap::new(),
        is_kernel: false,
        final_ops: HashMap::new(),
    };
    let traced = Traced::image(ValueId::IMAGE, image);
    let traced = if is_channels_last { traced.permute(&[0, 2, 3, 1]) } else { Some(traced) };
    let Some(known) = traced.map(Known::Traced) else {
        return Err(GraphError::Form { expected: "one image", found: "an image of other axes".to_owned() });
    };
    let result = result_name(raw, options.output)?;
    let arg_max = FinalArgMax::find(raw, result);
    let (result, skipped) = arg_max.as_ref().map_or((result, None), |found| (found.logits, Some(found.position)));
    let known = match raw.source {
        RawSource::Pt2 { .. } => lower_aten(&mut lowering, (name, known), (result, skipped))?,
        RawSource::Onnx { .. } => lower_onnx(&mut lowering, (name, known), (result, skipped))?,
    };
    if let (Some(arg_max), Some(Known::Traced(logits))) = (&arg_max, &known) {
        arg_max.check(raw, logits.rank())?;
    }
    let output = output(known, &mut lowering)?;
    let (output, final_ops) = without_final_ops(&lowering, output, arg_max.is_some())?;
    let mut sketch = lowering.sketch;
    let output = fuse::fuse(&mut sketch, output);
    let folded_norms = match raw.source {
        RawSource::Pt2 { .. } => 0,
        RawSource::Onnx { .. } => folded_norms(raw),
    };
    Ok(Lowered { folded_norms, final_ops, takes_bytes, ..finish(sketch, output, [image.height, image.width])? })
}

/// Returns the value before the ops that follow a head's logits, and these ops; an output that is no classifier's stays.
///
/// # Errors
/// If the file's result are classes, and no head makes their logits.
fn without_final_ops(
    lowering: &Lowering<'_, '_>,
    output: ValueId,
    is_arg_max: bool,
) -> Result<(ValueId, Vec<FinalOp>), GraphError> {
    let arg_max = is_arg_max.then_some(FinalOp::ArgMax);
    let found = lowering.final_ops.get(&output).filter(|(logits, _)| ends_in_head(&lowering.sketch, *logits));
    if let Some((logits, op)) = found {
        return Ok((*logits, [Some(*op), arg_max].into_iter().flatten().collect()));
    }
    if is_arg_max && !ends_in_head(&lowering.sketch, output) {
        let found = "the greatest of values that no linear layer or 1×1 convolution makes".to_owned();
        return Err(GraphError::Form { expected: "one result", found });
    }
    Ok((output, arg_max.into_iter().collect()))
}

/// Lowers the nodes of a `.pt2` file but the one that is left out; returns what is known of the result.
fn lower_aten<'a>(
    lowering: &mut Lowering<'_, 'a>,
    (image, known): (Name<'a>, Known),
    (result, skipped): (&Name<'a>, Option<usize>),
) -> Result<Option<Known>, GraphError> {
    let raw = lowering.raw;
    lowering.known.insert(image, known);
    for (tensor, index) in raw.tensors.iter().zip(first_of_each(raw)) {
        lowering.known.insert(tensor.value.clone(), Known::Tensor { index, shape: tensor.shape.clone() });
    }
    lowering.find_kernels(kernel_name);
    for position in (0..raw.nodes.len()).filter(|position| Some(*position) != skipped) {
        lowering.lower(position)?;
        check_length(lowering)?;
    }
    Ok(lowering.known.get(lowering.array_name(result)).cloned())
}

/// Lowers the nodes of an ONNX file but the one that is left out; returns what is known of the result.
fn lower_onnx<'r, 'a>(
    lowering: &mut Lowering<'r, 'a>,
    image: (Name<'a>, Known),
    (result, skipped): (&Name<'a>, Option<usize>),
) -> Result<Option<Known>, GraphError> {
    let raw = lowering.raw;
    let mut onnx = OnnxLowering::new(lowering, image)?;
    for position in (0..raw.nodes.len()).filter(|position| Some(*position) != skipped) {
        onnx.lower(position)?;
        check_length(onnx.lowering)?;
    }
    Ok(onnx.result(result))
}

/// Refuses a file of which one op becomes many nodes, too often.
fn check_length(lowering: &Lowering<'_, '_>) -> Result<(), GraphError> {
    match lowering.sketch.nodes.len() {
        0..=MAX_NODES => Ok(()),
        _ => Err(GraphError::Limit { what: "nodes of the network", limit: MAX_NODES }),
    }
}

/// Returns of each tensor the first parameter that is the same: tied ones are trained as one.
fn first_of_each(raw: &RawGraph<'_>) -> Vec<usize> {
    let mut firsts = HashMap::new();
    let first = |(index, tensor): (usize, &RawTensor<'_>)| {
        let is_parameter = tensor.kind == RawTensorKind::Parameter && !tensor.shape.contains(&0);
        raw.tensors[index]
            .identity()
            .filter(|_| is_parameter)
            .map_or(index, |same| *firsts.entry(same).or_insert(index))
    };
    raw.tensors.iter().enumerate().map(first).collect()
}

/// Image that a network takes.
struct RawImage<'a> {
    name: Name<'a>,
    shape: Shape,
    /// Whether it is `[N, H, W, C]` in the file.
    is_channels_last: bool,
    /// Whether its values are bytes.
    takes_bytes: bool,
    /// The batch that the file was exported for, if it states one.
    batch: Option<usize>,
}

/// The most channels of an image whose channels are told from its columns by their number.
const MAX_CHANNELS: u64 = 4;

/// Returns the one image.
fn image<'a>(raw: &RawGraph<'a>, size: Option<[usize; 2]>) -> Result<RawImage<'a>, GraphError> {
    let form = |found: String| GraphError::Form { expected: "one image [N, 3, H, W] or [N, H, W, 3]", found };
    let [RawEnd { value: RawArgument::Value(name), .. }] = &raw.inputs[..] else {
        return Err(form(format!("{} inputs", raw.inputs.len())));
    };
    let Some(RawType::Tensor { dtype, shape: Some(shape) }) = raw.types.get(name) else {
        return Err(form("an input of unknown shape".to_owned()));
    };
    let [batch, axes @ ..] = &shape[..] else { return Err(form("an input without axes".to_owned())) };
    let [first, second, third] = axes else { return Err(form(format!("an input of {} axes", shape.len()))) };
    let is_few = |dim: &RawDim<'_>| matches!(dim, RawDim::Fixed(1..=MAX_CHANNELS));
    let is_channels_last = is_few(third) && !is_few(first);
    let [channels, height, width] = if is_channels_last { [third, first, second] } else { [first, second, third] };
    let takes_bytes = *dtype == RawDtype::U8;
    if !dtype.is_float() && !takes_bytes {
        return Err(form(format!("an input of {dtype}")));
    }
    if takes_bytes && !converts_bytes(raw, name) {
        return Err(form(
            "an input of uint8 that is computed with before it is converted to floating point".to_owned(),
        ));
    }
    let fixed = |dim: &RawDim<'_>| match dim {
        RawDim::Fixed(side) => usize::try_from(*side).ok().filter(|side| (1..=8192).contains(side)),
        RawDim::Symbol(_) | RawDim::Expression(_) | RawDim::Unknown => None,
    };
    let side = |dim: &RawDim<'_>, axis: usize| {
        fixed(dim).or_else(|| size.filter(|_| matches!(dim, RawDim::Symbol(_))).map(|size| size[axis]))
    };
    let (Some(channels), Some(height), Some(width)) = (fixed(channels), side(height, 0), side(width, 1)) else {
        return Err(GraphError::AnySize);
    };
    let shape = Shape { height, width, channels };
    Ok(RawImage { name: name.clone(), shape, is_channels_last, takes_bytes, batch: fixed(batch) })
}

/// Whether a network converts bytes before it computes with them: arithmetic of bytes wraps around.
fn converts_bytes<'a>(raw: &RawGraph<'a>, image: &Name<'a>) -> bool {
    const CONVERSIONS: [&str; 6] = ["to", "_to_copy", "type_as", "div", "Cast", "CastLike"];
    const VIEWS: [&str; 6] = ["permute", "transpose", "movedim", "contiguous", "Transpose", "Identity"];
    const SIZES: [&str; 3] = ["sym_size", "Shape", "_assert_tensor_metadata"];
    let mut bytes = HashSet::from([image]);
    for node in &raw.nodes {
        let inputs = node.arguments.iter().filter_map(|argument| match &argument.value {
            RawArgument::Value(name) => Some(name),
            _ => None,
        });
        if !inputs.into_iter().any(|name| bytes.contains(name)) {
            continue;
        }
        let op = node.op.as_str();
        let op = op.strip_prefix("torch.ops.aten.").map_or(op, |op| op.split('.').next().unwrap_or(op));
        if VIEWS.contains(&op) {
            bytes.extend(node.outputs.iter().flatten());
        } else if !CONVERSIONS.contains(&op) && !SIZES.contains(&op) {
            return false;
        }
    }
    true
}

/// Returns the name of the result, of several the chosen one.
fn result_name<'r, 'a>(raw: &'r RawGraph<'a>, chosen: Option<&str>) -> Result<&'r Name<'a>, GraphError> {
    let end = match (&raw.outputs[..], chosen) {
        ([end], None) => Some(end),
        (ends, chosen) => ends.iter().find(|end| Some(end.name.as_str()) == chosen),
    };
    match end {
        Some(RawEnd { value: RawArgument::Value(name), .. }) => Ok(name),
        Some(_) => Err(GraphError::Form { expected: "one result", found: "a result that is a constant".to_owned() }),
        None => {
            Err(GraphError::Outputs { names: raw.outputs.iter().map(|end| end.name.as_str().to_owned()).collect() })
        }
    }
}

/// Returns the one result: a vector for each image, or an image.
fn output(result: Option<Known>, lowering: &mut Lowering<'_, '_>) -> Result<ValueId, GraphError> {
    let form = |found: String| GraphError::Form { expected: "one result", found };
    let Some(known @ (Known::Traced(_) | Known::Expanded { .. })) = result else {
        return Err(form("a result that does not depend on the image".to_owned()));
    };
    let Ok(traced) = lowering.traced(known) else { return Err(form("a result that is repeated".to_owned())) };
    if traced.rank() == 0 || !traced.is_batch(0) {
        return Err(form("a result without an image's axis".to_owned()));
    }
    // The result's values stay in the file's order, but for an image, whose channels are last here.
    let groups: Option<Vec<Vec<usize>>> = (1..traced.rank()).map(|axis| traced.pieces(axis)).collect();
    let Some(mut groups) = groups else { return Err(form("a result with the batch among its axes".to_owned())) };
    if groups.len() == 3 {
        groups.rotate_left(1);
    }
    let order = groups.concat();
    let units: Vec<usize> = (0..traced.sides.len()).filter(|piece| !order.contains(piece)).collect();
    let order = [units, order].concat();
    if order.iter().filter(|piece| traced.sides[**piece] != 1).is_sorted() {
        return Ok(traced.value);
    }
    let arranged = lowering.sketch.arrange(&traced, [&[], &[], &order]);
    arranged.map(|arranged| arranged.value).map_err(|error| form(error.to_string()))
}

/// Makes the network: its head, if a linear layer of one vector or a dense head ends it, its sections and its tensors in
/// order.
fn finish(mut sketch: Sketch, output: ValueId, size: [usize; 2]) -> Result<Lowered, GraphError> {
    debug_assert_eq!(output.index(), sketch.nodes.len());
    let head = linear_head(&mut sketch);
    let sections = sections::sections(&sketch);
    let (mut graph, channels) = (Graph { nodes: sketch.nodes, sections }, sketch.shapes[0].channels);
    let (tensors, mut sources, head) = in_order(&mut graph, sketch.tensors, sketch.sources, head);
    // Constants that fusion or the choice of a result left without a reader are gone.
    let constants = sources.iter_mut().filter_map(|source| {
        let constant = source.constant.as_mut()?;
        Some(std::mem::take(&mut sketch.constants[*constant]))
    });
    let constants: Vec<Vec<f64>> = constants.collect();
    sources.iter_mut().filter_map(|source| source.constant.as_mut()).enumerate().for_each(|(position, constant)| {
        *constant = position;
    });
    let network = Network { architecture: IMPORTED, channels, tensors, graph, head };
    Ok(Lowered { network, sources, constants, size, folded_norms: 0, final_ops: Vec::new(), takes_bytes: false })
}

/// Returns the linear layer of one vector, or the 1×1 convolution of one pixel, that ends the network as its head; else its
/// [`dense_head`], or none.
fn linear_head(sketch: &mut Sketch) -> Head {
    let head = match sketch.nodes.last().map(|node| (&node.op, &node.inputs[..])) {
        Some((Op::Linear(Linear { prologue: Prologue::Identity, weight, bias, scale: None, input, output }), [_]))
            if sketch.shapes.last() == Some(&Shape::vector(*output)) =>
        {
            Some((*weight, *bias, *input, *output))
        }
        Some((Op::Conv(conv), [features])) if is_linear(conv) && sketch.shapes[features.index()].pixels() == 1 => {
            Some((conv.weight, conv.bias, conv.input, conv.output))
        }
        _ => None,
    }
    .filter(|(weight, bias, ..)| [Some(*weight), *bias].into_iter().flatten().all(|id| users(sketch, id) == 1));
    let features = sketch.shapes.last().map_or(0, |shape| shape.len());
    match head {
        Some((weight, bias, features, classes)) => {
            // The layer before it is the output, if the head reads it alone.
            let is_last = sketch.nodes.last().is_some_and(|node| node.inputs[0].index() + 1 == sketch.nodes.len());
            if is_last {
                sketch.nodes.pop();
                sketch.paths.pop();
                sketch.shapes.pop();
                sketch.tensors[weight.index()].shape = vec![classes, features];
                let bias = head_tensors(sketch, weight, bias, classes);
                Head { weight, bias, features, classes, node: None }
            } else {
                no_head(sketch, features * classes / classes.max(1))
            }
        }
        None => dense_head(sketch).unwrap_or_else(|| no_head(sketch, features)),
    }
}

/// Returns the head of a network whose output is more than one pixel, if a 1×1 convolution before resizes alone makes it.
fn dense_head(sketch: &mut Sketch) -> Option<Head> {
    let graph = Graph { nodes: std::mem::take(&mut sketch.nodes), sections: Vec::new() };
    let node = graph.dense_head();
    sketch.nodes = graph.nodes;
    let node = node.filter(|_| sketch.shapes.last().is_some_and(|output| output.pixels() > 1))?;
    let Op::Conv(Conv { weight, bias, input, output, .. }) = sketch.nodes[node].op else { return None };
    if [Some(weight), bias].into_iter().flatten().any(|id| users(sketch, id) != 1) {
        return None;
    }
    let bias = head_tensors(sketch, weight, bias, output);
    if let Op::Conv(conv) = &mut sketch.nodes[node].op {
        conv.bias = Some(bias);
    }
    Some(Head { weight, bias, features: input, classes: output, node: Some(node) })
}

/// Whether a convolution is a linear layer of each pixel, and nothing more.
fn is_linear(conv: &Conv) -> bool {
    conv.is_pointwise() && conv.norm.is_none() && conv.activation == Activation::Identity
}

/// Returns how many nodes read a tensor.
fn users(sketch: &Sketch, id: TensorId) -> usize {
    sketch.nodes.iter().filter(|node| node.op.tensors().contains(&id)).count()
}

/// Marks a head's tensors as such; returns its bias, which is added where the file has none.
fn head_tensors(sketch: &mut Sketch, weight: TensorId, bias: Option<TensorId>, classes: usize) -> TensorId {
    let name = sketch.tensors[weight.index()].name.clone();
    let name = name.strip_suffix(".weight").unwrap_or(&name).to_owned();
    let bias = bias.unwrap_or_else(|| sketch.filled(format!("{name}.bias"), (vec![classes], Role::HeadBias), 0.0));
    sketch.tensors[weight.index()].role = Role::HeadWeight;
    sketch.tensors[bias.index()].role = Role::HeadBias;
    bias
}

/// Returns the head of a network that ends in something else than a classifier: none, over its whole output.
fn no_head(sketch: &mut Sketch, features: usize) -> Head {
    let weight = sketch.filled("head.weight".to_owned(), (vec![0, features], Role::HeadWeight), 0.0);
    let bias = sketch.filled("head.bias".to_owned(), (vec![0], Role::HeadBias), 0.0);
    Head { weight, bias, features, classes: 0, node: None }
}

/// Brings the tensors into the order of the forward pass, the head's last, and drops those that nothing reads.
fn in_order(
    graph: &mut Graph,
    tensors: Vec<TensorSpec>,
    sources: Vec<TensorSource>,
    head: Head,
) -> (Vec<TensorSpec>, Vec<TensorSource>, Head) {
    let mut order: Vec<TensorId> = Vec::with_capacity(tensors.len());
    let mut is_placed = vec![false; tensors.len()];
    [head.weight, head.bias].into_iter().for_each(|id| is_placed[id.index()] = true);
    for id in graph.nodes.iter().flat_map(|node| node.op.tensors()) {
        if !std::mem::replace(&mut is_placed[id.index()], true) {
            order.push(id);
        }
    }
    order.extend([head.weight, head.bias]);
    let mut place = vec![TensorId::new(0); tensors.len()];
    order.iter().enumerate().for_each(|(position, id)| place[id.index()] = TensorId::new(position));
    graph.nodes.iter_mut().for_each(|node| node.op.rename_tensors(|id| place[id.index()]));
    let specs = order.iter().map(|id| tensors[id.index()].clone()).collect();
    let sources = order.iter().map(|id| sources[id.index()]).collect();
    (specs, sources, Head { weight: place[head.weight.index()], bias: place[head.bias.index()], ..head })
}
