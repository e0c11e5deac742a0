//! Rearrangement ops: permutations of an image's values, and ranges of its channels.

use super::activate::in_parts;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::thread_pool::ThreadPool;
use fieldfit_nets::{Rearrange, Shape};
use fieldfit_tensor::TensorId;

/// Rearrangement at any image size.
pub(super) struct RearrangeOp(pub Rearrange);

impl CpuOp for RearrangeOp {
    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        // The shapes were checked when the plan was made, so that the dimensions fit.
        let dimensions = self.0.dimensions(inputs[0]).unwrap_or_else(|_| vec![inputs[0].len()]);
        let forward = Permutation::new(&dimensions, &self.0.order);
        let permuted: Vec<usize> = self.0.order.iter().map(|axis| dimensions[*axis]).collect();
        let mut inverse = vec![0; dimensions.len()];
        self.0.order.iter().enumerate().for_each(|(position, axis)| inverse[*axis] = position);
        let backward = Permutation::new(&permuted, &inverse);
        Box::new(RearrangeKernel { forward, backward, channels: inputs[0].channels })
    }
}

/// Permutation of the axes of an array.
struct Permutation {
    /// Sides of the output, outermost first, without the last axes that keep their place.
    sides: Vec<usize>,
    /// Values of the input from one position of each of them to the next.
    steps: Vec<usize>,
    /// Values that stay next to each other.
    run: usize,
    /// Values of the array.
    len: usize,
}

impl Permutation {
    fn new(dimensions: &[usize], order: &[usize]) -> Self {
        let fixed = order.iter().enumerate().rev().take_while(|(position, axis)| position == *axis).count();
        let moved = dimensions.len() - fixed;
        let run = dimensions[moved..].iter().product::<usize>();
        let step = |axis: usize| dimensions[axis + 1..].iter().product::<usize>();
        Self {
            sides: order[..moved].iter().map(|axis| dimensions[*axis]).collect(),
            steps: order[..moved].iter().map(|axis| step(*axis)).collect(),
            run,
            len: dimensions.iter().product(),
        }
    }

    /// Writes the permuted arrays. Threads split the arrays of a batch.
    fn apply(&self, threads: &ThreadPool, input: &[f32], output: &mut [f32]) {
        in_parts(threads, self.len, output, |range, output| {
            let arrays = input[range].chunks_exact(self.len).zip(output.chunks_exact_mut(self.len));
            for (input, output) in arrays {
                self.apply_one(input, output);
            }
        });
    }

    fn apply_one(&self, input: &[f32], output: &mut [f32]) {
        let (Some((side, outer)), Some((step, outer_steps))) = (self.sides.split_last(), self.steps.split_last())
        else {
            return output.copy_from_slice(input);
        };
        let mut position = vec![0; outer.len()];
        let mut start = 0;
        for block in output.chunks_exact_mut(side * self.run) {
            for (index, run) in block.chunks_exact_mut(self.run).enumerate() {
                run.copy_from_slice(&input[start + index * step..][..self.run]);
            }
            // Counts up like an odometer.
            for axis in (0..outer.len()).rev() {
                position[axis] += 1;
                start += outer_steps[axis];
                if position[axis] < outer[axis] {
                    break;
                }
                start -= position[axis] * outer_steps[axis];
                position[axis] = 0;
            }
        }
    }
}

/// Rearrangement at one image size.
struct RearrangeKernel {
    forward: Permutation,
    backward: Permutation,
    channels: usize,
}

impl Kernel for RearrangeKernel {
    fn forward(&self, pass: Forward<'_>) {
        self.forward.apply(pass.threads, pass.inputs[0], pass.output);
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs::default()
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        self.backward.apply(threads, gradient, target);
        epilogue.finish(threads, self.channels, target)
    }
}

/// Range of the channels at any image size.
pub(super) struct ChannelSliceOp {
    pub start: usize,
    pub length: usize,
    pub step: usize,
}

impl CpuOp for ChannelSliceOp {
    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        let Self { start, length, step } = *self;
        Box::new(ChannelSliceKernel { start, length, step, channels: inputs[0].channels })
    }
}

/// Range of the channels at one image size.
struct ChannelSliceKernel {
    start: usize,
    length: usize,
    step: usize,
    channels: usize,
}

impl Kernel for ChannelSliceKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        let input = inputs[0];
        in_parts(threads, self.length, output, |range, output| {
            let first = range.start / self.length;
            let pixels =
                input[first * self.channels..].chunks_exact(self.channels).zip(output.chunks_exact_mut(self.length));
            for (pixel, output) in pixels {
                let values = pixel[self.start..].iter().step_by(self.step);
                output.iter_mut().zip(values).for_each(|(output, value)| *output = *value);
            }
        });
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs::default()
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        in_parts(threads, self.channels, target, |range, target| {
            target.fill(0.0);
            let first = range.start / self.channels;
            let pixels =
                gradient[first * self.length..].chunks_exact(self.length).zip(target.chunks_exact_mut(self.channels));
            for (gradient, pixel) in pixels {
                let values = pixel[self.start..].iter_mut().step_by(self.step);
                values.zip(gradient).for_each(|(value, gradient)| *value = *gradient);
            }
        });
        epilogue.finish(threads, self.channels, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: an axis that is taken for another, a run that is copied to the wrong place, an inverse that is none.
    #[test]
    fn permutations_follow_the_definition_and_are_undone() {
        let threads = ThreadPool::new(2).unwrap();
        let input: Vec<f32> = (0..2 * 24).map(|value| value as f32).collect();
        let (dimensions, order) = ([2, 3, 4], [2, 0, 1]);
        let mut output = vec![0.0; input.len()];
        Permutation::new(&dimensions, &order).apply(&threads, &input, &mut output);
        for image in 0..2 {
            for (a, b, c) in (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))) {
                let found = output[image * 24 + (c * 2 + a) * 3 + b];
                assert_eq!(found, input[image * 24 + (a * 3 + b) * 4 + c], "{image}: {a}, {b}, {c}");
            }
        }
        let mut back = vec![0.0; input.len()];
        Permutation::new(&[4, 2, 3], &[1, 2, 0]).apply(&threads, &output, &mut back);
        assert_eq!(back, input);
    }
}
