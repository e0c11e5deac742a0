//! Parameter op: a tensor as a value, the same for each image.

use super::folded_weights::{FoldPurpose, FoldedWeights, refill, write_gradient};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use fieldfit_nets::Shape;
use fieldfit_tensor::{Params, TensorId};

/// Parameter at any image size.
pub(super) struct ParameterOp {
    pub tensor: TensorId,
    pub shape: Shape,
}

impl CpuOp for ParameterOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        self.shape.len()
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        refill(&mut folded.tokens, &params[self.tensor]);
    }

    fn kernel(&self, _: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(ParameterKernel { tensor: self.tensor, len: self.shape.len() })
    }
}

/// Parameter at one image size, on which it does not depend.
struct ParameterKernel {
    tensor: TensorId,
    len: usize,
}

impl Kernel for ParameterKernel {
    fn forward(&self, pass: Forward<'_>) {
        for image in pass.output.chunks_exact_mut(self.len) {
            image.copy_from_slice(&pass.folded.tokens);
        }
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs::default()
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { gradients, accumulate, gradient, .. } = pass;
        if gradients.contains(self.tensor) {
            let mut sums = vec![0.0_f64; self.len];
            for image in gradient.chunks_exact(self.len) {
                sums.iter_mut().zip(image).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            write_gradient(&mut gradients[self.tensor], sums.into_iter().map(|sum| sum as f32), accumulate);
        }
        Vec::new()
    }
}
