//! Graph builder: turns a program of the schema into a raw graph.

use super::output_tree::output_names;
use super::payload::Payloads;
use super::schema::{
    Argument, ConstantValue, Graph, GraphModule, InputSpec, NamedArgument, Node, OptionalTensorArgument, OutputSpec,
    SymBoolArgument, SymFloatArgument, SymInt, SymIntArgument, ValueMeta, dtype,
};
use crate::import::graph::error::{GraphError, NodeProblem};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{MAX_NODES, RawArgument, RawDim, RawEnd, RawInt, RawNamed, RawNode, RawType};
use crate::import::graph::tensor::{RawTensor, RawTensorKind};
use std::collections::HashMap;

/// Ops that call a graph of their own and change nothing of its values.
const SET_GRAD: &str = "torch.ops.higher_order.wrap_with_set_grad_enabled";
const AUTOCAST: &str = "torch.ops.higher_order.wrap_with_autocast";
/// The position of the argument that says whether autocast is on.
const AUTOCAST_ENABLED: usize = 2;

/// Parts of a raw graph, while its program is read.
#[derive(Default)]
pub(super) struct GraphBuilder<'a> {
    pub inputs: Vec<RawEnd<'a>>,
    pub outputs: Vec<RawEnd<'a>>,
    pub tensors: Vec<RawTensor<'a>>,
    pub nodes: Vec<RawNode<'a>>,
    pub types: HashMap<Name<'a>, RawType<'a>>,
    /// What nodes must not write to: each stateful value's kind and the tensor's name, by the value's name.
    state: HashMap<Name<'a>, (&'static str, Name<'a>)>,
    /// Graphs within the graph so far.
    inner_graphs: usize,
}

/// Names of the values of a graph, as the raw graph has them.
#[derive(Default)]
struct Scope<'a> {
    /// The number of a graph within the graph; 0 of the outermost one.
    number: usize,
    /// Values that another graph defines.
    renamed: HashMap<Name<'a>, Name<'a>>,
}

impl<'a> Scope<'a> {
    fn name(&self, name: &Name<'a>) -> Name<'a> {
        match self.renamed.get(name) {
            Some(renamed) => renamed.clone(),
            None if self.number == 0 => name.clone(),
            None => format!("graph{}/{}", self.number, name.as_str()).into(),
        }
    }
}

impl<'a> GraphBuilder<'a> {
    /// Builds the graph of a program.
    ///
    /// # Errors
    /// If the program contradicts itself, changes its tensors, has control flow, too many nodes, or a tensor can't be read.
    pub fn read(module: GraphModule<'a>, payloads: &mut Payloads<'a, '_>) -> Result<Self, GraphError> {
        let GraphModule { graph, signature, module_call_graph } = module;
        let mut builder = Self::default();
        if graph.inputs.len() != signature.input_specs.len() {
            return Err(contradiction("inputs", "its signature has another number of inputs than its graph"));
        }
        for spec in signature.input_specs {
            builder.input(spec, &graph.tensor_values, payloads)?;
        }
        let mut scope = Scope::default();
        builder.graph(graph, &mut scope)?;
        for spec in signature.output_specs {
            builder.output(spec, &scope)?;
        }
        let call = module_call_graph.into_iter().find(|call| call.fqn.is_empty()).and_then(|call| call.signature);
        if let Some(names) = call.and_then(|signature| output_names(&signature.out_spec, builder.outputs.len())) {
            builder.outputs.iter_mut().zip(names).for_each(|(output, name)| output.name = name.into());
        }
        Ok(builder)
    }

    fn input(
        &mut self,
        spec: InputSpec<'a>,
        values: &HashMap<Name<'a>, ValueMeta<'a>>,
        payloads: &mut Payloads<'a, '_>,
    ) -> Result<(), GraphError> {
        let (name, value, kind, state) = match spec {
            InputSpec::UserInput { arg } => {
                let value = argument(arg, &Scope::default());
                let name = if let RawArgument::Value(name) = &value { name.clone() } else { Name::default() };
                self.inputs.push(RawEnd { name, value });
                return Ok(());
            }
            InputSpec::ConstantInput { name, value } => {
                self.inputs.push(RawEnd { name, value: constant(value) });
                return Ok(());
            }
            InputSpec::Parameter { arg, parameter_name } => {
                (parameter_name, arg.name, RawTensorKind::Parameter, Some("parameter"))
            }
            InputSpec::Buffer { arg, buffer_name } => (buffer_name, arg.name, RawTensorKind::Buffer, Some("buffer")),
            InputSpec::TensorConstant { arg, tensor_constant_name } => {
                (tensor_constant_name, arg.name, RawTensorKind::Constant, None)
            }
            InputSpec::CustomObj(_) => return Err(GraphError::Input { found: "an object of a class" }),
            InputSpec::Token(_) => return Err(GraphError::Input { found: "a token of an op with effects" }),
        };
        if let Some(what) = state {
            self.state.insert(value.clone(), (what, name.clone()));
        }
        let expected = values.get(&value);
        self.tensors.push(payloads.tensor(name, value, kind, expected)?);
        Ok(())
    }

    fn output(&mut self, spec: OutputSpec<'a>, scope: &Scope<'a>) -> Result<(), GraphError> {
        let mutation = |what, name: Name<'a>| Err(GraphError::Mutation { what, name: name.as_str().to_owned() });
        match spec {
            OutputSpec::UserOutput { arg } => {
                let name = value_name(&arg).cloned().unwrap_or_default();
                self.outputs.push(RawEnd { name, value: argument(arg, scope) });
                Ok(())
            }
            OutputSpec::BufferMutation { buffer_name } => mutation("buffer", buffer_name),
            OutputSpec::ParameterMutation { parameter_name } => mutation("parameter", parameter_name),
            OutputSpec::UserInputMutation { user_input_name } => mutation("input", user_input_name),
            OutputSpec::LossOutput(_) => Err(GraphError::Output { found: "a loss" }),
            OutputSpec::GradientToParameter(_) | OutputSpec::GradientToUserInput(_) => {
                Err(GraphError::Output { found: "a gradient" })
            }
            OutputSpec::Token(_) => Err(GraphError::Output { found: "a token of an op with effects" }),
        }
    }

    /// Adds the types and nodes of a graph.
    fn graph(&mut self, graph: Graph<'a>, scope: &mut Scope<'a>) -> Result<(), GraphError> {
        let tensors = graph.tensor_values.into_iter().map(|(name, meta)| (name, tensor_type(meta)));
        let ints = graph.sym_int_values.into_iter().map(|(name, size)| (name, RawType::Int(dim(size))));
        let floats = graph.sym_float_values.into_keys().map(|name| (name, RawType::Float));
        let bools = graph.sym_bool_values.into_keys().map(|name| (name, RawType::Bool));
        let objects = graph.custom_obj_values.into_keys().map(|name| (name, RawType::Other("an object of a class")));
        for (name, kind) in tensors.chain(ints).chain(floats).chain(bools).chain(objects) {
            self.types.entry(scope.name(&name)).or_insert(kind);
        }
        graph.nodes.into_iter().try_for_each(|node| self.node(node, scope))
    }

    fn node(&mut self, mut node: Node<'a>, scope: &mut Scope<'a>) -> Result<(), GraphError> {
        let graph = node.inputs.iter().position(|input| matches!(input.arg, Argument::AsGraph(_)));
        if let Some(position) = graph {
            let operands = node.inputs.split_off(position + 1);
            return match node.inputs.pop() {
                Some(NamedArgument { arg: Argument::AsGraph(inner), .. }) => {
                    self.wrapper(&node, inner.graph, operands, scope)
                }
                Some(_) | None => Err(failed(&node, NodeProblem::Wrapper)),
            };
        }
        if self.nodes.len() == MAX_NODES {
            return Err(GraphError::Limit { what: "nodes", limit: MAX_NODES });
        }
        let arguments = node.inputs.into_iter();
        let arguments: Vec<_> =
            arguments.map(|input| RawNamed { name: input.name, value: argument(input.arg, scope) }).collect();
        self.check_mutation(&node.target, arguments.first().map(|argument| &argument.value))?;
        let outputs = node.outputs.iter().flat_map(value_names);
        self.nodes.push(RawNode {
            domain: Name::default(),
            name: node.name.map(|name| scope.name(&name)).unwrap_or_default(),
            arguments,
            outputs: outputs.map(|name| name.map(|name| scope.name(name))).collect(),
            path: node.metadata.nn_module_stack.as_deref().and_then(module_path),
            op: node.target,
        });
        Ok(())
    }

    /// Refuses an op that writes to a parameter or buffer: in torch, its name ends with `_`.
    fn check_mutation(&self, op: &str, first: Option<&RawArgument<'a>>) -> Result<(), GraphError> {
        let op = op.rsplit_once('.').map_or(op, |(op, _overload)| op);
        let writes = op.ends_with('_') && !op.ends_with("__") && !op.ends_with(".detach_");
        let Some(RawArgument::Value(value)) = first.filter(|_| writes) else { return Ok(()) };
        match self.state.get(value) {
            Some((what, name)) => Err(GraphError::Mutation { what, name: name.as_str().to_owned() }),
            None => Ok(()),
        }
    }

    /// Adds the nodes of a graph that a node calls without a change of its values.
    fn wrapper(
        &mut self,
        node: &Node<'a>,
        inner: Graph<'a>,
        operands: Vec<NamedArgument<'a>>,
        scope: &mut Scope<'a>,
    ) -> Result<(), GraphError> {
        match node.target.as_str() {
            SET_GRAD => {}
            AUTOCAST => match node.inputs.get(AUTOCAST_ENABLED).map(|input| &input.arg) {
                Some(Argument::AsBool(false)) => {}
                Some(_) | None => return Err(failed(node, NodeProblem::Autocast)),
            },
            _ => return Err(failed(node, NodeProblem::ControlFlow)),
        }
        self.inner_graphs += 1;
        let mut inner_scope = Scope { number: self.inner_graphs, renamed: HashMap::new() };
        let operands: Vec<_> = operands.iter().map(|operand| value_name(&operand.arg)).collect();
        let inputs: Vec<_> = inner.inputs.iter().map(value_name).collect();
        for pair in pairs(&inputs, &operands).ok_or_else(|| failed(node, NodeProblem::Wrapper))? {
            inner_scope.renamed.insert(pair.0.clone(), scope.name(pair.1));
        }
        let results: Vec<_> = inner.outputs.iter().flat_map(value_names).map(|name| name.cloned()).collect();
        self.graph(inner, &mut inner_scope)?;
        let outputs: Vec<_> = node.outputs.iter().flat_map(value_names).collect();
        let results: Vec<_> = results.iter().map(Option::as_ref).collect();
        for pair in pairs(&outputs, &results).ok_or_else(|| failed(node, NodeProblem::Wrapper))? {
            scope.renamed.insert(pair.0.clone(), inner_scope.name(pair.1));
        }
        Ok(())
    }
}

/// Both lists' names in pairs; `None` if one is longer, or has a name where the other has none.
fn pairs<'n, 'a>(
    first: &[Option<&'n Name<'a>>],
    second: &[Option<&'n Name<'a>>],
) -> Option<Vec<(&'n Name<'a>, &'n Name<'a>)>> {
    let is_paired = first.len() == second.len() && first.iter().zip(second).all(|(a, b)| a.is_some() == b.is_some());
    is_paired.then(|| first.iter().zip(second).filter_map(|(first, second)| first.zip(*second)).collect())
}

fn failed(node: &Node<'_>, problem: NodeProblem) -> GraphError {
    let name = node.name.as_deref().unwrap_or_default();
    GraphError::Node { node: name.to_owned(), op: node.target.as_str().to_owned(), problem }
}

fn contradiction(name: &str, problem: &'static str) -> GraphError {
    GraphError::Contradiction { name: name.to_owned(), problem }
}

/// The path of the innermost module of a stack: `key,path,class` of each, separated by `;`.
fn module_path<'a>(stack: &str) -> Option<Name<'a>> {
    let (_, innermost) = stack.rsplit_once(';').unwrap_or(("", stack));
    let path = innermost.split(',').nth(1)?;
    let is_module = !path.is_empty() && !path.starts_with("_empty_nn_module_stack");
    is_module.then(|| path.to_owned().into())
}

fn argument<'a>(argument: Argument<'a>, scope: &Scope<'a>) -> RawArgument<'a> {
    let value = |name: &Name<'a>| RawArgument::Value(scope.name(name));
    let optional = |tensor: OptionalTensorArgument<'a>| match tensor {
        OptionalTensorArgument::AsTensor(tensor) => Some(scope.name(&tensor.name)),
        OptionalTensorArgument::AsNone(_) => None,
    };
    match argument {
        Argument::AsNone(_) => RawArgument::None,
        Argument::AsTensor(tensor) => value(&tensor.name),
        Argument::AsTensors(tensors) => {
            RawArgument::Values(tensors.iter().map(|tensor| Some(scope.name(&tensor.name))).collect())
        }
        Argument::AsOptionalTensors(tensors) => RawArgument::Values(tensors.into_iter().map(optional).collect()),
        Argument::AsOptionalTensor(tensor) => optional(tensor).map_or(RawArgument::None, RawArgument::Value),
        Argument::AsInt(int) | Argument::AsSymInt(SymIntArgument::AsInt(int)) => RawArgument::Int(int),
        Argument::AsSymInt(SymIntArgument::AsName(name))
        | Argument::AsSymFloat(SymFloatArgument::AsName(name))
        | Argument::AsSymBool(SymBoolArgument::AsName(name)) => value(&name),
        Argument::AsInts(ints) => RawArgument::Ints(ints),
        Argument::AsSymInts(ints) => symbolic_ints(ints, scope),
        Argument::AsFloat(float) | Argument::AsSymFloat(SymFloatArgument::AsFloat(float)) => {
            RawArgument::Float(float.0)
        }
        Argument::AsFloats(floats) => RawArgument::Floats(floats.into_iter().map(|float| float.0).collect()),
        Argument::AsBool(bool) | Argument::AsSymBool(SymBoolArgument::AsBool(bool)) => RawArgument::Bool(bool),
        Argument::AsBools(bools) => RawArgument::Bools(bools),
        Argument::AsString(text) | Argument::AsOperator(text) => RawArgument::Text(text),
        Argument::AsStrings(texts) => RawArgument::Texts(texts),
        Argument::AsScalarType(number) => RawArgument::Dtype(dtype(number)),
        Argument::AsMemoryFormat(number) => RawArgument::MemoryFormat(number),
        Argument::AsLayout(number) => RawArgument::Layout(number),
        Argument::AsDevice(device) => RawArgument::Device(device.kind),
        Argument::AsGraph(_) => RawArgument::Other("a graph"),
        Argument::AsSymBools(_) => RawArgument::Other("a list of symbolic booleans"),
        Argument::AsSymFloats(_) => RawArgument::Other("a list of symbolic numbers"),
        Argument::AsCustomObj(_) => RawArgument::Other("an object of a class"),
        Argument::AsComplex(_) => RawArgument::Other("a complex number"),
        Argument::AsNestedTensors(_) => RawArgument::Other("lists of tensors"),
        Argument::AsIntLists(_) | Argument::AsFloatLists(_) => RawArgument::Other("lists of numbers"),
        Argument::AsStringToArgument(_) => RawArgument::Other("a dictionary"),
    }
}

fn symbolic_ints<'a>(ints: Vec<SymIntArgument<'a>>, scope: &Scope<'a>) -> RawArgument<'a> {
    let constant = |int: &SymIntArgument<'a>| match int {
        SymIntArgument::AsInt(int) => Some(*int),
        SymIntArgument::AsName(_) => None,
    };
    let symbolic = |int: &SymIntArgument<'a>| match int {
        SymIntArgument::AsInt(int) => RawInt::Constant(*int),
        SymIntArgument::AsName(name) => RawInt::Value(scope.name(name)),
    };
    match ints.iter().map(constant).collect() {
        Some(constants) => RawArgument::Ints(constants),
        None => RawArgument::SymbolicInts(ints.iter().map(symbolic).collect()),
    }
}

fn constant(value: ConstantValue<'_>) -> RawArgument<'_> {
    match value {
        ConstantValue::AsNone(_) => RawArgument::None,
        ConstantValue::AsInt(int) => RawArgument::Int(int),
        ConstantValue::AsFloat(float) => RawArgument::Float(float.0),
        ConstantValue::AsString(text) => RawArgument::Text(text),
        ConstantValue::AsBool(bool) => RawArgument::Bool(bool),
    }
}

/// The value that an argument names.
fn value_name<'n, 'a>(argument: &'n Argument<'a>) -> Option<&'n Name<'a>> {
    match value_names(argument).as_slice() {
        [name] => *name,
        _ => None,
    }
}

/// The values that a node's output or an argument names; `None` for one that is left out.
fn value_names<'n, 'a>(argument: &'n Argument<'a>) -> Vec<Option<&'n Name<'a>>> {
    let optional = |tensor: &'n OptionalTensorArgument<'a>| match tensor {
        OptionalTensorArgument::AsTensor(tensor) => Some(&tensor.name),
        OptionalTensorArgument::AsNone(_) => None,
    };
    match argument {
        Argument::AsTensor(tensor) => vec![Some(&tensor.name)],
        Argument::AsTensors(tensors) => tensors.iter().map(|tensor| Some(&tensor.name)).collect(),
        Argument::AsOptionalTensor(tensor) => vec![optional(tensor)],
        Argument::AsOptionalTensors(tensors) => tensors.iter().map(optional).collect(),
        Argument::AsSymInt(SymIntArgument::AsName(name))
        | Argument::AsSymFloat(SymFloatArgument::AsName(name))
        | Argument::AsSymBool(SymBoolArgument::AsName(name)) => vec![Some(name)],
        Argument::AsNone(_)
        | Argument::AsInt(_)
        | Argument::AsInts(_)
        | Argument::AsFloat(_)
        | Argument::AsFloats(_)
        | Argument::AsString(_)
        | Argument::AsStrings(_)
        | Argument::AsSymInt(SymIntArgument::AsInt(_))
        | Argument::AsSymInts(_)
        | Argument::AsScalarType(_)
        | Argument::AsMemoryFormat(_)
        | Argument::AsLayout(_)
        | Argument::AsDevice(_)
        | Argument::AsBool(_)
        | Argument::AsBools(_)
        | Argument::AsSymBool(SymBoolArgument::AsBool(_))
        | Argument::AsSymBools(_)
        | Argument::AsGraph(_)
        | Argument::AsCustomObj(_)
        | Argument::AsOperator(_)
        | Argument::AsSymFloat(SymFloatArgument::AsFloat(_))
        | Argument::AsSymFloats(_)
        | Argument::AsComplex(_)
        | Argument::AsNestedTensors(_)
        | Argument::AsIntLists(_)
        | Argument::AsStringToArgument(_)
        | Argument::AsFloatLists(_) => vec![None],
    }
}

fn tensor_type(meta: ValueMeta<'_>) -> RawType<'_> {
    RawType::Tensor { dtype: dtype(meta.dtype), shape: Some(meta.sizes.into_iter().map(dim).collect()) }
}

fn dim(size: SymInt<'_>) -> RawDim<'_> {
    match size {
        SymInt::AsInt(size) => u64::try_from(size).map_or(RawDim::Unknown, RawDim::Fixed),
        SymInt::AsExpr(expression) => match symbol(&expression.expr_str) {
            Some(symbol) => RawDim::Symbol(symbol.to_owned().into()),
            None => RawDim::Expression(expression.expr_str),
        },
    }
}

/// The symbol that an expression is: `s77`, or `Symbol('s77', positive=True, integer=True)`.
fn symbol(expression: &str) -> Option<&str> {
    let quoted = expression.strip_prefix("Symbol('").and_then(|rest| rest.split_once('\''));
    let (symbol, is_alone) = match quoted {
        Some((symbol, rest)) => (symbol, rest.ends_with(')') && !rest.contains('(') && rest.matches(')').count() == 1),
        None => (expression, true),
    };
    let is_symbol = !symbol.is_empty() && symbol.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    (is_alone && is_symbol && !symbol.starts_with(|letter: char| letter.is_ascii_digit())).then_some(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a stage that has no path, that of the wrong module, or a marker of torch's in place of one.
    #[test]
    fn module_paths_are_the_innermost() {
        let path = |stack| module_path(stack).map(|path| path.as_str().to_owned());
        assert_eq!(path("L__self__,,net.Net;L__self__layer1.0,layer1.0,net.Block"), Some("layer1.0".to_owned()));
        assert_eq!(path("L__self__,,net.Net;L__self___act@2,act,torch.nn.ReLU"), Some("act".to_owned()));
        assert_eq!(path("L__self__,,net.Net"), None);
        let empty = "_empty_nn_module_stack_from_metadata_hook";
        let three = format!("{empty},{empty},{empty}");
        assert_eq!(path(&three), None);
        assert_eq!(path(""), None);
    }

    /// Catches: a dynamic batch whose symbol differs from that of its range, or an expression taken for a symbol.
    #[test]
    fn symbols_are_found_in_expressions() {
        assert_eq!(symbol("Symbol('s77', positive=True, integer=True)"), Some("s77"));
        assert_eq!(symbol("s0"), Some("s0"));
        assert_eq!(symbol("Mul(Integer(2), Symbol('s77', positive=True, integer=True))"), None);
        assert_eq!(symbol("Symbol('s7', integer=True) + Symbol('s8', integer=True)"), None);
        assert_eq!(symbol("2*s0"), None);
        assert_eq!(symbol(""), None);
    }

    /// Catches: a name that a graph within the graph gives to another value than the graph around it does.
    #[test]
    fn values_of_inner_graphs_get_names_of_their_own() {
        let renamed = HashMap::from([(Name::from("x"), Name::from("relu"))]);
        let inner = Scope { number: 2, renamed };
        assert_eq!(inner.name(&"x".into()).as_str(), "relu");
        assert_eq!(inner.name(&"mean".into()).as_str(), "graph2/mean");
        assert_eq!(Scope::default().name(&"mean".into()).as_str(), "mean");
    }
}
