//! Nodes of ONNX: `NodeProto` and `AttributeProto`.

use super::external::ExternalFiles;
use super::tensor::TensorProto;
use super::wire::{Field, FixedNumbers, Message};
use super::{KEY, VALUE, default_domain};
use crate::import::graph::error::{GraphError, NodeProblem, TensorProblem};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawNamed, RawNode};
use crate::import::graph::tensor::{RawTensor, RawTensorKind};

/// Fields of `NodeProto`.
mod field {
    pub const INPUT: u32 = 1;
    pub const OUTPUT: u32 = 2;
    pub const NAME: u32 = 3;
    pub const OP_TYPE: u32 = 4;
    pub const ATTRIBUTE: u32 = 5;
    pub const DOMAIN: u32 = 7;
    pub const METADATA: u32 = 9;
}

/// Fields of `AttributeProto`.
mod attribute {
    pub const NAME: u32 = 1;
    pub const FLOAT: u32 = 2;
    pub const INT: u32 = 3;
    pub const TEXT: u32 = 4;
    pub const TENSOR: u32 = 5;
    pub const GRAPH: u32 = 6;
    pub const FLOATS: u32 = 7;
    pub const INTS: u32 = 8;
    pub const TEXTS: u32 = 9;
    pub const TENSORS: u32 = 10;
    pub const GRAPHS: u32 = 11;
    pub const TYPE_PROTO: u32 = 14;
    pub const TYPE_PROTOS: u32 = 15;
    pub const TYPE: u32 = 20;
    pub const REFERENCE: u32 = 21;
    pub const SPARSE_TENSOR: u32 = 22;
    pub const SPARSE_TENSORS: u32 = 23;
}

/// The metadata in which torch's exporter keeps the modules that called an op, as a list in Python's notation.
const NAME_SCOPES: &str = "pkg.torch.onnx.name_scopes";
const CONSTANT: &str = "Constant";

/// The most inputs, outputs and attributes of a node.
const MAX_ARGUMENTS: usize = 1 << 16;

/// Node, as its message has it.
pub(super) struct NodeProto<'a> {
    pub op: Name<'a>,
    pub domain: Name<'a>,
    name: Name<'a>,
    /// Its position among the nodes, which names it where it has no name.
    position: usize,
    inputs: Vec<Name<'a>>,
    outputs: Vec<Name<'a>>,
    attributes: Vec<(Name<'a>, Attribute<'a>)>,
    scopes: Name<'a>,
}

/// Value of an attribute.
enum Attribute<'a> {
    Value(RawArgument<'a>),
    Tensor(Message<'a>),
    Sparse,
    /// An attribute of the function that the node is in.
    Reference,
}

impl<'a> NodeProto<'a> {
    pub fn read(message: Message<'a>, position: usize) -> Result<Self, GraphError> {
        let (op, domain, name, scopes) = (Name::default(), Name::default(), Name::default(), Name::default());
        let (inputs, outputs, attributes) = (Vec::new(), Vec::new(), Vec::new());
        let mut node = Self { op, domain, name, position, inputs, outputs, attributes, scopes };
        for field in message.fields() {
            let field = field?;
            match field.number {
                field::INPUT => node.inputs.push(field.name()?),
                field::OUTPUT => node.outputs.push(field.name()?),
                field::NAME => node.name = field.name()?,
                field::OP_TYPE => node.op = field.name()?,
                field::ATTRIBUTE => node.attributes.push(read_attribute(field.message()?)?),
                field::DOMAIN => node.domain = default_domain(field.name()?),
                field::METADATA => node.metadata(field.message()?)?,
                _ => {}
            }
            if node.argument_count() > MAX_ARGUMENTS {
                return Err(GraphError::Limit { what: "arguments of a node", limit: MAX_ARGUMENTS });
            }
        }
        if node.op.is_empty() { Err(node.failed(NodeProblem::NoOp)) } else { Ok(node) }
    }

    /// Its inputs, outputs and attributes.
    pub fn argument_count(&self) -> usize {
        self.inputs.len() + self.outputs.len() + self.attributes.len()
    }

    fn metadata(&mut self, message: Message<'a>) -> Result<(), GraphError> {
        let (mut key, mut value) = (Name::default(), None);
        for field in message.fields() {
            let field = field?;
            match field.number {
                KEY => key = field.name()?,
                VALUE => value = Some(field),
                _ => {}
            }
        }
        // Other metadata, such as stack traces, may be longer than any name.
        if let (NAME_SCOPES, Some(value)) = (key.as_str(), value) {
            self.scopes = value.name()?;
        }
        Ok(())
    }

    /// The error of this node.
    pub fn failed(&self, problem: NodeProblem) -> GraphError {
        GraphError::Node { node: self.title(), op: self.op.as_str().to_owned(), problem }
    }

    fn title(&self) -> String {
        if self.name.is_empty() { format!("#{}", self.position) } else { self.name.as_str().to_owned() }
    }

    pub fn is_constant(&self) -> bool {
        self.domain.is_empty() && self.op.as_str() == CONSTANT
    }

    /// The tensor that a `Constant` is, and the name of its value.
    pub fn into_constant(self) -> Result<(TensorProto<'a>, Name<'a>), GraphError> {
        let title = self.title();
        match (self.outputs.as_slice(), self.attributes.as_slice()) {
            ([output], [(name, value)]) => {
                let tensor = match (name.as_str(), value) {
                    ("value", Attribute::Tensor(message)) => Some(TensorProto::read(*message, &title)?),
                    ("sparse_value", Attribute::Sparse) => {
                        return Err(GraphError::tensor(output, TensorProblem::Sparse));
                    }
                    (_, Attribute::Value(value)) => TensorProto::of_value(value),
                    _ => None,
                };
                Ok((tensor.ok_or_else(|| self.failed(NodeProblem::Constant))?, output.clone()))
            }
            _ => Err(self.failed(NodeProblem::Constant)),
        }
    }

    /// The node. Tensors among its attributes are added to `tensors`.
    pub fn into_raw(
        self,
        tensors: &mut Vec<RawTensor<'a>>,
        external: &mut ExternalFiles<'_>,
    ) -> Result<RawNode<'a>, GraphError> {
        let title = self.title();
        let value = |name: &Name<'a>| match name.is_empty() {
            true => RawArgument::None,
            false => RawArgument::Value(name.clone()),
        };
        let inputs = self.inputs.iter().map(|name| RawNamed { name: Name::default(), value: value(name) });
        let mut arguments: Vec<_> = inputs.collect();
        for (name, attribute) in &self.attributes {
            let value = match attribute {
                Attribute::Value(value) => value.clone(),
                Attribute::Tensor(message) => {
                    let tensor = TensorProto::read(*message, &title)?;
                    tensors.push(tensor.into_raw(Name::default(), RawTensorKind::Constant, external)?);
                    RawArgument::Tensor(tensors.len() - 1)
                }
                Attribute::Sparse => return Err(GraphError::tensor(name, TensorProblem::Sparse)),
                Attribute::Reference => {
                    return Err(self.failed(NodeProblem::Attribute(name.as_str().to_owned())));
                }
            };
            arguments.push(RawNamed { name: name.clone(), value });
        }
        let path = module_path(&self.scopes).or_else(|| scope_path(&self.name)).map(Name::from);
        let outputs = self.outputs.into_iter().map(|name| (!name.is_empty()).then_some(name)).collect();
        Ok(RawNode { op: self.op, domain: self.domain, name: self.name, arguments, outputs, path })
    }
}

/// The name and value of an `AttributeProto`.
fn read_attribute(message: Message<'_>) -> Result<(Name<'_>, Attribute<'_>), GraphError> {
    let mut name = Name::default();
    let (mut kind, mut single, mut lists) = (0, None, Lists::default());
    for field in message.fields() {
        let field = field?;
        match field.number {
            attribute::NAME => name = field.name()?,
            attribute::TYPE => kind = u32::try_from(field.int()?).unwrap_or(0),
            attribute::FLOATS => field.push_fixed(size_of::<f32>(), lists.floats.get_or_insert_default())?,
            attribute::INTS => field.push_ints(lists.ints.get_or_insert_default())?,
            attribute::TEXTS => lists.texts.get_or_insert_default().push(field.name()?),
            _ => single = attribute_value(&field)?.or(single),
        }
    }
    let value = lists.value().or(single).or_else(|| empty_list(kind));
    Ok((name, value.unwrap_or(Attribute::Reference)))
}

/// Lists of an attribute.
#[derive(Default)]
struct Lists<'a> {
    floats: Option<FixedNumbers<'a>>,
    ints: Option<Vec<i64>>,
    texts: Option<Vec<Name<'a>>>,
}

impl<'a> Lists<'a> {
    fn value(self) -> Option<Attribute<'a>> {
        let floats = self.floats.map(|numbers| {
            let (floats, _) = numbers.0.as_chunks();
            RawArgument::Floats(floats.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect())
        });
        let ints = || self.ints.map(RawArgument::Ints);
        let texts = || self.texts.map(RawArgument::Texts);
        floats.or_else(ints).or_else(texts).map(Attribute::Value)
    }
}

/// The list without a member that the type of an attribute says it is.
fn empty_list<'a>(kind: u32) -> Option<Attribute<'a>> {
    const FLOATS: u32 = 6;
    const INTS: u32 = 7;
    const TEXTS: u32 = 8;
    match kind {
        FLOATS => Some(Attribute::Value(RawArgument::Floats(Vec::new()))),
        INTS => Some(Attribute::Value(RawArgument::Ints(Vec::new()))),
        TEXTS => Some(Attribute::Value(RawArgument::Texts(Vec::new()))),
        _ => None,
    }
}

/// The value of an attribute that a field has; `None` of a field that has none.
fn attribute_value<'a>(field: &Field<'a>) -> Result<Option<Attribute<'a>>, GraphError> {
    Ok(Some(match field.number {
        attribute::FLOAT => Attribute::Value(RawArgument::Float(field.float()?.into())),
        attribute::INT => Attribute::Value(RawArgument::Int(field.int()?)),
        attribute::TEXT => Attribute::Value(RawArgument::Text(field.name()?)),
        attribute::TENSOR => Attribute::Tensor(field.message()?),
        attribute::GRAPH | attribute::GRAPHS => Attribute::Value(RawArgument::Subgraph),
        attribute::TENSORS => Attribute::Value(RawArgument::Other("a list of tensors")),
        attribute::TYPE_PROTO | attribute::TYPE_PROTOS => Attribute::Value(RawArgument::Other("a type")),
        attribute::SPARSE_TENSOR | attribute::SPARSE_TENSORS => Attribute::Sparse,
        attribute::REFERENCE => Attribute::Reference,
        _ => return Ok(None),
    }))
}

/// The module of a list such as `['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']`, whose last member is the call.
fn module_path(scopes: &str) -> Option<String> {
    let (before, _call) = scopes.strip_suffix("']")?.rsplit_once("', '")?;
    let (_, module) = before.rsplit_once('\'')?;
    (!module.is_empty()).then(|| module.to_owned())
}

/// The module of a name such as `/layer1/layer1.0/conv1/Conv`, in which members of a list bear the list's name.
fn scope_path(name: &str) -> Option<String> {
    let (scopes, _op) = name.strip_prefix('/')?.rsplit_once('/')?;
    let mut path = String::new();
    let mut outer = "";
    for scope in scopes.split('/') {
        let member = scope.strip_prefix(outer).and_then(|rest| rest.strip_prefix('.')).filter(|_| !outer.is_empty());
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(member.unwrap_or(scope));
        outer = scope;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: module paths of torch's two exporters that differ from those of the checkpoint's names.
    #[test]
    fn module_paths_are_those_of_the_checkpoint() {
        let path = |scopes| module_path(scopes);
        assert_eq!(path("['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']").as_deref(), Some("layer1.0.conv1"));
        assert_eq!(path("['', 'add']"), None);
        assert_eq!(path("['add']"), None);
        assert_eq!(path(""), None);
        assert_eq!(scope_path("/layer1/layer1.0/conv1/Conv").as_deref(), Some("layer1.0.conv1"));
        assert_eq!(scope_path("/blocks.0/blocks.0.1/act/Relu").as_deref(), Some("blocks.0.1.act"));
        assert_eq!(scope_path("/conv1/Conv").as_deref(), Some("conv1"));
        assert_eq!(scope_path("/Add"), None);
        assert_eq!(scope_path("Conv_0"), None);
    }
}
