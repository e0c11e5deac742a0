//! Errors of reading a network file.

use crate::import::CheckpointError;
use crate::text::excerpt;
use fieldfit_nets::ShapeError;
use std::io;
use thiserror::Error;

/// The line of Python that writes a network that can be read.
pub const EXPORT: &str = "torch.export.save(torch.export.export(model.eval(), (x,)), \"model.pt2\")";

/// Error of reading a network file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A file without a byte.
    #[error("the file is empty: get it again")]
    Empty,
    /// A file of another kind.
    #[error(
        "expected a network as torch.export.save (.pt2) or an exporter of ONNX writes it, found another kind of file"
    )]
    Format,
    /// A zip archive that cannot be read.
    #[error(transparent)]
    Archive(#[from] CheckpointError),
    /// A checkpoint of weights alone.
    #[error(
        "expected an exported program, found a checkpoint of weights without a graph: import it with `--arch`, or export \
         the network: {EXPORT}"
    )]
    WeightsAlone,
    /// An archive of an earlier version of torch.
    #[error(
        "expected an exported program of torch 2.8 or later, found one of an earlier version, which pickles its tensors: \
         export the network again with torch 2.8 or later: {EXPORT}"
    )]
    Earlier,
    /// Another version of the archive than the readable one.
    #[error(
        "expected version {expected} of the .pt2 archive, found `{}`: export the network with torch 2.8 to 2.15",
        excerpt(found)
    )]
    ArchiveVersion {
        /// The readable version.
        expected: &'static str,
        /// What the archive states.
        found: String,
    },
    /// An archive without a program, or with several.
    #[error("expected one exported program in the archive, found {found}: save one alone: {EXPORT}")]
    Programs {
        /// Programs in the archive.
        found: usize,
    },
    /// Another version of the schema than the readable one.
    #[error(
        "expected version {expected} of the schema of exported programs, found {}.{} by torch {}: export the network with \
         torch 2.8 to 2.15",
        found[0], found[1], excerpt(torch)
    )]
    Schema {
        /// The readable major version.
        expected: u32,
        /// Major and minor version.
        found: [u32; 2],
        /// The version of torch that wrote it.
        torch: String,
    },
    /// A file in the archive that isn't the JSON that it should be.
    #[error("`{}` in the archive is invalid: {}; export the network again: {EXPORT}", excerpt(entry), excerpt(&source.to_string()))]
    Json {
        /// The file's name in the archive.
        entry: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file that contradicts itself.
    #[error("the program contradicts itself: {problem} (`{}`): export the network again", excerpt(name))]
    Contradiction {
        /// The value, tensor or node.
        name: String,
        /// What doesn't fit.
        problem: &'static str,
    },
    /// A network that changes its own tensors.
    #[error(
        "expected a network in evaluation mode, found one that changes its {what} `{}`, as batch norms do in training: export \
         model.eval(): {EXPORT}",
        excerpt(name)
    )]
    Mutation {
        /// What is changed.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A program that computes more than results: a loss, gradients or effects.
    #[error(
        "expected a program that computes results alone, found {found} among its outputs: export the network itself: {EXPORT}"
    )]
    Output {
        /// What else it computes.
        found: &'static str,
    },
    /// An object of a class among the inputs.
    #[error("expected tensors and numbers as inputs, found {found}: export the network without it: {EXPORT}")]
    Input {
        /// What it is.
        found: &'static str,
    },
    /// A node that cannot be read.
    #[error("node `{}` of op `{}`: {problem}", excerpt(node), excerpt(op))]
    Node {
        /// The node's name, or its number.
        node: String,
        /// The op.
        op: String,
        /// Why.
        problem: NodeProblem,
    },
    /// A tensor that cannot be read.
    #[error("tensor `{}`: {problem}", excerpt(name))]
    Tensor {
        /// The tensor.
        name: String,
        /// Why.
        problem: TensorProblem,
    },
    /// A network whose image has any size.
    #[error("expected one size of images, found a network for any size: choose it with `--size`, such as `--size 224`")]
    AnySize,
    /// A network with several results, of which none was chosen, or one that it has not.
    #[error(
        "expected one result, found {}: choose one with `--output NAME`",
        names.iter().map(|name| format!("`{}`", excerpt(name))).collect::<Vec<_>>().join(", ")
    )]
    Outputs {
        /// Names of the results.
        names: Vec<String>,
    },
    /// A network of another form than one image in, one result out.
    #[error(
        "expected {expected}, found {found}: export the network with one image as its argument and one result: {EXPORT}"
    )]
    Form {
        /// What a network has.
        expected: &'static str,
        /// What this one has.
        found: String,
    },
    /// More of something than is read.
    #[error("expected at most {limit} {what}, found more")]
    Limit {
        /// What.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// Bytes that aren't the protocol buffer that ONNX defines.
    #[error("invalid ONNX at byte {offset}: {problem}; get the file again")]
    Wire {
        /// The byte in the file.
        offset: usize,
        /// What is wrong.
        problem: WireProblem,
    },
    /// A model of ONNX without a graph.
    #[error("the ONNX file has no graph: get it again")]
    NoGraph,
    /// A version of the ops that is not supported.
    #[error(
        "expected version {least} to {most} of ONNX's ops, found {}: export the network with opset_version=18, or convert \
         the file with onnx.version_converter",
        found.map_or_else(|| "none".to_owned(), |found| found.to_string())
    )]
    Opset {
        /// The least supported version.
        least: i64,
        /// The greatest supported version.
        most: i64,
        /// The model's version of the default domain, if it states one.
        found: Option<i64>,
    },
    /// A file beside the network that cannot be read.
    #[error("external data of tensor `{}` at `{}`: {problem}", excerpt(tensor), excerpt(location))]
    External {
        /// The tensor.
        tensor: String,
        /// The file, as the network states it.
        location: String,
        /// Why.
        problem: ExternalProblem,
    },
}

impl GraphError {
    pub(super) fn tensor(name: &str, problem: TensorProblem) -> Self {
        Self::Tensor { name: name.to_owned(), problem }
    }
}

/// Reason for which a tensor is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// It is in no file.
    #[error("the archive has no values of it: export the network again: {EXPORT}")]
    Missing,
    /// It is a pickled object.
    #[error(
        "its values are pickled, as those of tensors of a class of their own are: make it a plain tensor before the export"
    )]
    Pickled,
    /// Its file is not the one that its name says.
    #[error("its file `{}` is not in the archive's folder of tensors", excerpt(.0))]
    Path(String),
    /// Its layout is not that of plain tensors.
    #[error("expected a dense tensor, found layout {found}: convert it with .to_dense() before the export")]
    Layout {
        /// torch's number of the layout.
        found: u32,
    },
    /// Its element type can't be read.
    #[error("expected floating point, integers or booleans, found {found}: convert it before the export")]
    Dtype {
        /// The type.
        found: &'static str,
    },
    /// Its shape has symbols or negative sizes.
    #[error("expected a shape of numbers, found a size that is none")]
    Symbolic,
    /// It has more axes than torch allows.
    #[error("expected at most {limit} axes, found {found}")]
    Rank {
        /// Its axes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Its shape has more values than a machine can count.
    #[error("shape {shape:?} has more values than can be counted")]
    Shape {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Its values have another length than its shape needs.
    #[error("expected {expected} bytes for its shape, found {found}: get the file again")]
    Length {
        /// What shape and type need.
        expected: usize,
        /// What the file has.
        found: usize,
    },
    /// It reaches outside its storage.
    #[error(
        "shape {shape:?}, strides {strides:?}, offset {offset} reach outside its storage of {storage} values: get the file again"
    )]
    Outside {
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in values.
        strides: Vec<usize>,
        /// Its first value's place in the storage.
        offset: usize,
        /// Values of the storage.
        storage: usize,
    },
    /// It has more values than it stores.
    #[error("shape {shape:?}, strides {strides:?} repeat values: make it .contiguous() before the export")]
    Overlapping {
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in values.
        strides: Vec<usize>,
    },
    /// It has another type or shape in the graph than in the weights.
    #[error("the graph has another type or shape of it than the weights: export the network again: {EXPORT}")]
    Contradiction,
    /// It is sparse.
    #[error("expected a dense tensor, found a sparse one: export the network with dense tensors")]
    Sparse,
    /// It is stored in segments.
    #[error("its values are in segments, which no released version of ONNX defines: export the network again")]
    Segment,
    /// It has its values twice.
    #[error("its values are there twice, in fields `{0}` and `{1}`: export the network again")]
    Twice(&'static str, &'static str),
    /// A value that its type doesn't hold.
    #[error("value {value} doesn't fit its type {dtype}: get the file again")]
    Value {
        /// The value.
        value: i64,
        /// The type.
        dtype: &'static str,
    },
}

/// Reason for which a node is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeProblem {
    /// It has graphs of its own.
    #[error("control flow (conditions, loops, maps) is not supported: export the network without it")]
    ControlFlow,
    /// It computes in a lower precision.
    #[error("torch.autocast is on inside the network: export it with autocast disabled")]
    Autocast,
    /// It is wrapped in a graph whose inputs or outputs are not those of the call.
    #[error("its graph has other inputs or outputs than the node: export the network again: {EXPORT}")]
    Wrapper,
    /// It is a call of a function that the file defines.
    #[error("a function of the file's own is not supported: inline it with onnx.inliner.inline_local_functions")]
    Function,
    /// It has an attribute that has no value.
    #[error("attribute `{}` has no value: export the network again", excerpt(.0))]
    Attribute(String),
    /// It calls no op.
    #[error("expected the name of an op, found none: get the file again")]
    NoOp,
    /// It calls an op that has no form in a network.
    #[error(
        "the op is not supported; the network calls it {uses} times{}: replace the module, or export the part before it",
        path.as_ref().map_or_else(String::new, |path| format!(", first in module `{}`", excerpt(path)))
    )]
    Unsupported {
        /// How many nodes call it.
        uses: usize,
        /// The module of the first.
        path: Option<String>,
    },
    /// It uses a supported op in a way that has no form in a network.
    #[error(
        "{what} is not supported{}: {advice}",
        path.as_ref().map_or_else(String::new, |path| format!(", in module `{}`", excerpt(path)))
    )]
    Use {
        /// The way.
        what: String,
        /// The module.
        path: Option<String>,
        /// What to do.
        advice: &'static str,
    },
    /// It has inputs whose shapes its op does not accept.
    #[error("{0}")]
    Shape(ShapeError),
    /// It is a constant without a value.
    #[error("expected a constant of one value and one output, found something else: export the network again")]
    Constant,
}

/// Reason for which bytes aren't a protocol buffer of ONNX.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireProblem {
    /// A field that is longer than what is left.
    #[error("a field of {expected} bytes has {found} left: the file is cut short")]
    CutShort {
        /// The field's length.
        expected: u64,
        /// What is left.
        found: usize,
    },
    /// A number that ends outside the message or has more than 64 bits.
    #[error("a number is cut short or has more than 64 bits")]
    Number,
    /// A field of an unknown kind, or of number 0.
    #[error("a field of wire type {0} is not one that ONNX has")]
    Type(u8),
    /// A field of another kind than ONNX defines.
    #[error("field {0} has another wire type than ONNX defines")]
    Field(u32),
    /// Text that isn't.
    #[error("a name is not UTF-8")]
    Text,
    /// Text that is longer than any name.
    #[error("a name has {found} bytes, at most {limit} are read")]
    LongName {
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A second graph.
    #[error("a second graph")]
    SecondGraph,
}

/// Reason for which a file beside the network is rejected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExternalProblem {
    /// There is no folder to look in.
    #[error("the network was not read from a folder")]
    NoFolder,
    /// More files than are mapped.
    #[error("expected at most {limit} files beside the network, found more")]
    TooMany {
        /// How many are mapped.
        limit: usize,
    },
    /// A path that leaves the folder.
    #[error("expected a path inside the network's folder, found one that leaves it: copy the file beside the network")]
    Leaves,
    /// The network doesn't state where it is.
    #[error("the network doesn't state a file: export it again")]
    NoLocation,
    /// Offset or length is no number.
    #[error("`{key}` is `{}`, no number of bytes: export the network again", excerpt(value))]
    Number {
        /// The key.
        key: &'static str,
        /// What it is.
        value: String,
    },
    /// The file is shorter than the network says.
    #[error("the file has {found} bytes, the tensor reaches to byte {expected}: get it again")]
    CutShort {
        /// Where the tensor ends.
        expected: u64,
        /// Bytes of the file.
        found: usize,
    },
    /// The file can't be found or mapped.
    #[error("{0}: keep the file beside the network")]
    Io(io::Error),
}
