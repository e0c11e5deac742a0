//! JSON of an exported program: the parts of torch's schema, version 8, that a graph needs.
//!
//! The schema is that of `torch/_export/serde/schema.py`. A union is an object of one member, whose name begins with `as_`;
//! members that are not listed are skipped, so that stack traces cost nothing.
#![allow(clippy::enum_variant_names, reason = "the members of the schema's unions begin with `as_`")]

use crate::import::graph::name::Name;
use crate::import::graph::raw::RawDtype;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// The version of the schema that wrote a program. It is read first: another version may differ in everything else.
#[derive(Deserialize)]
pub(super) struct Versions<'a> {
    pub schema_version: SchemaVersion,
    #[serde(borrow, default)]
    pub torch_version: Name<'a>,
}

#[derive(Deserialize)]
pub(super) struct SchemaVersion {
    pub major: u32,
    pub minor: u32,
}

#[derive(Deserialize)]
pub(super) struct Program<'a> {
    #[serde(borrow)]
    pub graph_module: GraphModule<'a>,
    pub opset_version: BTreeMap<Name<'a>, i64>,
    pub range_constraints: BTreeMap<Name<'a>, RangeConstraint>,
}

#[derive(Deserialize)]
pub(super) struct RangeConstraint {
    pub min_val: Option<i64>,
    pub max_val: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct GraphModule<'a> {
    #[serde(borrow)]
    pub graph: Graph<'a>,
    pub signature: GraphSignature<'a>,
    pub module_call_graph: Vec<ModuleCallEntry<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ModuleCallEntry<'a> {
    #[serde(borrow)]
    pub fqn: Name<'a>,
    pub signature: Option<ModuleCallSignature>,
}

#[derive(Deserialize)]
pub(super) struct ModuleCallSignature {
    /// How the outputs are arranged in lists and dictionaries: a tree, as JSON in a text.
    pub out_spec: String,
}

#[derive(Deserialize)]
pub(super) struct Graph<'a> {
    #[serde(borrow)]
    pub inputs: Vec<Argument<'a>>,
    pub outputs: Vec<Argument<'a>>,
    pub nodes: Vec<Node<'a>>,
    pub tensor_values: HashMap<Name<'a>, ValueMeta<'a>>,
    #[serde(default)]
    pub sym_int_values: HashMap<Name<'a>, SymInt<'a>>,
    #[serde(default)]
    pub sym_bool_values: HashMap<Name<'a>, IgnoredAny>,
    #[serde(default)]
    pub sym_float_values: HashMap<Name<'a>, IgnoredAny>,
    #[serde(default)]
    pub custom_obj_values: HashMap<Name<'a>, IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Node<'a> {
    #[serde(borrow)]
    pub target: Name<'a>,
    pub inputs: Vec<NamedArgument<'a>>,
    pub outputs: Vec<Argument<'a>>,
    pub metadata: NodeMetadata<'a>,
    pub name: Option<Name<'a>>,
}

#[derive(Deserialize)]
pub(super) struct NodeMetadata<'a> {
    /// The modules that called the op, the outermost first: `key,path,class`, separated by `;`.
    #[serde(borrow)]
    pub nn_module_stack: Option<Name<'a>>,
}

#[derive(Deserialize)]
pub(super) struct NamedArgument<'a> {
    #[serde(borrow)]
    pub name: Name<'a>,
    pub arg: Argument<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Argument<'a> {
    AsNone(IgnoredAny),
    AsTensor(#[serde(borrow)] TensorArgument<'a>),
    AsTensors(Vec<TensorArgument<'a>>),
    AsInt(i64),
    AsInts(Vec<i64>),
    AsFloat(Float),
    AsFloats(Vec<Float>),
    AsString(Name<'a>),
    AsStrings(Vec<Name<'a>>),
    AsSymInt(SymIntArgument<'a>),
    AsSymInts(Vec<SymIntArgument<'a>>),
    AsScalarType(u32),
    AsMemoryFormat(u32),
    AsLayout(u32),
    AsDevice(Device<'a>),
    AsBool(bool),
    AsBools(Vec<bool>),
    AsSymBool(SymBoolArgument<'a>),
    AsSymBools(IgnoredAny),
    AsGraph(Box<GraphArgument<'a>>),
    AsOptionalTensors(Vec<OptionalTensorArgument<'a>>),
    AsCustomObj(IgnoredAny),
    AsOperator(Name<'a>),
    AsSymFloat(SymFloatArgument<'a>),
    AsSymFloats(IgnoredAny),
    AsOptionalTensor(OptionalTensorArgument<'a>),
    AsComplex(IgnoredAny),
    AsNestedTensors(IgnoredAny),
    AsIntLists(IgnoredAny),
    AsStringToArgument(IgnoredAny),
    AsFloatLists(IgnoredAny),
}

#[derive(Deserialize)]
pub(super) struct TensorArgument<'a> {
    #[serde(borrow)]
    pub name: Name<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OptionalTensorArgument<'a> {
    AsTensor(#[serde(borrow)] TensorArgument<'a>),
    AsNone(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SymIntArgument<'a> {
    AsName(#[serde(borrow)] Name<'a>),
    AsInt(i64),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SymFloatArgument<'a> {
    AsName(#[serde(borrow)] Name<'a>),
    AsFloat(Float),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SymBoolArgument<'a> {
    AsName(#[serde(borrow)] Name<'a>),
    AsBool(bool),
}

#[derive(Deserialize)]
pub(super) struct GraphArgument<'a> {
    #[serde(borrow)]
    pub graph: Graph<'a>,
}

#[derive(Deserialize)]
pub(super) struct Device<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Name<'a>,
}

/// Type and shape of a value of the graph.
#[derive(Deserialize)]
pub(super) struct ValueMeta<'a> {
    pub dtype: u32,
    #[serde(borrow)]
    pub sizes: Vec<SymInt<'a>>,
}

/// Type, shape and place of a stored tensor.
#[derive(Deserialize)]
pub(super) struct TensorMeta<'a> {
    pub dtype: u32,
    #[serde(borrow)]
    pub sizes: Vec<SymInt<'a>>,
    pub strides: Vec<SymInt<'a>>,
    pub storage_offset: SymInt<'a>,
    pub layout: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SymInt<'a> {
    AsExpr(#[serde(borrow)] SymExpr<'a>),
    AsInt(i64),
}

#[derive(Deserialize)]
pub(super) struct SymExpr<'a> {
    #[serde(borrow)]
    pub expr_str: Name<'a>,
}

#[derive(Deserialize)]
pub(super) struct GraphSignature<'a> {
    #[serde(borrow)]
    pub input_specs: Vec<InputSpec<'a>>,
    pub output_specs: Vec<OutputSpec<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InputSpec<'a> {
    UserInput {
        #[serde(borrow)]
        arg: Argument<'a>,
    },
    Parameter {
        arg: TensorArgument<'a>,
        parameter_name: Name<'a>,
    },
    Buffer {
        arg: TensorArgument<'a>,
        buffer_name: Name<'a>,
    },
    TensorConstant {
        arg: TensorArgument<'a>,
        tensor_constant_name: Name<'a>,
    },
    ConstantInput {
        name: Name<'a>,
        value: ConstantValue<'a>,
    },
    CustomObj(IgnoredAny),
    Token(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConstantValue<'a> {
    AsNone(IgnoredAny),
    AsInt(i64),
    AsFloat(Float),
    AsString(#[serde(borrow)] Name<'a>),
    AsBool(bool),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputSpec<'a> {
    UserOutput {
        #[serde(borrow)]
        arg: Argument<'a>,
    },
    BufferMutation {
        buffer_name: Name<'a>,
    },
    ParameterMutation {
        parameter_name: Name<'a>,
    },
    UserInputMutation {
        user_input_name: Name<'a>,
    },
    LossOutput(IgnoredAny),
    GradientToParameter(IgnoredAny),
    GradientToUserInput(IgnoredAny),
    Token(IgnoredAny),
}

/// List of the stored tensors of a folder of the archive.
#[derive(Deserialize)]
pub(super) struct PayloadConfig<'a> {
    #[serde(borrow)]
    pub config: HashMap<Name<'a>, PayloadMeta<'a>>,
}

#[derive(Deserialize)]
pub(super) struct PayloadMeta<'a> {
    #[serde(borrow)]
    pub path_name: Name<'a>,
    pub use_pickle: bool,
    pub tensor_meta: Option<TensorMeta<'a>>,
}

/// Number; infinities and NaN are texts, since JSON has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Float(pub f64);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FloatVisitor)
    }
}

struct FloatVisitor;

impl Visitor<'_> for FloatVisitor {
    type Value = Float;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number, `Infinity`, `-Infinity` or `NaN`")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Float, E> {
        Ok(Float(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Float, E> {
        Ok(Float(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Float, E> {
        Ok(Float(value as f64))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Float, E> {
        match text {
            "Infinity" => Ok(Float(f64::INFINITY)),
            "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
            "NaN" => Ok(Float(f64::NAN)),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}

/// The element type of torch's number in the schema, which is not that of its C++ code.
pub(super) const fn dtype(scalar_type: u32) -> RawDtype {
    match scalar_type {
        1 => RawDtype::U8,
        2 => RawDtype::I8,
        3 => RawDtype::I16,
        4 => RawDtype::I32,
        5 => RawDtype::I64,
        6 => RawDtype::F16,
        7 => RawDtype::F32,
        8 => RawDtype::F64,
        9 => RawDtype::Other("complex32"),
        10 => RawDtype::Other("complex64"),
        11 => RawDtype::Other("complex128"),
        12 => RawDtype::Bool,
        13 => RawDtype::Bf16,
        28 => RawDtype::U16,
        29..=32 => RawDtype::Other("an 8-bit float"),
        _ => RawDtype::Other("an unknown type"),
    }
}

/// torch's number of the layout of plain tensors.
pub(super) const STRIDED: u32 = 7;
