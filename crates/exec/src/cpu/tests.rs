//! Tests of the convolution and pooling kernels against their definitions in f64.
//!
//! All values are small integers and every scale is a power of two, so that sums are exact in any order: the kernels
//! must equal the definition to the bit, whatever the vector width.

use super::conv::{ConvKernel, Products, fold};
use super::epilogue::BackwardEpilogue;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::matmul::Accumulate;
use super::max_pool::MaxPoolKernel;
use super::op::{Forward, Inputs, Kernel};
use super::partition::BackwardOperands;
use super::thread_pool::ThreadPool;
use fieldfit_nets::{Activation, BatchNorm, Conv, Network, Op, Padding, Shape, SpatialAxis, Window, by_name};
use fieldfit_tensor::Params;

/// Below, at, and above one, two and three vectors of 4, 8 and 16 lanes.
const CHANNELS: [usize; 7] = [1, 3, 16, 17, 40, 49, 50];

/// Numbers of images and of threads.
const CUTS: [(usize, usize); 5] = [(0, 1), (0, 3), (1, 1), (1, 3), (3, 3)];

/// Test bench: a network for tensor ids, thread pools, and a scratch buffer kept between cases.
struct Bench {
    network: Network,
    threads: [ThreadPool; 2],
    scratch: Vec<f32>,
}

/// Test case of one convolution and batch size, with its operands.
struct Case {
    conv: Conv,
    input_shape: Shape,
    output_shape: Shape,
    images: usize,
    folded: FoldedWeights,
    /// The folded kernel, `[out, k, k, in / groups]`.
    weight: Vec<f64>,
    input: Vec<f32>,
    gradient: Vec<f32>,
    /// The gradient of a shortcut, as many values as the input.
    brought: Vec<f32>,
    /// The value of a shortcut, as many values as the output.
    added: Vec<f32>,
}

/// Returns pseudo-random integers from −`spread` to `spread`.
fn whole(len: usize, spread: u64, seed: u64) -> Vec<f32> {
    let hash = |i: u64| ((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40;
    (0..len as u64).map(|i| (hash(i) % (2 * spread + 1)) as f32 - spread as f32).collect()
}

impl Bench {
    fn new() -> Self {
        let threads = [1, 3].map(|count| ThreadPool::new(count).unwrap());
        // NaN detects values left by an earlier call.
        Self { network: by_name("efficientnet-tiny").unwrap(), threads, scratch: vec![f32::NAN; 1 << 16] }
    }

    /// Returns a convolution of that geometry, with the tensor ids of the stem.
    fn conv(&self, (input, output, groups): (usize, usize, usize), window: Window) -> Conv {
        let Op::Conv(conv) = self.network.graph.nodes[0].op else { panic!("the stem convolves") };
        let norm = conv.norm.map(|norm| BatchNorm { epsilon: 0.0, ..norm });
        Conv { input, output, groups, window, norm, ..conv }
    }

    fn check(&mut self, channels: (usize, usize, usize), (kernel, stride): (usize, usize), size: (usize, usize)) {
        for padding in [Padding::Same, Padding::symmetric(kernel / 2)] {
            self.check_window(channels, Window::square(kernel, stride, padding), size);
        }
    }

    fn check_window(&mut self, channels: (usize, usize, usize), window: Window, size: (usize, usize)) {
        for (images, threads) in CUTS {
            for activation in [Activation::Identity, Activation::Relu, Activation::Relu6] {
                let conv = Conv { activation, ..self.conv(channels, window) };
                let case = Case::new(&self.network, conv, size, images);
                let threads = self.threads.iter().find(|pool| pool.count() == threads).unwrap();
                case.check(threads, &mut self.scratch);
            }
        }
    }
}

impl Case {
    fn new(network: &Network, conv: Conv, (height, width): (usize, usize), images: usize) -> Self {
        let input_shape = Shape { height, width, channels: conv.input };
        let output_shape = conv.output_shape(input_shape).unwrap();
        let weight = whole(conv.weight_len(), 3, 1);
        let (folded, scale) = fold_whole(network, &conv, &weight);
        let taps = conv.window.taps();
        let inner = conv.input / conv.groups;
        let place = |i: usize| (i / (taps * inner), i / inner % taps, i % inner);
        let ours = |i| {
            let (output, tap, channel) = place(i);
            f64::from(scale[output] * weight[(output * inner + channel) * taps + tap])
        };
        let (inputs, outputs) = (images * input_shape.len(), images * output_shape.len());
        let mut input = whole(inputs, 9, 2);
        // An activation's output, both of its bounds included.
        input.iter_mut().for_each(|value| *value = activated(conv.activation, f64::from(*value)) as f32);
        Self {
            folded,
            weight: (0..weight.len()).map(ours).collect(),
            input,
            gradient: whole(outputs, 4, 3),
            brought: whole(inputs, 5, 4),
            added: whole(outputs, 5, 5),
            conv,
            input_shape,
            output_shape,
            images,
        }
    }

    /// Calls `visit` with the indices into output, kernel and input of every product of the convolution.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Conv { ref window, groups, .. } = self.conv;
        let Window { kernel: [_, columns], stride, dilation, .. } = *window;
        let (input, output) = (self.input_shape, self.output_shape);
        let (top, _) = window.padding(SpatialAxis::Rows, input.height);
        let (left, _) = window.padding(SpatialAxis::Columns, input.width);
        let (inner, outer) = (input.channels / groups, output.channels / groups);
        for pixel in 0..self.images * output.pixels() {
            let (row, column) = (pixel / output.width, pixel % output.width);
            let (image, row) = (row / output.height, row % output.height);
            for tap in 0..window.taps() {
                let y = (row * stride[0] + tap / columns * dilation[0]).checked_sub(top).filter(|y| *y < input.height);
                let x =
                    (column * stride[1] + tap % columns * dilation[1]).checked_sub(left).filter(|x| *x < input.width);
                let (Some(y), Some(x)) = (y, x) else { continue };
                let seen = ((image * input.height + y) * input.width + x) * input.channels;
                for channel in 0..output.channels {
                    for k in 0..inner {
                        let weight = (channel * window.taps() + tap) * inner + k;
                        visit(pixel * output.channels + channel, weight, seen + channel / outer * inner + k);
                    }
                }
            }
        }
    }

    fn check(&self, threads: &ThreadPool, scratch: &mut Vec<f32>) {
        let Conv { input, output, window, activation, .. } = self.conv;
        let Shape { height, width, .. } = self.input_shape;
        let (images, count) = (self.images, threads.count());
        let what = format!(
            "{input} to {output} channels, {window:?}, {images}×{height}×{width}, {activation:?}, {count} threads"
        );
        let op = ConvKernel::new(self.conv, self.input_shape, self.output_shape);
        self.check_forward(&op, threads, &what);
        self.check_backward(&op, threads, scratch, &what);
    }

    fn check_forward(&self, op: &ConvKernel, threads: &ThreadPool, what: &str) {
        let mut sums = vec![0.0; self.gradient.len()];
        self.products(|out, weight, seen| sums[out] += self.weight[weight] * f64::from(self.input[seen]));
        for shortcut in [None, Some(self.added.as_slice())] {
            let activation = self.conv.activation;
            let expected = sums.iter().enumerate().map(|(i, sum)| {
                let value = sum + f64::from(self.folded.bias[i % self.conv.output]);
                activated(activation, value + shortcut.map_or(0.0, |added| f64::from(added[i]))) as f32
            });
            let mut found = vec![f32::NAN; sums.len()];
            let inputs: Inputs<'_> = [self.input.as_slice()].into_iter().chain(shortcut).collect();
            op.forward(Forward {
                threads,
                folded: &self.folded,
                inputs,
                output: &mut found,
                buffer: &mut [],
                function: None,
            });
            assert_eq!(found, expected.collect::<Vec<_>>(), "forward, shortcut {}: {what}", shortcut.is_some());
        }
    }

    fn check_backward(&self, op: &ConvKernel, threads: &ThreadPool, scratch: &mut Vec<f32>, what: &str) {
        let (mut kernel, mut below) = (vec![0.0; self.weight.len()], vec![0.0; self.input.len()]);
        self.products(|out, weight, seen| {
            let gradient = f64::from(self.gradient[out]);
            kernel[weight] += gradient * f64::from(self.input[seen]);
            below[seen] += gradient * self.weight[weight];
        });
        let kernel = self.ours(&kernel);
        for shortcut in [None, Some(self.brought.as_slice())] {
            let epilogue = BackwardEpilogue { input: &self.input, activation: self.conv.activation, shortcut };
            let below = masked(&below, &epilogue);
            let mut found = (vec![f32::NAN; kernel.len()], vec![f32::NAN; below.len()]);
            let wanted = Some((found.0.as_mut_slice(), Accumulate::Overwrite));
            let sums = self.backward(op, threads, wanted, Some((found.1.as_mut_slice(), epilogue)), scratch);
            assert_eq!(found.0, kernel, "the kernel's gradient: {what}");
            assert_eq!(found.1, below, "the input's gradient, shortcut {}: {what}", shortcut.is_some());
            let channels = self.conv.input;
            let expected = |channel: usize| below.iter().skip(channel).step_by(channels).map(|v| f64::from(*v)).sum();
            assert_eq!(sums, (0..channels).map(expected).collect::<Vec<f64>>(), "sums over pixels: {what}");

            found.1.fill(f32::NAN);
            self.backward(op, threads, None, Some((found.1.as_mut_slice(), epilogue)), scratch);
            assert_eq!(found.1, below, "the input's gradient alone: {what}");
            self.backward(op, threads, Some((found.0.as_mut_slice(), Accumulate::Add)), None, scratch);
            assert!(found.0.iter().zip(&kernel).all(|(found, once)| *found == 2.0 * once), "added up: {what}");
        }
    }

    fn backward(
        &self,
        op: &ConvKernel,
        threads: &ThreadPool,
        kernel: Option<(&mut [f32], Accumulate)>,
        input_gradient: Option<(&mut [f32], BackwardEpilogue<'_>)>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let pass = BackwardOperands { gradient: &self.gradient, input: &self.input, kernel, input_gradient };
        op.products(pass, Products { threads, folded: &self.folded, scratch })
    }

    /// Permutes `[out, k, k, in / groups]` to the kernels' layout: `[k, k, C]` for a depthwise convolution.
    fn ours(&self, kernel: &[f64]) -> Vec<f32> {
        let (channels, taps) = (self.conv.output, self.conv.window.taps());
        let place = |i: usize| if self.conv.is_depthwise() { i % channels * taps + i / channels } else { i };
        (0..kernel.len()).map(|i| kernel[place(i)] as f32).collect()
    }
}

/// Folds the kernel with a norm whose scales are powers of two; returns the weights and the scales.
fn fold_whole(network: &Network, conv: &Conv, weight: &[f32]) -> (FoldedWeights, Vec<f32>) {
    let mut params = Params::zeros(network);
    let each = |values: [f32; 3]| values.into_iter().cycle().take(conv.output).collect::<Vec<_>>();
    params.replace(conv.weight, weight.to_vec());
    let norm = conv.norm.unwrap();
    params.replace(norm.scale, each([2.0, -1.0, 4.0]));
    params.replace(norm.variance, each([4.0, 1.0, 4.0]));
    params.replace(norm.mean, whole(conv.output, 3, 6));
    params.replace(norm.shift, whole(conv.output, 3, 7));
    let mut folded = FoldedWeights::default();
    fold(conv, &params, FoldPurpose::Training, &mut folded);
    (folded, each([1.0, -1.0, 2.0]))
}

/// Applies an activation.
fn activated(activation: Activation, value: f64) -> f64 {
    match activation {
        Activation::Identity => value,
        Activation::Relu => value.max(0.0),
        Activation::Relu6 => value.clamp(0.0, 6.0),
    }
}

/// Applies a backward epilogue by definition: adds the shortcut's gradient and masks with the activation.
fn masked(gradient: &[f64], epilogue: &BackwardEpilogue<'_>) -> Vec<f32> {
    let passes = |input: f32| match epilogue.activation {
        Activation::Identity => true,
        Activation::Relu => 0.0 < input,
        Activation::Relu6 => 0.0 < input && input < 6.0,
    };
    let brought = |i: usize| epilogue.shortcut.map_or(0.0, |shortcut| f64::from(shortcut[i]));
    let value = |(i, value): (usize, &f64)| if passes(epilogue.input[i]) { (value + brought(i)) as f32 } else { 0.0 };
    gradient.iter().enumerate().map(value).collect()
}

/// Returns image sizes of one pixel, smaller than the kernel, and wide enough for tiles of eight, four and one pixels.
fn sizes(stride: usize) -> [(usize, usize); 3] {
    [(1, 1), (2, 3), (9, 13 * stride + 2)]
}

/// Catches: a vector read or written outside the channels, a tap on the wrong pixel at an edge, a skipped band of rows.
#[test]
fn depthwise_follows_the_definition() {
    let mut bench = Bench::new();
    for channels in CHANNELS {
        for kernel in [1, 3, 5, 7] {
            for stride in [1, 2, 3] {
                for size in sizes(stride) {
                    bench.check((channels, channels, channels), (kernel, stride), size);
                }
            }
        }
    }
}

/// Catches: rows taken for columns, a dilated tap off by a pixel, padding that differs between the sides.
#[test]
fn uneven_windows_follow_the_definition() {
    let mut bench = Bench::new();
    let window = |kernel, stride, dilation, padding| Window {
        kernel,
        stride,
        dilation,
        padding: Padding::Fixed(padding),
        rounds_up: false,
    };
    let windows = [
        window([1, 7], [1, 1], [1, 1], [[0, 0], [3, 3]]),
        window([7, 1], [1, 1], [1, 1], [[3, 3], [0, 0]]),
        window([3, 2], [2, 1], [1, 1], [[0, 1], [1, 0]]),
        window([3, 3], [1, 1], [2, 4], [[2, 2], [4, 4]]),
        window([3, 3], [2, 3], [3, 2], [[3, 3], [2, 2]]),
        window([1, 1], [1, 1], [1, 1], [[1, 0], [0, 2]]),
    ];
    for window in windows {
        for size in [(9, 13), (8, 21)] {
            for channels in [1, 17, 50] {
                bench.check_window((channels, channels, channels), window, size);
            }
            bench.check_window((17, 3, 1), window, size);
            bench.check_window((3, 49, 1), window, size);
        }
    }
}

/// Catches: a patch that is clipped wrongly at the padding, a partial sum of an earlier call in a gradient.
#[test]
fn dense_follows_the_definition() {
    let mut bench = Bench::new();
    for (input, output) in [(3, 16), (1, 17), (17, 3), (16, 1), (7, 49)] {
        for (kernel, stride) in [(1, 2), (1, 3), (3, 1), (3, 2), (5, 3), (7, 2)] {
            for size in sizes(stride) {
                bench.check((input, output, 1), (kernel, stride), size);
            }
        }
    }
    // Kernels whose rows are gathered a few at a time, and one at a time.
    bench.check((200, 3, 1), (3, 1), (9, 15));
    bench.check((520, 2, 1), (3, 2), (5, 7));
}

/// Catches: a transform factor of the wrong sign, a pixel read or written outside the image, a wrong last row or column
/// of an odd size, a misplaced panel of channels.
#[test]
fn winograd_follows_the_definition() {
    let mut bench = Bench::new();
    for (input, output) in [(16, 16), (17, 16), (16, 49), (50, 17)] {
        for size in sizes(1) {
            bench.check((input, output, 1), (3, 1), size);
        }
    }
    // A third panel of channels, and more than one block of tiles.
    bench.check((16, 97, 1), (3, 1), (2, 3));
    bench.check((16, 16, 1), (3, 1), (17, 18));
}

/// Catches: a tile that skips the last rows or columns, a kernel's gradient that depends on its partition among
/// threads.
#[test]
fn pointwise_follows_the_definition() {
    let mut bench = Bench::new();
    for input in CHANNELS {
        for output in CHANNELS {
            for size in sizes(1) {
                bench.check((input, output, 1), (1, 1), size);
            }
        }
    }
    // More rows than one tile has.
    bench.check((50, 49, 1), (1, 1), (17, 47));
}

/// Test case of one max pool and batch size, with its operands.
struct PoolCase {
    pool: MaxPoolKernel,
    images: usize,
    input: Vec<f32>,
    gradient: Vec<f32>,
}

impl PoolCase {
    fn new(window: Window, (height, width): (usize, usize), channels: usize, images: usize) -> Self {
        let input = Shape { height, width, channels };
        let [height, width] = window.output(input).unwrap();
        let output = Shape { height, width, channels };
        let pool = MaxPoolKernel { window, input, output };
        // Few distinct values, so that many tie; negative under some windows, where padding must not win.
        let values = whole(images * input.len(), 2, 8).into_iter().map(|value| value - 2.0).collect();
        Self { pool, images, input: values, gradient: whole(images * output.len(), 4, 9) }
    }

    /// Returns the input index of each output's maximum, by definition.
    fn winners(&self) -> Vec<usize> {
        let MaxPoolKernel { window, input, output } = self.pool;
        let Window { kernel: [rows, columns], stride, dilation, .. } = window;
        let (top, _) = window.padding(SpatialAxis::Rows, input.height);
        let (left, _) = window.padding(SpatialAxis::Columns, input.width);
        let winner = |position: usize| {
            let (pixel, channel) = (position / output.channels, position % output.channels);
            let (image, row, column) =
                (pixel / output.pixels(), pixel / output.width % output.height, pixel % output.width);
            let seen = (0..rows * columns).filter_map(|tap| {
                let y = row * stride[0] + tap / columns * dilation[0];
                let x = column * stride[1] + tap % columns * dilation[1];
                let y = y.checked_sub(top).filter(|y| *y < input.height)?;
                let x = x.checked_sub(left).filter(|x| *x < input.width)?;
                Some((image * input.pixels() + y * input.width + x) * input.channels + channel)
            });
            seen.reduce(|best, next| if self.input[next] > self.input[best] { next } else { best }).unwrap()
        };
        (0..self.images * output.len()).map(winner).collect()
    }

    fn check(&self, threads: &ThreadPool) {
        let (winners, what) = (self.winners(), format!("{:?}, {} images", self.pool, self.images));
        let mut found = vec![f32::NAN; winners.len()];
        self.pool.largest(threads, &self.input, &mut found);
        assert_eq!(found, winners.iter().map(|&winner| self.input[winner]).collect::<Vec<_>>(), "{what}");

        let mut below = vec![0.0; self.input.len()];
        winners.iter().zip(&self.gradient).for_each(|(&winner, gradient)| below[winner] += f64::from(*gradient));
        let brought = whole(self.input.len(), 5, 4);
        let epilogue = BackwardEpilogue { input: &self.input, activation: Activation::Relu, shortcut: Some(&brought) };
        let below = masked(&below, &epilogue);
        let mut found = vec![f32::NAN; below.len()];
        let sums = self.pool.route(threads, &self.gradient, &mut found, &epilogue);
        assert_eq!(found, below, "the gradient: {what}");
        let channels = self.pool.input.channels;
        let expected = |channel: usize| below.iter().skip(channel).step_by(channels).map(|v| f64::from(*v)).sum();
        assert_eq!(sums, (0..channels).map(expected).collect::<Vec<f64>>(), "sums over pixels: {what}");
    }
}

/// Catches: a window that is clipped wrongly at the padding, padding taken for a value, a tie whose gradient goes to
/// two pixels.
#[test]
fn max_pool_follows_the_definition() {
    let bench = Bench::new();
    for (kernel, stride) in [(1, 1), (2, 2), (3, 2), (3, 1), (2, 3), (5, 3)] {
        let padded = [Padding::Same, Padding::symmetric(kernel / 2), Padding::NONE]
            .map(|padding| Window::square(kernel, stride, padding));
        let dilated = Window { dilation: [1, 2], ..padded[0] };
        let rounding = Window { rounds_up: true, ..padded[2] };
        for window in padded.into_iter().chain([dilated, rounding]) {
            for size in [(kernel, kernel), (7, 10), (8, 5)] {
                for ((images, threads), channels) in CUTS.into_iter().zip([1, 3, 16, 17, 50]) {
                    let threads = bench.threads.iter().find(|pool| pool.count() == threads).unwrap();
                    PoolCase::new(window, size, channels, images).check(threads);
                }
            }
        }
    }
}
