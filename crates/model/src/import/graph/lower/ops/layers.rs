//! Layers: convolutions, linear layers, norms, PReLU and softmax.

use crate::import::graph::lower::lowering::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use fieldfit_nets::{Activation, Axis, BatchNorm, Conv, ConvTranspose, LayerNorm, Linear, Op, Prologue, Role, Window};
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
    /// Returns the shape of a convolution's kernel, such as `[out, in / groups, rows, columns]`.
    pub fn kernel(&self, weight: usize) -> Lowered<[usize; 4]> {
        match self.raw.tensors[weight].shape[..] {
            [outer, inner, rows, columns] => Ok([outer, inner, rows, columns]),
            _ => refuse("a kernel that has not four axes"),
        }
    }

    /// Appends a convolution of an image.
    pub fn append_conv(
        &mut self,
        value: &Traced,
        (weight, bias): (usize, Option<usize>),
        window: Window,
        groups: usize,
    ) -> Lowered<Traced> {
        let image = self.image(value)?;
        let [output, inner, rows, columns] = self.kernel(weight)?;
        let input = image.shape.channels;
        if groups == 0 || output == 0 || !output.is_multiple_of(groups) || inner.checked_mul(groups) != Some(input) {
            return refuse(format!("a kernel of shape {:?} in {groups} groups", self.raw.tensors[weight].shape));
        }
        let weight = self.tensor(weight, (vec![output, inner, rows, columns], Role::Kernel), false)?;
        let bias = bias.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let conv = Conv { weight, bias, norm: None, activation: Activation::Identity, input, output, window, groups };
        self.on_image(&image, Op::Conv(conv))
    }

    /// Appends a transposed convolution of an image.
    pub fn append_conv_transpose(
        &mut self,
        value: &Traced,
        (weight, bias): (usize, Option<usize>),
        window: Window,
        output_padding: [usize; 2],
        groups: usize,
    ) -> Lowered<Traced> {
        let image = self.image(value)?;
        let [input, inner, rows, columns] = self.kernel(weight)?;
        if groups != 1 || input != image.shape.channels {
            return refuse(format!(
                "a transposed kernel of shape {:?} in {groups} groups",
                self.raw.tensors[weight].shape
            ));
        }
        let shape = vec![inner, input, rows, columns];
        let weight = self.tensor(weight, (shape, Role::Kernel), true)?;
        let bias = bias.map(|bias| self.vector(bias, inner, Role::Bias)).transpose()?;
        let conv = ConvTranspose { weight, bias, input, output: inner, window, output_padding, groups };
        self.on_image(&image, Op::ConvTranspose(conv))
    }

    /// Appends a batch norm with running statistics, over axis 1.
    pub fn append_batch_norm(&mut self, value: &Traced, tensors: NormTensors, epsilon: f64) -> Lowered<Traced> {
        if value.rank() < 2 {
            return refuse("a batch norm of an array without channels");
        }
        let value = self.channels_last(value, 1)?;
        let channels = value.shape.channels;
        let LayerNorm { scale, shift, .. } = self.affine(tensors, channels, epsilon)?;
        let mean = self.channel_tensor(tensors.mean, "running_mean", (channels, Role::RunningMean), 0.0)?;
        let variance = self.channel_tensor(tensors.variance, "running_var", (channels, Role::RunningVariance), 1.0)?;
        self.unary(&value, Op::BatchNorm(BatchNorm { scale, shift, mean, variance, epsilon }))
    }

    /// Appends a linear layer over the last axis. The weight is `[out, in]`, turned `[in, out]`.
    pub fn append_linear(
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
        let weight = self.tensor(weight, (vec![output, input], Role::LinearWeight), is_turned)?;
        let bias = bias.map(|bias| self.vector(bias, output, Role::Bias)).transpose()?;
        let linear = Linear { prologue: Prologue::Identity, weight, bias, scale: None, input, output };
        self.on_channels(&value, axis, Op::Linear(linear), &[])
    }

    /// Appends a layer norm over the last axis.
    pub fn append_layer_norm(&mut self, value: &Traced, tensors: NormTensors, epsilon: f64) -> Lowered<Traced> {
        let Some(axis) = value.rank().checked_sub(1) else { return refuse("a layer norm of a number") };
        let value = self.channels_last(value, axis)?;
        let norm = self.affine(tensors, value.shape.channels, epsilon)?;
        self.unary(&value, Op::LayerNorm(norm))
    }

    /// Appends a group norm of an image.
    pub fn append_group_norm(
        &mut self,
        value: &Traced,
        tensors: NormTensors,
        epsilon: f64,
        groups: usize,
    ) -> Lowered<Traced> {
        let image = self.image(value)?;
        let norm = self.affine(tensors, image.shape.channels, epsilon)?;
        self.on_image(&image, Op::GroupNorm { norm, groups })
    }

    /// Appends a PReLU with a slope for each channel, axis 1, or one for all.
    pub fn append_prelu(&mut self, value: &Traced, slope: usize) -> Lowered<Traced> {
        let value = self.channels_last(value, 1)?;
        let len = self.raw.tensors[slope].shape.iter().product::<usize>();
        if len != 1 && len != value.shape.channels {
            return refuse(format!("{len} slopes for {} channels", value.shape.channels));
        }
        let slope = self.tensor(slope, (vec![len], Role::LayerScale), false)?;
        self.unary(&value, Op::Prelu { slope })
    }

    /// Appends a softmax along an axis, which may be counted from the end.
    pub fn append_softmax(&mut self, value: &Traced, axis: i64) -> Lowered<Traced> {
        let Some(axis) = value.axis(axis) else { return refuse("a softmax of an axis that is not there") };
        let value = self.channels_last(value, axis)?;
        self.unary(&value, Op::Softmax(Axis::Channels))
    }

    /// Returns a norm's tensor of one value a channel; where the call has none, one of the network's own that is `fill`.
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

    /// Returns the scale and shift of a norm.
    fn affine(&mut self, tensors: NormTensors, channels: usize, epsilon: f64) -> Lowered<LayerNorm> {
        let scale = self.channel_tensor(tensors.scale, "weight", (channels, Role::NormScale), 1.0)?;
        let shift = self.channel_tensor(tensors.shift, "bias", (channels, Role::NormShift), 0.0)?;
        Ok(LayerNorm { scale, shift, epsilon })
    }
}
