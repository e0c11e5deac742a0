//! Lowering of ONNX's ops: what each op of an ONNX file becomes.

mod arithmetic;
mod axes;
mod constants;
mod folded;
mod functions;
mod layers;
mod node;
mod patterns;
mod pools;
mod select;
mod sizes;
mod values;

pub(super) use folded::folded_norms;

use crate::import::graph::GraphError;
use crate::import::graph::error::NodeProblem;
use crate::import::graph::lower::aten::{EVALUATION, Known, Lowered, Lowering, Problem, refuse};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawGraph, RawNode, RawSource};
use node::Node;
use patterns::{Pattern, Patterns};
use sizes::Sizes;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use values::kernel_name;

/// The most axes of an array, as in torch.
const MAX_RANK: usize = 64;

/// Lowering of an ONNX file's nodes.
pub(super) struct OnnxLowering<'l, 'r, 'a> {
    pub lowering: &'l mut Lowering<'r, 'a>,
    values: HashMap<Name<'a>, Value>,
    patterns: Patterns<'a>,
    /// Names of matrix products with a weight.
    products: HashSet<Name<'a>>,
    /// Names of evaluated constants that are integers.
    integers: HashSet<Name<'a>>,
    /// Names of evaluated constants that have one row for each image: the row of the first.
    batched: HashSet<Name<'a>>,
    /// Version of the ops of the default domain.
    opset: i64,
    /// Values of all constants that were evaluated.
    evaluated: usize,
    /// The most of them.
    limit: usize,
}

/// What is known of a name of the file.
#[derive(Debug, Clone)]
enum Value {
    /// A value of the network, a tensor or a constant.
    Known(Known),
    /// Integers of which at least one depends on the batch.
    Sizes(Sizes),
    /// A sequence of arrays.
    Sequence(Rc<[Known]>),
}

impl From<Known> for Value {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    /// Creates a lowering that knows the graph's tensors and, by its name, its image.
    ///
    /// # Errors
    /// If two tensors have one name.
    pub fn new(lowering: &'l mut Lowering<'r, 'a>, image: (Name<'a>, Known)) -> Result<Self, GraphError> {
        let raw = lowering.raw;
        let opset = match &raw.source {
            RawSource::Onnx { opsets, .. } => opsets.get("").copied().unwrap_or(0),
            RawSource::Pt2 { .. } => 0,
        };
        let patterns = Patterns::of(raw);
        let (values, products) = (HashMap::new(), HashSet::new());
        let (integers, batched) = (HashSet::new(), HashSet::new());
        lowering.find_kernels(kernel_name);
        let limit = lowering.evaluation_limit();
        let mut this = Self { lowering, values, patterns, products, integers, batched, opset, evaluated: 0, limit };
        this.define(&image.0, image.1.into())?;
        for (index, tensor) in raw.tensors.iter().enumerate().filter(|(_, tensor)| !tensor.value.is_empty()) {
            this.define(&tensor.value, Known::Tensor { index, shape: tensor.shape.clone() }.into())?;
        }
        Ok(this)
    }

    /// Lowers the node at that position.
    ///
    /// # Errors
    /// If it has no form in a network.
    pub fn lower(&mut self, position: usize) -> Result<(), GraphError> {
        let raw: &'r RawGraph<'a> = self.lowering.raw;
        let node = &raw.nodes[position];
        if node.arguments.iter().any(|argument| matches!(argument.value, RawArgument::Subgraph)) {
            return Err(GraphError::Node {
                node: node.name.as_str().to_owned(),
                op: node.op.as_str().to_owned(),
                problem: NodeProblem::ControlFlow,
            });
        }
        self.enter(node);
        self.lowering.is_kernel = node.outputs.iter().flatten().any(|name| self.lowering.kernels.contains_key(name));
        let results = match self.patterns.at(position).cloned() {
            Some(Pattern::Inner) => return Ok(()),
            Some(pattern) => self.pattern(&pattern),
            None => self.call(&Node { raw: node }),
        };
        let results = results.map_err(|problem| self.lowering.failed(node, problem))?;
        for (name, result) in node.outputs.iter().zip(results) {
            if let Some(name) = name {
                self.define(name, result)?;
            }
        }
        for name in self.lowering.last_read(node) {
            self.values.insert(name, Known::Unread.into());
        }
        Ok(())
    }

    /// Returns what is known of the network's result.
    pub fn result(&self, name: &Name<'a>) -> Option<Known> {
        match self.values.get(name) {
            Some(Value::Known(known)) => Some(known.clone()),
            Some(Value::Sizes(_) | Value::Sequence(_)) | None => None,
        }
    }

    fn define(&mut self, name: &Name<'a>, value: Value) -> Result<(), GraphError> {
        match self.values.insert(name.clone(), value) {
            None => Ok(()),
            Some(_) => Err(GraphError::Contradiction {
                name: name.as_str().to_owned(),
                problem: "two nodes or tensors have one name",
            }),
        }
    }

    /// Sets the module path: the node's, or that of the first tensor that it reads.
    fn enter(&mut self, node: &RawNode<'a>) {
        self.lowering.sketch.path = node.path.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default();
        if node.path.is_some() {
            return;
        }
        let module = Node { raw: node }.inputs().flatten().find_map(|name| match self.values.get(name) {
            Some(Value::Known(Known::Tensor { .. })) => name.as_str().rsplit_once('.').map(|(module, _)| module),
            _ => None,
        });
        if let Some(module) = module {
            module.clone_into(&mut self.lowering.sketch.path);
        }
    }

    /// Lowers a call of an op; returns its results in order.
    fn call(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        if !node.raw.domain.is_empty() {
            return Err(Problem::Op);
        }
        if let Some(results) = self.evaluate(node)? {
            return Ok(results);
        }
        if let Some(function) = self.function(node)? {
            return Ok(vec![function.into()]);
        }
        let known = match node.op() {
            "Identity" | "Cast" | "CastLike" | "Dropout" => return self.inert(node),
            "Shape" => return self.shape(node),
            "SplitToSequence" | "SequenceConstruct" | "SequenceAt" | "ConcatFromSequence" => {
                return self.sequence(node);
            }
            "Split" => return self.split(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Expand" => return self.change_axes(node),
            "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Pow" | "Max" | "Min" => return self.arithmetic(node),
            "Conv" => self.conv(node)?,
            "ConvTranspose" => self.conv_transpose(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "LayerNormalization" => self.layer_norm(node)?,
            "GroupNormalization" => self.group_norm(node)?,
            "InstanceNormalization" => self.instance_norm(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matmul(node)?,
            "PRelu" => self.prelu(node)?,
            "Softmax" | "LogSoftmax" => self.softmax(node)?,
            "Attention" => self.attention(node)?,
            "MaxPool" | "AveragePool" => self.pool(node)?,
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node)?,
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare"
            | "ReduceLogSumExp" => self.reduce(node)?,
            "Einsum" => self.einsum(node)?,
            "CumSum" => self.cumulated(node)?,
            "LRN" => self.local_response_norm(node)?,
            "Pad" => self.pad(node)?,
            "Resize" => self.resize(node)?,
            "DepthToSpace" => self.depth_to_space(node)?,
            "SpaceToDepth" => self.space_to_depth(node)?,
            "Slice" => self.slice(node)?,
            "Gather" => self.gather(node)?,
            "GatherND" => self.gather_rows(node)?,
            "ScatterND" => self.scatter(node)?,
            "ScatterElements" => self.scatter_elements(node)?,
            "Col2Im" => self.fold(node)?,
            "Concat" => self.concat(node)?,
            "Tile" => self.tile(node)?,
            "Where" => self.choose(node)?,
            _ => return Err(Problem::Op),
        };
        Ok(vec![Known::Traced(known).into()])
    }

    /// Lowers an op that changes no value: an identity, a cast between floating-point types, a dropout in inference.
    fn inert(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        let value = self.operand(node, 0)?;
        if node.op() == "Cast" {
            // float32, float16, float64 and bfloat16.
            const FLOATS: [i64; 4] = [1, 10, 11, 16];
            let to = node.int("to", 0)?;
            if !FLOATS.contains(&to) && !matches!(value, Value::Sizes(_)) {
                return refuse(format!("a conversion to ONNX's type {to}"));
            }
        }
        if node.op() == "Dropout" {
            if let Some(is_training) = node.input(2) {
                let is_training = self.known(is_training)?;
                if self.constant(&is_training)?.is_none_or(|flag| flag.single() != Some(0.0)) {
                    return Err(Problem::Use("dropout in training mode".to_owned(), EVALUATION));
                }
            }
            return Ok(vec![value, Known::Unread.into()]);
        }
        Ok(vec![value])
    }
}
