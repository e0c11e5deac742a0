//! Arithmetic op: two values, elementwise. A side of length 1 is repeated to the other's.

use super::activate::in_parts;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::vector::vectorized;
use fieldfit_nets::{Arithmetic, Shape};
use fieldfit_tensor::TensorId;
use std::ops::Range;

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

/// Calls `work` with each of some pixels of an output: its first value in the output, and in each input, whose sides of length 1
/// are repeated.
#[inline(always)]
fn each_pixel(output: Shape, inputs: [Shape; 2], pixels: Range<usize>, mut work: impl FnMut(usize, [usize; 2])) {
    let offset = |shape: Shape, row: usize, column: usize| {
        let (row, column) = (if shape.height == 1 { 0 } else { row }, if shape.width == 1 { 0 } else { column });
        (row * shape.width + column) * shape.channels
    };
    for pixel in pixels {
        let (row, column) = (pixel / output.width, pixel % output.width);
        work(pixel * output.channels, inputs.map(|shape| offset(shape, row, column)));
    }
}

/// Sets each value of `out` to `of` its own and those of two lists, one of which may be a single value for all.
#[inline(always)]
fn each_value(out: &mut [f32], left: &[f32], right: &[f32], of: impl Fn(f32, f32, f32) -> f32) {
    match (left, right) {
        ([left], [right]) => out.iter_mut().for_each(|out| *out = of(*out, *left, *right)),
        ([left], right) => out.iter_mut().zip(right).for_each(|(out, right)| *out = of(*out, *left, *right)),
        (left, [right]) => out.iter_mut().zip(left).for_each(|(out, left)| *out = of(*out, *left, *right)),
        (left, right) => {
            out.iter_mut().zip(left).zip(right).for_each(|((out, left), right)| *out = of(*out, *left, *right));
        }
    }
}

/// Returns a channel's value, or the one value that stands for all.
#[inline(always)]
fn at(values: &[f32], channel: usize) -> f32 {
    if let [value] = *values { value } else { values[channel] }
}

/// Returns the values of one image; `None` of a list that the pass did not ask for.
fn of_image(values: &[f32], image: usize, shape: Shape) -> Option<&[f32]> {
    (!values.is_empty()).then(|| &values[image * shape.len()..][..shape.len()])
}

impl ArithmeticKernel {
    fn is_repeated(&self, input: usize) -> bool {
        self.inputs[input] != self.output
    }

    /// Computes values of two lists, one of which may be a single value.
    #[inline(always)]
    fn compute(&self, out: &mut [f32], left: &[f32], right: &[f32]) {
        match self.arithmetic {
            Arithmetic::Add => each_value(out, left, right, |_, left, right| left + right),
            Arithmetic::Subtract => each_value(out, left, right, |_, left, right| left - right),
            Arithmetic::Multiply => each_value(out, left, right, |_, left, right| left * right),
            Arithmetic::Divide => each_value(out, left, right, |_, left, right| left / right),
            Arithmetic::Maximum => {
                each_value(out, left, right, |_, left, right| if left < right { right } else { left })
            }
            Arithmetic::Minimum => {
                each_value(out, left, right, |_, left, right| if left > right { right } else { left })
            }
        }
    }

    /// Adds the gradient with respect to an input of each channel to `sums`, which has the output's channels.
    #[inline(always)]
    fn add_gradient(&self, input: usize, sums: &mut [f32], gradient: &[f32], [own, other]: [&[f32]; 2]) {
        match (self.arithmetic, input) {
            (Arithmetic::Add, _) | (Arithmetic::Subtract, 0) => {
                each_value(sums, gradient, &[0.0], |sum, gradient, _| sum + gradient);
            }
            (Arithmetic::Subtract, _) => each_value(sums, gradient, &[0.0], |sum, gradient, _| sum - gradient),
            (Arithmetic::Multiply, _) => {
                each_value(sums, gradient, other, |sum, gradient, other| gradient.mul_add(other, sum));
            }
            (Arithmetic::Divide, 0) => each_value(sums, gradient, other, |sum, gradient, other| sum + gradient / other),
            (Arithmetic::Divide, _) => {
                // Of a / b: −a / b².
                for (channel, (sum, gradient)) in sums.iter_mut().zip(gradient).enumerate() {
                    let (own, other) = (at(own, channel), at(other, channel));
                    *sum -= gradient * other / (own * own);
                }
            }
            (Arithmetic::Maximum | Arithmetic::Minimum, _) => {
                for (channel, (sum, gradient)) in sums.iter_mut().zip(gradient).enumerate() {
                    let (own, other) = (at(own, channel), at(other, channel));
                    let wins = if self.arithmetic == Arithmetic::Maximum { own > other } else { own < other };
                    *sum += gradient
                        * if wins {
                            1.0
                        } else if own == other {
                            0.5
                        } else {
                            0.0
                        };
                }
            }
        }
    }
}

impl Kernel for ArithmeticKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        let (left, right) = (inputs[0], inputs[1]);
        in_parts(threads, self.output.channels, output, |range, output| {
            if self.inputs == [self.output; 2] {
                let (left, right) = (&left[range.clone()], &right[range]);
                return vectorized(
                    #[inline(always)]
                    || self.compute(output, left, right),
                );
            }
            let mut first = range.start;
            while first < range.end {
                let image = first / self.output.len();
                let end = range.end.min((image + 1) * self.output.len());
                self.forward_image(
                    image,
                    first..end,
                    [left, right],
                    &mut output[first - range.start..end - range.start],
                );
                first = end;
            }
        });
    }

    fn passes_gradient(&self, input: usize) -> bool {
        let is_one = matches!((self.arithmetic, input), (Arithmetic::Add, _) | (Arithmetic::Subtract, 0));
        is_one && !self.is_repeated(input)
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        let (input, other_input) = match self.arithmetic {
            Arithmetic::Add | Arithmetic::Subtract => (false, false),
            Arithmetic::Multiply => (false, true),
            Arithmetic::Divide | Arithmetic::Maximum | Arithmetic::Minimum => (true, true),
        };
        Needs { input, other_input, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, input, other_input, input_index, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let (shape, other_shape) = (self.inputs[input_index], self.inputs[1 - input_index]);
        in_parts(threads, shape.len(), target, |range, target| {
            for (index, target) in target.chunks_exact_mut(shape.len()).enumerate() {
                let index = range.start / shape.len() + index;
                let gradient = &gradient[index * self.output.len()..][..self.output.len()];
                let values = [of_image(input, index, shape), of_image(other_input, index, other_shape)];
                self.backward_image(input_index, gradient, values, target);
            }
        });
        epilogue.finish(threads, shape.channels, target)
    }
}

impl ArithmeticKernel {
    /// Computes whole pixels of one image, the values of a range of the output.
    fn forward_image(&self, image: usize, values: Range<usize>, inputs: [&[f32]; 2], output: &mut [f32]) {
        let [left_shape, right_shape] = self.inputs;
        let (left, right) = (&inputs[0][image * left_shape.len()..], &inputs[1][image * right_shape.len()..]);
        let (start, channels) = (values.start - image * self.output.len(), self.output.channels);
        let pixels = start / channels..start / channels + values.len() / channels;
        vectorized(
            #[inline(always)]
            || {
                each_pixel(self.output, self.inputs, pixels.clone(), |out, [first, second]| {
                    let (left, right) =
                        (&left[first..][..left_shape.channels], &right[second..][..right_shape.channels]);
                    self.compute(&mut output[out - start..][..channels], left, right);
                });
            },
        );
    }

    /// Computes the gradient of one image's input: where it was repeated, the sum over the repetitions.
    fn backward_image(&self, input: usize, gradient: &[f32], [own, other]: [Option<&[f32]>; 2], target: &mut [f32]) {
        let (shape, other_shape, channels) = (self.inputs[input], self.inputs[1 - input], self.output.channels);
        target.fill(0.0);
        // One value a channel that was repeated over the channels gathers all of them.
        let mut sums = vec![0.0; if shape.channels == channels { 0 } else { channels }];
        vectorized(
            #[inline(always)]
            || {
                each_pixel(self.output, [shape, other_shape], 0..self.output.pixels(), |out, [first, second]| {
                    let gradient = &gradient[out..][..channels];
                    let own = own.map_or(&[0.0][..], |values| &values[first..][..shape.channels]);
                    let other = other.map_or(&[0.0][..], |values| &values[second..][..other_shape.channels]);
                    if shape.channels == channels {
                        self.add_gradient(input, &mut target[first..][..channels], gradient, [own, other]);
                    } else {
                        sums.fill(0.0);
                        self.add_gradient(input, &mut sums, gradient, [own, other]);
                        target[first] += sums.iter().sum::<f32>();
                    }
                });
            },
        );
    }
}
