//! Lowering of ATen ops: what each op of a `.pt2` file becomes.

mod arithmetic;
mod attention;
mod axes;
mod call;
mod concat;
mod in_place;
mod layers;
mod pools;
mod slice;
mod values;

use crate::import::graph::GraphError;
use crate::import::graph::lower::lowering::{EVALUATION, Known, Lowered, Lowering, Problem, refuse};
use crate::import::graph::lower::traced::{Factor, Size};
use crate::import::graph::raw::RawArgument;
use attention::call_other;
use call::Call;
use fieldfit_nets::{Arithmetic, Function, Op};
use in_place::{is_in_place, may_share, named};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers the node at that position.
    pub fn lower(&mut self, position: usize) -> Result<(), GraphError> {
        let raw = self.raw;
        let node = &raw.nodes[position];
        self.enter(node);
        let results = self
            .check_in_place(node, position)
            .and_then(|()| self.call(&Call { node }))
            .map_err(|problem| self.failed(node, problem))?;
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
        if let Some(function) = function(call, op)? {
            return Ok(vec![Known::Traced(self.activate(call, function)?)]);
        }
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
            "prelu.default" => self.prelu(call)?,
            "softmax.int" | "_softmax.default" => self.softmax(call)?,
            "add.Tensor" | "add_.Tensor" | "add.Scalar" => self.arithmetic(call, Arithmetic::Add)?,
            "sub.Tensor" | "sub_.Tensor" | "sub.Scalar" => self.arithmetic(call, Arithmetic::Subtract)?,
            "mul.Tensor" | "mul_.Tensor" | "mul.Scalar" => self.arithmetic(call, Arithmetic::Multiply)?,
            "div.Tensor" | "div_.Tensor" | "div.Scalar" => self.arithmetic(call, Arithmetic::Divide)?,
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
                let (value, axes, keeps) = self.reduction(call)?;
                self.append_sum(&value, &axes, keeps)?
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
            "mean.dim" => {
                let (value, axes, keeps) = self.reduction(call)?;
                self.append_mean(&value, &axes, keeps)?
            }
            "cat.default" => self.concat(call)?,
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
                return Ok(vec![self.change_axes(call, op)?]);
            }
            "constant_pad_nd.default" | "pad.default" => self.pad(call)?,
            "upsample_bilinear2d.vec" | "upsample_nearest2d.vec" => self.resize(call, op)?,
            "pixel_shuffle.default" => self.pixel_shuffle(call)?,
            "scaled_dot_product_attention.default" => self.attention(call)?,
            "matmul.default" | "bmm.default" => {
                let (left, right) = (self.value(call, "self")?, self.value(call, call_other(call))?);
                self.append_product(&left, &right, false, 1.0)?
            }
            _ => return Err(Problem::Op),
        };
        Ok(vec![Known::Traced(traced)])
    }

    /// Refuses what an op without effect would have: dropout in training, another type.
    fn check_inert(&self, call: &Call<'r, 'a>) -> Lowered<()> {
        if call.flag("train", false)? {
            return Err(Problem::Use("dropout in training mode".to_owned(), EVALUATION));
        }
        match call.argument("dtype") {
            Some(RawArgument::Dtype(dtype)) if !matches!(dtype.name(), "float32" | "float64") => {
                refuse(format!("a conversion to {dtype}"))
            }
            _ => Ok(()),
        }
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
}

/// Returns the elementwise function that an op applies; `None` if it is another kind of op.
fn function(call: &Call<'_, '_>, op: &str) -> Lowered<Option<Function>> {
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
        "gelu" => match call.argument("approximate") {
            None => Function::Gelu,
            Some(RawArgument::Text(name)) if name.as_str() == "none" => Function::Gelu,
            Some(RawArgument::Text(name)) if name.as_str() == "tanh" => Function::GeluTanh,
            Some(_) => return refuse("that approximation"),
        },
        _ => return Ok(None),
    }))
}
