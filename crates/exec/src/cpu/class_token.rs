//! Class token op: the layer norm of the first token of each image.

use super::epilogue::{BackwardEpilogue, ChannelSums};
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::layer_norm::{LayerNormKernel, write_norm_gradients};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use fieldfit_nets::{ClassToken, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Class token at any image size.
pub(super) struct ClassTokenOp(pub ClassToken);

impl CpuOp for ClassTokenOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        2 * self.0.width
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        folded.refill_norm(&self.0.norm, params);
    }

    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(ClassTokenKernel { token: self.0, tokens: inputs[0].pixels() })
    }
}

/// Class token at one image size.
struct ClassTokenKernel {
    token: ClassToken,
    tokens: usize,
}

impl Kernel for ClassTokenKernel {
    fn forward(&self, pass: Forward<'_>) {
        let width = self.token.width;
        for (image, out) in pass.inputs[0].chunks_exact(self.tokens * width).zip(pass.output.chunks_exact_mut(width)) {
            pass.folded.norm.forward(&image[..width], out);
        }
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        let norm = &self.token.norm;
        Needs { input_gradient: trains(norm.scale) || trains(norm.shift), input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { folded, gradients, accumulate, gradient, sums, input, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let (below, scales) = self.input_gradient(&folded.norm, gradient, input, (target, epilogue));
        write_norm_gradients(&self.token.norm, [&scales, sums], gradients, accumulate);
        below
    }
}

impl ClassTokenKernel {
    /// Computes the gradient of all tokens, which is zero but for the first; returns its sums over tokens, and γ's gradient.
    fn input_gradient(
        &self,
        norm: &LayerNormKernel,
        gradient: &[f32],
        input: &[f32],
        (target, epilogue): (&mut [f32], BackwardEpilogue<'_>),
    ) -> (Vec<f64>, Vec<f64>) {
        let (width, len) = (self.token.width, self.tokens * self.token.width);
        let (mut sums, mut scales) = (ChannelSums::new(width), ChannelSums::new(width));
        target.fill(0.0);
        let images = input.chunks_exact(len).zip(target.chunks_exact_mut(len)).zip(gradient.chunks_exact(width));
        for (index, ((input, target), gradient)) in images.enumerate() {
            target[..width].copy_from_slice(gradient);
            norm.backward_rows(&input[..width], &mut target[..width], scales.tile());
            scales.flush();
            epilogue.with_sums(&mut sums).apply_rows(index * len, target);
        }
        (ChannelSums::merge(vec![sums]), ChannelSums::merge(vec![scales]))
    }
}
