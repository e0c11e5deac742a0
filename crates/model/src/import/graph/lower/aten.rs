//! ATen ops: what each op of a `.pt2` file becomes.

use super::sketch::{MAX_VALUES, Sketch};
use super::traced::{Factor, Size, Traced};
use crate::import::graph::GraphError;
use crate::import::graph::error::NodeProblem;
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawGraph, RawInt, RawNode};
use crate::import::graph::tensor::RawTensorKind;
use fieldfit_nets::{
    Activation, Arithmetic, Attention, Axis, BatchNorm, Conv, ConvTranspose, Function, Interpolation, LayerNorm,
    Linear, Op, Padding, Prologue, ResizeTo, Role, Shape, ShapeError, ValueId, Window,
};
use fieldfit_tensor::TensorId;
use std::collections::HashMap;

/// The greatest kernel, stride, dilation, padding or factor.
const MAX_SIDE: usize = 1 << 16;

/// What is known of a name of the file.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// A value of the network.
    Traced(Traced),
    /// A tensor, read as an array of that shape.
    Tensor { index: usize, shape: Vec<usize> },
    /// An integer.
    Int(Size),
    /// Something that nothing may read.
    Unread,
}

/// Lowering of a `.pt2` file's nodes.
pub(super) struct Lowering<'r, 'a> {
    pub raw: &'r RawGraph<'a>,
    pub sketch: Sketch,
    pub known: HashMap<Name<'a>, Known>,
    /// Images that the file was exported for, if its sizes state them.
    pub batch: Option<usize>,
    /// How often each op is called.
    pub uses: HashMap<String, usize>,
    /// Of each name that shares memory with another one in the file, the other.
    pub views: HashMap<Name<'a>, Name<'a>>,
}

/// Reason for which a node cannot be lowered.
pub(super) enum Problem {
    /// The op has no form.
    Op,
    /// The way that it is used has none.
    Use(String),
    /// Shapes that do not fit.
    Shape(ShapeError),
}

impl From<ShapeError> for Problem {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

type Lowered<T> = Result<T, Problem>;

fn refuse<T>(what: impl Into<String>) -> Lowered<T> {
    Err(Problem::Use(what.into()))
}

/// Arguments of a call, by the names of its schema.
struct Call<'n, 'a> {
    node: &'n RawNode<'a>,
}

impl<'n, 'a> Call<'n, 'a> {
    fn argument(&self, name: &str) -> Option<&'n RawArgument<'a>> {
        self.node.arguments.iter().find(|argument| argument.name.as_str() == name).map(|argument| &argument.value)
    }

    fn int(&self, name: &str, default: i64) -> Lowered<i64> {
        match self.argument(name) {
            None => Ok(default),
            Some(RawArgument::Int(value)) => Ok(*value),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    fn number(&self, name: &str, default: f64) -> Lowered<f64> {
        match self.argument(name) {
            None => Ok(default),
            Some(RawArgument::Float(value)) => Ok(*value),
            Some(RawArgument::Int(value)) => Ok(*value as f64),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Lowered<bool> {
        match self.argument(name) {
            None => Ok(default),
            Some(RawArgument::Bool(value)) => Ok(*value),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    fn ints(&self, name: &str) -> Lowered<Option<Vec<i64>>> {
        match self.argument(name) {
            None | Some(RawArgument::None) => Ok(None),
            Some(RawArgument::Ints(values)) => Ok(Some(values.clone())),
            Some(RawArgument::Int(value)) => Ok(Some(vec![*value])),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    /// Returns a pair of rows and columns.
    fn pair(&self, name: &str, default: usize) -> Lowered<[usize; 2]> {
        let values = self.ints(name)?.unwrap_or_default();
        let of = |value: i64| {
            let size = usize::try_from(value).ok().filter(|size| *size <= MAX_SIDE);
            size.map_or_else(|| refuse(format!("`{name}` of {value}")), Ok)
        };
        match values[..] {
            [] => Ok([default; 2]),
            [both] => Ok([of(both)?; 2]),
            [rows, columns] => Ok([of(rows)?, of(columns)?]),
            _ => refuse(format!("`{name}` of {} axes", values.len())),
        }
    }
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers the node at that position.
    pub fn lower(&mut self, position: usize) -> Result<(), GraphError> {
        let raw = self.raw;
        let node = &raw.nodes[position];
        self.sketch.path = node.path.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default();
        let uses = self.uses.get(node.op.as_str()).copied().unwrap_or(1);
        let results =
            self.check_in_place(node, position).and_then(|()| self.call(&Call { node })).map_err(|problem| {
                let path = node.path.as_ref().map(|path| path.as_str().to_owned());
                let problem = match problem {
                    Problem::Op => NodeProblem::Unsupported { uses, path },
                    Problem::Use(what) => NodeProblem::Use { what, path },
                    Problem::Shape(error) => NodeProblem::Use { what: error.to_string(), path },
                };
                GraphError::Node { node: node.name.as_str().to_owned(), op: node.op.as_str().to_owned(), problem }
            })?;
        let source = node.arguments.first().and_then(|argument| named(&argument.value));
        for (name, result) in node.outputs.iter().zip(results) {
            let Some(name) = name else { continue };
            if let Some(source) = source.filter(|_| is_in_place(node.op.as_str())) {
                self.known.insert(source.clone(), result.clone());
            } else if let Some(source) = source.filter(|_| may_share(node.op.as_str())) {
                self.views.insert(name.clone(), source.clone());
            }
            self.known.insert(name.clone(), result);
        }
        Ok(())
    }

    /// Refuses an op in place whose array another name shares, if that name is read afterwards.
    fn check_in_place(&self, node: &RawNode<'a>, position: usize) -> Lowered<()> {
        let Some(changed) = node.arguments.first().and_then(|argument| named(&argument.value)) else { return Ok(()) };
        if !is_in_place(node.op.as_str()) {
            return Ok(());
        }
        let root = |name: &Name<'a>| {
            let mut name = name.clone();
            while let Some(source) = self.views.get(&name) {
                name = source.clone();
            }
            name
        };
        let shares = |name: &Name<'a>| name != changed && root(name) == root(changed);
        let later = self.raw.nodes[position + 1..].iter().flat_map(|node| &node.arguments);
        let mut read = later
            .flat_map(|argument| all_named(&argument.value))
            .chain(self.raw.outputs.iter().filter_map(|end| named(&end.value)));
        match read.find(|name| shares(name)) {
            Some(name) => {
                refuse(format!("a change in place of an array that `{name}` shares: use the op that returns a new one"))
            }
            None => Ok(()),
        }
    }

    fn call(&mut self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
        let op = call.node.op.as_str();
        let Some(op) = op.strip_prefix("torch.ops.aten.").or_else(|| op.strip_prefix("aten.")) else {
            return match op {
                "_operator.mul" | "_operator.floordiv" | "_operator.add" | "_operator.sub" => {
                    self.int_arithmetic(call, op)
                }
                _ => Err(Problem::Op),
            };
        };
        let traced = match op {
            "alias.default"
            | "clone.default"
            | "contiguous.default"
            | "detach.default"
            | "detach_.default"
            | "dropout.default"
            | "dropout_.default"
            | "feature_dropout.default"
            | "lift_fresh_copy.default"
            | "to.dtype"
            | "to.dtype_layout"
            | "_to_copy.default"
            | "type_as.default"
            | "to.device" => {
                self.check_inert(call)?;
                return Ok(vec![self.first(call)?]);
            }
            "_assert_tensor_metadata.default" | "sym_constrain_range_for_size.default" | "_assert_scalar.default" => {
                return Ok(vec![Known::Unread]);
            }
            "sym_size.int" => return self.size(call),
            "conv2d.default" | "conv2d.padding" => self.conv(call)?,
            "conv_transpose2d.input" => self.conv_transpose(call)?,
            "batch_norm.default" | "_native_batch_norm_legit_no_training.default" => self.batch_norm(call)?,
            "linear.default" => self.linear(call)?,
            "layer_norm.default" => self.layer_norm(call)?,
            "group_norm.default" => self.group_norm(call)?,
            "relu.default" | "relu_.default" => self.activate(call, Function::Relu)?,
            "relu6.default" | "relu6_.default" => self.activate(call, Function::Clamp { low: 0.0, high: 6.0 })?,
            "hardtanh.default" | "hardtanh_.default" => {
                let (low, high) = (call.number("min_val", -1.0)?, call.number("max_val", 1.0)?);
                self.activate(call, Function::Clamp { low, high })?
            }
            "clamp.default" | "clamp_.default" | "clamp_min.default" | "clamp_max.default" => {
                let bound = |name, other| match call.argument(name) {
                    Some(RawArgument::None) | None => Ok(other),
                    Some(_) => call.number(name, 0.0),
                };
                let (low, high) = (bound("min", f64::MIN)?, bound("max", f64::MAX)?);
                self.activate(call, Function::Clamp { low, high })?
            }
            "leaky_relu.default" | "leaky_relu_.default" => {
                let slope = call.number("negative_slope", 0.01)?;
                self.activate(call, Function::LeakyRelu { slope })?
            }
            "sigmoid.default" | "sigmoid_.default" => self.activate(call, Function::Sigmoid)?,
            "hardsigmoid.default" | "hardsigmoid_.default" => self.activate(call, Function::HardSigmoid)?,
            "silu.default" | "silu_.default" => self.activate(call, Function::Silu)?,
            "hardswish.default" | "hardswish_.default" => self.activate(call, Function::HardSwish)?,
            "tanh.default" | "tanh_.default" => self.activate(call, Function::Tanh)?,
            "sqrt.default" => self.activate(call, Function::Sqrt)?,
            "exp.default" => self.activate(call, Function::Exp)?,
            "gelu.default" => match call.argument("approximate") {
                None => self.activate(call, Function::Gelu)?,
                Some(RawArgument::Text(name)) if name.as_str() == "none" => self.activate(call, Function::Gelu)?,
                Some(RawArgument::Text(name)) if name.as_str() == "tanh" => self.activate(call, Function::GeluTanh)?,
                Some(_) => return refuse("that approximation"),
            },
            "prelu.default" => self.prelu(call)?,
            "softmax.int" | "_softmax.default" => self.softmax(call)?,
            "add.Tensor" | "add_.Tensor" | "add.Scalar" => return self.arithmetic(call, Arithmetic::Add),
            "sub.Tensor" | "sub_.Tensor" | "sub.Scalar" => return self.arithmetic(call, Arithmetic::Subtract),
            "mul.Tensor" | "mul_.Tensor" | "mul.Scalar" => return self.arithmetic(call, Arithmetic::Multiply),
            "div.Tensor" | "div_.Tensor" | "div.Scalar" => return self.arithmetic(call, Arithmetic::Divide),
            "rsub.Scalar" => {
                let value = self.value(call, "self")?;
                if call.number("alpha", 1.0)? != 1.0 {
                    return refuse("a factor `alpha`");
                }
                self.unary(&value, Op::Scalar { scale: -1.0, shift: call.number("other", 0.0)? })?
            }
            "pow.Tensor_Scalar" => {
                let value = self.value(call, "self")?;
                match call.number("exponent", 1.0)? {
                    2.0 => self.unary(&value, Op::Activate(Function::Square))?,
                    0.5 => self.unary(&value, Op::Activate(Function::Sqrt))?,
                    other => return refuse(format!("the power {other}")),
                }
            }
            "sum.dim_IntList" => {
                let count = self.reduced(call)?;
                let mean = self.mean(call)?;
                self.unary(&mean, Op::Scalar { scale: count as f64, shift: 0.0 })?
            }
            "neg.default" => {
                let value = self.value(call, "self")?;
                self.unary(&value, Op::Scalar { scale: -1.0, shift: 0.0 })?
            }
            "max_pool2d.default" => {
                let (value, window) = self.window(call)?;
                self.on_image(&value, Op::MaxPool(window))?
            }
            "avg_pool2d.default" => {
                let (value, window) = self.window(call)?;
                if !matches!(call.argument("divisor_override"), None | Some(RawArgument::None)) {
                    return refuse("a divisor of one's own");
                }
                let counts_padding = call.flag("count_include_pad", true)?;
                self.on_image(&value, Op::AveragePool { window, counts_padding })?
            }
            "adaptive_avg_pool2d.default" => self.adaptive_pool(call)?,
            "mean.dim" => self.mean(call)?,
            "cat.default" => return self.concat(call),
            "slice.Tensor" | "select.int" | "narrow.default" => self.slice(call, op)?,
            "chunk.default" | "split.Tensor" | "split_with_sizes.default" | "unbind.int" => {
                return self.split(call, op);
            }
            "view.default"
            | "reshape.default"
            | "_unsafe_view.default"
            | "flatten.using_ints"
            | "unflatten.int"
            | "permute.default"
            | "transpose.int"
            | "t.default"
            | "unsqueeze.default"
            | "squeeze.dim"
            | "squeeze.dims"
            | "expand.default" => {
                return self.change_axes(call, op);
            }
            "constant_pad_nd.default" | "pad.default" => self.pad(call)?,
            "upsample_bilinear2d.vec" | "upsample_nearest2d.vec" => self.resize(call, op)?,
            "pixel_shuffle.default" => self.pixel_shuffle(call)?,
            "scaled_dot_product_attention.default" => self.attention(call)?,
            "matmul.default" | "bmm.default" => {
                let (left, right) = (self.value(call, "self")?, self.value(call, call_other(call))?);
                self.product(&left, &right, false, 1.0)?
            }
            _ => return Err(Problem::Op),
        };
        Ok(vec![Known::Traced(traced)])
    }

    /// Refuses what an op without effect would have: dropout in training, another type.
    fn check_inert(&self, call: &Call<'r, 'a>) -> Lowered<()> {
        if call.flag("train", false)? {
            return refuse("dropout in training mode: export model.eval()");
        }
        match call.argument("dtype") {
            Some(RawArgument::Dtype(dtype)) if !matches!(dtype.name(), "float32" | "float64") => {
                refuse(format!("a conversion to {dtype}"))
            }
            _ => Ok(()),
        }
    }

    fn named(&self, name: &Name<'a>) -> Lowered<Known> {
        match self.known.get(name) {
            Some(Known::Unread) | None => refuse(format!("value `{name}`, which no supported op computes")),
            Some(known) => Ok(known.clone()),
        }
    }

    fn known_argument(&self, argument: &RawArgument<'a>) -> Lowered<Known> {
        match argument {
            RawArgument::Value(name) => self.named(name),
            RawArgument::Tensor(index) => {
                Ok(Known::Tensor { index: *index, shape: self.raw.tensors[*index].shape.clone() })
            }
            _ => refuse("an argument that is no tensor"),
        }
    }

    fn first(&self, call: &Call<'r, 'a>) -> Lowered<Known> {
        match call.node.arguments.first() {
            Some(argument) => self.known_argument(&argument.value),
            None => refuse("a call without arguments"),
        }
    }

    fn value(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        match call.argument(name).map(|argument| self.known_argument(argument)).transpose()? {
            Some(Known::Traced(traced)) => Ok(traced),
            Some(_) => refuse(format!("`{name}` that does not depend on the image")),
            None => refuse(format!("a call without `{name}`")),
        }
    }

    /// Returns the raw tensor of an argument, as the file has it; `None` if it is left out.
    fn parameter(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Option<usize>> {
        match call.argument(name) {
            None | Some(RawArgument::None) => Ok(None),
            Some(argument) => match self.known_argument(argument)? {
                Known::Tensor { index, shape } if shape == self.raw.tensors[index].shape => Ok(Some(index)),
                Known::Tensor { .. } => refuse(format!("`{name}` that is a view of a tensor")),
                Known::Traced(_) | Known::Int(_) | Known::Unread => refuse(format!("`{name}` that is computed")),
            },
        }
    }

    fn tensor(&mut self, index: usize, shape: Vec<usize>, role: Role) -> TensorId {
        let is_trained = !matches!(self.raw.tensors[index].kind, RawTensorKind::Buffer | RawTensorKind::Constant);
        let role = if is_trained || !role.is_trainable() { role } else { Role::Constant };
        self.sketch.tensor(self.raw, index, (shape, role), false)
    }

    fn vector(&mut self, index: usize, len: usize, role: Role) -> Lowered<TensorId> {
        let shape = self.raw.tensors[index].shape.clone();
        if shape != [len] {
            return refuse(format!("a tensor of shape {shape:?} where [{len}] is expected"));
        }
        Ok(self.tensor(index, shape, role))
    }

    fn size(&self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
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

    /// Appends a node of one input that keeps its shape and axes.
    fn unary(&mut self, value: &Traced, op: Op) -> Lowered<Traced> {
        let (result, shape) = self.sketch.node(op, &[value.value])?;
        Ok(Traced { value: result, shape, ..value.clone() })
    }

    fn activate(&mut self, call: &Call<'r, 'a>, function: Function) -> Lowered<Traced> {
        let value = match call.argument("self") {
            Some(_) => self.value(call, "self")?,
            None => self.value(call, "input")?,
        };
        self.unary(&value, Op::Activate(function))
    }

    /// Brings `[N, C, H, W]` into the order of an image in memory.
    fn image(&mut self, value: &Traced) -> Lowered<Traced> {
        if value.rank() != 4 || !value.is_batch(0) {
            return refuse(format!("an array of {} axes where [N, C, H, W] is expected", value.rank()));
        }
        let [Some(channels), Some(rows), Some(columns)] = [1, 2, 3].map(|axis| value.pieces(axis)) else {
            return refuse("an image with the batch among its axes");
        };
        let units = self.units(value, &[&channels, &rows, &columns]);
        let rows = [units, rows].concat();
        Ok(self.sketch.arrange(value, [&rows, &columns, &channels])?)
    }

    /// Returns the pieces of one position that no list has.
    fn units(&self, value: &Traced, lists: &[&[usize]]) -> Vec<usize> {
        (0..value.sides.len()).filter(|piece| !lists.iter().any(|list| list.contains(piece))).collect()
    }

    /// Appends a node of an image.
    fn on_image(&mut self, value: &Traced, op: Op) -> Lowered<Traced> {
        let image = self.image(value)?;
        let (result, shape) = self.sketch.node(op, &[image.value])?;
        Ok(Traced::image(result, shape))
    }

    /// Brings an axis to the end of memory: the channels; the others stay in their order.
    fn channels_last(&mut self, value: &Traced, axis: usize) -> Lowered<Traced> {
        let Some(channels) = value.pieces(axis) else { return refuse("channels with the batch among them") };
        let others: Vec<usize> = (0..value.sides.len()).filter(|piece| !channels.contains(piece)).collect();
        let order: Vec<usize> = others.iter().chain(&channels).copied().collect();
        let len: usize = channels.iter().map(|piece| value.sides[*piece]).product();
        if order.iter().copied().eq(0..value.sides.len()) && value.shape.channels == len {
            return Ok(value.clone());
        }
        Ok(self.sketch.arrange(value, [&[], &others, &channels])?)
    }

    /// Appends a node that replaces the channels, which are the last in memory, by `len` others.
    fn on_channels(&mut self, value: &Traced, axis: usize, op: Op, extra: &[ValueId]) -> Lowered<Traced> {
        let inputs: Vec<ValueId> = [value.value].into_iter().chain(extra.iter().copied()).collect();
        let (result, shape) = self.sketch.node(op, &inputs)?;
        let Some(pieces) = value.pieces(axis) else { return refuse("channels with the batch among them") };
        let kept = value.sides.len() - pieces.len();
        let mut sides = value.sides[..kept].to_vec();
        sides.push(shape.channels);
        let mut axes = value.axes.clone();
        axes[axis] = vec![Factor::Piece(kept)];
        Ok(Traced { value: result, shape, sides, axes })
    }

    fn conv(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let image = self.image(&value)?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a convolution without a kernel") };
        let [output, inner, rows, columns] = self.raw.tensors[weight].shape[..] else {
            return refuse("a kernel that has not four axes");
        };
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
        let input = image.shape.channels;
        if groups == 0 || output == 0 || !output.is_multiple_of(groups) || inner.checked_mul(groups) != Some(input) {
            return refuse(format!("a kernel of shape {:?} in {groups} groups", self.raw.tensors[weight].shape));
        }
        let (stride, dilation) = (call.pair("stride", 1)?, call.pair("dilation", 1)?);
        let padding = match call.argument("padding") {
            Some(RawArgument::Text(text)) if text.as_str() == "valid" => Padding::NONE,
            Some(RawArgument::Text(text)) if text.as_str() == "same" && stride == [1; 2] => {
                let total = [rows, columns].map(|side| side.saturating_sub(1));
                let sides = [0, 1].map(|axis| {
                    let total = total[axis] * dilation[axis];
                    [total / 2, total - total / 2]
                });
                Padding::Fixed(sides)
            }
            Some(RawArgument::Text(text)) => return refuse(format!("padding `{text}`")),
            _ => Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2])),
        };
        let window = Window { kernel: [rows, columns], stride, dilation, padding, rounds_up: false };
        let weight = self.tensor(weight, vec![output, inner, rows, columns], Role::Kernel);
        let bias = self.parameter(call, "bias")?.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let conv = Conv { weight, bias, norm: None, activation: Activation::Identity, input, output, window, groups };
        self.on_image(&image, Op::Conv(conv))
    }

    fn conv_transpose(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let image = self.image(&value)?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a convolution without a kernel") };
        let [input, inner, rows, columns] = self.raw.tensors[weight].shape[..] else {
            return refuse("a kernel that has not four axes");
        };
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
        if groups != 1 || input != image.shape.channels {
            return refuse(format!(
                "a transposed kernel of shape {:?} in {groups} groups",
                self.raw.tensors[weight].shape
            ));
        }
        let padding = Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2]));
        let (stride, dilation) = (call.pair("stride", 1)?, call.pair("dilation", 1)?);
        let window = Window { kernel: [rows, columns], stride, dilation, padding, rounds_up: false };
        let shape = vec![inner, input, rows, columns];
        let weight = self.sketch.tensor(self.raw, weight, (shape, Role::Kernel), true);
        let bias = self.parameter(call, "bias")?.map(|bias| self.vector(bias, inner, Role::Bias)).transpose()?;
        let output_padding = call.pair("output_padding", 0)?;
        let conv = ConvTranspose { weight, bias, input, output: inner, window, output_padding, groups };
        self.on_image(&image, Op::ConvTranspose(conv))
    }

    fn batch_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        if call.flag("training", false)? {
            return refuse("a batch norm in training mode: export model.eval()");
        }
        if value.rank() < 2 {
            return refuse("a batch norm of an array without channels");
        }
        let value = self.channels_last(&value, 1)?;
        let channels = value.shape.channels;
        let mut affine = |name: &str, role, fill| -> Lowered<TensorId> {
            match self.parameter(call, name)? {
                Some(index) => self.vector(index, channels, role),
                None => {
                    let name = format!("{}.{name}", self.sketch.path);
                    Ok(self.sketch.filled(name, (vec![channels], Role::Constant), fill))
                }
            }
        };
        let (scale, shift) = (affine("weight", Role::NormScale, 1.0)?, affine("bias", Role::NormShift, 0.0)?);
        let (mean, variance) =
            (affine("running_mean", Role::RunningMean, 0.0)?, affine("running_var", Role::RunningVariance, 1.0)?);
        let norm = BatchNorm { scale, shift, mean, variance, epsilon: call.number("eps", 1e-5)? };
        self.unary(&value, Op::BatchNorm(norm))
    }

    fn linear(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let axis = value.rank() - 1;
        let value = self.channels_last(&value, axis)?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a linear layer without a weight") };
        let [output, input] = self.raw.tensors[weight].shape[..] else { return refuse("a weight that is no matrix") };
        let weight = self.tensor(weight, vec![output, input], Role::LinearWeight);
        let bias = self.parameter(call, "bias")?.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let linear = Linear { prologue: Prologue::Identity, weight, bias, scale: None, input, output };
        self.on_channels(&value, axis, Op::Linear(linear), &[])
    }

    fn layer_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let axis = value.rank() - 1;
        if call.ints("normalized_shape")?.unwrap_or_default().len() != 1 {
            return refuse("a layer norm over several axes");
        }
        let value = self.channels_last(&value, axis)?;
        let norm = self.norm(call, value.shape.channels)?;
        self.unary(&value, Op::LayerNorm(norm))
    }

    /// Returns the tensors of a layer or group norm.
    fn norm(&mut self, call: &Call<'r, 'a>, channels: usize) -> Lowered<LayerNorm> {
        let mut affine = |name: &str, role, fill| -> Lowered<TensorId> {
            match self.parameter(call, name)? {
                Some(index) => self.vector(index, channels, role),
                None => {
                    let name = format!("{}.{name}", self.sketch.path);
                    Ok(self.sketch.filled(name, (vec![channels], Role::Constant), fill))
                }
            }
        };
        let (scale, shift) = (affine("weight", Role::NormScale, 1.0)?, affine("bias", Role::NormShift, 0.0)?);
        Ok(LayerNorm { scale, shift, epsilon: call.number("eps", 1e-5)? })
    }

    fn group_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let image = self.image(&value)?;
        let norm = self.norm(call, image.shape.channels)?;
        let groups = usize::try_from(call.int("num_groups", 1)?).unwrap_or(0);
        self.on_image(&image, Op::GroupNorm { norm, groups })
    }

    fn prelu(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let value = self.channels_last(&value, 1)?;
        let Some(slope) = self.parameter(call, "weight")? else { return refuse("a PReLU without slopes") };
        let len = self.raw.tensors[slope].shape.iter().product::<usize>();
        if len != 1 && len != value.shape.channels {
            return refuse(format!("{len} slopes for {} channels", value.shape.channels));
        }
        let slope = self.tensor(slope, vec![len], Role::LayerScale);
        self.unary(&value, Op::Prelu { slope })
    }

    fn softmax(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", -1)?) else {
            return refuse("a softmax of an axis that is not there");
        };
        let value = self.channels_last(&value, axis)?;
        self.unary(&value, Op::Softmax(Axis::Channels))
    }

    /// Returns the image and the window of a pool.
    fn window(&mut self, call: &Call<'r, 'a>) -> Lowered<(Traced, Window)> {
        let value = self.value(call, "self")?;
        let kernel = call.pair("kernel_size", 1)?;
        let stride = match call.ints("stride")? {
            None => kernel,
            Some(stride) if stride.is_empty() => kernel,
            Some(_) => call.pair("stride", 1)?,
        };
        let padding = Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2]));
        let rounds_up = call.flag("ceil_mode", false)?;
        Ok((value, Window { kernel, stride, dilation: call.pair("dilation", 1)?, padding, rounds_up }))
    }

    fn adaptive_pool(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let (image, output) = (self.image(&value)?, call.pair("output_size", 1)?);
        let sides = [image.shape.height, image.shape.width];
        if output == [1, 1] {
            return self.on_image(&image, Op::GlobalAveragePool);
        }
        if output == sides {
            return Ok(image);
        }
        self.on_image(&image, Op::AdaptiveAveragePool(output))
    }

    fn mean(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let axes: Option<Vec<usize>> =
            call.ints("dim")?.unwrap_or_default().into_iter().map(|axis| value.axis(axis)).collect();
        let Some(axes) = axes.filter(|axes| !axes.is_empty()) else { return refuse("a mean of all axes") };
        let keeps = call.flag("keepdim", false)?;
        let reduced: Option<Vec<Vec<usize>>> = axes.iter().map(|axis| value.pieces(*axis)).collect();
        let Some(reduced) = reduced else { return refuse("a mean over the batch") };
        let reduced = reduced.concat();
        let kept: Vec<usize> = (0..value.sides.len()).filter(|piece| !reduced.contains(piece)).collect();
        // The mean over all pixels keeps the channels, the last in memory.
        let result = if kept.iter().all(|piece| reduced.iter().all(|gone| gone < piece || value.sides[*gone] == 1)) {
            let arranged = self.sketch.arrange(&value, [&[], &reduced, &kept])?;
            self.sketch.node(Op::GlobalAveragePool, &[arranged.value])?
        } else {
            let arranged = self.sketch.arrange(&value, [&[], &kept, &reduced])?;
            self.mean_of_channels(&arranged)?
        };
        let position = |piece: usize| kept.iter().position(|kept| *kept == piece);
        let mut left = Vec::new();
        for (axis, factors) in value.axes.iter().enumerate() {
            match axes.contains(&axis) {
                true if keeps => left.push(Vec::new()),
                true => {}
                false => left.push(
                    factors
                        .iter()
                        .map(|factor| match factor {
                            Factor::Batch => Factor::Batch,
                            Factor::Piece(piece) => Factor::Piece(position(*piece).unwrap_or(0)),
                        })
                        .collect(),
                ),
            }
        }
        let sides = kept.iter().map(|piece| value.sides[*piece]).collect();
        Ok(Traced { value: result.0, shape: result.1, sides, axes: left })
    }

    /// Returns the number of values that a reduction adds.
    fn reduced(&self, call: &Call<'r, 'a>) -> Lowered<usize> {
        let value = self.value(call, "self")?;
        let axes = call.ints("dim")?.unwrap_or_default();
        let length = |axis: &i64| value.axis(*axis).map(|axis| value.length(axis));
        axes.iter()
            .map(length)
            .product::<Option<usize>>()
            .map_or_else(|| refuse("a sum of an axis that is not there"), Ok)
    }

    /// Appends the mean of the channels, by way of columns, which have a kernel.
    fn mean_of_channels(&mut self, value: &Traced) -> Lowered<(ValueId, Shape)> {
        let Shape { height, width, channels } = value.shape;
        let turned = fieldfit_nets::Rearrange {
            dimensions: vec![height * width, channels],
            order: vec![1, 0],
            output: Some(Shape { height: 1, width: channels, channels: height * width }),
        };
        let (turned, _) = self.sketch.node(Op::Rearrange(turned), &[value.value])?;
        Ok(self.sketch.node(Op::GlobalAveragePool, &[turned])?)
    }

    fn arithmetic(&mut self, call: &Call<'r, 'a>, arithmetic: Arithmetic) -> Lowered<Vec<Known>> {
        if call.number("alpha", 1.0)? != 1.0 {
            return refuse("a factor `alpha`");
        }
        let number = match call.argument("other") {
            Some(RawArgument::Float(value)) => Some(*value),
            Some(RawArgument::Int(value)) => Some(*value as f64),
            _ => None,
        };
        let Some(left) = call.argument("self").map(|argument| self.known_argument(argument)).transpose()? else {
            return refuse("a call without `self`");
        };
        if let Some(number) = number {
            let Known::Traced(value) = left else { return refuse("arithmetic of tensors alone") };
            let (scale, shift) = match arithmetic {
                Arithmetic::Add => (1.0, number),
                Arithmetic::Subtract => (1.0, -number),
                Arithmetic::Multiply => (number, 0.0),
                Arithmetic::Divide => (1.0 / number, 0.0),
            };
            let scalar = Op::Scalar { scale, shift };
            return Ok(vec![Known::Traced(self.unary(&value, scalar)?)]);
        }
        let Some(right) = call.argument("other").map(|argument| self.known_argument(argument)).transpose()? else {
            return refuse("a call without `other`");
        };
        let result = match (left, right) {
            (Known::Traced(left), Known::Traced(right)) => self.combine(arithmetic, left, right)?,
            (Known::Traced(left), Known::Tensor { index, shape }) => {
                self.with_tensor(arithmetic, left, (index, shape), false)?
            }
            (Known::Tensor { index, shape }, Known::Traced(right)) => {
                self.with_tensor(arithmetic, right, (index, shape), true)?
            }
            _ => return refuse("arithmetic of tensors alone"),
        };
        Ok(vec![Known::Traced(result)])
    }

    /// Appends arithmetic of two values.
    fn combine(&mut self, arithmetic: Arithmetic, mut left: Traced, mut right: Traced) -> Lowered<Traced> {
        let rank = left.rank().max(right.rank());
        for value in [&mut left, &mut right] {
            while value.rank() < rank {
                value.axes.insert(0, Vec::new());
            }
        }
        if left.refine(&mut right).is_none() {
            return refuse("arithmetic of arrays of other shapes");
        }
        let len = |value: &Traced| value.sides.iter().product::<usize>();
        let is_swapped = len(&right) > len(&left);
        let (large, small) = if is_swapped { (right, left) } else { (left, right) };
        let (large, small) = self.conform(large, small)?;
        let operands = if is_swapped { [small.value, large.value] } else { [large.value, small.value] };
        let (value, shape) = self.sketch.node(Op::Arithmetic(arithmetic), &operands)?;
        if shape != large.shape {
            return refuse("arithmetic in which both arrays are repeated");
        }
        Ok(Traced { value, shape, ..large })
    }

    /// Brings a smaller value into the larger one's order in memory.
    fn conform(&mut self, large: Traced, small: Traced) -> Lowered<(Traced, Traced)> {
        // Of each piece of the larger value, the smaller one's piece at the same place of the same axis.
        let mut partner = vec![None; large.sides.len()];
        for axis in 0..large.rank() {
            if small.length(axis) == 1 {
                continue;
            }
            if large.length(axis) == 1 {
                return refuse("arithmetic in which both arrays are repeated");
            }
            for (ours, theirs) in large.axes[axis].iter().zip(&small.axes[axis]) {
                if let (Factor::Piece(ours), Factor::Piece(theirs)) = (ours, theirs) {
                    partner[*ours] = Some(*theirs);
                }
            }
        }
        let is_there = |piece: usize| partner[piece].is_some() || large.sides[piece] == 1;
        // Runs of pieces that the smaller value has, or has not, are rows, columns and channels.
        let current = self.groups_of(&large);
        let is_uniform = |group: &Vec<usize>| {
            group.iter().all(|piece| is_there(*piece)) || group.iter().all(|piece| partner[*piece].is_none())
        };
        let groups = match current.filter(|groups| groups.iter().all(is_uniform)) {
            Some(groups) => groups,
            None => {
                let mut runs: Vec<Vec<usize>> = Vec::new();
                for piece in 0..large.sides.len() {
                    match runs.last_mut() {
                        Some(run) if run.iter().all(|other| partner[*other].is_some() == partner[piece].is_some()) => {
                            run.push(piece)
                        }
                        _ => runs.push(vec![piece]),
                    }
                }
                if runs.len() > 3 {
                    return refuse("arithmetic of arrays that are repeated along alternating axes");
                }
                while runs.len() < 3 {
                    runs.insert(0, Vec::new());
                }
                runs
            }
        };
        let large = self.sketch.arrange(&large, [&groups[0], &groups[1], &groups[2]])?;
        let theirs: Vec<Vec<usize>> =
            groups.iter().map(|group| group.iter().filter_map(|piece| partner[*piece]).collect()).collect();
        let units = self.units(&small, &[&theirs[0], &theirs[1], &theirs[2]]);
        if units.iter().any(|piece| small.sides[*piece] != 1) {
            return refuse("arithmetic of arrays of other shapes");
        }
        let rows = [units, theirs[0].clone()].concat();
        let small = self.sketch.arrange(&small, [&rows, &theirs[1], &theirs[2]])?;
        Ok((large, small))
    }

    /// Returns the pieces of a value's rows, columns and channels, if each is whole pieces.
    fn groups_of(&self, value: &Traced) -> Option<Vec<Vec<usize>>> {
        let mut groups = Vec::new();
        let mut next = 0;
        for side in value.shape.sides() {
            let (first, mut len) = (next, 1);
            while len < side {
                len *= value.sides.get(next)?;
                next += 1;
            }
            if len != side {
                return None;
            }
            groups.push((first..next).collect::<Vec<_>>());
        }
        groups[2].extend(next..value.sides.len());
        Some(groups)
    }

    /// Appends arithmetic of a value and a tensor.
    fn with_tensor(
        &mut self,
        arithmetic: Arithmetic,
        value: Traced,
        (index, mut shape): (usize, Vec<usize>),
        is_first: bool,
    ) -> Lowered<Traced> {
        if shape.len() > value.rank() {
            return refuse("arithmetic that repeats the image's value");
        }
        while shape.len() < value.rank() {
            shape.insert(0, 1);
        }
        let wide: Vec<usize> = (0..value.rank()).filter(|axis| shape[*axis] != 1).collect();
        if wide.iter().any(|axis| shape[*axis] != value.length(*axis) || value.axes[*axis].contains(&Factor::Batch)) {
            return refuse("arithmetic with a tensor of another shape");
        }
        if let ([axis], Arithmetic::Add | Arithmetic::Multiply) = (&wide[..], arithmetic) {
            let value = self.channels_last(&value, *axis)?;
            let is_product = arithmetic == Arithmetic::Multiply;
            let role = if is_product { Role::LayerScale } else { Role::Bias };
            let tensor = Some(self.tensor(index, vec![value.shape.channels], role));
            let (scale, shift) = if is_product { (tensor, None) } else { (None, tensor) };
            return self.unary(&value, Op::Affine { scale, shift });
        }
        let parameter = self.parameter_value(index, &shape)?;
        if is_first { self.combine(arithmetic, parameter, value) } else { self.combine(arithmetic, value, parameter) }
    }

    /// Appends a tensor as a value of that shape, without a batch.
    fn parameter_value(&mut self, index: usize, shape: &[usize]) -> Lowered<Traced> {
        let sides = shape.to_vec();
        let channels = sides.last().copied().unwrap_or(1);
        let len: usize = sides.iter().product();
        let value_shape = Shape { height: 1, width: len / channels.max(1), channels };
        let role = if shape.len() > 1 { Role::Positions } else { Role::Token };
        let tensor = self.tensor(index, self.raw.tensors[index].shape.clone(), role);
        let (value, value_shape) = self.sketch.node(Op::Parameter { tensor, shape: value_shape }, &[])?;
        let axes = (0..sides.len()).map(|piece| vec![Factor::Piece(piece)]).collect();
        Ok(Traced { value, shape: value_shape, sides, axes })
    }

    fn concat(&mut self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
        let Some(RawArgument::Values(names)) = call.argument("tensors") else {
            return refuse("a list that is computed");
        };
        let mut parts = Vec::with_capacity(names.len());
        for name in names.iter().flatten() {
            parts.push(self.named(name)?);
        }
        let Some(rank) =
            parts.iter().find_map(|part| if let Known::Traced(value) = part { Some(value.rank()) } else { None })
        else {
            return refuse("a concatenation of tensors alone");
        };
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            values.push(match part {
                Known::Traced(value) if value.rank() == rank => value,
                Known::Tensor { index, shape } if shape.len() == rank => {
                    let mut value = self.parameter_value(index, &shape)?;
                    value.axes[0]
                        .retain(|factor| value.sides[if let Factor::Piece(piece) = factor { *piece } else { 0 }] != 1);
                    value
                }
                _ => return refuse("a concatenation of arrays of other ranks"),
            });
        }
        let Some(template) =
            values.iter().find(|value| value.axes.iter().any(|axis| axis.contains(&Factor::Batch))).cloned()
        else {
            return refuse("a concatenation of tensors alone");
        };
        let Some(axis) = template.axis(call.int("dim", 0)?) else { return refuse("a concatenation along no axis") };
        if values.len() == 1 {
            return Ok(values.into_iter().map(Known::Traced).collect());
        }
        Ok(vec![Known::Traced(self.concat_values(values, template, axis)?)])
    }

    fn concat_values(&mut self, values: Vec<Traced>, template: Traced, axis: usize) -> Lowered<Traced> {
        // The other axes of all parts get the same pieces: they are split by each other first.
        let mut reference = template;
        let mut values = values;
        let others: Vec<usize> = (0..reference.rank()).filter(|other| *other != axis).collect();
        // Twice, so that what a later part splits is split in the earlier ones.
        for _ in 0..2 {
            for value in &mut values {
                if refine_axes(&mut reference, value, &others).is_none() {
                    return refuse("a concatenation of arrays of other shapes");
                }
            }
        }
        let Some(own) = reference.pieces(axis) else { return refuse("a concatenation along the batch") };
        let others: Vec<usize> = (0..reference.sides.len()).filter(|piece| !own.contains(piece)).collect();
        let first = own.first().copied().unwrap_or(reference.sides.len());
        let before: Vec<usize> = others.iter().copied().filter(|piece| *piece < first).collect();
        let after: Vec<usize> = others.iter().copied().filter(|piece| *piece >= first).collect();
        let mut inputs = Vec::with_capacity(values.len());
        let mut shapes = Vec::with_capacity(values.len());
        let is_last = after.iter().all(|piece| reference.sides[*piece] == 1);
        for value in &values {
            let Some(own) = value.pieces(axis) else { return refuse("a concatenation along the batch") };
            let map = |piece: &usize| partner_of(&reference, value, axis, *piece);
            let (before, after): (Vec<usize>, Vec<usize>) =
                (before.iter().filter_map(map).collect(), after.iter().filter_map(map).collect());
            let units = self.units(value, &[&before, &own, &after]);
            if units.iter().any(|piece| value.sides[*piece] != 1) {
                return refuse("a concatenation of arrays of other shapes");
            }
            let before = [units, before].concat();
            let arranged = if is_last {
                let channels = [own, after].concat();
                let order: Vec<usize> = before.iter().chain(&channels).copied().collect();
                let len: usize = channels.iter().map(|piece| value.sides[*piece]).product();
                let fits = order.iter().copied().eq(0..value.sides.len()) && value.shape.channels == len;
                let same = shapes
                    .first()
                    .is_none_or(|shape: &Shape| (shape.height, shape.width) == (value.shape.height, value.shape.width));
                if fits && same { value.clone() } else { self.sketch.arrange(value, [&[], &before, &channels])? }
            } else {
                self.sketch.arrange(value, [&before, &own, &after])?
            };
            shapes.push(arranged.shape);
            inputs.push(arranged.value);
        }
        let total: usize = values.iter().map(|value| value.length(axis)).sum();
        let (value, shape) =
            self.sketch.node(Op::Concat(if is_last { Axis::Channels } else { Axis::Columns }), &inputs)?;
        // Memory is before, the axis as one piece, after.
        let order: Vec<Option<usize>> = before
            .iter()
            .map(|piece| Some(*piece))
            .chain([None])
            .chain(after.iter().map(|piece| Some(*piece)))
            .collect();
        let place = |piece: usize| order.iter().position(|found| *found == Some(piece));
        let mut axes = Vec::with_capacity(reference.rank());
        for (position, factors) in reference.axes.iter().enumerate() {
            if position == axis {
                axes.push(vec![Factor::Piece(before.len())]);
                continue;
            }
            let moved = |factor: &Factor| match factor {
                Factor::Batch => Some(Factor::Batch),
                Factor::Piece(piece) => place(*piece).map(Factor::Piece),
            };
            axes.push(factors.iter().filter_map(moved).collect());
        }
        let sides = order.iter().map(|piece| piece.map_or(total, |piece| reference.sides[piece])).collect();
        Ok(Traced { value, shape, sides, axes })
    }

    /// Returns the range of an axis that a call selects: axis, start, length, step, and whether the axis goes.
    fn slice(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a slice of an axis that is not there") };
        let length = value.length(axis) as i64;
        let from_end = |position: i64| (if position < 0 { position + length } else { position }).clamp(0, length);
        let (start, end, step, goes) = match op {
            "select.int" => {
                let index = from_end(call.int("index", 0)?);
                (index, index + 1, 1, true)
            }
            "narrow.default" => {
                let start = from_end(call.int("start", 0)?);
                (start, start + call.int("length", 0)?, 1, false)
            }
            _ => {
                let end = match call.argument("end") {
                    None | Some(RawArgument::None) => i64::MAX,
                    Some(_) => call.int("end", i64::MAX)?,
                };
                let start = match call.argument("start") {
                    None | Some(RawArgument::None) => 0,
                    Some(_) => call.int("start", 0)?,
                };
                (from_end(start), from_end(end), call.int("step", 1)?, false)
            }
        };
        if value.axes[axis].contains(&Factor::Batch) {
            return if (start, end, step, goes) == (0, length, 1, false) || end == i64::MAX && start == 0 {
                Ok(value)
            } else {
                refuse("a slice of the batch")
            };
        }
        if step < 1 || end <= start {
            return refuse("an empty slice");
        }
        let (start, count) = (start as usize, ((end - start) as usize).div_ceil(step as usize));
        let mut result = self.range(&value, axis, (start, count, step as usize))?;
        if goes {
            result.axes.remove(axis);
        }
        Ok(result)
    }

    /// Appends a range of an axis.
    fn range(&mut self, value: &Traced, axis: usize, (start, length, step): (usize, usize, usize)) -> Lowered<Traced> {
        if (start, length, step) == (0, value.length(axis), 1) {
            return Ok(value.clone());
        }
        let Some(own) = value.pieces(axis) else { return refuse("a slice of the batch") };
        let Some(first) = own.iter().copied().min() else { return refuse("a slice of an axis of length 1") };
        let others: Vec<usize> = (0..value.sides.len()).filter(|piece| !own.contains(piece)).collect();
        let before: Vec<usize> = others.iter().copied().filter(|piece| *piece < first).collect();
        let after: Vec<usize> = others.iter().copied().filter(|piece| *piece >= first).collect();
        let is_last = after.iter().all(|piece| value.sides[*piece] == 1);
        let (arranged, along) = if is_last {
            let axes_last = self.channels_last(value, axis)?;
            (axes_last, Axis::Channels)
        } else {
            (self.sketch.arrange(value, [&before, &own, &after])?, Axis::Columns)
        };
        let (result, shape) = self.sketch.node(Op::Slice { axis: along, start, length, step }, &[arranged.value])?;
        // The axis becomes one piece.
        let own = arranged.pieces(axis).unwrap_or_default();
        let place = |piece: usize| {
            let gone = own.iter().filter(|gone| **gone < piece).count();
            piece - gone + usize::from(own.iter().any(|gone| *gone < piece))
        };
        let position = own.iter().copied().min().unwrap_or(0);
        let mut sides: Vec<usize> = Vec::with_capacity(arranged.sides.len());
        for (piece, side) in arranged.sides.iter().enumerate() {
            if piece == position {
                sides.push(length);
            } else if !own.contains(&piece) {
                sides.push(*side);
            }
        }
        let mut axes = arranged.axes.clone();
        for (index, factors) in axes.iter_mut().enumerate() {
            if index == axis {
                *factors = vec![Factor::Piece(position)];
                continue;
            }
            for factor in factors {
                if let Factor::Piece(piece) = factor {
                    *piece = place(*piece);
                }
            }
        }
        Ok(Traced { value: result, shape, sides, axes })
    }

    fn split(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a split of an axis that is not there") };
        let length = value.length(axis);
        let of = |value: i64| usize::try_from(value).or_else(|_| refuse("a split into parts of negative size"));
        let sizes: Vec<usize> = match op {
            "unbind.int" => vec![1; length],
            "split_with_sizes.default" => {
                call.ints("split_sizes")?.unwrap_or_default().into_iter().map(of).collect::<Lowered<_>>()?
            }
            _ => {
                let size = if op == "chunk.default" {
                    length.div_ceil(of(call.int("chunks", 1)?)?.max(1))
                } else {
                    of(call.int("split_size", 1)?)?
                };
                let size = size.max(1);
                (0..length.div_ceil(size)).map(|index| size.min(length - index * size)).collect()
            }
        };
        if sizes.iter().sum::<usize>() != length {
            return refuse("a split into parts that do not add up");
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let mut part = self.range(&value, axis, (start, size, 1))?;
            if op == "unbind.int" {
                part.axes.remove(axis);
            }
            parts.push(Known::Traced(part));
            start += size;
        }
        Ok(parts)
    }

    /// Returns the sizes of a view's argument.
    fn sizes(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<Size>> {
        let of = |value: i64| match value {
            -1 => Ok(Size::Rest),
            value => {
                let size = usize::try_from(value).ok().filter(|size| *size <= MAX_VALUES);
                size.map_or_else(|| refuse(format!("a size of {value}")), |size| Ok(Size::Fixed(size)))
            }
        };
        match call.argument(name) {
            Some(RawArgument::Ints(values)) => values.iter().map(|value| of(*value)).collect(),
            Some(RawArgument::SymbolicInts(values)) => values
                .iter()
                .map(|value| match value {
                    RawInt::Constant(value) => of(*value),
                    RawInt::Value(name) => match self.named(name)? {
                        Known::Int(size) => Ok(size),
                        _ => refuse("a size that is no integer"),
                    },
                })
                .collect(),
            _ => refuse(format!("a call without `{name}`")),
        }
    }

    fn change_axes(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        let known = self.first(call)?;
        match known {
            Known::Traced(value) => Ok(vec![Known::Traced(self.change_value(call, op, value)?)]),
            Known::Tensor { index, shape } => {
                Ok(vec![Known::Tensor { index, shape: self.change_tensor(call, op, shape)? }])
            }
            Known::Int(_) | Known::Unread => refuse("a view of something that is no array"),
        }
    }

    fn change_value(&self, call: &Call<'r, 'a>, op: &str, mut value: Traced) -> Lowered<Traced> {
        let rank = value.rank() as i64;
        let axis_of =
            |value: &Traced, axis: i64| value.axis(axis).map_or_else(|| refuse("an axis that is not there"), Ok);
        let changed = match op {
            "view.default" | "_unsafe_view.default" => value.view(&self.sizes(call, "size")?, self.batch),
            "reshape.default" => value.view(&self.sizes(call, "shape")?, self.batch),
            "flatten.using_ints" => {
                let (first, last) =
                    (axis_of(&value, call.int("start_dim", 0)?)?, axis_of(&value, call.int("end_dim", -1)?)?);
                if first <= last {
                    let merged = value.axes.drain(first..=last).flatten().collect();
                    value.axes.insert(first, merged);
                }
                Some(value)
            }
            "unflatten.int" => {
                let axis = axis_of(&value, call.int("dim", 0)?)?;
                let inner = self.sizes(call, "sizes")?;
                let known = |axis: usize| match value.axes[axis].contains(&Factor::Batch) {
                    true => Size::Batch(value.length(axis)),
                    false => Size::Fixed(value.length(axis)),
                };
                let mut sizes: Vec<Size> = (0..axis).map(known).collect();
                let whole = value.length(axis);
                let fixed: usize =
                    inner.iter().map(|size| if let Size::Fixed(size) = size { *size } else { 1 }).product();
                sizes.extend(inner.iter().map(|size| match size {
                    Size::Rest => Size::Fixed(whole / fixed.max(1)),
                    other => *other,
                }));
                sizes.extend((axis + 1..value.rank()).map(known));
                value.view(&sizes, None)
            }
            "permute.default" => {
                let dims = call.ints("dims")?.unwrap_or_default();
                let order: Lowered<Vec<usize>> = dims.into_iter().map(|axis| axis_of(&value, axis)).collect();
                value.permute(&order?)
            }
            "transpose.int" | "t.default" => {
                let (first, second) =
                    if op == "t.default" { (0, 1) } else { (call.int("dim0", 0)?, call.int("dim1", 1)?) };
                let (first, second) = (axis_of(&value, first)?, axis_of(&value, second)?);
                value.axes.swap(first, second);
                Some(value)
            }
            "unsqueeze.default" => {
                let axis = call.int("dim", 0)?;
                let axis = if axis < 0 { axis + rank + 1 } else { axis };
                let Ok(axis) = usize::try_from(axis) else { return refuse("an axis that is not there") };
                if axis > value.rank() {
                    return refuse("an axis that is not there");
                }
                value.axes.insert(axis, Vec::new());
                Some(value)
            }
            "squeeze.dim" | "squeeze.dims" => {
                let mut axes: Vec<usize> = call
                    .ints("dim")?
                    .unwrap_or_default()
                    .into_iter()
                    .map(|axis| axis_of(&value, axis))
                    .collect::<Lowered<_>>()?;
                axes.sort_unstable();
                for axis in axes.into_iter().rev() {
                    if value.length(axis) == 1 && !value.axes[axis].contains(&Factor::Batch) {
                        value.axes.remove(axis);
                    }
                }
                Some(value)
            }
            _ => {
                let sizes = self.sizes(call, "size")?;
                let keeps = |(axis, size): (usize, &Size)| match size {
                    Size::Rest | Size::Batch(_) => true,
                    Size::Fixed(size) => *size == value.length(axis) || value.axes[axis].contains(&Factor::Batch),
                };
                if sizes.len() != value.rank() || !sizes.iter().enumerate().all(keeps) {
                    return refuse("an expansion of a value");
                }
                Some(value)
            }
        };
        changed.map_or_else(|| refuse("a view that cuts across the axes"), Ok)
    }

    /// Returns the shape of a view of a tensor.
    fn change_tensor(&self, call: &Call<'r, 'a>, op: &str, mut shape: Vec<usize>) -> Lowered<Vec<usize>> {
        let at = |shape: &[usize], axis: i64, extra: i64| {
            let rank = shape.len() as i64 + extra;
            usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|axis| (*axis as i64) < rank)
        };
        match op {
            "view.default" | "reshape.default" | "_unsafe_view.default" => {
                let sizes = self.sizes(call, if op == "reshape.default" { "shape" } else { "size" })?;
                let total: usize = shape.iter().product();
                let fixed: usize =
                    sizes.iter().map(|size| if let Size::Fixed(size) = size { *size } else { 1 }).product();
                let side = |size: &Size| match size {
                    Size::Fixed(size) => Some(*size),
                    Size::Rest => total.checked_div(fixed),
                    Size::Batch(_) => None,
                };
                let sides: Option<Vec<usize>> = sizes.iter().map(side).collect();
                match sides.filter(|sides| sides.iter().product::<usize>() == total) {
                    Some(sides) => Ok(sides),
                    None => refuse("a view of a tensor by the batch's size"),
                }
            }
            "unsqueeze.default" => match at(&shape, call.int("dim", 0)?, 1) {
                Some(axis) => {
                    shape.insert(axis, 1);
                    Ok(shape)
                }
                None => refuse("an axis that is not there"),
            },
            "squeeze.dim" => match at(&shape, call.int("dim", 0)?, 0) {
                Some(axis) => {
                    if shape[axis] == 1 {
                        shape.remove(axis);
                    }
                    Ok(shape)
                }
                None => refuse("an axis that is not there"),
            },
            "expand.default" => {
                let sizes = self.sizes(call, "size")?;
                let ahead = sizes.len().saturating_sub(shape.len());
                let expanded: Vec<usize> = vec![1; ahead].into_iter().chain(shape).collect();
                // Only an axis that the batch takes may grow: every image has the same values.
                let grows = |(axis, size): (usize, &Size)| match size {
                    Size::Fixed(size) => *size != expanded[axis] && !(axis == 0 && self.batch == Some(*size)),
                    Size::Rest | Size::Batch(_) => false,
                };
                if sizes.iter().enumerate().any(grows) {
                    return refuse("an expansion of a tensor");
                }
                Ok(expanded)
            }
            "flatten.using_ints" if shape.len() == 1 => Ok(shape),
            _ => refuse("a permutation of a tensor"),
        }
    }

    fn pad(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let mode = match call.argument("mode") {
            Some(RawArgument::Text(mode)) => mode.as_str() == "constant",
            _ => true,
        };
        let fill = match call.argument("value") {
            None | Some(RawArgument::None) => 0.0,
            Some(_) => call.number("value", 0.0)?,
        };
        if !mode || fill != 0.0 {
            return refuse("padding with something else than zeros");
        }
        let amounts = call.ints("pad")?.unwrap_or_default();
        let of = |position: usize| match amounts.get(position) {
            None => Ok(0),
            Some(amount) => {
                let amount = usize::try_from(*amount).ok().filter(|amount| *amount <= MAX_SIDE);
                amount.map_or_else(|| refuse("padding that cuts off, or of that size"), Ok)
            }
        };
        if amounts.len() > 4 && amounts[4..].iter().any(|amount| *amount != 0) {
            return refuse("padding of channels");
        }
        self.on_image(&value, Op::Pad([[of(2)?, of(3)?], [of(0)?, of(1)?]]))
    }

    fn resize(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let image = self.image(&value)?;
        let interpolation = match (op, call.flag("align_corners", false)?) {
            ("upsample_nearest2d.vec", _) => Interpolation::Nearest,
            (_, true) => Interpolation::BilinearCorners,
            (_, false) => Interpolation::Bilinear,
        };
        let to = match call.argument("scale_factors") {
            Some(RawArgument::Floats(factors)) if factors.len() == 2 => {
                if factors.iter().any(|factor| factor.fract() != 0.0 || *factor < 1.0 || *factor > 1024.0) {
                    return refuse(format!("a resize by {factors:?}"));
                }
                ResizeTo::Times([factors[0] as usize, factors[1] as usize])
            }
            _ => match self.sizes(call, "output_size")?[..] {
                [Size::Fixed(rows), Size::Fixed(columns)] => ResizeTo::Fixed([rows, columns]),
                _ => return refuse("a resize to a size that is computed"),
            },
        };
        self.on_image(&image, Op::Resize { to, interpolation })
    }

    fn pixel_shuffle(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let image = self.image(&value)?;
        let factor = usize::try_from(call.int("upscale_factor", 1)?).unwrap_or(0);
        let Shape { height, width, channels } = image.shape;
        if factor == 0 || !channels.is_multiple_of(factor * factor) {
            return refuse("a pixel shuffle that does not divide the channels");
        }
        let sizes = [channels / (factor * factor), factor, factor, height, width];
        let sizes: Vec<Size> = [Size::Batch(1)].into_iter().chain(sizes.map(Size::Fixed)).collect();
        let split = image.view(&sizes, None).and_then(|value| value.permute(&[0, 1, 4, 2, 5, 3]));
        let merged = [channels / (factor * factor), height * factor, width * factor].map(Size::Fixed);
        let merged: Vec<Size> = [Size::Batch(1)].into_iter().chain(merged).collect();
        split.and_then(|value| value.view(&merged, None)).map_or_else(|| refuse("that pixel shuffle"), Ok)
    }

    fn attention(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let [query, key, value] = ["query", "key", "value"].map(|name| self.value(call, name));
        let (query, key, value) = (query?, key?, value?);
        let has_mask = !matches!(call.argument("attn_mask"), None | Some(RawArgument::None));
        if call.flag("is_causal", false)? || call.number("dropout_p", 0.0)? != 0.0 || has_mask {
            return refuse("attention with a mask or dropout");
        }
        if query.rank() != 4 {
            return refuse(format!("attention over arrays of {} axes", query.rank()));
        }
        let (heads, depth) = (query.length(1), query.length(3));
        let scale = match call.argument("scale") {
            None | Some(RawArgument::None) => 1.0 / (depth as f64).sqrt(),
            Some(_) => call.number("scale", 1.0)?,
        };
        let is_plain = (scale * (depth as f64).sqrt() - 1.0).abs() < 1e-6;
        let parts = [&query, &key, &value];
        let is_same = parts.iter().all(|part| {
            part.rank() == 4 && part.is_batch(0) && (1..4).all(|axis| part.length(axis) == query.length(axis))
        });
        if is_plain && is_same {
            let mut inputs = Vec::with_capacity(3);
            for part in parts {
                let [Some(head), Some(tokens), Some(depth)] = [1, 2, 3].map(|axis| part.pieces(axis)) else {
                    return refuse("attention over the batch");
                };
                let units = self.units(part, &[&head, &tokens, &depth]);
                let (columns, channels) = ([units, tokens].concat(), [head, depth].concat());
                inputs.push(self.sketch.arrange(part, [&[], &columns, &channels])?.value);
            }
            let (joined, _) = self.sketch.node(Op::Concat(Axis::Channels), &inputs)?;
            let attention = Op::Attention(Attention { heads, width: heads * depth });
            let (result, shape) = self.sketch.node(attention, &[joined])?;
            let sides = vec![query.length(2), heads, depth];
            let axes =
                vec![vec![Factor::Batch], vec![Factor::Piece(1)], vec![Factor::Piece(0)], vec![Factor::Piece(2)]];
            return Ok(Traced { value: result, shape, sides, axes });
        }
        let scores = self.product(&query, &key, true, scale)?;
        let scores = self.channels_last(&scores, 3)?;
        let shares = self.unary(&scores, Op::Softmax(Axis::Channels))?;
        self.product(&shares, &value, false, 1.0)
    }

    /// Appends a matrix product over the last two axes.
    fn product(&mut self, left: &Traced, right: &Traced, transposes: bool, scale: f64) -> Lowered<Traced> {
        let rank = left.rank();
        if rank < 3 || right.rank() != rank {
            return refuse("a matrix product of arrays of other ranks");
        }
        let (mut left, mut right) = (left.clone(), right.clone());
        let outer: Vec<usize> = (0..rank - 2).collect();
        if refine_axes(&mut left, &mut right, &outer).is_none() {
            return refuse("a matrix product of arrays of other shapes");
        }
        let mut operands = Vec::with_capacity(2);
        for value in [&left, &right] {
            let rows: Vec<usize> = outer
                .iter()
                .flat_map(|axis| &value.axes[*axis])
                .filter_map(|factor| if let Factor::Piece(piece) = factor { Some(*piece) } else { None })
                .collect();
            let (Some(columns), Some(channels)) = (value.pieces(rank - 2), value.pieces(rank - 1)) else {
                return refuse("a matrix product over the batch");
            };
            let units = self.units(value, &[&rows, &columns, &channels]);
            let rows = [units, rows].concat();
            operands.push(self.sketch.arrange(value, [&rows, &columns, &channels])?);
        }
        let op = Op::MatMul { transposes, scale };
        let (result, shape) = self.sketch.node(op, &[operands[0].value, operands[1].value])?;
        let left = &operands[0];
        let kept = left.sides.len() - left.axes[rank - 1].len();
        let mut sides = left.sides[..kept].to_vec();
        sides.push(shape.channels);
        let mut axes = left.axes.clone();
        axes[rank - 1] = vec![Factor::Piece(kept)];
        Ok(Traced { value: result, shape, sides, axes })
    }
}

/// Whether an op changes its first argument.
fn is_in_place(op: &str) -> bool {
    op.rsplit_once('.').and_then(|(name, _)| name.rsplit('.').next()).is_some_and(|name| name.ends_with('_'))
}

/// Whether an op's result may share its argument's memory.
fn may_share(op: &str) -> bool {
    const VIEWS: [&str; 20] = [
        "alias",
        "detach",
        "view",
        "reshape",
        "_unsafe_view",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "expand",
        "slice",
        "select",
        "narrow",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
    ];
    let op = op.strip_prefix("torch.ops.aten.").unwrap_or(op);
    VIEWS.contains(&op.split('.').next().unwrap_or_default())
}

/// Returns the name of an argument that is a value.
fn named<'n, 'a>(argument: &'n RawArgument<'a>) -> Option<&'n Name<'a>> {
    if let RawArgument::Value(name) = argument { Some(name) } else { None }
}

/// Returns the names of an argument's values.
fn all_named<'n, 'a>(argument: &'n RawArgument<'a>) -> Vec<&'n Name<'a>> {
    match argument {
        RawArgument::Value(name) => vec![name],
        RawArgument::Values(names) => names.iter().flatten().collect(),
        _ => Vec::new(),
    }
}

/// Returns the name of a product's second argument.
fn call_other(call: &Call<'_, '_>) -> &'static str {
    if call.argument("mat2").is_some() { "mat2" } else { "other" }
}

/// Splits the pieces of some axes of two values until they are alike.
fn refine_axes(left: &mut Traced, right: &mut Traced, axes: &[usize]) -> Option<()> {
    if left.rank() != right.rank() {
        return None;
    }
    axes.iter().try_for_each(|axis| left.refine_axis(right, *axis))
}

/// Returns the piece of `value` at the place that `piece` has in the reference, on any axis but `axis`.
fn partner_of(reference: &Traced, value: &Traced, axis: usize, piece: usize) -> Option<usize> {
    for (position, factors) in reference.axes.iter().enumerate().filter(|(position, _)| *position != axis) {
        if let Some(place) = factors.iter().position(|factor| *factor == Factor::Piece(piece)) {
            return match value.axes.get(position)?.get(place)? {
                Factor::Piece(piece) => Some(*piece),
                Factor::Batch => None,
            };
        }
    }
    None
}
