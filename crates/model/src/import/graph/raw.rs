//! Raw graph: a network as its file has it, the common form of every reader.
//!
//! It is data only. Ops keep the names that the file gives them, values are known by name, and nothing is checked against
//! what an op expects: whether the nodes are in order, whether every value is defined once, and what an op means are
//! questions of the passes that follow.

use super::name::Name;
use super::tensor::RawTensor;
use crate::file::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// The most nodes of a graph.
pub const MAX_NODES: usize = 1_000_000;

/// Network as its file has it. Texts and tensors are lent from the file's bytes, which live for `'a`.
#[derive(Debug)]
pub struct RawGraph<'a> {
    /// Program that wrote the file, and the versions that it states.
    pub source: RawSource<'a>,
    /// Arguments that a caller passes, in order: tensors and integers by [name](RawArgument::Value), constants by value.
    pub inputs: Vec<RawEnd<'a>>,
    /// Results, in order.
    pub outputs: Vec<RawEnd<'a>>,
    /// Parameters, buffers and constants.
    pub tensors: Vec<RawTensor<'a>>,
    /// Calls of ops, in the order of the file.
    pub nodes: Vec<RawNode<'a>>,
    /// Types of values, by the value's name, as far as the file states them.
    pub types: HashMap<Name<'a>, RawType<'a>>,
    /// Ranges of the symbols in shapes, such as that of a dynamic batch.
    pub ranges: BTreeMap<Name<'a>, RawRange>,
    /// Files beside the network that hold values of its tensors.
    pub external: Vec<ExternalFile>,
}

impl RawGraph<'_> {
    /// Returns how many nodes call each op, by the op's name; behind its domain and `::`, where that is not the default one.
    pub fn op_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for node in &self.nodes {
            let op = match node.domain.as_str() {
                "" => node.op.as_str().to_owned(),
                domain => format!("{domain}::{}", node.op.as_str()),
            };
            *counts.entry(op).or_default() += 1;
        }
        counts
    }

    /// Returns a tensor's values in row-major order, little-endian: lent where they lie so in the file.
    pub fn values<'t>(&'t self, tensor: &'t RawTensor<'_>) -> Cow<'t, [u8]> {
        tensor.row_major(&self.external)
    }
}

/// Program that wrote a network file, and the versions that the file states.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawSource<'a> {
    /// `torch.export.save`.
    Pt2 {
        /// The version of torch, such as `2.15.0+cu132`.
        torch: Name<'a>,
        /// Major and minor version of the schema of the graph.
        schema: [u32; 2],
        /// Version of each namespace of ops, such as `aten`.
        opsets: BTreeMap<Name<'a>, i64>,
    },
    /// An exporter of ONNX.
    Onnx {
        /// Its name, such as `pytorch`.
        producer: Name<'a>,
        /// Its version.
        version: Name<'a>,
        /// Version of each domain of ops; the default domain's name is empty.
        opsets: BTreeMap<Name<'a>, i64>,
    },
}

/// Input or output of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEnd<'a> {
    /// Its name for a caller.
    pub name: Name<'a>,
    /// The value, by name; a constant where the export fixed it.
    pub value: RawArgument<'a>,
}

/// Node: a call of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct RawNode<'a> {
    /// The op, such as `torch.ops.aten.conv2d.default` or ONNX's `Conv`.
    pub op: Name<'a>,
    /// ONNX's domain of the op; empty for the default one, and in a `.pt2` file.
    pub domain: Name<'a>,
    /// The node's name; empty if it has none.
    pub name: Name<'a>,
    /// Arguments: those by position first, then those by name. In a `.pt2` file, those by position have the names that the
    /// op's schema gives them; in ONNX they have none, and attributes are those by name.
    pub arguments: Vec<RawNamed<'a>>,
    /// Names of the values that it defines; `None` in place of one that is left out.
    pub outputs: Vec<Option<Name<'a>>>,
    /// Path of the module that called the op, such as `layer1.0.conv1`; `None` where the file has none.
    pub path: Option<Name<'a>>,
}

impl<'a> RawNode<'a> {
    /// Returns the argument of that name.
    pub fn named(&self, name: &str) -> Option<&RawArgument<'a>> {
        self.arguments.iter().find(|argument| argument.name.as_str() == name).map(|argument| &argument.value)
    }

    /// Returns the argument at that position.
    pub fn at(&self, position: usize) -> Option<&RawArgument<'a>> {
        self.arguments.get(position).map(|argument| &argument.value)
    }
}

/// Argument of a node, and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct RawNamed<'a> {
    /// Its name; empty for an argument that is known by its position alone.
    pub name: Name<'a>,
    /// Its value.
    pub value: RawArgument<'a>,
}

/// Argument of a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RawArgument<'a> {
    /// An optional argument that is left out.
    None,
    /// A tensor, or an integer, float or boolean that a node computes, by name.
    Value(Name<'a>),
    /// Tensors by name; `None` for one that is left out.
    Values(Vec<Option<Name<'a>>>),
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// Integers of which nodes compute at least one.
    SymbolicInts(Vec<RawInt<'a>>),
    /// A number.
    Float(f64),
    /// Numbers.
    Floats(Vec<f64>),
    /// A boolean.
    Bool(bool),
    /// Booleans.
    Bools(Vec<bool>),
    /// Text.
    Text(Name<'a>),
    /// Texts.
    Texts(Vec<Name<'a>>),
    /// An element type.
    Dtype(RawDtype),
    /// A layout, by torch's number of it.
    Layout(u32),
    /// A memory format, by torch's number of it.
    MemoryFormat(u32),
    /// A device, such as `cpu`.
    Device(Name<'a>),
    /// A constant that only this node reads, by its position in [`RawGraph::tensors`].
    Tensor(usize),
    /// A graph within the graph: control flow. Its content is left out.
    Subgraph,
    /// Something else, by what it is.
    Other(&'static str),
}

/// Integer in a list: a constant, or the name of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawInt<'a> {
    /// A constant.
    Constant(i64),
    /// The name of the value that has it.
    Value(Name<'a>),
}

/// Type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawType<'a> {
    /// A tensor.
    Tensor {
        /// Element type.
        dtype: RawDtype,
        /// Shape; `None` if the file doesn't state its rank.
        shape: Option<Vec<RawDim<'a>>>,
    },
    /// An integer that depends on the inputs' shapes.
    Int(RawDim<'a>),
    /// A float that depends on the inputs' shapes.
    Float,
    /// A boolean that depends on the inputs' shapes.
    Bool,
    /// Something else, by what it is.
    Other(&'static str),
}

/// Size of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawDim<'a> {
    /// A number.
    Fixed(u64),
    /// A symbol, such as `s77` or `batch`: sizes of one symbol are equal.
    Symbol(Name<'a>),
    /// An expression of symbols, in the notation of the file.
    Expression(Name<'a>),
    /// A size that the file doesn't state.
    Unknown,
}

/// Range of a symbol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRange {
    /// The least value; `None` if there is none.
    pub min: Option<i64>,
    /// The greatest value; `None` if there is none.
    pub max: Option<i64>,
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawDtype {
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// A boolean in a byte.
    Bool,
    /// Another type, by name: its values can't be read.
    Other(&'static str),
}

impl RawDtype {
    /// Returns the bytes of a value; `None` of a type whose values can't be read.
    pub const fn size(self) -> Option<usize> {
        Some(match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::Other(_) => return None,
        })
    }

    /// Whether its values are floating-point numbers.
    pub const fn is_float(self) -> bool {
        match self {
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => true,
            Self::I8
            | Self::I16
            | Self::I32
            | Self::I64
            | Self::U8
            | Self::U16
            | Self::U32
            | Self::U64
            | Self::Bool
            | Self::Other(_) => false,
        }
    }

    /// Whether its values are integers; booleans are none.
    pub const fn is_integer(self) -> bool {
        match self {
            Self::I8 | Self::I16 | Self::I32 | Self::I64 | Self::U8 | Self::U16 | Self::U32 | Self::U64 => true,
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 | Self::Bool | Self::Other(_) => false,
        }
    }

    /// Returns its name, as torch and NumPy have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Bool => "bool",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for RawDtype {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// File beside the network that holds values of its tensors, mapped.
#[derive(Debug)]
pub struct ExternalFile {
    /// Its path, relative to the network's folder, as the network states it.
    pub location: String,
    pub(super) bytes: Bytes,
}
