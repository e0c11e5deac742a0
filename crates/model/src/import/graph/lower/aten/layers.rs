//! Layers: convolutions, linear layers, norms, PReLU and softmax.

use super::call::Call;
use crate::import::graph::lower::lowering::{EVALUATION, Lowered, Lowering, Problem, refuse};
use crate::import::graph::lower::ops::NormTensors;
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Padding, Window};

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn conv(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a convolution without a kernel") };
        let [_, _, rows, columns] = self.kernel(weight)?;
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
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
        let bias = self.parameter(call, "bias")?;
        self.append_conv(&value, (weight, bias), window, groups)
    }

    pub(super) fn conv_transpose(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a convolution without a kernel") };
        let [_, _, rows, columns] = self.kernel(weight)?;
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
        let padding = Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2]));
        let (stride, dilation) = (call.pair("stride", 1)?, call.pair("dilation", 1)?);
        let window = Window { kernel: [rows, columns], stride, dilation, padding, rounds_up: false };
        let bias = self.parameter(call, "bias")?;
        self.append_conv_transpose(&value, (weight, bias), window, call.pair("output_padding", 0)?, groups)
    }

    pub(super) fn batch_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        if call.flag("training", false)? {
            return Err(Problem::Use("a batch norm in training mode".to_owned(), EVALUATION));
        }
        let tensors = NormTensors {
            mean: self.parameter(call, "running_mean")?,
            variance: self.parameter(call, "running_var")?,
            ..self.norm_tensors(call)?
        };
        self.append_batch_norm(&value, tensors, call.number("eps", 1e-5)?)
    }

    pub(super) fn linear(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a linear layer without a weight") };
        let bias = self.parameter(call, "bias")?;
        self.append_linear(&value, (weight, bias), false)
    }

    pub(super) fn layer_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        if call.ints("normalized_shape")?.unwrap_or_default().len() != 1 {
            return refuse("a layer norm over several axes");
        }
        let tensors = self.norm_tensors(call)?;
        self.append_layer_norm(&value, tensors, call.number("eps", 1e-5)?)
    }

    pub(super) fn group_norm(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let groups = usize::try_from(call.int("num_groups", 1)?).unwrap_or(0);
        let tensors = self.norm_tensors(call)?;
        self.append_group_norm(&value, tensors, call.number("eps", 1e-5)?, groups)
    }

    pub(super) fn prelu(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(slope) = self.parameter(call, "weight")? else { return refuse("a PReLU without slopes") };
        self.append_prelu(&value, slope)
    }

    pub(super) fn softmax(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        self.append_softmax(&value, call.int("dim", -1)?)
    }

    /// Returns the scale and shift that a call of a norm names.
    fn norm_tensors(&self, call: &Call<'r, 'a>) -> Lowered<NormTensors> {
        let (scale, shift) = (self.parameter(call, "weight")?, self.parameter(call, "bias")?);
        Ok(NormTensors { scale, shift, ..NormTensors::default() })
    }
}
