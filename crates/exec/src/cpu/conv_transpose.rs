//! Transposed convolution op: the adjoint of a dense or grouped convolution, whose kernel computes both directions with their
//! roles exchanged.

use super::activate::in_parts;
use super::checkpoint_weight::CheckpointWeight;
use super::dense::Dense;
use super::epilogue::{BackwardEpilogue, ForwardEpilogue};
use super::folded_weights::{FoldPurpose, FoldedWeights, refill, write_gradient};
use super::grouped::{self, Grouped};
use super::matmul::{Accumulate, PackedMatrix};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::partition::BackwardOperands;
use super::thread_pool::ThreadPool;
use super::vector::vectorized;
use fieldfit_nets::{Activation, Conv, ConvTranspose, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Transposed convolution at any image size.
pub(super) struct ConvTransposeOp(ConvTranspose);

impl ConvTransposeOp {
    /// Creates the op.
    pub const fn new(conv: ConvTranspose) -> Self {
        Self(conv)
    }

    /// Returns the convolution whose adjoint this is, from its output to its input.
    const fn adjoint(&self) -> Conv {
        let ConvTranspose { weight, input, output, window, groups, .. } = self.0;
        let activation = Activation::Identity;
        Conv { weight, bias: None, norm: None, activation, input: output, output: input, window, groups }
    }
}

/// Exchanges the outer axes of each group of a kernel, `[outer, inner, taps]` to `[inner, outer, taps]`.
fn exchange(values: &[f32], (groups, outer): (usize, usize), taps: usize) -> Vec<f32> {
    let inner = values.len() / (groups * outer * taps);
    let place = move |group, outside, inside| ((group * outer + outside) * inner + inside) * taps;
    let kernels = (0..groups).flat_map(move |group| {
        (0..inner).flat_map(move |inside| (0..outer).map(move |outside| place(group, outside, inside)))
    });
    kernels.flat_map(|start| values[start..start + taps].iter().copied()).collect()
}

impl CpuOp for ConvTransposeOp {
    fn folded_len(&self, purpose: FoldPurpose) -> usize {
        let conv = self.adjoint();
        if conv.groups > 1 {
            return 2 * conv.weight_len() + conv.input + conv.output;
        }
        let depth = conv.weight_len() / conv.output;
        // The forward pass uses what a convolution's backward pass does, and the other way round.
        let forward = if purpose == FoldPurpose::Training { PackedMatrix::size(depth, conv.output) } else { 0 };
        PackedMatrix::size(conv.output, depth) + forward + conv.input + conv.output
    }

    fn fold(&self, params: &Params<f32>, purpose: FoldPurpose, folded: &mut FoldedWeights) {
        let conv = self.adjoint();
        let outer = (conv.groups, conv.input / conv.groups);
        let values = exchange(&params[conv.weight], outer, conv.window.taps());
        if conv.groups > 1 {
            folded.scale.clear();
            grouped::pack(&conv, &values, FoldPurpose::Training, folded);
        } else {
            let weight = CheckpointWeight { values: &values, inputs: conv.input, taps: conv.window.taps(), scale: &[] };
            weight.pack_backward(&mut folded.backward);
            if purpose == FoldPurpose::Training {
                weight.pack_forward(&mut folded.forward);
            }
        }
        match self.0.bias {
            Some(bias) => refill(&mut folded.bias, &params[bias]),
            None => refill(&mut folded.bias, &vec![0.0; conv.input]),
        }
        // The backward pass adds nothing.
        refill(&mut folded.scale, &vec![0.0; conv.output]);
    }

    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        let conv = self.adjoint();
        let adjoint = if conv.groups > 1 {
            Adjoint::Grouped(Grouped::new(conv, output, inputs[0]))
        } else {
            Adjoint::Dense(Dense { conv, input: output, output: inputs[0] })
        };
        Box::new(ConvTransposeKernel { bias: self.0.bias, conv, adjoint })
    }
}

/// Kernel of the convolution from the output to the input.
enum Adjoint {
    Dense(Dense),
    Grouped(Grouped),
}

impl Adjoint {
    fn forward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        input: &[f32],
        epilogue: ForwardEpilogue<'_>,
        output: &mut [f32],
    ) {
        match self {
            Self::Dense(kernel) => kernel.forward(threads, folded, input, epilogue, output),
            Self::Grouped(kernel) => kernel.forward(threads, folded, input, epilogue, output),
        }
    }

    fn backward(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        pass: BackwardOperands<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        match self {
            Self::Dense(kernel) => kernel.backward(threads, folded, pass, scratch),
            Self::Grouped(kernel) => kernel.backward(threads, folded, pass, scratch),
        }
    }
}

/// Transposed convolution at one image size.
struct ConvTransposeKernel {
    bias: Option<TensorId>,
    /// The convolution from the output to the input.
    conv: Conv,
    adjoint: Adjoint,
}

impl Kernel for ConvTransposeKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, .. } = pass;
        let target = Some((&mut *output, BackwardEpilogue::identity(&[])));
        let pass = BackwardOperands { gradient: inputs[0], input: &[], kernel: None, input_gradient: target };
        self.adjoint.backward(threads, folded, pass, &mut Vec::new());
        let channels = self.conv.input;
        in_parts(threads, channels, output, |_, output| {
            vectorized(
                #[inline(always)]
                || {
                    for pixel in output.chunks_exact_mut(channels) {
                        for (value, bias) in pixel.iter_mut().zip(&folded.bias) {
                            *value += bias;
                        }
                    }
                },
            );
        });
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        let is_trained = trains(self.conv.weight);
        // The kernel's gradient comes in the kernels' layout.
        Needs { input: true, kernel: if is_trained { self.conv.weight_len() } else { 0 }, ..Needs::default() }
    }

    fn scratch_len(&self, trains: &dyn Fn(TensorId) -> bool, threads: usize, _: usize) -> usize {
        if trains(self.conv.weight) { threads * self.conv.weight_len() } else { 0 }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, gradients, accumulate, gradient, sums, input, target, kernel, scratch, .. } =
            pass;
        let conv = &self.conv;
        if gradients.contains(conv.weight) {
            let wanted = Some((&mut *kernel, Accumulate::Overwrite));
            let pass = BackwardOperands { gradient: input, input: gradient, kernel: wanted, input_gradient: None };
            self.adjoint.backward(threads, folded, pass, scratch);
            let values = from_kernel_layout(conv, kernel);
            write_gradient(&mut gradients[conv.weight], values, accumulate);
        }
        if let Some(bias) = self.bias.filter(|bias| gradients.contains(*bias)) {
            write_gradient(&mut gradients[bias], sums.iter().map(|sum| *sum as f32), accumulate);
        }
        let Some((target, epilogue)) = target else { return Vec::new() };
        let ending =
            ForwardEpilogue { bias: &folded.scale, activation: Activation::Identity, shortcut: None, function: None };
        self.adjoint.forward(threads, folded, gradient, ending, target);
        epilogue.finish(threads, conv.output, target)
    }
}

/// Iterates over a kernel's gradient, `[in, taps, out / groups]` of the transposed convolution, as the network has its kernel,
/// `[out, in / groups, taps]`.
fn from_kernel_layout<'a>(conv: &Conv, values: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    let (inputs, outputs, taps) = (conv.output / conv.groups, conv.input / conv.groups, conv.window.taps());
    // Of an output, whose group has `inputs` rows, and the input of that group.
    let place = move |(output, input, tap): (usize, usize, usize)| {
        let row = output / outputs * inputs + input;
        values[(row * taps + tap) * outputs + output % outputs]
    };
    let places = (0..conv.input).flat_map(move |output| (0..inputs).map(move |input| (output, input)));
    places.flat_map(move |(output, input)| (0..taps).map(move |tap| (output, input, tap))).map(place)
}
