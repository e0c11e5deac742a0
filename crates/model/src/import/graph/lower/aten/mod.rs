//! Lowering of ATen ops: what each op of a `.pt2` file becomes.

mod arithmetic;
mod attention;
mod axes;
mod call;
mod concat;
mod einsum;
mod evaluate;
mod functions;
mod gather;
mod in_place;
mod kernels;
mod layers;
mod norms;
mod pools;
mod select;
mod slice;
mod unfold;
mod values;

use crate::import::graph::GraphError;
use crate::import::graph::error::NodeProblem;
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::final_op::FinalOp;
use crate::import::graph::lower::sketch::Sketch;
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawGraph, RawNode};
pub(super) use arithmetic::Operand;
use attention::call_other;
use call::Call;
use fieldfit_nets::{Arithmetic, Function, Op, ShapeError, ValueId};
pub(super) use functions::Elu;
use in_place::SharedView;
pub(super) use kernels::{kernel_name, length, mean, standardised};
pub(super) use norms::NormTensors;
use pools::average_pool;
use std::collections::HashMap;
use std::rc::Rc;

/// Advice for a network in training mode.
pub(super) const EVALUATION: &str = "export model.eval()";

/// The greatest kernel, stride, dilation, padding or factor.
pub(super) const MAX_SIDE: usize = 1 << 16;

/// The most parts of a split.
pub(super) const MAX_PARTS: usize = 1024;

/// What is added to the score of a key that a mask hides: its share is 0, and the number is finite in half precision.
const HIDDEN: f64 = -30_000.0;

/// What is known of a name of the file.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// A value of the network.
    Traced(Traced),
    /// A value that is repeated along axes of length 1 to these lengths.
    Expanded { value: Traced, lengths: Vec<usize> },
    /// A tensor, read as an array of that shape.
    Tensor { index: usize, shape: Vec<usize> },
    /// A matrix of the file with its axes exchanged.
    Turned { index: usize },
    /// Values that the file computes from constants alone.
    Constant(Rc<Array>),
    /// An integer.
    Int(Size),
    /// Something that nothing may read.
    Unread,
}

/// Lowering of a file's nodes: what the ops of `.pt2` and of ONNX share, and the calls of `.pt2`.
pub(super) struct Lowering<'r, 'a> {
    pub raw: &'r RawGraph<'a>,
    pub sketch: Sketch,
    pub known: HashMap<Name<'a>, Known>,
    /// Images that the file was exported for, if its sizes state them.
    pub batch: Option<usize>,
    /// How often each op is called.
    pub uses: HashMap<String, usize>,
    /// The names that share memory with another one in the file.
    pub views: HashMap<Name<'a>, SharedView<'r, 'a>>,
    /// Of each array that is no view, its views.
    pub views_of: HashMap<Name<'a>, Vec<Name<'a>>>,
    /// Of the result of each op in place, the array that it is.
    pub results_in_place: HashMap<Name<'a>, Name<'a>>,
    /// Values of all constants that were evaluated.
    pub evaluated_values: usize,
    /// Names of what the file computes a convolution's kernel from, by its parameters alone, and how many nodes are still to read
    /// each.
    pub kernels: HashMap<Name<'a>, usize>,
    /// Whether the node that is lowered is among them.
    pub is_kernel: bool,
    /// Of each value that a [`FinalOp`] makes, the op's input.
    pub final_ops: HashMap<ValueId, (ValueId, FinalOp)>,
}

/// Reason for which a node cannot be lowered.
pub(super) enum Problem {
    /// The op has no form.
    Op,
    /// The way that it is used has none: the way, and what to do.
    Use(String, &'static str),
    /// Shapes that do not fit.
    Shape(ShapeError),
}

impl From<ShapeError> for Problem {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

pub(super) type Lowered<T> = Result<T, Problem>;

pub(super) fn refuse<T>(what: impl Into<String>) -> Lowered<T> {
    Err(Problem::Use(what.into(), "replace the module, or export the part before it"))
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers the node at that position.
    pub fn lower(&mut self, position: usize) -> Result<(), GraphError> {
        let raw = self.raw;
        let node = &raw.nodes[position];
        self.sketch.path = node.path.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default();
        let changed = self.changed(node);
        let sharers = self.sharers(changed.as_ref(), position).map_err(|problem| self.failed(node, problem))?;
        let results = self.call(&Call { node }).map_err(|problem| self.failed(node, problem))?;
        for (output, (name, result)) in node.outputs.iter().zip(results).enumerate() {
            let Some(name) = name else { continue };
            if self.known.contains_key(name) {
                let (name, problem) = (name.as_str().to_owned(), "two nodes or tensors have one name");
                return Err(GraphError::Contradiction { name, problem });
            }
            if let Some(changed) = &changed {
                let written = self.write_back(changed, result.clone(), &sharers);
                written.map_err(|problem| self.failed(node, problem))?;
                self.results_in_place.insert(name.clone(), changed.clone());
            }
            self.note_view(node, output, name);
            self.known.insert(name.clone(), result);
        }
        for name in self.last_read(node) {
            self.known.insert(name, Known::Unread);
        }
        Ok(())
    }

    /// Returns the error of a node.
    pub fn failed(&self, node: &RawNode<'a>, problem: Problem) -> GraphError {
        let path = node.path.as_ref().map(|path| path.as_str().to_owned());
        let uses = self.uses.get(node.op.as_str()).copied().unwrap_or(1);
        let problem = match problem {
            Problem::Op => NodeProblem::Unsupported { uses, path },
            Problem::Use(what, advice) => NodeProblem::Use { what, path, advice },
            Problem::Shape(error) => NodeProblem::Shape(error),
        };
        GraphError::Node { node: node.name.as_str().to_owned(), op: node.op.as_str().to_owned(), problem }
    }

    fn call(&mut self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
        let op = call.node.op.as_str();
        let Some(op) = op.strip_prefix("torch.ops.aten.").or_else(|| op.strip_prefix("aten.")) else {
            return self.python_operator(call, op);
        };
        if let Some(results) = self.evaluate(call, op)? {
            return Ok(results);
        }
        if let Some(function) = function(call, op)? {
            return Ok(vec![Known::Traced(self.activate(call, function)?)]);
        }
        let (name, overload) = op.split_once('.').unwrap_or((op, "default"));
        match name {
            "alias"
            | "alpha_dropout"
            | "alpha_dropout_"
            | "clone"
            | "contiguous"
            | "detach"
            | "detach_"
            | "dropout"
            | "dropout_"
            | "feature_alpha_dropout"
            | "feature_alpha_dropout_"
            | "feature_dropout"
            | "feature_dropout_"
            | "lift_fresh_copy"
            | "to"
            | "_to_copy"
            | "type_as" => {
                self.check_inert(call)?;
                return Ok(vec![self.first(call)?]);
            }
            "_assert_tensor_metadata" | "sym_constrain_range_for_size" | "_assert_scalar" => {
                return Ok(vec![Known::Unread]);
            }
            "sym_size" => return self.size(call),
            "slice_scatter" | "select_scatter" => return self.scatter(call, name).map(|value| vec![value]),
            "cat" | "concat" | "concatenate" => return self.concat(call, false),
            "hstack" => return self.concat_along(call, 1),
            "stack" => return self.concat(call, true),
            "chunk" | "split" | "split_with_sizes" | "unbind" => return self.split(call, name),
            "view" | "reshape" | "_unsafe_view" | "view_as" | "reshape_as" | "flatten" | "unflatten" | "permute"
            | "transpose" | "swapaxes" | "swapdims" | "t" | "mT" | "movedim" | "unsqueeze" | "squeeze" | "expand"
            | "expand_as" => {
                return self.change_axes(call, name);
            }
            _ => {}
        }
        if let Some(arithmetic) = arithmetic(name, overload) {
            return self.arithmetic(call, arithmetic);
        }
        let value = match self.layer(call, name)? {
            Some(value) => value,
            None => match self.composed(call, name)? {
                Some(value) => value,
                None => self.map(call, name, overload)?,
            },
        };
        Ok(vec![Known::Traced(value)])
    }

    /// Lowers a layer: what has parameters, pools, and changes of size; `None` of another op.
    fn layer(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Option<Traced>> {
        Ok(Some(match name {
            "conv2d" => self.conv(call)?,
            "conv1d" => self.conv1d(call)?,
            "conv_transpose2d" => self.conv_transpose(call)?,
            "convolution" if call.flag("transposed", false)? => self.conv_transpose(call)?,
            "convolution" if call.ints("stride")?.is_some_and(|stride| stride.len() == 1) => self.conv1d(call)?,
            "convolution" => self.conv(call)?,
            "batch_norm" | "_native_batch_norm_legit_no_training" => self.batch_norm(call)?,
            "linear" => self.linear(call)?,
            "addmm" => self.matrix_with_bias(call)?,
            "layer_norm" | "native_layer_norm" => self.layer_norm(call)?,
            "rms_norm" => self.rms_norm(call)?,
            "group_norm" | "native_group_norm" => self.group_norm(call)?,
            "instance_norm" => self.instance_norm(call)?,
            "prelu" => self.prelu(call)?,
            "softmax" | "_softmax" => self.softmax(call)?,
            "log_softmax" | "_log_softmax" => self.log_softmax(call)?,
            "logsumexp" => self.log_sum_exp(call)?,
            "glu" => self.gated_linear(call)?,
            "scaled_dot_product_attention" | "_scaled_dot_product_flash_attention_for_cpu" => self.attention(call)?,
            "matmul" | "bmm" | "mm" => {
                let [left, right] = ["self", call_other(call)].map(|name| match call.argument(name) {
                    Some(argument) => self.known_argument(argument),
                    None => refuse(format!("a call without `{name}`")),
                });
                self.matrix_product(left?, right?)?
            }
            "avg_pool1d" | "max_pool1d" | "adaptive_avg_pool1d" | "adaptive_max_pool1d" => self.pool1d(call, name)?,
            "avg_pool3d" => self.pool_of_channels(call)?,
            "max_pool2d" | "max_pool2d_with_indices" => {
                let (value, window) = self.window(call)?;
                self.on_image(&value, Op::MaxPool(window))?
            }
            "avg_pool2d" => {
                let (value, window) = self.window(call)?;
                let op = average_pool(call, window)?;
                self.on_image(&value, op)?
            }
            "adaptive_avg_pool2d" | "_adaptive_avg_pool2d" => self.adaptive_pool(call)?,
            "adaptive_max_pool2d" => self.adaptive_max_pool(call)?,
            "constant_pad_nd" | "pad" => self.pad(call)?,
            "upsample_bilinear2d"
            | "upsample_nearest2d"
            | "upsample_bicubic2d"
            | "_upsample_nearest_exact2d"
            | "_upsample_bilinear2d_aa"
            | "_upsample_bicubic2d_aa" => self.resize(call, name)?,
            "im2col" => self.unfold(call)?,
            "col2im" => self.fold(call)?,
            "where" | "masked_fill" | "masked_fill_" => self.choose(call, name)?,
            "pixel_shuffle" => self.pixel_shuffle(call)?,
            "pixel_unshuffle" => self.pixel_unshuffle(call)?,
            "channel_shuffle" => self.channel_shuffle(call)?,
            _ => return Ok(None),
        }))
    }

    /// Lowers an op of arrays without parameters.
    fn map(&mut self, call: &Call<'r, 'a>, name: &str, overload: &str) -> Lowered<Traced> {
        match (name, overload) {
            ("rsub", _) => {
                let value = self.value(call, "self")?;
                let scale = -call.number("alpha", 1.0)?;
                self.unary(&value, Op::Scalar { scale, shift: call.number("other", 0.0)? })
            }
            ("neg", _) => {
                let value = self.value(call, "self")?;
                self.unary(&value, Op::Scalar { scale: -1.0, shift: 0.0 })
            }
            ("addcmul" | "addcmul_", _) => self.add_combined(call, Arithmetic::Multiply),
            ("addcdiv" | "addcdiv_", _) => self.add_combined(call, Arithmetic::Divide),
            ("mean", "dim") => self.mean(call),
            ("sum", "dim_IntList") => self.sum(call),
            ("var", _) => self.variance(call),
            ("std", _) => {
                let variance = self.variance(call)?;
                self.unary(&variance, Op::Activate(Function::Sqrt))
            }
            ("amax", _) | ("max", "dim") => self.extreme(call, false),
            ("amin", _) | ("min", "dim") => self.extreme(call, true),
            ("linalg_vector_norm", _) | ("norm", "ScalarOpt_dim") => self.vector_norm(call),
            ("slice" | "select" | "narrow", _) => self.slice(call, name),
            ("index", "Tensor") | ("index_select", _) => self.index(call),
            ("roll" | "flip", _) => self.moved(call, name),
            ("repeat", _) => self.repeat(call, "repeats"),
            ("tile", _) => self.repeat(call, "dims"),
            ("einsum", _) => self.einsum(call),
            ("copy" | "copy_" | "fill" | "fill_" | "zero" | "zero_", _) => {
                self.overwritten(call, name.strip_suffix('_').unwrap_or(name))
            }
            ("cumsum", _) => self.cumulated(call),
            ("unfold", _) => self.windows(call),
            ("pow" | "pow_", "Tensor_Tensor" | "Tensor") => {
                let (base, exponent) = (self.value(call, "self")?, self.value(call, "exponent")?);
                self.power_of(&base, exponent)
            }
            ("_weight_norm", _) => self.weight_norm(call),
            ("repeat_interleave", "self_int") => self.repeat_interleave(call),
            _ => Err(Problem::Op),
        }
    }

    /// Lowers arithmetic of sizes, and drops what asserts compare.
    fn python_operator(&self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        match op {
            "_operator.mul" | "_operator.floordiv" | "_operator.add" | "_operator.sub" => self.int_arithmetic(call, op),
            "_operator.ge" | "_operator.le" | "_operator.gt" | "_operator.lt" | "_operator.eq" | "_operator.ne"
            | "_operator.and_" => Ok(vec![Known::Unread]),
            _ => Err(Problem::Op),
        }
    }

    /// Refuses what an op without effect would have: dropout in training, another type.
    fn check_inert(&self, call: &Call<'r, 'a>) -> Lowered<()> {
        if call.flag("train", false)? {
            return Err(Problem::Use("dropout in training mode".to_owned(), EVALUATION));
        }
        match call.argument("dtype") {
            Some(RawArgument::Dtype(dtype)) if !dtype.is_float() => refuse(format!("a conversion to {dtype}")),
            _ => Ok(()),
        }
    }

    fn size(&mut self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a size of an axis that is not there") };
        let length = value.length(axis);
        let size = if value.axes[axis].contains(&Factor::Batch) { Size::Batch(length) } else { Size::Fixed(length) };
        Ok(vec![Known::Int(size)])
    }

    fn int_arithmetic(&self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        let operand = |position: usize| match call.node.at(position) {
            Some(RawArgument::Int(value)) => {
                usize::try_from(*value).map(Size::Fixed).or_else(|_| refuse("arithmetic of a negative size"))
            }
            Some(RawArgument::Value(name)) => match self.named(name)? {
                Known::Int(size) => Ok(size),
                _ => refuse("arithmetic of something else than sizes"),
            },
            _ => refuse("arithmetic of something else than sizes"),
        };
        let result = match (op, operand(0)?, operand(1)?) {
            ("_operator.mul", Size::Fixed(a), Size::Fixed(b)) => Size::Fixed(a.saturating_mul(b)),
            ("_operator.mul", Size::Batch(a), Size::Fixed(b)) | ("_operator.mul", Size::Fixed(b), Size::Batch(a)) => {
                Size::Batch(a.saturating_mul(b))
            }
            ("_operator.floordiv", Size::Fixed(a), Size::Fixed(b)) if b > 0 => Size::Fixed(a / b),
            ("_operator.floordiv", Size::Batch(a), Size::Fixed(b)) if b > 0 && a.is_multiple_of(b) => {
                Size::Batch(a / b)
            }
            ("_operator.add", Size::Fixed(a), Size::Fixed(b)) => Size::Fixed(a.saturating_add(b)),
            ("_operator.sub", Size::Fixed(a), Size::Fixed(b)) if a >= b => Size::Fixed(a - b),
            _ => return refuse("that arithmetic of the batch's size"),
        };
        Ok(vec![Known::Int(result)])
    }
}

/// Returns the elementwise function that an op applies; `None` if it is another kind of op.
fn function(call: &Call<'_, '_>, op: &str) -> Lowered<Option<Function>> {
    if let Some("pow" | "pow_") = op.strip_suffix(".Tensor_Scalar") {
        return Ok(Some(match call.number("exponent", 1.0)? {
            2.0 => Function::Square,
            0.5 => Function::Sqrt,
            exponent => Function::Power { exponent },
        }));
    }
    // In place or not, a function is the same.
    let Some(name) = op.strip_suffix(".default") else { return Ok(None) };
    Ok(Some(match name.strip_suffix('_').unwrap_or(name) {
        "relu" => Function::Relu,
        "relu6" => Function::Clamp { low: 0.0, high: 6.0 },
        "hardtanh" => Function::Clamp { low: call.number("min_val", -1.0)?, high: call.number("max_val", 1.0)? },
        "clamp" | "clamp_min" | "clamp_max" => {
            let bound = |name, other| match call.argument(name) {
                Some(RawArgument::None) | None => Ok(other),
                Some(_) => call.number(name, 0.0),
            };
            Function::Clamp { low: bound("min", f64::MIN)?, high: bound("max", f64::MAX)? }
        }
        "leaky_relu" => Function::LeakyRelu { slope: call.number("negative_slope", 0.01)? },
        "sigmoid" => Function::Sigmoid,
        "hardsigmoid" => Function::HardSigmoid,
        "silu" => Function::Silu,
        "hardswish" => Function::HardSwish,
        "tanh" => Function::Tanh,
        "sqrt" => Function::Sqrt,
        "exp" => Function::Exp,
        "log" => Function::Log,
        "abs" => Function::Absolute,
        "erf" => Function::Erf,
        "square" => Function::Square,
        "rsqrt" => Function::Power { exponent: -0.5 },
        "reciprocal" => Function::Power { exponent: -1.0 },
        "mish" => Function::Mish,
        "softplus" if call.number("threshold", 20.0)? < 20.0 => return refuse("a softplus with a threshold below 20"),
        "softplus" => Function::Softplus { beta: call.number("beta", 1.0)? },
        "gelu" => match call.argument("approximate") {
            None => Function::Gelu,
            Some(RawArgument::Text(name)) if name.as_str() == "none" => Function::Gelu,
            Some(RawArgument::Text(name)) if name.as_str() == "tanh" => Function::GeluTanh,
            Some(_) => return refuse("that approximation"),
        },
        _ => return Ok(None),
    }))
}

/// Returns the arithmetic of two arrays that an op computes, in place or not; `None` if it is another kind of op.
fn arithmetic(name: &str, overload: &str) -> Option<Arithmetic> {
    Some(match (name.strip_suffix('_').unwrap_or(name), overload) {
        ("add", _) => Arithmetic::Add,
        ("sub" | "subtract", _) => Arithmetic::Subtract,
        ("mul" | "multiply", _) => Arithmetic::Multiply,
        ("div" | "divide" | "true_divide", _) => Arithmetic::Divide,
        ("maximum", _) | ("max", "other") => Arithmetic::Maximum,
        ("minimum", _) | ("min", "other") => Arithmetic::Minimum,
        _ => return None,
    })
}
