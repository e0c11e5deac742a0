//! Arithmetic op: two values, elementwise. A side of length 1 is repeated to the other's.

use super::activate::in_parts;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::vector::vectorized;
use fieldfit_nets::{Arithmetic, Shape};
use fieldfit_tensor::TensorId;

/// Arithmetic at any image size.
pub(super) struct ArithmeticOp(pub Arithmetic);

impl CpuOp for ArithmeticOp {
    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        Box::new(ArithmeticKernel { arithmetic: self.0, inputs: [inputs[0], inputs[1]], output })
    }
}

/// Arithmetic at one image size.
struct ArithmeticKernel {
    arithmetic: Arithmetic,
    inputs: [Shape; 2],
    output: Shape,
}

/// Computes `work` of each pixel's channels of one image: the output's, and each input's, which may be one value.
fn each_pixel(output: Shape, inputs: [Shape; 2], mut work: impl FnMut(usize, [usize; 2])) {
    let offset = |shape: Shape, row: usize, column: usize| {
        let (row, column) = (if shape.height == 1 { 0 } else { row }, if shape.width == 1 { 0 } else { column });
        (row * shape.width + column) * shape.channels
    };
    for row in 0..output.height {
        for column in 0..output.width {
            work(offset(output, row, column), inputs.map(|shape| offset(shape, row, column)));
        }
    }
}

/// Returns a value of a pixel's channels, or the one value that stands for all.
#[inline(always)]
fn at(values: &[f32], channel: usize) -> f32 {
    if values.len() == 1 { values[0] } else { values[channel] }
}

impl ArithmeticKernel {
    #[inline(always)]
    fn compute(&self, left: f32, right: f32) -> f32 {
        match self.arithmetic {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide => left / right,
        }
    }

    /// Returns the derivative with respect to an input.
    #[inline(always)]
    fn slope(&self, input: usize, left: f32, right: f32) -> f32 {
        match (self.arithmetic, input) {
            (Arithmetic::Add, _) | (Arithmetic::Subtract, 0) => 1.0,
            (Arithmetic::Subtract, _) => -1.0,
            (Arithmetic::Multiply, 0) => right,
            (Arithmetic::Multiply, _) => left,
            (Arithmetic::Divide, 0) => 1.0 / right,
            (Arithmetic::Divide, _) => -left / (right * right),
        }
    }

    fn is_repeated(&self, input: usize) -> bool {
        self.inputs[input] != self.output
    }
}

impl Kernel for ArithmeticKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        let ([left, right], [left_shape, right_shape]) = ([inputs[0], inputs[1]], self.inputs);
        if !self.is_repeated(0) && !self.is_repeated(1) {
            return in_parts(threads, self.output.channels, output, |range, output| {
                let (left, right) = (&left[range.clone()], &right[range]);
                vectorized(
                    #[inline(always)]
                    || {
                        for ((out, left), right) in output.iter_mut().zip(left).zip(right) {
                            *out = self.compute(*left, *right);
                        }
                    },
                );
            });
        }
        in_parts(threads, self.output.len(), output, |range, output| {
            for (index, image) in output.chunks_exact_mut(self.output.len()).enumerate() {
                let index = range.start / self.output.len() + index;
                let left = &left[index * left_shape.len()..][..left_shape.len()];
                let right = &right[index * right_shape.len()..][..right_shape.len()];
                each_pixel(self.output, self.inputs, |out, [first, second]| {
                    let out = &mut image[out..][..self.output.channels];
                    let (left, right) =
                        (&left[first..][..left_shape.channels], &right[second..][..right_shape.channels]);
                    vectorized(
                        #[inline(always)]
                        || {
                            for (channel, out) in out.iter_mut().enumerate() {
                                *out = self.compute(at(left, channel), at(right, channel));
                            }
                        },
                    );
                });
            }
        });
    }

    fn passes_gradient(&self, input: usize) -> bool {
        let is_one = matches!((self.arithmetic, input), (Arithmetic::Add, _) | (Arithmetic::Subtract, 0));
        is_one && !self.is_repeated(input)
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        let other_input = matches!(self.arithmetic, Arithmetic::Multiply | Arithmetic::Divide);
        Needs { input: self.arithmetic == Arithmetic::Divide, other_input, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, input, other_input, input_index, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let shape = self.inputs[input_index];
        let other_shape = self.inputs[1 - input_index];
        in_parts(threads, shape.len(), target, |range, target| {
            target.fill(0.0);
            for (index, target) in target.chunks_exact_mut(shape.len()).enumerate() {
                let index = range.start / shape.len() + index;
                let gradient = &gradient[index * self.output.len()..][..self.output.len()];
                let input = &input[index * shape.len()..][..shape.len()];
                let other = if other_input.is_empty() {
                    &[][..]
                } else {
                    &other_input[index * other_shape.len()..][..other_shape.len()]
                };
                each_pixel(self.output, [shape, other_shape], |out, [own, others]| {
                    let gradient = &gradient[out..][..self.output.channels];
                    let own = own..own + shape.channels;
                    let others = if other.is_empty() { &[0.0][..] } else { &other[others..][..other_shape.channels] };
                    self.add_gradient(input_index, gradient, (&input[own.clone()], others), &mut target[own]);
                });
            }
        });
        epilogue.finish(threads, shape.channels, target)
    }
}

impl ArithmeticKernel {
    /// Adds the gradient of one pixel's channels.
    fn add_gradient(&self, index: usize, gradient: &[f32], (input, other): (&[f32], &[f32]), target: &mut [f32]) {
        let slope = |channel: usize| {
            let (own, other) = (at(input, channel), at(other, channel));
            if index == 0 { self.slope(0, own, other) } else { self.slope(1, other, own) }
        };
        if target.len() == 1 && gradient.len() > 1 {
            target[0] += gradient.iter().enumerate().map(|(channel, gradient)| gradient * slope(channel)).sum::<f32>();
            return;
        }
        vectorized(
            #[inline(always)]
            || {
                for (channel, (target, gradient)) in target.iter_mut().zip(gradient).enumerate() {
                    *target += gradient * slope(channel);
                }
            },
        );
    }
}
