//! Candle graph: builds a network's stages from candle ops with correct forward and backward passes.
//!
//! Activations are `[N, H, W, C]`. candle's own convolutions are unsuitable for training: a grouped one costs one call
//! per channel, and a dense one is wrong on Metal for the non-contiguous kernels of its own backward pass. Slices, sums
//! and matrix products are correct and differentiable on every device. For inference, dense convolutions use cuDNN if
//! the build has it.

use super::transformer::{ClassTokenLayer, EmbeddingLayer, LinearLayer, NetworkTensors, self_attention};
use crate::ExecError;
use candle_core::{D, Module, Tensor};
use candle_nn::Linear;
use fieldfit_nets::{Activation, Attention, BatchNorm, Conv, MaxPool, Network, Op, Padding, Shape, Shortcut};
use fieldfit_tensor::TensorId;

/// Candle graph of a network, with the frozen norms folded into its kernels.
///
/// Folding is differentiable: built from variables, the graph carries gradients to them.
#[derive(Debug)]
pub(super) struct Graph {
    stages: Vec<GraphStage>,
    classifier: Linear,
}

/// Stage of a graph.
#[derive(Debug)]
struct GraphStage {
    name: String,
    layers: Vec<Layer>,
    shortcut: Option<ShortcutBranch>,
}

/// Shortcut branch: the identity, or a projection of the stage's input.
#[derive(Debug)]
enum ShortcutBranch {
    Identity,
    Projection(FoldedConv),
}

/// Layer of a stage.
#[derive(Debug)]
enum Layer {
    Conv(FoldedConv),
    MaxPool(MaxPool),
    GlobalAveragePool,
    Embed(EmbeddingLayer),
    Linear(LinearLayer),
    Attention(Attention),
    ClassToken(ClassTokenLayer),
}

/// Convolution with its norm folded in, and its activation.
#[derive(Debug)]
struct FoldedConv {
    conv: Conv,
    /// `[k·k·input/groups, output]`, taps row by row, the channels of a tap innermost.
    kernel: Tensor,
    /// `[output]`.
    shift: Tensor,
}

impl Graph {
    /// Folds the tensors, which must be in the network's order.
    ///
    /// # Errors
    /// If an op is unsupported, or the device fails.
    pub fn new(network: &Network, tensors: &[Tensor]) -> Result<Self, ExecError> {
        let stage = |stage: &fieldfit_nets::Stage| {
            let layers = stage.ops.iter().map(|op| Layer::new(op, &stage.name, tensors)).collect::<Result<_, _>>()?;
            let shortcut = stage.shortcut.map(|shortcut| ShortcutBranch::new(shortcut, tensors)).transpose()?;
            Ok(GraphStage { name: stage.name.clone(), layers, shortcut })
        };
        let tensor = |id: TensorId| tensors[id.index()].clone();
        Ok(Self {
            stages: network.stages.iter().map(stage).collect::<Result<_, ExecError>>()?,
            classifier: Linear::new(tensor(network.head.weight), Some(tensor(network.head.bias))),
        })
    }

    /// Runs `[N, H, W, C]` through every stage; calls `visit` with each output.
    pub fn backbone(
        &self,
        images: &Tensor,
        mut visit: impl FnMut(&str, &Tensor) -> Result<(), ExecError>,
    ) -> Result<Tensor, ExecError> {
        let mut x = images.clone();
        for stage in &self.stages {
            x = stage.forward(&x)?;
            visit(&stage.name, &x)?;
        }
        Ok(x)
    }

    /// Computes features, `[N, features]`, from `[N, H, W, C]`.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, ExecError> {
        Ok(self.backbone(images, |_, _| Ok(()))?.flatten_from(1)?)
    }

    /// Computes logits, `[N, classes]`, from `[N, H, W, C]`.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, ExecError> {
        Ok(self.classifier.forward(&self.features(images)?)?)
    }
}

impl Layer {
    fn new(op: &Op, stage: &str, tensors: &[Tensor]) -> Result<Self, ExecError> {
        match op {
            Op::Conv(conv) if conv.groups != 1 && !conv.is_depthwise() => Err(ExecError::Unsupported {
                stage: stage.to_owned(),
                what: format!("a convolution in {} groups", conv.groups),
            }),
            Op::Conv(conv) => Ok(Self::Conv(FoldedConv::new(conv, tensors)?)),
            Op::MaxPool(pool) => Ok(Self::MaxPool(*pool)),
            Op::GlobalAveragePool => Ok(Self::GlobalAveragePool),
            Op::Embed(embed) => Ok(Self::Embed(EmbeddingLayer::new(embed, NetworkTensors(tensors))?)),
            Op::Linear(linear) => Ok(Self::Linear(LinearLayer::new(linear, NetworkTensors(tensors))?)),
            Op::Attention(attention) => Ok(Self::Attention(*attention)),
            Op::ClassToken(token) => Ok(Self::ClassToken(ClassTokenLayer::new(token, NetworkTensors(tensors)))),
        }
    }
}

impl Layer {
    /// Computes the layer. `inputs` are those of the stage's ops up to this one; `shortcut` is `Some` for the last op
    /// of a residual stage.
    fn forward(&self, inputs: &[Tensor], shortcut: Option<&ShortcutBranch>) -> candle_core::Result<Tensor> {
        let x = &inputs[inputs.len() - 1];
        match self {
            Self::Conv(folded) => {
                let added = shortcut.map(|shortcut| shortcut.forward(&inputs[0])).transpose()?;
                folded.forward(x, added.as_ref())
            }
            Self::MaxPool(pool) => max_pool(x, pool),
            Self::GlobalAveragePool => x.mean_keepdim((1, 2)),
            Self::Embed(embedding) => embedding.forward(x),
            Self::Linear(map) => match map.shortcut {
                Some(op) => map.forward(x)? + &inputs[op],
                None => map.forward(x),
            },
            Self::Attention(attention) => self_attention(attention, x),
            Self::ClassToken(layer) => layer.forward(x),
        }
    }
}

impl ShortcutBranch {
    fn new(shortcut: Shortcut, tensors: &[Tensor]) -> candle_core::Result<Self> {
        match shortcut {
            Shortcut::Input => Ok(Self::Identity),
            Shortcut::Projection(conv) => Ok(Self::Projection(FoldedConv::new(&conv, tensors)?)),
        }
    }

    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Identity => Ok(input.clone()),
            Self::Projection(folded) => folded.forward(input, None),
        }
    }
}

impl GraphStage {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let (mut x, mut inputs) = (input.clone(), Vec::with_capacity(self.layers.len()));
        for (index, layer) in self.layers.iter().enumerate() {
            let shortcut = self.shortcut.as_ref().filter(|_| index + 1 == self.layers.len());
            inputs.push(x);
            x = layer.forward(&inputs, shortcut)?;
        }
        Ok(x)
    }
}

impl FoldedConv {
    fn new(conv: &Conv, tensors: &[Tensor]) -> candle_core::Result<Self> {
        let (scale, shift) = affine(tensors, &conv.norm)?;
        let taps = tensors[conv.weight.index()].permute((2, 3, 1, 0))?.reshape(((), conv.output))?;
        Ok(Self { conv: *conv, kernel: taps.broadcast_mul(&scale)?, shift })
    }

    /// Computes the convolution; `added`, the shortcut's value, is added before the activation.
    fn forward(&self, x: &Tensor, added: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let mut y = self.product(x)?.broadcast_add(&self.shift)?;
        if let Some(added) = added {
            y = (y + added)?;
        }
        match self.conv.activation {
            Activation::Identity => Ok(y),
            Activation::Relu => relu(&y),
            Activation::Relu6 => relu6(&y),
        }
    }

    fn product(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if cfg!(feature = "cudnn") && x.device().is_cuda() && self.can_use_conv2d() {
            return self.conv2d_native(x);
        }
        let taps = taps(x, &Window::of(&self.conv))?;
        if self.conv.is_depthwise() { self.depthwise(&taps) } else { self.dense(&taps) }
    }

    /// Whether candle's own convolution can be used: for kernels above 1×1, without gradients.
    fn can_use_conv2d(&self) -> bool {
        self.conv.kernel > 1 && self.conv.groups == 1 && !self.kernel.track_op()
    }

    /// Computes a dense convolution by candle's own `conv2d`, which may use cuDNN.
    fn conv2d_native(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Conv { input, output, kernel, stride, .. } = self.conv;
        let taps = self.kernel.reshape((kernel, kernel, input, output))?.permute((3, 2, 0, 1))?.contiguous()?;
        let window = Window::of(&self.conv);
        let padded = pad(&pad(x, 1, &window)?, 2, &window)?.permute((0, 3, 1, 2))?.contiguous()?;
        let y = padded.conv2d(&taps, 0, stride, 1, 1)?.permute((0, 2, 3, 1))?;
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

    /// Computes a dense convolution: one matrix product over the concatenated taps.
    fn dense(&self, taps: &[Tensor]) -> candle_core::Result<Tensor> {
        let patches = Tensor::cat(taps, D::Minus1)?;
        let (count, height, width, depth) = patches.dims4()?;
        patches.reshape(((), depth))?.matmul(&self.kernel)?.reshape((count, height, width, self.conv.output))
    }
}

/// Returns the frozen norm as `(scale, shift)` of `x · scale + shift`.
fn affine(tensors: &[Tensor], norm: &BatchNorm) -> candle_core::Result<(Tensor, Tensor)> {
    let tensor = |id: TensorId| &tensors[id.index()];
    let scale = (tensor(norm.scale) / (tensor(norm.variance) + norm.epsilon)?.sqrt()?)?;
    let shift = (tensor(norm.shift) - (tensor(norm.mean) * &scale)?)?;
    Ok((scale, shift))
}

/// Computes max pooling; the gradient goes to the first of equal values. candle's own pooling splits it incorrectly.
fn max_pool(x: &Tensor, pool: &MaxPool) -> candle_core::Result<Tensor> {
    let window = Window { kernel: pool.kernel, stride: pool.stride, padding: pool.padding };
    let inside = taps(&x.detach().ones_like()?, &window)?;
    let mut largest = fill(f64::NEG_INFINITY, x)?.broadcast_as(inside[0].shape())?;
    for (value, inside) in taps(x, &window)?.iter().zip(&inside) {
        let wins = (value.gt(&largest)? * inside.gt(0.0)?)?;
        largest = wins.where_cond(value, &largest)?;
    }
    Ok(largest)
}

/// Sliding window of a kernel over an image.
#[derive(Debug, Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    padding: Padding,
}

impl Window {
    const fn of(conv: &Conv) -> Self {
        Self { kernel: conv.kernel, stride: conv.stride, padding: conv.padding }
    }
}

/// Returns the input under each of the `k·k` kernel positions, row by row: `[N, H', W', C]` each.
///
/// A stride becomes an axis, since candle's slices have no step: after padding to a multiple of the stride, `[N, H, W,
/// C]` is reshaped to `[N, H/s, s, W/s, s, C]`.
fn taps(x: &Tensor, window: &Window) -> candle_core::Result<Vec<Tensor>> {
    let Window { kernel, stride, padding } = *window;
    if kernel == 1 && stride == 1 {
        return Ok(vec![x.clone()]);
    }
    let (count, height, width, channels) = x.dims4()?;
    let shape = MaxPool { kernel, stride, padding }.output_shape(Shape { height, width, channels });
    let output = shape.map_err(candle_core::Error::wrap)?;
    let padded = pad(&pad(x, 1, window)?, 2, window)?;
    let (rows, columns) = (padded.dim(1)? / stride, padded.dim(2)? / stride);
    let phases = padded.reshape((count, rows, stride, columns, stride, channels))?;
    let mut taps = Vec::with_capacity(kernel * kernel);
    for row in 0..kernel {
        let line = phases.narrow(1, row / stride, output.height)?.narrow(2, row % stride, 1)?.squeeze(2)?;
        for column in 0..kernel {
            let tap = line.narrow(2, column / stride, output.width)?;
            taps.push(tap.narrow(3, column % stride, 1)?.squeeze(3)?);
        }
    }
    Ok(taps)
}

/// Pads one axis by the window's padding, then to a multiple of the stride.
fn pad(x: &Tensor, axis: usize, window: &Window) -> candle_core::Result<Tensor> {
    let pixels = x.dim(axis)?;
    let (before, after) = window.padding.amounts(pixels, window.kernel, window.stride);
    let rest = (before + pixels + after).next_multiple_of(window.stride) - (before + pixels + after);
    x.pad_with_zeros(axis, before, after + rest)
}

/// Computes `max(x, 0)` with a gradient of 0 at 0. candle's own `relu` passes half of it there.
fn relu(x: &Tensor) -> candle_core::Result<Tensor> {
    x.le(0.0)?.where_cond(&fill(0.0, x)?.broadcast_as(x.shape())?, x)
}

/// Computes `min(max(x, 0), 6)` with a gradient of 0 at 0 and at 6. candle's own `maximum` and `minimum` pass half of
/// it there.
fn relu6(x: &Tensor) -> candle_core::Result<Tensor> {
    let lower = relu(x)?;
    lower.ge(6.0)?.where_cond(&fill(6.0, x)?.broadcast_as(x.shape())?, &lower)
}

/// Creates a scalar with the dtype and device of another tensor.
fn fill(value: f64, like: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::full(value, (), like.device())?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use fieldfit_nets::{Padding, by_name};

    /// Returns a convolution of the tiny network with another geometry.
    fn conv(input: usize, output: usize, kernel: usize, stride: usize, groups: usize) -> Conv {
        let network = by_name("efficientnet-tiny").unwrap();
        let Op::Conv(template) = network.stages[0].ops[0] else { panic!("the stem is a convolution") };
        Conv { input, output, kernel, stride, groups, activation: Activation::Identity, ..template }
    }

    /// Returns values without symmetry, so that a transposed or mirrored axis is detected.
    fn ramp(shape: &[usize], step: f64) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product()).map(|i: usize| (i as f64 * step).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Computes the same convolution by candle's forward pass, which is correct on the CPU.
    fn reference(x: &Tensor, weight: &Tensor, conv: &Conv) -> Tensor {
        let mut x = x.permute((0, 3, 1, 2)).unwrap();
        for axis in [2, 3] {
            let (before, after) = Padding::Same.amounts(x.dim(axis).unwrap(), conv.kernel, conv.stride);
            x = x.pad_with_zeros(axis, before, after).unwrap();
        }
        let y = x.contiguous().unwrap().conv2d(weight, 0, conv.stride, 1, conv.groups).unwrap();
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
                    let shift = Tensor::zeros(output, DType::F64, &Device::Cpu).unwrap();
                    let folded = FoldedConv { conv, kernel: flat, shift };
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
        let y = max_pool(&x, &MaxPool { kernel: 3, stride: 2, padding: Padding::Symmetric(1) }).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [-1.0, -1.0]);
        let weights = Tensor::new(&[[[[2.0], [3.0]]]], &Device::Cpu).unwrap();
        let gradients = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(gradient, [0.0, 5.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
