//! Reader of ONNX, opsets 11 to 28: a protocol buffer as `onnx/onnx.proto` defines it.
//!
//! Initialisers and `Constant` nodes become tensors. Values lie in the file (`raw_data`, `float_data`, …) or in files beside
//! it (`external_data`), which are mapped. A graph within a node (`If`, `Loop`, `Scan`) is kept as an argument without its
//! content. Functions of the file's own are refused.

mod external;
mod node;
mod tensor;
mod types;
mod wire;

use super::error::{GraphError, TensorProblem, WireProblem};
use super::name::Name;
use super::raw::{MAX_NODES, RawArgument, RawEnd, RawGraph, RawNode, RawSource, RawType};
use super::tensor::{RawTensor, RawTensorKind};
use external::ExternalFiles;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use tensor::TensorProto;
use wire::{Field, Message};

/// The supported versions of the ops of the default domain.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=28;

/// The most arguments of all nodes: one takes two bytes of the file, and many times as many in memory.
const MAX_ARGUMENTS: usize = 10 * MAX_NODES;

/// Fields of `StringStringEntryProto`.
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Fields of `ModelProto`.
mod model {
    pub const PRODUCER_NAME: u32 = 2;
    pub const PRODUCER_VERSION: u32 = 3;
    pub const GRAPH: u32 = 7;
    pub const OPSET_IMPORT: u32 = 8;
    pub const FUNCTIONS: u32 = 25;
    /// The numbers of all fields.
    pub const ALL: [u32; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26];
}

/// Fields of `OperatorSetIdProto` and of `FunctionProto`.
mod operator {
    pub const SET_DOMAIN: u32 = 1;
    pub const SET_VERSION: u32 = 2;
    pub const FUNCTION_NAME: u32 = 1;
    pub const FUNCTION_DOMAIN: u32 = 10;
}

/// Fields of `GraphProto`.
mod graph {
    pub const NODE: u32 = 1;
    pub const INITIALIZER: u32 = 5;
    pub const INPUT: u32 = 11;
    pub const OUTPUT: u32 = 12;
    pub const VALUE_INFO: u32 = 13;
    pub const SPARSE_INITIALIZER: u32 = 15;
}

/// Whether the bytes begin with a field that a model has, as those of a file of another kind hardly do.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    let is_field = |field: Field<'_>| model::ALL.contains(&field.number) && Model::default().add(&field).is_ok();
    matches!(Message::whole(bytes).fields().next(), Some(Ok(field)) if is_field(field))
}

/// Reads a model. Files with values of its tensors are looked for in `folder`.
///
/// # Errors
/// If it is no such buffer, has no graph, functions, sparse tensors, another opset, or a tensor can't be read.
pub(super) fn read<'a>(bytes: &'a [u8], folder: Option<&Path>) -> Result<RawGraph<'a>, GraphError> {
    let mut model = Model::default();
    for field in Message::whole(bytes).fields() {
        model.add(&field?)?;
    }
    let opset = model.opsets.get("").copied();
    if !opset.is_some_and(|opset| OPSETS.contains(&opset)) {
        return Err(GraphError::Opset { least: *OPSETS.start(), most: *OPSETS.end(), found: opset });
    }
    let mut reader = GraphReader::new(&model.functions, folder);
    for field in model.graph.ok_or(GraphError::NoGraph)?.fields() {
        reader.add(&field?)?;
    }
    let source = RawSource::Onnx { producer: model.producer, version: model.version, opsets: model.opsets };
    Ok(reader.finish(source))
}

/// Fields of a model that a graph needs.
#[derive(Default)]
struct Model<'a> {
    producer: Name<'a>,
    version: Name<'a>,
    opsets: BTreeMap<Name<'a>, i64>,
    graph: Option<Message<'a>>,
    /// Domain and name of the functions that the file defines.
    functions: HashSet<(Name<'a>, Name<'a>)>,
}

impl<'a> Model<'a> {
    fn add(&mut self, field: &Field<'a>) -> Result<(), GraphError> {
        match field.number {
            model::PRODUCER_NAME => self.producer = field.name()?,
            model::PRODUCER_VERSION => self.version = field.name()?,
            model::OPSET_IMPORT => {
                let (domain, version) = opset(field.message()?)?;
                self.opsets.insert(domain, version);
            }
            model::FUNCTIONS => {
                self.functions.insert(function(field.message()?)?);
            }
            model::GRAPH if self.graph.is_some() => return Err(field.invalid(WireProblem::SecondGraph)),
            model::GRAPH => self.graph = Some(field.message()?),
            _ => {}
        }
        Ok(())
    }
}

/// Domain and version of an `OperatorSetIdProto`.
fn opset(message: Message<'_>) -> Result<(Name<'_>, i64), GraphError> {
    let (mut domain, mut version) = (Name::default(), 0);
    for field in message.fields() {
        let field = field?;
        match field.number {
            operator::SET_DOMAIN => domain = default_domain(field.name()?),
            operator::SET_VERSION => version = field.int()?,
            _ => {}
        }
    }
    Ok((domain, version))
}

/// Domain and name of a `FunctionProto`.
fn function(message: Message<'_>) -> Result<(Name<'_>, Name<'_>), GraphError> {
    let (mut domain, mut name) = (Name::default(), Name::default());
    for field in message.fields() {
        let field = field?;
        match field.number {
            operator::FUNCTION_DOMAIN => domain = default_domain(field.name()?),
            operator::FUNCTION_NAME => name = field.name()?,
            _ => {}
        }
    }
    Ok((domain, name))
}

/// The domain; empty for the default one, which has two names.
fn default_domain(domain: Name<'_>) -> Name<'_> {
    if domain.as_str() == "ai.onnx" { Name::default() } else { domain }
}

/// Parts of a raw graph, while its message is read.
struct GraphReader<'a, 'm> {
    functions: &'m HashSet<(Name<'a>, Name<'a>)>,
    external: ExternalFiles<'m>,
    inputs: Vec<RawEnd<'a>>,
    outputs: Vec<RawEnd<'a>>,
    tensors: Vec<RawTensor<'a>>,
    nodes: Vec<RawNode<'a>>,
    types: HashMap<Name<'a>, RawType<'a>>,
    /// Arguments of all nodes so far.
    arguments: usize,
}

impl<'a, 'm> GraphReader<'a, 'm> {
    fn new(functions: &'m HashSet<(Name<'a>, Name<'a>)>, folder: Option<&'m Path>) -> Self {
        let (inputs, outputs, tensors, nodes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (external, types) = (ExternalFiles::new(folder), HashMap::new());
        Self { functions, external, inputs, outputs, tensors, nodes, types, arguments: 0 }
    }

    fn add(&mut self, field: &Field<'a>) -> Result<(), GraphError> {
        let lists = [self.nodes.len(), self.tensors.len(), self.inputs.len(), self.outputs.len(), self.types.len()];
        if lists.into_iter().any(|length| length >= MAX_NODES) {
            return Err(GraphError::Limit { what: "nodes, and as many tensors and values", limit: MAX_NODES });
        }
        match field.number {
            graph::NODE => self.node(field.message()?),
            graph::INITIALIZER => {
                let tensor = TensorProto::read(field.message()?, "initializer")?;
                let value = tensor.name.clone();
                self.tensor(tensor, value, RawTensorKind::Initialiser)
            }
            graph::SPARSE_INITIALIZER => Err(GraphError::tensor("sparse_initializer", TensorProblem::Sparse)),
            graph::INPUT => {
                let end = self.value_info(field.message()?)?;
                self.inputs.push(end);
                Ok(())
            }
            graph::OUTPUT => {
                let end = self.value_info(field.message()?)?;
                self.outputs.push(end);
                Ok(())
            }
            graph::VALUE_INFO => self.value_info(field.message()?).map(drop),
            _ => Ok(()),
        }
    }

    fn node(&mut self, message: Message<'a>) -> Result<(), GraphError> {
        let node = node::NodeProto::read(message, self.nodes.len())?;
        self.arguments += node.argument_count();
        if self.arguments > MAX_ARGUMENTS {
            return Err(GraphError::Limit { what: "arguments of nodes", limit: MAX_ARGUMENTS });
        }
        if self.functions.contains(&(node.domain.clone(), node.op.clone())) {
            return Err(node.failed(super::error::NodeProblem::Function));
        }
        if node.is_constant() {
            let (tensor, value) = node.into_constant()?;
            self.tensor(tensor, value, RawTensorKind::Constant)
        } else {
            let node = node.into_raw(&mut self.tensors, &mut self.external)?;
            self.nodes.push(node);
            Ok(())
        }
    }

    fn tensor(&mut self, tensor: TensorProto<'a>, value: Name<'a>, kind: RawTensorKind) -> Result<(), GraphError> {
        self.tensors.push(tensor.into_raw(value, kind, &mut self.external)?);
        Ok(())
    }

    /// Takes the type of a value, and returns the value as an input or output.
    fn value_info(&mut self, message: Message<'a>) -> Result<RawEnd<'a>, GraphError> {
        let (name, kind) = types::value_info(message)?;
        if let Some(kind) = kind {
            self.types.insert(name.clone(), kind);
        }
        Ok(RawEnd { name: name.clone(), value: RawArgument::Value(name) })
    }

    /// The graph. Before version 4 of ONNX's format, initialisers were listed among the inputs.
    fn finish(self, source: RawSource<'a>) -> RawGraph<'a> {
        let Self { external, mut inputs, outputs, tensors, nodes, types, .. } = self;
        let initialised: HashSet<&str> = tensors.iter().map(|tensor| tensor.value.as_str()).collect();
        inputs.retain(|input| !initialised.contains(input.name.as_str()));
        let (ranges, external) = (BTreeMap::new(), external.files);
        RawGraph { source, inputs, outputs, tensors, nodes, types, ranges, external }
    }
}
