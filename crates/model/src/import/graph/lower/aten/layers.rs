//! Layers: convolutions, linear layers, PReLU and softmax.

use super::arithmetic::Operand;
use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Activation, Arithmetic, Axis, Conv, ConvTranspose, Linear, Op, Padding, Prologue, Role, Window};

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn conv(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let weight = self.kernel_of(call)?;
        let [_, _, rows, columns] = self.kernel(&weight)?;
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
        let biased = self.is_computed(call, "bias");
        let bias = if biased { None } else { self.parameter(call, "bias")? };
        let result = self.conv_of(&value, (&weight, bias), window, groups)?;
        self.with_bias(call, result, biased.then_some(Some(1)))
    }

    /// Returns a convolution's kernel: a tensor of the file, or what it computes from its parameters.
    fn kernel_of(&self, call: &Call<'r, 'a>) -> Lowered<Operand> {
        if let Some(RawArgument::Value(name)) = call.argument("weight")
            && self.kernels.contains_key(name)
            && let Known::Constant(array) = self.named(name)?
        {
            return Ok(Operand::Constant(array));
        }
        match self.parameter(call, "weight")? {
            Some(weight) => Ok(Operand::Tensor(weight)),
            None => refuse("a convolution without a kernel"),
        }
    }

    /// Returns the shape of a convolution's kernel, such as `[out, in / groups, rows, columns]`.
    pub fn kernel(&self, weight: &Operand) -> Lowered<[usize; 4]> {
        match self.shape_of(weight)[..] {
            [outer, inner, rows, columns] => Ok([outer, inner, rows, columns]),
            _ => refuse("a kernel that has not four axes"),
        }
    }

    /// Appends a convolution of an image with a kernel and a bias of the file.
    pub fn conv_of(
        &mut self,
        value: &Traced,
        (weight, bias): (&Operand, Option<usize>),
        window: Window,
        groups: usize,
    ) -> Lowered<Traced> {
        let image = self.image(value)?;
        let [output, inner, rows, columns] = self.kernel(weight)?;
        let input = image.shape.channels;
        if groups == 0 || output == 0 || !output.is_multiple_of(groups) || inner.checked_mul(groups) != Some(input) {
            return refuse(format!("a kernel of shape {:?} in {groups} groups", self.shape_of(weight)));
        }
        let shape = vec![output, inner, rows, columns];
        let weight = match weight {
            Operand::Tensor(index) => self.tensor(*index, shape, Role::Kernel),
            Operand::Constant(array) => self.sketch.computed("weight", array, (shape, Role::Kernel)),
        };
        let bias = bias.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let conv = Conv { weight, bias, norm: None, activation: Activation::Identity, input, output, window, groups };
        self.on_image(&image, Op::Conv(conv))
    }

    pub(super) fn conv_transpose(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a convolution without a kernel") };
        let [_, _, rows, columns] = self.kernel(&Operand::Tensor(weight))?;
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
        let padding = Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2]));
        let (stride, dilation) = (call.pair("stride", 1)?, call.pair("dilation", 1)?);
        let window = Window { kernel: [rows, columns], stride, dilation, padding, rounds_up: false };
        let bias = self.parameter(call, "bias")?;
        self.conv_transpose_of(&value, (weight, bias), (window, call.pair("output_padding", 0)?), groups)
    }

    /// Appends a transposed convolution of an image with a kernel and a bias of the file.
    pub fn conv_transpose_of(
        &mut self,
        value: &Traced,
        (weight, bias): (usize, Option<usize>),
        (window, output_padding): (Window, [usize; 2]),
        groups: usize,
    ) -> Lowered<Traced> {
        let image = self.image(value)?;
        let [input, inner, rows, columns] = self.kernel(&Operand::Tensor(weight))?;
        if groups == 0 || !input.is_multiple_of(groups) || input != image.shape.channels {
            return refuse(format!(
                "a transposed kernel of shape {:?} in {groups} groups",
                self.raw.tensors[weight].shape
            ));
        }
        let output = inner * groups;
        let shape = vec![output, input / groups, rows, columns];
        let weight = self.tensor_in(weight, (shape, Role::Kernel), true)?;
        let bias = bias.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let conv = ConvTranspose { weight, bias, input, output, window, output_padding, groups };
        self.on_image(&image, Op::ConvTranspose(conv))
    }

    pub(super) fn linear(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let biased = self.is_computed(call, "bias");
        let bias = if biased { None } else { self.parameter(call, "bias")? };
        let result = if self.is_computed(call, "weight") {
            let weight = self.value(call, "weight")?;
            self.linear_computed(value, weight, bias)?
        } else {
            let Some(weight) = self.parameter(call, "weight")? else {
                return refuse("a linear layer without a weight");
            };
            self.linear_of(&value, weight, bias)?
        };
        self.with_bias(call, result, biased.then_some(None))
    }

    /// Appends a linear layer whose weight, `[out, in]`, is computed.
    pub fn linear_computed(&mut self, mut rows: Traced, mut weight: Traced, bias: Option<usize>) -> Lowered<Traced> {
        let is_vector = rows.rank() == 2;
        if is_vector {
            rows.axes.insert(1, Vec::new());
        }
        while weight.rank() < rows.rank() {
            weight.axes.insert(0, Vec::new());
        }
        let mut product = self.product(&rows, &weight, true, 1.0)?;
        if is_vector {
            product.axes.remove(1);
        }
        match bias {
            Some(index) => {
                let shape = self.raw.tensors[index].shape.clone();
                self.compute(Arithmetic::Add, Known::Traced(product), Known::Tensor { index, shape })
            }
            None => Ok(product),
        }
    }

    /// Appends a linear layer of tensors as the file has them, `[out, in]` and `[out]`.
    pub fn linear_of(&mut self, value: &Traced, weight: usize, bias: Option<usize>) -> Lowered<Traced> {
        self.linear_turned(value, (weight, bias), false)
    }

    /// Appends a linear layer of tensors of the file; a turned weight is `[in, out]`.
    pub fn linear_turned(
        &mut self,
        value: &Traced,
        (weight, bias): (usize, Option<usize>),
        is_turned: bool,
    ) -> Lowered<Traced> {
        let Some(axis) = value.rank().checked_sub(1) else { return refuse("a linear layer of a number") };
        let value = self.channels_last(value, axis)?;
        let [output, input] = match self.raw.tensors[weight].shape[..] {
            [input, output] if is_turned => [output, input],
            [output, input] => [output, input],
            _ => return refuse("a weight that is no matrix"),
        };
        let weight = self.tensor_in(weight, (vec![output, input], Role::LinearWeight), is_turned)?;
        let bias = bias.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let linear = Linear { prologue: Prologue::Identity, weight, bias, scale: None, input, output };
        self.on_channels(&value, axis, Op::Linear(linear), &[])
    }

    /// Adds a bias that the file computes, along an axis or the last one; no bias without `axis`.
    fn with_bias(&mut self, call: &Call<'r, 'a>, value: Traced, axis: Option<Option<usize>>) -> Lowered<Traced> {
        let (Some(axis), Some(argument)) = (axis, call.argument("bias")) else { return Ok(value) };
        let bias = self.known_argument(argument)?;
        let mut bias = self.traced(bias)?;
        let behind = axis.map_or(0, |axis| value.rank() - 1 - axis);
        bias.axes.extend(vec![Vec::new(); behind]);
        self.combine(Arithmetic::Add, value, bias)
    }

    /// Lowers `addmm` and `mm`: a product with a matrix, and a bias.
    pub(super) fn matrix_with_bias(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let [bias, left, right] = ["self", "mat1", "mat2"].map(|name| match call.argument(name) {
            Some(argument) => self.known_argument(argument),
            None => refuse(format!("a call without `{name}`")),
        });
        if call.number("alpha", 1.0)? != 1.0 || call.number("beta", 1.0)? != 1.0 {
            return refuse("factors of a product and its bias");
        }
        let (bias, left, right) = (bias?, left?, right?);
        if let (Known::Traced(value), Known::Turned { index }, Known::Tensor { index: bias, shape }) =
            (&left, &right, &bias)
            && shape.len() == 1
        {
            let value = value.clone();
            return self.linear_of(&value, *index, Some(*bias));
        }
        let product = self.matrix_product(left, right)?;
        self.compute(Arithmetic::Add, Known::Traced(product), bias)
    }

    /// Lowers a convolution along one axis: one of an image of one row.
    pub(super) fn conv1d(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let Some(weight) = self.parameter(call, "weight")? else { return refuse("a convolution without a kernel") };
        if matches!(call.argument("padding"), Some(RawArgument::Text(_))) {
            return refuse("a convolution of that form");
        }
        let padding = [call.pair("padding", 0)?[1]; 2];
        let steps = [call.pair("stride", 1)?[1], call.pair("dilation", 1)?[1]];
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
        let bias = self.parameter(call, "bias")?;
        self.conv1d_of(value, (weight, bias), (steps, padding), groups)
    }

    /// Appends a convolution of `[N, C, L]` by its stride and dilation, and its padding before and behind.
    pub fn conv1d_of(
        &mut self,
        mut value: Traced,
        (weight, bias): (usize, Option<usize>),
        ([stride, dilation], padding): ([usize; 2], [usize; 2]),
        groups: usize,
    ) -> Lowered<Traced> {
        let [output, inner, columns] = self.raw.tensors[weight].shape[..] else {
            return refuse("a kernel that has not three axes");
        };
        if value.rank() != 3 {
            return refuse("a convolution of that form");
        }
        value.axes.insert(2, Vec::new());
        let image = self.image(&value)?;
        let input = image.shape.channels;
        if groups == 0 || output == 0 || !output.is_multiple_of(groups) || inner.checked_mul(groups) != Some(input) {
            return refuse(format!("a kernel of shape {:?} in {groups} groups", self.raw.tensors[weight].shape));
        }
        let padding = Padding::Fixed([[0; 2], padding]);
        let window =
            Window { kernel: [1, columns], stride: [1, stride], dilation: [1, dilation], padding, rounds_up: false };
        let weight = self.tensor(weight, vec![output, inner, 1, columns], Role::Kernel);
        let bias = bias.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let conv = Conv { weight, bias, norm: None, activation: Activation::Identity, input, output, window, groups };
        let mut result = self.on_image(&image, Op::Conv(conv))?;
        result.axes.remove(2);
        Ok(result)
    }

    pub(super) fn prelu(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(slope) = self.parameter(call, "weight")? else { return refuse("a PReLU without slopes") };
        self.prelu_of(&value, slope)
    }

    /// Appends a PReLU with a slope for each channel, axis 1, or one for all.
    pub fn prelu_of(&mut self, value: &Traced, slope: usize) -> Lowered<Traced> {
        if value.rank() < 2 {
            return refuse("slopes of an array without channels");
        }
        let value = self.channels_last(value, 1)?;
        let len = self.raw.tensors[slope].shape.iter().product::<usize>();
        if len != 1 && len != value.shape.channels {
            return refuse(format!("{len} slopes for {} channels", value.shape.channels));
        }
        let slope = self.tensor(slope, vec![len], Role::LayerScale);
        self.unary(&value, Op::Prelu { slope })
    }

    pub(super) fn softmax(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        self.softmax_of(&value, call.int("dim", -1)?)
    }

    /// Appends a softmax along an axis, which may be counted from the end.
    pub fn softmax_of(&mut self, value: &Traced, axis: i64) -> Lowered<Traced> {
        let Some(axis) = value.axis(axis) else { return refuse("a softmax of an axis that is not there") };
        let value = self.channels_last(value, axis)?;
        self.unary(&value, Op::Softmax(Axis::Channels))
    }
}
