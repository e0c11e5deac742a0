//! Affine ops: a factor and an addend for each channel, from trained tensors, from a batch norm, or constant.
//!
//! With s = γ/√(σ²+ε) a batch norm is `s·x + β − s·μ`; its gradients are ∂L/∂β = Σdy and ∂L/∂γ = Σ dy·(x − μ)/√(σ²+ε).

use super::activate::in_parts;
use super::conv::inverse_std;
use super::epilogue::ChannelSums;
use super::folded_weights::{FoldPurpose, FoldedWeights, refill, write_gradient};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::thread_pool::ThreadPool;
use super::vector::vectorized;
use fieldfit_nets::{BatchNorm, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Rows whose products are summed in f32.
const ROWS: usize = 64;

/// Affine map at any image size.
#[derive(Debug, Clone, Copy)]
pub(super) enum AffineOp {
    /// Trained tensors of one value a channel.
    Tensors { scale: Option<TensorId>, shift: Option<TensorId>, channels: usize },
    /// A batch norm with frozen statistics.
    Norm { norm: BatchNorm, channels: usize },
    /// The same constants for each channel.
    Constant { scale: f32, shift: f32 },
}

impl AffineOp {
    /// Returns the tensor of the factors and that of the addends.
    const fn tensors(&self) -> [Option<TensorId>; 2] {
        match self {
            Self::Tensors { scale, shift, .. } => [*scale, *shift],
            Self::Norm { norm, .. } => [Some(norm.scale), Some(norm.shift)],
            Self::Constant { .. } => [None, None],
        }
    }
}

impl CpuOp for AffineOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        match self {
            Self::Tensors { scale, shift, channels } => {
                channels * (usize::from(scale.is_some()) + usize::from(shift.is_some()))
            }
            Self::Norm { channels, .. } => 2 * channels,
            Self::Constant { .. } => 0,
        }
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        match self {
            Self::Tensors { scale, shift, .. } => {
                refill(&mut folded.scale, scale.map_or(&[], |scale| &params[scale]));
                refill(&mut folded.bias, shift.map_or(&[], |shift| &params[shift]));
            }
            Self::Norm { norm, .. } => {
                refill(&mut folded.scale, &params[norm.scale]);
                refill(&mut folded.bias, &params[norm.shift]);
                let statistics = params[norm.mean].iter().zip(&params[norm.variance]);
                for ((scale, shift), (mean, variance)) in folded.scale.iter_mut().zip(&mut folded.bias).zip(statistics)
                {
                    *scale *= inverse_std(norm, *variance);
                    *shift -= *scale * mean;
                }
            }
            Self::Constant { .. } => {}
        }
    }

    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(AffineKernel { op: *self, channels: inputs[0].channels })
    }
}

/// Affine map at one image size.
struct AffineKernel {
    op: AffineOp,
    channels: usize,
}

impl AffineKernel {
    /// Computes `output = factor · input + addend`, row by row; an empty list of factors is 1, of addends 0.
    fn apply(&self, threads: &ThreadPool, [scale, shift]: [&[f32]; 2], input: &[f32], output: &mut [f32]) {
        in_parts(threads, self.channels, output, |range, output| {
            let input = &input[range];
            vectorized(
                #[inline(always)]
                || {
                    for (out, values) in output.chunks_exact_mut(self.channels).zip(input.chunks_exact(self.channels)) {
                        out.copy_from_slice(values);
                        for (out, scale) in out.iter_mut().zip(scale) {
                            *out *= scale;
                        }
                        for (out, shift) in out.iter_mut().zip(shift) {
                            *out += shift;
                        }
                    }
                },
            );
        });
    }

    /// Computes `output = factor · input + addend` with one factor and one addend.
    fn apply_constant(&self, threads: &ThreadPool, (scale, shift): (f32, f32), input: &[f32], output: &mut [f32]) {
        in_parts(threads, self.channels, output, |range, output| {
            let input = &input[range];
            vectorized(
                #[inline(always)]
                || {
                    for (out, value) in output.iter_mut().zip(input) {
                        *out = value * scale + shift;
                    }
                },
            );
        });
    }

    /// Returns the sums over rows of `gradient · input`.
    fn products(&self, threads: &ThreadPool, gradient: &[f32], input: &[f32]) -> Vec<f64> {
        let ranges = threads.ranges(input.len() / self.channels);
        let mut sums = vec![ChannelSums::new(self.channels); ranges.len()];
        threads.for_each(ranges.iter().cloned().zip(&mut sums), |(range, sums)| {
            let values = range.start * self.channels..range.end * self.channels;
            let tiles =
                gradient[values.clone()].chunks(ROWS * self.channels).zip(input[values].chunks(ROWS * self.channels));
            for (gradient, input) in tiles {
                let tile = sums.tile();
                vectorized(
                    #[inline(always)]
                    || {
                        for (gradient, input) in
                            gradient.chunks_exact(self.channels).zip(input.chunks_exact(self.channels))
                        {
                            for ((sum, gradient), input) in tile.iter_mut().zip(gradient).zip(input) {
                                *sum += gradient * input;
                            }
                        }
                    },
                );
                sums.flush();
            }
        });
        ChannelSums::merge(sums)
    }

    /// Returns the gradient of the factors' tensor from the products and the sums over rows of the output's gradient.
    fn scale_gradient(&self, params: &Params<f32>, products: Vec<f64>, sums: &[f64]) -> Vec<f32> {
        match &self.op {
            AffineOp::Norm { norm, .. } => {
                let statistics = params[norm.mean].iter().zip(&params[norm.variance]);
                let term = |((product, sum), (mean, variance)): ((&f64, &f64), (&f32, &f32))| {
                    ((product - f64::from(*mean) * sum) * f64::from(inverse_std(norm, *variance))) as f32
                };
                products.iter().zip(sums).zip(statistics).map(term).collect()
            }
            AffineOp::Tensors { .. } | AffineOp::Constant { .. } => {
                products.iter().map(|product| *product as f32).collect()
            }
        }
    }
}

impl Kernel for AffineKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, .. } = pass;
        match self.op {
            AffineOp::Constant { scale, shift } => self.apply_constant(threads, (scale, shift), inputs[0], output),
            AffineOp::Tensors { .. } | AffineOp::Norm { .. } => {
                self.apply(threads, [&folded.scale, &folded.bias], inputs[0], output);
            }
        }
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        let [scale, _] = self.op.tensors();
        Needs { input: scale.is_some_and(trains), ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, params, gradients, accumulate, gradient, sums, input, target, .. } = pass;
        let [scale, shift] = self.op.tensors();
        if let Some(scale) = scale.filter(|scale| gradients.contains(*scale)) {
            let values = self.scale_gradient(params, self.products(threads, gradient, input), sums);
            write_gradient(&mut gradients[scale], values.into_iter(), accumulate);
        }
        if let Some(shift) = shift.filter(|shift| gradients.contains(*shift)) {
            write_gradient(&mut gradients[shift], sums.iter().map(|sum| *sum as f32), accumulate);
        }
        let Some((target, epilogue)) = target else { return Vec::new() };
        match self.op {
            AffineOp::Constant { scale, .. } => self.apply_constant(threads, (scale, 0.0), gradient, target),
            AffineOp::Tensors { .. } | AffineOp::Norm { .. } => {
                self.apply(threads, [&folded.scale, &[]], gradient, target);
            }
        }
        epilogue.finish(threads, self.channels, target)
    }
}
