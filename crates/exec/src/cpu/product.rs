//! Matrix product and softmax ops: attention where a network spells it out.

use super::activate::in_parts;
use super::matmul::{Accumulate, StridedMatrix, multiply_strided};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::scratch::with_scratch;
use super::vector::{exp, largest, sum, sum_pairs, vectorized};
use fieldfit_nets::Shape;
use fieldfit_tensor::TensorId;

/// Matrix product at any image size.
pub(super) struct ProductOp {
    pub transposes: bool,
    pub scale: f32,
}

impl CpuOp for ProductOp {
    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        Box::new(ProductKernel {
            transposes: self.transposes,
            scale: self.scale,
            rows: output.width,
            inner: inputs[0].channels,
            columns: output.channels,
            channels: [inputs[0].channels, inputs[1].channels],
        })
    }
}

/// Matrix product at one image size: of each row of an image, `[rows, inner] · [inner, columns]`.
struct ProductKernel {
    transposes: bool,
    scale: f32,
    rows: usize,
    inner: usize,
    columns: usize,
    channels: [usize; 2],
}

impl ProductKernel {
    /// Computes `out = scale · left · right` of one pair; `sizes` are rows, columns and depth, `is_turned` says which operands
    /// are stored transposed.
    fn multiply(
        &self,
        [rows, columns, depth]: [usize; 3],
        (left, right): (&[f32], &[f32]),
        [left_is_turned, right_is_turned]: [bool; 2],
        out: &mut [f32],
    ) {
        let left = if left_is_turned { StridedMatrix::columns(left, rows) } else { StridedMatrix::rows(left, depth) };
        let turned = if right_is_turned { depth * columns } else { 0 };
        with_scratch([turned], |[buffer]| {
            let right = if right_is_turned {
                for (position, value) in buffer.iter_mut().enumerate() {
                    *value = right[position % columns * depth + position / columns];
                }
                StridedMatrix::rows(buffer, columns)
            } else {
                StridedMatrix::rows(right, columns)
            };
            multiply_strided([rows, columns, depth], left, right, (&mut *out, columns), Accumulate::Overwrite);
        });
        out.iter_mut().for_each(|value| *value *= self.scale);
    }
}

impl Kernel for ProductKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        let (left, right) = (inputs[0], inputs[1]);
        let (rows, inner, columns) = (self.rows, self.inner, self.columns);
        in_parts(threads, rows * columns, output, |range, output| {
            for (index, out) in output.chunks_exact_mut(rows * columns).enumerate() {
                let index = range.start / (rows * columns) + index;
                let pair = (
                    &left[index * rows * inner..][..rows * inner],
                    &right[index * inner * columns..][..inner * columns],
                );
                self.multiply([rows, columns, inner], pair, [false, self.transposes], out);
            }
        });
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { other_input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, other_input: other, input_index, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let (rows, inner, columns) = (self.rows, self.inner, self.columns);
        let (own, others) =
            if input_index == 0 { (rows * inner, inner * columns) } else { (inner * columns, rows * inner) };
        in_parts(threads, own, target, |range, target| {
            for (index, out) in target.chunks_exact_mut(own).enumerate() {
                let index = range.start / own + index;
                let gradient = &gradient[index * rows * columns..][..rows * columns];
                let other = &other[index * others..][..others];
                match (input_index, self.transposes) {
                    // dA = dC · Bᵀ, and B is stored as [inner, columns] or turned.
                    (0, turned) => self.multiply([rows, inner, columns], (gradient, other), [false, !turned], out),
                    // dB = Aᵀ · dC, or turned: dBᵀ = dCᵀ · A.
                    (_, false) => self.multiply([inner, columns, rows], (other, gradient), [true, false], out),
                    (_, true) => self.multiply([columns, inner, rows], (gradient, other), [true, false], out),
                }
            }
        });
        epilogue.finish(threads, self.channels[input_index], target)
    }
}

/// Softmax over the channels of each pixel, at any image size.
pub(super) struct SoftmaxOp;

impl CpuOp for SoftmaxOp {
    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(SoftmaxKernel { channels: inputs[0].channels })
    }
}

/// Softmax at one image size.
struct SoftmaxKernel {
    channels: usize,
}

impl Kernel for SoftmaxKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        let input = inputs[0];
        in_parts(threads, self.channels, output, |range, output| {
            let input = &input[range];
            vectorized(
                #[inline(always)]
                || {
                    for (out, row) in output.chunks_exact_mut(self.channels).zip(input.chunks_exact(self.channels)) {
                        let greatest = largest(row);
                        for (out, value) in out.iter_mut().zip(row) {
                            *out = exp(value - greatest);
                        }
                        let inverse = 1.0 / sum(out, |value| value);
                        for out in out.iter_mut() {
                            *out *= inverse;
                        }
                    }
                },
            );
        });
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { output: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, output, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        in_parts(threads, self.channels, target, |range, target| {
            let (gradient, output) = (&gradient[range.clone()], &output[range]);
            vectorized(
                #[inline(always)]
                || {
                    let rows = gradient.chunks_exact(self.channels).zip(output.chunks_exact(self.channels));
                    for (target, (gradient, output)) in target.chunks_exact_mut(self.channels).zip(rows) {
                        let level = sum_pairs(gradient, output, |gradient, output| gradient * output);
                        for ((target, gradient), output) in target.iter_mut().zip(gradient).zip(output) {
                            *target = output * (gradient - level);
                        }
                    }
                },
            );
        });
        epilogue.finish(threads, self.channels, target)
    }
}
