//! Norms: of a batch, of layers, groups and images, by the root of squares, and by a vector's length.

use super::call::Call;
use super::{EVALUATION, Known, Lowered, Lowering, Problem, refuse};
use crate::import::graph::lower::final_op::FinalOp;
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Arithmetic, BatchNorm, Function, LayerNorm, Op, Role};
use fieldfit_tensor::TensorId;

/// Tensors of a norm, by their positions in the file; `None` of one that the call leaves out.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct NormTensors {
    pub scale: Option<usize>,
    pub shift: Option<usize>,
    pub mean: Option<usize>,
    pub variance: Option<usize>,
}

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn batch_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        if call.flag("training", false)? {
            return Err(Problem::Use("a batch norm in training mode".to_owned(), EVALUATION));
        }
        self.norm_by_statistics(call, &value)
    }

    /// Appends a norm of each channel by the running statistics that a call names.
    fn norm_by_statistics(&mut self, call: &Call<'r, 'a>, value: &Traced) -> Lowered<Traced> {
        let tensors = NormTensors {
            mean: self.parameter(call, "running_mean")?,
            variance: self.parameter(call, "running_var")?,
            ..self.norm_tensors(call)?
        };
        self.batch_norm_of(value, tensors, call.number("eps", 1e-5)?)
    }

    /// Appends a batch norm with running statistics, over axis 1.
    pub fn batch_norm_of(&mut self, value: &Traced, tensors: NormTensors, epsilon: f64) -> Lowered<Traced> {
        if value.rank() < 2 {
            return refuse("a batch norm of an array without channels");
        }
        let value = self.channels_last(value, 1)?;
        let channels = value.shape.channels;
        let LayerNorm { scale, shift, .. } = self.norm_of(tensors, channels, epsilon)?;
        let mean = self.channel_tensor(tensors.mean, "running_mean", (channels, Role::RunningMean), 0.0)?;
        let variance = self.channel_tensor(tensors.variance, "running_var", (channels, Role::RunningVariance), 1.0)?;
        self.unary(&value, Op::BatchNorm(BatchNorm { scale, shift, mean, variance, epsilon }))
    }

    /// Brings the last axes that a norm names to the channels, as one axis.
    fn normalised(&mut self, mut value: Traced, count: usize) -> Lowered<(Traced, Vec<Vec<Factor>>)> {
        let Some(first) = value.rank().checked_sub(count).filter(|first| *first < value.rank()) else {
            return refuse("a norm over axes that are not there");
        };
        let axes = value.axes.split_off(first);
        value.axes.push(axes.concat());
        let value = self.channels_last(&value, first)?;
        // The pieces of the axes are the last in memory now, in their order.
        let mut next = value.sides.len() - axes.iter().map(Vec::len).sum::<usize>();
        let moved = axes.iter().map(|axis| {
            next += axis.len();
            (next - axis.len()..next).map(Factor::Piece).collect()
        });
        Ok((value, moved.collect()))
    }

    pub(super) fn layer_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let count = call.ints("normalized_shape")?.unwrap_or_default().len();
        let tensors = self.norm_tensors(call)?;
        self.layer_norm_of(value, count, tensors, call.number("eps", 1e-5)?)
    }

    /// Appends a layer norm over that many last axes.
    pub fn layer_norm_of(
        &mut self,
        value: Traced,
        count: usize,
        tensors: NormTensors,
        epsilon: f64,
    ) -> Lowered<Traced> {
        let (value, axes) = self.normalised(value, count)?;
        let norm = self.norm_of(tensors, value.shape.channels, epsilon)?;
        let mut result = self.unary(&value, Op::LayerNorm(norm))?;
        result.axes.pop();
        result.axes.extend(axes);
        Ok(result)
    }

    /// Lowers `x / √(mean(x²) + ε) · weight` (Zhang & Sennrich, NeurIPS 2019).
    pub(super) fn rms_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let count = call.ints("normalized_shape")?.unwrap_or_default().len();
        let (value, axes) = self.normalised(value, count)?;
        let channels = value.shape.channels;
        let epsilon = match call.argument("eps") {
            None | Some(RawArgument::None) => f64::from(f32::EPSILON),
            Some(_) => call.number("eps", 0.0)?,
        };
        let squares = self.unary(&value, Op::Activate(Function::Square))?;
        let mean = self.mean_over(&squares, &[value.rank() - 1], true)?;
        let shifted = self.unary(&mean, Op::Scalar { scale: 1.0, shift: epsilon })?;
        let inverse = self.unary(&shifted, Op::Activate(Function::Power { exponent: -0.5 }))?;
        let mut result = self.combine(Arithmetic::Multiply, value, inverse)?;
        if let Some(weight) = self.parameter(call, "weight")? {
            let scale = Some(self.vector(weight, channels, Role::NormScale)?);
            result = self.unary(&result, Op::Affine { scale, shift: None })?;
        }
        result.axes.pop();
        result.axes.extend(axes);
        Ok(result)
    }

    /// Returns a norm's tensor of one value a channel; where there is none, one of the network's own that is `fill`.
    fn channel_tensor(
        &mut self,
        index: Option<usize>,
        name: &str,
        (channels, role): (usize, Role),
        fill: f32,
    ) -> Lowered<TensorId> {
        match index {
            Some(index) => self.vector(index, channels, role),
            None => {
                let name = format!("{}.{name}", self.sketch.path);
                Ok(self.sketch.filled(name, (vec![channels], Role::Constant), fill))
            }
        }
    }

    /// Returns the scale and shift that a call of a norm names.
    fn norm_tensors(&self, call: &Call<'r, 'a>) -> Lowered<NormTensors> {
        let (scale, shift) = (self.parameter(call, "weight")?, self.parameter(call, "bias")?);
        Ok(NormTensors { scale, shift, ..NormTensors::default() })
    }

    /// Returns the tensors of a layer or group norm.
    pub fn norm_of(&mut self, tensors: NormTensors, channels: usize, epsilon: f64) -> Lowered<LayerNorm> {
        let scale = self.channel_tensor(tensors.scale, "weight", (channels, Role::NormScale), 1.0)?;
        let shift = self.channel_tensor(tensors.shift, "bias", (channels, Role::NormShift), 0.0)?;
        Ok(LayerNorm { scale, shift, epsilon })
    }

    pub(super) fn group_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let name = if call.argument("num_groups").is_some() { "num_groups" } else { "group" };
        let groups = usize::try_from(call.int(name, 1)?).unwrap_or(0);
        let tensors = self.norm_tensors(call)?;
        self.group_norm_of(&value, tensors, call.number("eps", 1e-5)?, groups)
    }

    /// Appends a group norm of `[N, C, …]`; axes that an image has and the value does not have length 1.
    pub fn group_norm_of(
        &mut self,
        value: &Traced,
        tensors: NormTensors,
        epsilon: f64,
        groups: usize,
    ) -> Lowered<Traced> {
        if value.rank() < 2 {
            return refuse("a group norm of an array without channels");
        }
        let missing = 4_usize.saturating_sub(value.rank());
        let mut raised = value.clone();
        raised.axes.splice(2..2, vec![Vec::new(); missing]);
        let image = self.image(&raised)?;
        let norm = self.norm_of(tensors, image.shape.channels, epsilon)?;
        let mut result = self.on_image(&image, Op::GroupNorm { norm, groups })?;
        result.axes.drain(2..2 + missing);
        Ok(result)
    }

    /// Lowers an instance norm: a group norm with a group for each channel, or a norm by running statistics.
    pub(super) fn instance_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        if value.rank() < 3 {
            return refuse("an instance norm of an array without pixels");
        }
        if !call.flag("use_input_stats", true)? {
            return self.norm_by_statistics(call, &value);
        }
        let tensors = self.norm_tensors(call)?;
        self.group_norm_of(&value, tensors, call.number("eps", 1e-5)?, value.length(1))
    }

    /// Lowers the Euclidean norm along axes.
    pub(super) fn vector_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let order = if call.argument("ord").is_some() { "ord" } else { "p" };
        let ord = match call.argument(order) {
            None | Some(RawArgument::None) => 2.0,
            Some(_) => call.number(order, 2.0)?,
        };
        let (axes, keeps) = (self.axes_of(call, &value)?, call.flag("keepdim", false)?);
        match ord {
            1.0 => self.size_over(&value, &axes, keeps),
            2.0 => self.length_over(&value, &axes, keeps),
            ord => refuse(format!("a norm of order {ord}")),
        }
    }

    /// Lowers the weight of a layer by its direction and size: `g · v / ‖v‖` over all axes but one.
    pub(super) fn weight_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let (direction, size) = (self.value(call, "v")?, self.value(call, "g")?);
        let Some(axis) = direction.axis(call.int("dim", 0)?) else { return refuse("an axis that is not there") };
        let others: Vec<usize> = (0..direction.rank()).filter(|other| *other != axis).collect();
        let length = self.length_over(&direction, &others, true)?;
        let unit = self.combine(Arithmetic::Divide, direction, length)?;
        self.combine(Arithmetic::Multiply, unit, size)
    }

    /// Appends the sum of sizes over axes.
    pub fn size_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let sizes = self.unary(value, Op::Activate(Function::Absolute))?;
        self.sum_over(&sizes, axes, keeps)
    }

    /// Appends the Euclidean norm over axes.
    pub fn length_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let squares = self.unary(value, Op::Activate(Function::Square))?;
        let sum = self.sum_over(&squares, axes, keeps)?;
        // The slope of a vector of zeros is 0, as PyTorch has it, and not infinite.
        let low = f64::from(f32::MIN_POSITIVE);
        let bounded = self.unary(&sum, Op::Activate(Function::Clamp { low, high: f64::from(f32::MAX) }))?;
        self.unary(&bounded, Op::Activate(Function::Sqrt))
    }

    pub(super) fn log_softmax(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        self.log_softmax_of(&value, call.int("dim", -1)?)
    }

    /// Appends the logarithm of a softmax along an axis, which may be counted from the end: x − max − ln Σ e^(x − max).
    pub fn log_softmax_of(&mut self, value: &Traced, axis: i64) -> Lowered<Traced> {
        let Some(axis) = value.axis(axis) else { return refuse("an axis that is not there") };
        let (shifted, _, sum) = self.exponentials(value, axis)?;
        let log = self.unary(&sum, Op::Activate(Function::Log))?;
        let result = self.combine(Arithmetic::Subtract, shifted, log)?;
        if value.shape == result.shape && value.sides == result.sides {
            self.final_ops.insert(result.value, (value.value, FinalOp::LogSoftmax));
        }
        Ok(result)
    }

    pub(super) fn log_sum_exp(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let axes = self.axes_of(call, &value)?;
        self.log_sum_exp_over(&value, &axes, call.flag("keepdim", false)?)
    }

    /// Appends max + ln Σ e^(x − max) over an axis.
    pub fn log_sum_exp_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let [axis] = axes[..] else { return refuse("a sum over several axes") };
        let (_, largest, sum) = self.exponentials(value, axis)?;
        let log = self.unary(&sum, Op::Activate(Function::Log))?;
        let mut result = self.combine(Arithmetic::Add, log, largest)?;
        if !keeps {
            result.axes.remove(axis);
        }
        Ok(result)
    }

    /// Returns `x − max`, `max` and `Σ e^(x − max)` along an axis, which is kept.
    fn exponentials(&mut self, value: &Traced, axis: usize) -> Lowered<(Traced, Traced, Traced)> {
        let largest = self.largest_over(value, &[axis], true)?;
        let shifted = self.combine(Arithmetic::Subtract, value.clone(), largest.clone())?;
        let exponentials = self.unary(&shifted, Op::Activate(Function::Exp))?;
        let sum = self.sum_over(&exponentials, &[axis], true)?;
        Ok((shifted, largest, sum))
    }

    /// Lowers `glu`: one half of an axis times the sigmoid of the other.
    pub(super) fn gated_linear(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", -1)?) else { return refuse("an axis that is not there") };
        let half = value.length(axis) / 2;
        if half == 0 || !value.length(axis).is_multiple_of(2) {
            return refuse("the halves of an axis of odd length");
        }
        let (left, gate) = (self.range(&value, axis, (0, half, 1))?, self.range(&value, axis, (half, half, 1))?);
        let gate = self.unary(&gate, Op::Activate(Function::Sigmoid))?;
        self.compute(Arithmetic::Multiply, Known::Traced(left), Known::Traced(gate))
    }
}
