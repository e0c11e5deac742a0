//! Candle graph: builds a network's nodes from candle ops with correct forward and backward passes.
//!
//! Activations are `[N, H, W, C]`. candle's own convolutions are unsuitable for training: a grouped one costs one call
//! per channel, and a dense one is wrong on Metal for the non-contiguous kernels of its own backward pass. Slices, sums
//! and matrix products are correct and differentiable on every device. For inference, dense convolutions use cuDNN if
//! the build has it.

use super::transformer::{
    ClassTokenLayer, EmbeddingLayer, LayerNormLayer, LinearLayer, NetworkTensors, self_attention, softmax,
};
use super::{elementwise, image_ops};
use crate::ExecError;
use candle_core::{D, Module, Tensor};
use candle_nn::Linear;
use fieldfit_nets::{
    Activation, Arithmetic, Attention, Axis, BatchNorm, Conv, ConvTranspose, Function, Network, Op, Rearrange, Shape,
    SpatialAxis, Window,
};
use fieldfit_tensor::TensorId;

/// Candle graph of a network, with the frozen norms folded into its kernels.
///
/// Folding is differentiable: built from variables, the graph carries gradients to them.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<GraphNode>,
    /// Name of each section, and the number of nodes up to its end.
    sections: Vec<(String, usize)>,
    /// `None` of a dense network, whose head is a node.
    classifier: Option<Linear>,
}

/// Node of a graph: its layer, and the values that it reads.
#[derive(Debug)]
struct GraphNode {
    layer: Layer,
    inputs: Vec<usize>,
    /// Values that no later node reads.
    last_uses: Vec<usize>,
}

/// Layer of a node.
#[derive(Debug)]
enum Layer {
    Conv(FoldedConv),
    MaxPool(Window),
    GlobalAveragePool,
    Embed(EmbeddingLayer),
    Linear(LinearLayer),
    Attention(Attention),
    ClassToken(ClassTokenLayer),
    Activate(Function),
    Prelu(Tensor),
    Arithmetic(Arithmetic),
    Affine {
        scale: Option<Tensor>,
        shift: Option<Tensor>,
    },
    Scalar {
        scale: f64,
        shift: f64,
    },
    ChannelNorm(LayerNormLayer),
    GroupNorm {
        scale: Tensor,
        shift: Tensor,
        epsilon: f64,
        groups: usize,
    },
    L2Norm {
        axis: Axis,
        floor: f64,
    },
    Softmax(Axis),
    MatMul {
        transposes: bool,
        scale: f64,
    },
    Parameter(Tensor),
    ConvTranspose {
        conv: ConvTranspose,
        weight: Tensor,
        bias: Option<Tensor>,
    },
    Concat(Axis),
    Slice {
        axis: Axis,
        start: usize,
        length: usize,
        step: usize,
    },
    Rearrange(Rearrange),
    Mean(Axis),
    /// Padding, an average pool, a resize or a gather.
    Separable(Op),
}

/// Convolution with its norm folded in, and its activation.
#[derive(Debug)]
struct FoldedConv {
    conv: Conv,
    /// `[taps·input/groups, output]`, taps row by row, the channels of a tap innermost.
    kernel: Tensor,
    /// `[output]`; `None` without a norm and a bias.
    shift: Option<Tensor>,
}

impl Graph {
    /// Folds the tensors, which must be in the network's order.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(network: &Network, tensors: &[Tensor]) -> Result<Self, ExecError> {
        let graph = &network.graph;
        let mut last_use = vec![usize::MAX; graph.values()];
        for (index, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|value| last_use[value.index()] = index);
        }
        let node = |(index, node): (usize, &fieldfit_nets::Node)| {
            let inputs: Vec<usize> = node.inputs.iter().map(|value| value.index()).collect();
            let mut last_uses: Vec<usize> = inputs.iter().copied().filter(|value| last_use[*value] == index).collect();
            last_uses.dedup();
            Ok(GraphNode { layer: Layer::new(&node.op, tensors)?, inputs, last_uses })
        };
        let tensor = |id: TensorId| tensors[id.index()].clone();
        Ok(Self {
            nodes: graph.nodes.iter().enumerate().map(node).collect::<Result<_, ExecError>>()?,
            sections: graph.sections.iter().map(|section| (section.name.clone(), section.nodes.end)).collect(),
            classifier: (!network.head.is_dense())
                .then(|| Linear::new(tensor(network.head.weight), Some(tensor(network.head.bias)))),
        })
    }

    /// Runs `[N, H, W, C]` through every node; calls `visit` with the output of each section.
    pub fn backbone(
        &self,
        images: &Tensor,
        mut visit: impl FnMut(&str, &Tensor) -> Result<(), ExecError>,
    ) -> Result<Tensor, ExecError> {
        let mut values = vec![Some(images.clone())];
        let mut output = images.clone();
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<Tensor> = node.inputs.iter().filter_map(|value| values[*value].clone()).collect();
            output = node.layer.forward(&inputs, images.dim(0)?)?;
            node.last_uses.iter().for_each(|value| values[*value] = None);
            values.push(Some(output.clone()));
            for (name, _) in self.sections.iter().filter(|(_, end)| *end == index + 1) {
                visit(name, &output)?;
            }
        }
        Ok(output)
    }

    /// Computes features, `[N, features]`, from `[N, H, W, C]`.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, ExecError> {
        Ok(self.backbone(images, |_, _| Ok(()))?.flatten_from(1)?)
    }

    /// Computes logits, `[N, classes]` or, of a dense network, `[N, H, W, classes]`, from `[N, H, W, C]`.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, ExecError> {
        match &self.classifier {
            Some(classifier) => Ok(classifier.forward(&self.features(images)?)?),
            None => self.backbone(images, |_, _| Ok(())),
        }
    }
}

impl Layer {
    fn new(op: &Op, tensors: &[Tensor]) -> candle_core::Result<Self> {
        let all = NetworkTensors(tensors);
        Ok(match op {
            Op::Conv(conv) => Self::Conv(FoldedConv::new(conv, tensors)?),
            Op::ConvTranspose(conv) => {
                let bias = conv.bias.map(|bias| all.of(bias));
                Self::ConvTranspose { conv: *conv, weight: all.of(conv.weight), bias }
            }
            Op::MaxPool(window) => Self::MaxPool(*window),
            Op::GlobalAveragePool => Self::GlobalAveragePool,
            Op::Embed(embed) => Self::Embed(EmbeddingLayer::new(embed, all)?),
            Op::Linear(linear) => Self::Linear(LinearLayer::new(linear, all)?),
            Op::Attention(attention) => Self::Attention(*attention),
            Op::MatMul { transposes, scale } => Self::MatMul { transposes: *transposes, scale: *scale },
            Op::ClassToken(token) => Self::ClassToken(ClassTokenLayer::new(token, all)),
            Op::Parameter { tensor, shape } => {
                Self::Parameter(all.of(*tensor).reshape((1, shape.height, shape.width, shape.channels))?)
            }
            Op::Activate(function) => Self::Activate(*function),
            Op::Prelu { slope } => Self::Prelu(all.of(*slope)),
            Op::Arithmetic(arithmetic) => Self::Arithmetic(*arithmetic),
            Op::Affine { scale, shift } => {
                Self::Affine { scale: scale.map(|scale| all.of(scale)), shift: shift.map(|shift| all.of(shift)) }
            }
            Op::Scalar { scale, shift } => Self::Scalar { scale: *scale, shift: *shift },
            Op::BatchNorm(norm) => {
                let (scale, shift) = affine(tensors, norm)?;
                Self::Affine { scale: Some(scale), shift: Some(shift) }
            }
            Op::LayerNorm(norm) => Self::ChannelNorm(LayerNormLayer::new(norm, all)),
            Op::GroupNorm { norm, groups } => {
                let (scale, shift) = (all.of(norm.scale), all.of(norm.shift));
                Self::GroupNorm { scale, shift, epsilon: norm.epsilon, groups: *groups }
            }
            Op::L2Norm { axis, floor } => Self::L2Norm { axis: *axis, floor: *floor },
            Op::Softmax(axis) => Self::Softmax(*axis),
            Op::Concat(axis) => Self::Concat(*axis),
            Op::Slice { axis, start, length, step } => {
                Self::Slice { axis: *axis, start: *start, length: *length, step: *step }
            }
            Op::Rearrange(rearrange) => Self::Rearrange(rearrange.clone()),
            Op::Mean(axis) => Self::Mean(*axis),
            Op::Pad(_)
            | Op::Resize { .. }
            | Op::AveragePool { .. }
            | Op::AdaptiveAveragePool(_)
            | Op::Gather { .. } => Self::Separable(op.clone()),
        })
    }

    /// Computes the layer for `count` images.
    fn forward(&self, inputs: &[Tensor], count: usize) -> candle_core::Result<Tensor> {
        let Some(x) = inputs.first() else { return self.value(count) };
        match self {
            Self::Conv(folded) => folded.forward(x, inputs.get(1)),
            Self::ConvTranspose { conv, weight, bias } => {
                let y = image_ops::conv_transpose(conv, weight, x)?;
                bias.iter().try_fold(y, |y, bias| y.broadcast_add(bias))
            }
            Self::MaxPool(window) => max_pool(x, window),
            Self::GlobalAveragePool => x.mean_keepdim((1, 2)),
            Self::Embed(embedding) => embedding.forward(x),
            Self::Linear(linear) => match inputs.get(1) {
                Some(shortcut) => linear.forward(x)? + shortcut,
                None => linear.forward(x),
            },
            Self::Attention(attention) => self_attention(attention, x),
            Self::MatMul { transposes, scale } => {
                let right = if *transposes { inputs[1].t()? } else { inputs[1].clone() };
                x.contiguous()?.matmul(&right.contiguous()?)? * *scale
            }
            Self::ClassToken(layer) => layer.forward(x),
            Self::Activate(function) => elementwise::activate(*function, x),
            Self::Prelu(slope) => x.gt(0.0)?.where_cond(x, &x.broadcast_mul(slope)?),
            Self::Arithmetic(arithmetic) => elementwise::arithmetic(*arithmetic, x, &inputs[1]),
            Self::Affine { scale, shift } => {
                let y = scale.iter().try_fold(x.clone(), |y, scale| y.broadcast_mul(scale))?;
                shift.iter().try_fold(y, |y, shift| y.broadcast_add(shift))
            }
            Self::Scalar { scale, shift } => x.affine(*scale, *shift),
            Self::ChannelNorm(layer) => layer.forward(x),
            Self::GroupNorm { scale, shift, epsilon, groups } => {
                image_ops::group_norm(x, *groups, *epsilon)?.broadcast_mul(scale)?.broadcast_add(shift)
            }
            Self::L2Norm { axis, floor } => image_ops::l2_norm(x, *axis, *floor),
            Self::Softmax(axis) => softmax(x, 1 + axis.index()),
            Self::Concat(axis) => Tensor::cat(inputs, 1 + axis.index()),
            Self::Slice { axis, start, length, step } => image_ops::slice(x, *axis, *start, *length, *step),
            Self::Rearrange(rearrange) => image_ops::rearrange(rearrange, x),
            Self::Mean(axis) => x.mean_keepdim(1 + axis.index()),
            Self::Separable(op) => image_ops::separable(op, x),
            Self::Parameter(_) => self.value(count),
        }
    }

    /// Returns the value of a layer without inputs for `count` images.
    fn value(&self, count: usize) -> candle_core::Result<Tensor> {
        let Self::Parameter(value) = self else { candle_core::bail!("a layer without inputs") };
        let (_, height, width, channels) = value.dims4()?;
        value.broadcast_as((count, height, width, channels))?.contiguous()
    }
}

impl FoldedConv {
    fn new(conv: &Conv, tensors: &[Tensor]) -> candle_core::Result<Self> {
        let mut kernel = tensors[conv.weight.index()].permute((2, 3, 1, 0))?.reshape(((), conv.output))?;
        let mut shift = conv.bias.map(|bias| tensors[bias.index()].clone());
        if let Some(norm) = &conv.norm {
            let (scale, shifted) = affine(tensors, norm)?;
            kernel = kernel.broadcast_mul(&scale)?;
            shift = Some(match shift {
                Some(bias) => ((bias * scale)? + shifted)?,
                None => shifted,
            });
        }
        Ok(Self { conv: *conv, kernel, shift })
    }

    /// Computes the convolution; `added`, the shortcut's value, is added before the activation.
    fn forward(&self, x: &Tensor, added: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let mut y = self.product(x)?;
        if let Some(shift) = &self.shift {
            y = y.broadcast_add(shift)?;
        }
        if let Some(added) = added {
            y = (y + added)?;
        }
        match self.conv.activation {
            Activation::Identity => Ok(y),
            Activation::Relu => elementwise::relu(&y),
            Activation::Relu6 => elementwise::clamp(&y, 0.0, 6.0),
        }
    }

    fn product(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if cfg!(feature = "cudnn") && x.device().is_cuda() && self.can_use_conv2d() {
            return self.conv2d_native(x);
        }
        let taps = taps(x, &self.conv.window)?;
        if self.conv.is_depthwise() {
            return self.depthwise(&taps);
        }
        let (inputs, outputs) = (self.conv.input / self.conv.groups, self.conv.output / self.conv.groups);
        let group = |group: usize| {
            let taps = taps.iter().map(|tap| tap.narrow(3, group * inputs, inputs)).collect::<Result<Vec<_>, _>>()?;
            dense(&taps, &self.kernel.narrow(1, group * outputs, outputs)?.contiguous()?)
        };
        match self.conv.groups {
            1 => dense(&taps, &self.kernel),
            groups => Tensor::cat(&(0..groups).map(group).collect::<Result<Vec<_>, _>>()?, 3),
        }
    }

    /// Whether candle's own convolution can be used: for kernels above 1×1, without gradients.
    fn can_use_conv2d(&self) -> bool {
        let Window { kernel: [rows, columns], stride, dilation, .. } = self.conv.window;
        let is_square = rows == columns && stride[0] == stride[1] && dilation[0] == dilation[1];
        is_square && rows > 1 && self.conv.groups == 1 && !self.kernel.track_op()
    }

    /// Computes a dense convolution by candle's own `conv2d`, which may use cuDNN.
    fn conv2d_native(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Conv { input, output, ref window, .. } = self.conv;
        let [rows, columns] = window.kernel;
        let taps = self.kernel.reshape((rows, columns, input, output))?.permute((3, 2, 0, 1))?.contiguous()?;
        let padded = pad(x, window)?.permute((0, 3, 1, 2))?.contiguous()?;
        let y = padded.conv2d(&taps, 0, window.stride[0], window.dilation[0], 1)?.permute((0, 2, 3, 1))?;
        // Padding to a multiple of the stride may produce an extra row or column.
        let (_, height, width, _) = x.dims4()?;
        let shape =
            self.conv.output_shape(Shape { height, width, channels: input }).map_err(candle_core::Error::wrap)?;
        y.narrow(1, 0, shape.height)?.narrow(2, 0, shape.width)
    }

    /// Computes a depthwise convolution: the sum of the taps, each scaled per channel.
    fn depthwise(&self, taps: &[Tensor]) -> candle_core::Result<Tensor> {
        let term = |index: usize| taps[index].broadcast_mul(&self.kernel.get(index)?);
        (1..taps.len()).try_fold(term(0)?, |sum, index| sum + term(index)?)
    }
}

/// Computes a dense convolution: one matrix product over the concatenated taps.
fn dense(taps: &[Tensor], kernel: &Tensor) -> candle_core::Result<Tensor> {
    let patches = Tensor::cat(taps, D::Minus1)?;
    let (count, height, width, depth) = patches.dims4()?;
    patches.reshape(((), depth))?.matmul(kernel)?.reshape((count, height, width, ()))
}

/// Returns the frozen norm as `(scale, shift)` of `x · scale + shift`.
fn affine(tensors: &[Tensor], norm: &BatchNorm) -> candle_core::Result<(Tensor, Tensor)> {
    let tensor = |id: TensorId| &tensors[id.index()];
    let scale = (tensor(norm.scale) / (tensor(norm.variance) + norm.epsilon)?.sqrt()?)?;
    let shift = (tensor(norm.shift) - (tensor(norm.mean) * &scale)?)?;
    Ok((scale, shift))
}

/// Computes max pooling; the gradient goes to the first of equal values. candle's own pooling splits it incorrectly.
fn max_pool(x: &Tensor, window: &Window) -> candle_core::Result<Tensor> {
    let inside = taps(&x.detach().ones_like()?, window)?;
    let mut largest = elementwise::fill(f64::NEG_INFINITY, x)?.broadcast_as(inside[0].shape())?;
    for (value, inside) in taps(x, window)?.iter().zip(&inside) {
        let wins = (value.gt(&largest)? * inside.gt(0.0)?)?;
        largest = wins.where_cond(value, &largest)?;
    }
    Ok(largest)
}

/// Returns the input under each of the kernel's positions, row by row: `[N, H', W', C]` each.
///
/// A stride becomes an axis, since candle's slices have no step: after padding to a multiple of the stride, `[N, H, W,
/// C]` is reshaped to `[N, H/s, s, W/s, s, C]`.
pub(super) fn taps(x: &Tensor, window: &Window) -> candle_core::Result<Vec<Tensor>> {
    if window.is_pointwise() {
        return Ok(vec![x.clone()]);
    }
    let (count, height, width, channels) = x.dims4()?;
    let output = window.output(Shape { height, width, channels }).map_err(candle_core::Error::wrap)?;
    let padded = pad(x, window)?;
    let Window { stride, dilation, kernel, .. } = *window;
    let (rows, columns) = (padded.dim(1)? / stride[0], padded.dim(2)? / stride[1]);
    let phases = padded.reshape((count, rows, stride[0], columns, stride[1], channels))?;
    let mut taps = Vec::with_capacity(window.taps());
    for row in (0..kernel[0]).map(|row| row * dilation[0]) {
        let line = phases.narrow(1, row / stride[0], output[0])?.narrow(2, row % stride[0], 1)?.squeeze(2)?;
        for column in (0..kernel[1]).map(|column| column * dilation[1]) {
            let tap = line.narrow(2, column / stride[1], output[1])?;
            taps.push(tap.narrow(3, column % stride[1], 1)?.squeeze(3)?);
        }
    }
    Ok(taps)
}

/// Pads both axes by the window's padding, then so far that every tap of every position has its whole phase.
fn pad(x: &Tensor, window: &Window) -> candle_core::Result<Tensor> {
    let (_, height, width, channels) = x.dims4()?;
    let output = window.output(Shape { height, width, channels }).map_err(candle_core::Error::wrap)?;
    let mut padded = x.clone();
    for (axis, pixels) in SpatialAxis::BOTH.into_iter().zip([height, width]) {
        let (index, (before, after)) = (axis.index(), window.padding(axis, pixels));
        let reached = (output[index] - 1) * window.stride[index] + window.extent(axis);
        let len = (before + pixels + after).max(reached).next_multiple_of(window.stride[index]);
        padded = padded.pad_with_zeros(1 + index, before, len - before - pixels)?;
    }
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use fieldfit_nets::{Padding, by_name};

    /// Returns a convolution of the tiny network with another geometry.
    fn conv(input: usize, output: usize, kernel: usize, stride: usize, groups: usize) -> Conv {
        let network = by_name("efficientnet-tiny").unwrap();
        let Op::Conv(template) = network.graph.nodes[0].op else { panic!("the stem is a convolution") };
        let window = Window::square(kernel, stride, Padding::Same);
        Conv { input, output, window, groups, activation: Activation::Identity, ..template }
    }

    /// Returns values without symmetry, so that a transposed or mirrored axis is detected.
    fn ramp(shape: &[usize], step: f64) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product()).map(|i: usize| (i as f64 * step).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Computes the same convolution by candle's forward pass, which is correct on the CPU.
    fn reference(x: &Tensor, weight: &Tensor, conv: &Conv) -> Tensor {
        let mut x = x.permute((0, 3, 1, 2)).unwrap();
        for (dimension, axis) in [(2, SpatialAxis::Rows), (3, SpatialAxis::Columns)] {
            let (before, after) = conv.window.padding(axis, x.dim(dimension).unwrap());
            x = x.pad_with_zeros(dimension, before, after).unwrap();
        }
        let y = x.contiguous().unwrap().conv2d(weight, 0, conv.window.stride[0], 1, conv.groups).unwrap();
        y.permute((0, 2, 3, 1)).unwrap()
    }

    /// Catches: a tap off by a pixel, swapped phases of a stride, padding on the wrong side, permuted channels.
    #[test]
    fn convolutions_are_candles() {
        for (kernel, stride) in [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2)] {
            for (height, width) in [(8, 8), (7, 10), (9, 5), (1, 2)] {
                for (output, groups) in [(5, 1), (4, 4)] {
                    let conv = conv(4, output, kernel, stride, groups);
                    let x = ramp(&[2, height, width, 4], 0.37);
                    let weight = ramp(&[output, 4 / groups, kernel, kernel], 0.73);
                    let flat = weight.permute((2, 3, 1, 0)).unwrap().reshape(((), output)).unwrap();
                    let folded = FoldedConv { conv, kernel: flat, shift: None };
                    let mut outputs = vec![folded.forward(&x, None).unwrap()];
                    outputs.extend(folded.can_use_conv2d().then(|| folded.conv2d_native(&x).unwrap()));
                    for found in outputs {
                        let gap = (found - reference(&x, &weight, &conv)).unwrap().abs().unwrap();
                        let gap = gap.max_all().unwrap().to_scalar::<f64>().unwrap();
                        let what = format!("{kernel}×{kernel}/{stride}, {height}×{width}, {groups} groups");
                        assert!(gap < 1e-12, "{what}: off by {gap}");
                    }
                }
            }
        }
    }

    /// Catches: half a gradient at a bound, as from candle's `clamp`, or a NaN that becomes a number.
    #[test]
    fn relu6_stops_the_gradient_at_its_ends() {
        let x = Var::new(&[-1.0, 0.0, 1e-9, 3.0, 6.0, 7.0, f64::INFINITY], &Device::Cpu).unwrap();
        let relu6 = |x: &Tensor| elementwise::clamp(x, 0.0, 6.0);
        let y = relu6(&x).unwrap();
        assert_eq!(y.to_vec1::<f64>().unwrap(), [0.0, 0.0, 1e-9, 3.0, 6.0, 6.0, 6.0]);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(gradient, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let nan = relu6(&Tensor::new(&[f64::NAN], &Device::Cpu).unwrap()).unwrap();
        assert!(nan.to_vec1::<f64>().unwrap()[0].is_nan());
    }

    /// Catches: a gradient split among equal values, as in candle's own pooling, and padding that wins over negative
    /// values.
    #[test]
    fn max_pool_gives_the_gradient_to_the_first() {
        let x = Var::new(&[[[[-3.0], [-1.0], [-1.0]], [[-1.0], [-2.0], [-4.0]]]], &Device::Cpu).unwrap();
        let y = max_pool(&x, &Window::square(3, 2, Padding::symmetric(1))).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [-1.0, -1.0]);
        let weights = Tensor::new(&[[[[2.0], [3.0]]]], &Device::Cpu).unwrap();
        let gradients = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(gradient, [0.0, 5.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
