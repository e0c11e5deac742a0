//! Concatenation op: inputs one after the other along an axis.

use super::activate::in_parts;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use fieldfit_nets::{Axis, Shape};
use fieldfit_tensor::TensorId;
use std::ops::Range;

/// Concatenation at any image size.
pub(super) struct ConcatOp(pub Axis);

impl CpuOp for ConcatOp {
    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        let axis = self.0.index();
        // An image is a list of blocks of equal size; each input contributes one run to each block.
        let inner = |shape: Shape| shape.sides()[axis..].iter().product::<usize>();
        let mut runs = Vec::with_capacity(inputs.len());
        let mut start = 0;
        for input in inputs {
            runs.push(start..start + inner(*input));
            start += inner(*input);
        }
        let channels = inputs.iter().map(|input| input.channels).collect();
        Box::new(ConcatKernel { runs, channels, block: inner(output) })
    }
}

/// Concatenation at one image size.
struct ConcatKernel {
    /// Where each input's values lie in a block of the output.
    runs: Vec<Range<usize>>,
    /// Channels of each input.
    channels: Vec<usize>,
    /// Values of a block.
    block: usize,
}

impl Kernel for ConcatKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        in_parts(threads, self.block, output, |range, output| {
            for (index, block) in output.chunks_exact_mut(self.block).enumerate() {
                let index = range.start / self.block + index;
                for (input, run) in inputs.iter().zip(&self.runs) {
                    block[run.clone()].copy_from_slice(&input[index * run.len()..][..run.len()]);
                }
            }
        });
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs::default()
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, input_index, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let run = &self.runs[input_index];
        in_parts(threads, run.len(), target, |range, target| {
            let first = range.start / run.len();
            for (block, target) in
                gradient[first * self.block..].chunks_exact(self.block).zip(target.chunks_exact_mut(run.len()))
            {
                target.copy_from_slice(&block[run.clone()]);
            }
        });
        epilogue.finish(threads, self.channels[input_index], target)
    }
}
