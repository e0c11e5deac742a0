//! Layers: convolutions, linear layers, norms, PReLU and softmax.

use super::call::Call;
use super::{EVALUATION, Lowered, Lowering, Problem, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{
    Activation, Axis, BatchNorm, Conv, ConvTranspose, LayerNorm, Linear, Op, Padding, Prologue, Role, Window,
};
use fieldfit_tensor::TensorId;

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn conv(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
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

    pub(super) fn conv_transpose(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
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

    pub(super) fn batch_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        if call.flag("training", false)? {
            return Err(Problem::Use("a batch norm in training mode".to_owned(), EVALUATION));
        }
        if value.rank() < 2 {
            return refuse("a batch norm of an array without channels");
        }
        let value = self.channels_last(&value, 1)?;
        let channels = value.shape.channels;
        let mut affine = |name, role, fill| self.channel_tensor(call, name, (channels, role), fill);
        let (scale, shift) = (affine("weight", Role::NormScale, 1.0)?, affine("bias", Role::NormShift, 0.0)?);
        let (mean, variance) =
            (affine("running_mean", Role::RunningMean, 0.0)?, affine("running_var", Role::RunningVariance, 1.0)?);
        let norm = BatchNorm { scale, shift, mean, variance, epsilon: call.number("eps", 1e-5)? };
        self.unary(&value, Op::BatchNorm(norm))
    }

    pub(super) fn linear(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
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

    pub(super) fn layer_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let axis = value.rank() - 1;
        if call.ints("normalized_shape")?.unwrap_or_default().len() != 1 {
            return refuse("a layer norm over several axes");
        }
        let value = self.channels_last(&value, axis)?;
        let norm = self.norm(call, value.shape.channels)?;
        self.unary(&value, Op::LayerNorm(norm))
    }

    /// Returns a norm's tensor of one value a channel; where the call has none, one of the network's own that is `fill`.
    fn channel_tensor(
        &mut self,
        call: &Call<'r, 'a>,
        name: &str,
        (channels, role): (usize, Role),
        fill: f32,
    ) -> Lowered<TensorId> {
        match self.parameter(call, name)? {
            Some(index) => self.vector(index, channels, role),
            None => {
                let name = format!("{}.{name}", self.sketch.path);
                Ok(self.sketch.filled(name, (vec![channels], Role::Constant), fill))
            }
        }
    }

    /// Returns the tensors of a layer or group norm.
    fn norm(&mut self, call: &Call<'r, 'a>, channels: usize) -> Lowered<LayerNorm> {
        let mut affine = |name, role, fill| self.channel_tensor(call, name, (channels, role), fill);
        let (scale, shift) = (affine("weight", Role::NormScale, 1.0)?, affine("bias", Role::NormShift, 0.0)?);
        Ok(LayerNorm { scale, shift, epsilon: call.number("eps", 1e-5)? })
    }

    pub(super) fn group_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let image = self.image(&value)?;
        let norm = self.norm(call, image.shape.channels)?;
        let groups = usize::try_from(call.int("num_groups", 1)?).unwrap_or(0);
        self.on_image(&image, Op::GroupNorm { norm, groups })
    }

    pub(super) fn prelu(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
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

    pub(super) fn softmax(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", -1)?) else {
            return refuse("a softmax of an axis that is not there");
        };
        let value = self.channels_last(&value, axis)?;
        self.unary(&value, Op::Softmax(Axis::Channels))
    }
}
