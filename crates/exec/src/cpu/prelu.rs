//! PReLU op: a trained slope of negative values, one a channel or one for all (He et al., ICCV 2015).

use super::activate::in_parts;
use super::folded_weights::{FoldPurpose, FoldedWeights, refill, write_gradient};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::vector::vectorized;
use fieldfit_nets::Shape;
use fieldfit_tensor::{Params, TensorId};

/// PReLU at any image size.
pub(super) struct PreluOp {
    pub slope: TensorId,
    /// Number of slopes: 1 or the channels.
    pub slopes: usize,
}

impl CpuOp for PreluOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        self.slopes
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        refill(&mut folded.scale, &params[self.slope]);
    }

    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(PreluKernel { slope: self.slope, channels: inputs[0].channels })
    }
}

/// PReLU at one image size.
struct PreluKernel {
    slope: TensorId,
    channels: usize,
}

/// Computes `out = x · value` above 0 and `slope · value` elsewhere, row by row, where `values` is the input or a gradient.
fn scale_negative(slopes: &[f32], input: &[f32], values: &[f32], output: &mut [f32], channels: usize) {
    vectorized(
        #[inline(always)]
        || {
            let rows =
                output.chunks_exact_mut(channels).zip(input.chunks_exact(channels)).zip(values.chunks_exact(channels));
            for ((out, input), values) in rows {
                if let [slope] = *slopes {
                    for ((out, input), value) in out.iter_mut().zip(input).zip(values) {
                        *out = if *input > 0.0 { *value } else { slope * value };
                    }
                } else {
                    for (((out, input), value), slope) in out.iter_mut().zip(input).zip(values).zip(slopes) {
                        *out = if *input > 0.0 { *value } else { slope * value };
                    }
                }
            }
        },
    );
}

impl Kernel for PreluKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, .. } = pass;
        let input = inputs[0];
        in_parts(threads, self.channels, output, |range, output| {
            let input = &input[range];
            scale_negative(&folded.scale, input, input, output, self.channels);
        });
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, gradients, accumulate, gradient, input, target, .. } = pass;
        if gradients.contains(self.slope) {
            let mut sums = vec![0.0_f64; folded.scale.len()];
            for (index, (value, gradient)) in
                input.iter().zip(gradient).enumerate().filter(|(_, (value, _))| **value <= 0.0)
            {
                let slope = index % self.channels % folded.scale.len();
                sums[slope] += f64::from(*value) * f64::from(*gradient);
            }
            write_gradient(&mut gradients[self.slope], sums.into_iter().map(|sum| sum as f32), accumulate);
        }
        let Some((target, epilogue)) = target else { return Vec::new() };
        in_parts(threads, self.channels, target, |range, target| {
            scale_negative(&folded.scale, &input[range.clone()], &gradient[range], target, self.channels);
        });
        epilogue.finish(threads, self.channels, target)
    }
}
