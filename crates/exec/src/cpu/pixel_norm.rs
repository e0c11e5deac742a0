//! Layer norm op over the channels of each pixel or token.

use super::activate::in_parts;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::layer_norm::write_norm_gradients;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use fieldfit_nets::{LayerNorm, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Layer norm over the channels of each pixel, at any image size.
pub(super) struct PixelNormOp {
    pub norm: LayerNorm,
    pub channels: usize,
}

impl CpuOp for PixelNormOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        2 * self.channels
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        folded.refill_norm(&self.norm, params);
    }

    fn kernel(&self, _: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(PixelNormKernel { norm: self.norm, channels: self.channels })
    }
}

/// Layer norm over the channels of each pixel, which does not depend on the image's size.
struct PixelNormKernel {
    norm: LayerNorm,
    channels: usize,
}

impl Kernel for PixelNormKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, .. } = pass;
        let input = inputs[0];
        in_parts(threads, self.channels, output, |range, output| folded.norm.forward(&input[range], output));
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, input_gradient: trains(self.norm.scale) || trains(self.norm.shift), ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, gradients, accumulate, gradient, sums, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        target.copy_from_slice(gradient);
        let [below, scales] = folded.norm.backward(threads, target, &epilogue);
        write_norm_gradients(&self.norm, [&scales, sums], gradients, accumulate);
        below
    }
}
