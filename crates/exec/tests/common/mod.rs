//! Test helpers: small networks with random weights, random images, and gradients of the CPU kernels.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

use fieldfit_exec::{Executor, Passes, cpu::Cpu};
use fieldfit_nets::{
    Activation, Arithmetic, Axis, BatchNorm, Conv, ConvTranspose, Function, Graph, Head, Interpolation, LayerNorm,
    Linear, Network, Node, Op, Padding, Prologue, Rearrange, ResizeTo, Role, Section, Shape, TensorSpec, ValueId,
    Window, by_name,
};
use fieldfit_tensor::{Images, Params, TensorId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Returns four tiny networks: inverted residuals with TensorFlow's padding; bottlenecks, a max pool and projected
/// shortcuts with PyTorch's; a [`graph`]; and one of the [other ops](image_ops).
pub fn networks() -> [Network; 4] {
    let [residual, bottleneck] =
        ["efficientnet-tiny", "resnet-tiny"].map(|name| by_name(name).unwrap().with_classes(5));
    [residual, bottleneck, graph(), image_ops()]
}

/// Builder of a network for tests.
#[derive(Default)]
struct Sketch {
    tensors: Vec<TensorSpec>,
    graph: Graph,
}

impl Sketch {
    fn tensor(&mut self, shape: &[usize], role: Role) -> TensorId {
        let name = format!("tensor{}", self.tensors.len());
        self.tensors.push(TensorSpec { name, shape: shape.to_vec(), role });
        TensorId::new(self.tensors.len() - 1)
    }

    fn section(&mut self) {
        let (name, first) = (format!("section{}", self.graph.sections.len()), self.graph.nodes.len());
        self.graph.sections.push(Section { name, nodes: first..first });
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.nodes.push(Node { op, inputs: inputs.to_vec() });
        self.graph.sections.last_mut().unwrap().nodes.end = self.graph.nodes.len();
        ValueId::of_node(self.graph.nodes.len() - 1)
    }

    /// Appends a convolution with a bias, with a norm, or with both.
    fn conv(
        &mut self,
        inputs: &[ValueId],
        (input, output, groups): (usize, usize, usize),
        window: Window,
        (has_bias, has_norm): (bool, bool),
        activation: Activation,
    ) -> ValueId {
        let [rows, columns] = window.kernel;
        let weight = self.tensor(&[output, input / groups, rows, columns], Role::Kernel);
        let bias = has_bias.then(|| self.tensor(&[output], Role::Bias));
        let norm = has_norm.then(|| self.batch_norm(output));
        self.node(Op::Conv(Conv { weight, bias, norm, activation, input, output, window, groups }), inputs)
    }

    fn layer_norm(&mut self, width: usize) -> LayerNorm {
        let [scale, shift] = [Role::NormScale, Role::NormShift].map(|role| self.tensor(&[width], role));
        LayerNorm { scale, shift, epsilon: 1e-5 }
    }

    fn batch_norm(&mut self, channels: usize) -> BatchNorm {
        let roles = [Role::NormScale, Role::NormShift, Role::RunningMean, Role::RunningVariance];
        let [scale, shift, mean, variance] = roles.map(|role| self.tensor(&[channels], role));
        BatchNorm { scale, shift, mean, variance, epsilon: 1e-3 }
    }

    /// Returns the network with a head of five classes.
    fn finish(mut self, architecture: &'static str, features: usize) -> Network {
        let weight = self.tensor(&[5, features], Role::HeadWeight);
        let bias = self.tensor(&[5], Role::HeadBias);
        let head = Head { weight, bias, features, classes: 5, node: None };
        Network { architecture, channels: 3, tensors: self.tensors, graph: self.graph, head }
    }

    /// Appends a linear layer.
    fn linear(&mut self, value: ValueId, input: usize, output: usize, has_bias: bool) -> ValueId {
        let weight = self.tensor(&[output, input], Role::LinearWeight);
        let bias = has_bias.then(|| self.tensor(&[output], Role::Bias));
        self.node(
            Op::Linear(Linear { prologue: Prologue::Identity, weight, bias, scale: None, input, output }),
            &[value],
        )
    }
}

/// Returns a graph with what chains of residual stages lack: a value with four readers, one of which is not the next node;
/// a value with a clipped activation that is only added; gates, concatenations, activations whose slope is not in their
/// output, convolutions without a norm, even kernels; and two values that leave a section.
pub fn graph() -> Network {
    let mut sketch = Sketch::default();
    let square = |kernel, stride| Window::square(kernel, stride, Padding::symmetric(kernel / 2));
    let (plain, norm, both) = ((true, false), (false, true), (true, true));
    sketch.section();
    let stem = sketch.conv(&[ValueId::IMAGE], (3, 8, 1), square(3, 2), both, Activation::Relu);
    sketch.section();
    let wide = sketch.conv(&[stem], (8, 17, 1), square(1, 1), norm, Activation::Identity);
    let wide = sketch.node(Op::Activate(Function::HardSwish), &[wide]);
    let tall = Window { kernel: [3, 1], padding: Padding::Fixed([[1, 1], [0, 0]]), ..square(1, 1) };
    let deep = sketch.conv(&[wide], (17, 17, 17), tall, norm, Activation::Relu6);
    let pooled = sketch.node(Op::GlobalAveragePool, &[deep]);
    let squeezed = sketch.linear(pooled, 17, 5, true);
    let squeezed = sketch.node(Op::Activate(Function::Silu), &[squeezed]);
    let gate = sketch.linear(squeezed, 5, 17, true);
    let gate = sketch.node(Op::Activate(Function::Sigmoid), &[gate]);
    let gated = sketch.node(Op::Arithmetic(Arithmetic::Multiply), &[deep, gate]);
    let narrow = sketch.conv(&[gated, stem], (17, 8, 1), square(1, 1), norm, Activation::Relu);
    sketch.section();
    let dilated = Window { dilation: [2, 1], padding: Padding::Fixed([[2, 2], [1, 1]]), ..square(3, 1) };
    let left = sketch.conv(&[narrow], (8, 8, 1), dilated, plain, Activation::Relu6);
    let right = sketch.conv(&[narrow], (8, 8, 8), square(3, 1), plain, Activation::Relu);
    let sum = sketch.node(Op::Arithmetic(Arithmetic::Add), &[left, right]);
    let difference = sketch.node(Op::Arithmetic(Arithmetic::Subtract), &[sum, narrow]);
    sketch.section();
    let joined = sketch.node(Op::Concat(Axis::Channels), &[stem, difference, sum]);
    let mixed = sketch.conv(&[joined], (24, 16, 1), square(3, 1), norm, Activation::Identity);
    let mixed = sketch.node(Op::Activate(Function::LeakyRelu { slope: 0.1 }), &[mixed]);
    let doubled = sketch.node(Op::Arithmetic(Arithmetic::Add), &[mixed, mixed]);
    let pooled = sketch.node(Op::GlobalAveragePool, &[doubled]);
    let hidden = sketch.linear(pooled, 16, 12, false);
    sketch.node(Op::Activate(Function::Gelu), &[hidden]);
    sketch.finish("graph", 12)
}

/// Returns a network of 3×3 convolutions over as many channels as Winograd's transforms pay for, with and without a shortcut, and one
/// whose output is f32.
pub fn wide_convolutions() -> Network {
    let mut sketch = Sketch::default();
    let square = Window::square(3, 1, Padding::symmetric(1));
    sketch.section();
    let stem = sketch.conv(&[ValueId::IMAGE], (3, 32, 1), square, (true, false), Activation::Relu);
    let first = sketch.conv(&[stem], (32, 64, 1), square, (false, true), Activation::Relu);
    let second = sketch.conv(&[first], (64, 64, 1), square, (true, true), Activation::Identity);
    let third = sketch.conv(&[second, first], (64, 64, 1), square, (false, true), Activation::Relu);
    let last = sketch.conv(&[third], (64, 32, 1), square, (true, false), Activation::Relu6);
    sketch.node(Op::GlobalAveragePool, &[last]);
    sketch.finish("wide-convolutions", 32)
}

/// Returns a network of the ops that the others lack, at any image size.
pub fn image_ops() -> Network {
    let mut sketch = Sketch::default();
    let square = |kernel, stride| Window::square(kernel, stride, Padding::symmetric(kernel / 2));
    sketch.section();
    let stem = sketch.conv(&[ValueId::IMAGE], (3, 8, 1), square(3, 1), (true, false), Activation::Identity);
    let slope = sketch.tensor(&[8], Role::LayerScale);
    let bent = sketch.node(Op::Prelu { slope }, &[stem]);
    let norm = sketch.layer_norm(8);
    let normed = sketch.node(Op::LayerNorm(norm), &[bent]);
    sketch.section();
    let padded = sketch.node(Op::Pad([[1, 0], [2, 1]]), &[normed]);
    let window = Window { rounds_up: true, ..square(3, 2) };
    let pooled = sketch.node(Op::AveragePool { window, counts_padding: false }, &[padded]);
    let grouped = sketch.conv(&[pooled], (8, 12, 4), square(3, 1), (true, true), Activation::Relu6);
    let several = sketch.conv(&[pooled], (8, 16, 8), square(3, 1), (false, true), Activation::Identity);
    let shuffle = Rearrange { dimensions: vec![0, 4, 4], order: vec![0, 2, 1], output: None };
    let shuffled = sketch.node(Op::Rearrange(shuffle), &[several]);
    let slice = |start, length, step| Op::Slice { axis: Axis::Channels, start, length, step };
    let [left, right] = [slice(0, 6, 2), slice(6, 6, 1)].map(|op| sketch.node(op, &[shuffled]));
    let half = sketch.node(slice(1, 6, 2), &[grouped]);
    let joined = sketch.node(Op::Concat(Axis::Channels), &[left, half]);
    sketch.section();
    let scale = sketch.batch_norm(12);
    let scaled = sketch.node(Op::BatchNorm(scale), &[joined]);
    let transposed = ConvTranspose {
        weight: sketch.tensor(&[6, 12, 3, 3], Role::Kernel),
        bias: Some(sketch.tensor(&[6], Role::Bias)),
        input: 12,
        output: 6,
        window: square(3, 2),
        output_padding: [1, 1],
        groups: 1,
    };
    let large = sketch.node(Op::ConvTranspose(transposed), &[scaled]);
    let resize = |interpolation| Op::Resize { to: ResizeTo::Times([2, 2]), interpolation };
    let nearest = sketch.node(resize(Interpolation::Nearest), &[right]);
    let smooth = sketch.node(resize(Interpolation::Bilinear), &[right]);
    let sum = sketch.node(Op::Arithmetic(Arithmetic::Add), &[large, nearest]);
    let smooth = sketch.node(Op::Activate(Function::Sigmoid), &[smooth]);
    let shifted = sketch.node(Op::Scalar { scale: 0.5, shift: 1.5 }, &[smooth]);
    let ratio = sketch.node(Op::Arithmetic(Arithmetic::Divide), &[sum, shifted]);
    let fixed = Op::Resize { to: ResizeTo::Fixed([3, 4]), interpolation: Interpolation::BilinearCorners };
    let small = sketch.node(fixed, &[ratio]);
    sketch.section();
    let tokens = Rearrange {
        dimensions: vec![12, 6],
        order: vec![0, 1],
        output: Some(Shape { height: 1, width: 12, channels: 6 }),
    };
    let patches = sketch.node(Op::Rearrange(tokens), &[small]);
    let class = sketch.tensor(&[1, 1, 6], Role::Token);
    let class = sketch.node(Op::Parameter { tensor: class, shape: Shape::vector(6) }, &[]);
    let tokens = sketch.node(Op::Concat(Axis::Columns), &[class, patches]);
    let positions = sketch.tensor(&[1, 13, 6], Role::Positions);
    let shape = Shape { height: 1, width: 13, channels: 6 };
    let positions = sketch.node(Op::Parameter { tensor: positions, shape }, &[]);
    let tokens = sketch.node(Op::Arithmetic(Arithmetic::Add), &[tokens, positions]);
    // The bias of a key does not change the softmax: its gradient is 0.
    let [query, key, value] = [true, false, true].map(|has_bias| sketch.linear(tokens, 6, 6, has_bias));
    let scores = sketch.node(Op::MatMul { transposes: true, scale: 0.4 }, &[query, key]);
    let shares = sketch.node(Op::Softmax(Axis::Channels), &[scores]);
    let mixed = sketch.node(Op::MatMul { transposes: false, scale: 1.0 }, &[shares, value]);
    let (scale, shift) = (sketch.tensor(&[6], Role::LayerScale), sketch.tensor(&[6], Role::Bias));
    let mixed = sketch.node(Op::Affine { scale: Some(scale), shift: Some(shift) }, &[mixed]);
    let mixed = sketch.node(Op::Arithmetic(Arithmetic::Add), &[mixed, tokens]);
    let indices = (0..13).map(|index| index * 5 % 11).collect();
    let gathered = sketch.node(Op::Gather { axis: Axis::Columns, indices }, &[mixed]);
    let mixed = sketch.node(Op::Arithmetic(Arithmetic::Maximum), &[gathered, mixed]);
    let mixed = sketch.node(Op::Activate(Function::Elu { alpha: 0.7 }), &[mixed]);
    let some = sketch.node(Op::Slice { axis: Axis::Columns, start: 0, length: 5, step: 3 }, &[mixed]);
    sketch.node(Op::Mean(Axis::Columns), &[some]);
    sketch.finish("image-ops", 6)
}

/// Returns random parameters that keep activations at their scale.
pub fn params(network: &Network) -> Params<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let spread = (spec.rows() as f32 / spec.len() as f32).sqrt();
        params[id].fill_with(|| {
            let unit: f32 = generator.random_range(-1.0..1.0);
            match spec.role {
                Role::NormScale | Role::RunningVariance | Role::LayerScale => 1.5 + unit,
                Role::Kernel | Role::HeadWeight => 2.0 * unit * spread,
                Role::LinearWeight => 3.0 * unit * spread,
                _ => unit,
            }
        });
    }
    params
}

/// Returns uniform noise in [−2, 2).
pub fn images(count: usize, height: usize, width: usize) -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let mut images = Images::zeros(count, height, width);
    images.values.fill_with(|| generator.random_range(-2.0..2.0));
    images
}

/// Returns a label from 0 to 4 for each image.
pub fn labels(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 3 % 5).collect()
}

/// Converts parameters to f64.
pub fn widen(network: &Network, params: &Params<f32>) -> Params<f64> {
    let mut wide = Params::zeros(network);
    for (wide, narrow) in wide.buffers_mut().iter_mut().zip(params.buffers()) {
        *wide = narrow.iter().map(|value| f64::from(*value)).collect();
    }
    wide
}

/// Computes loss and gradients of the trained tensors; returns the executor, too.
pub fn gradient(
    network: &Network,
    threads: usize,
    passes: Passes,
    images: &Images,
    trains: impl Fn(TensorId) -> bool,
) -> (f32, Params<f32>, Cpu) {
    let mut gradients = Params::zeros_where(network, trains);
    // NaN detects gradients that are added to the old contents.
    gradients.buffers_mut().iter_mut().flatten().for_each(|value| *value = f32::NAN);
    let mut cpu = Cpu::new(network, threads, passes).unwrap();
    let loss = cpu.gradient(&params(network), images, &labels(images.count), &mut gradients).unwrap();
    (loss, gradients, cpu)
}

/// Returns the L2 distance between two tensors, relative to the reference's norm.
pub fn distance(fast: &[f32], oracle: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut fast.iter().zip(oracle).map(|(a, b)| f64::from(*a) - b)) / norm(&mut oracle.iter().copied()).max(1e-9)
}
