//! Group norm op: each image's groups of channels have mean 0 and variance 1 over all pixels, then each channel its factor and
//! addend (Wu & He, ECCV 2018).

use super::activate::in_parts;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::layer_norm::write_norm_gradients;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use fieldfit_nets::{LayerNorm, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Group norm at any image size.
pub(super) struct GroupNormOp {
    pub norm: LayerNorm,
    pub groups: usize,
    pub channels: usize,
}

impl CpuOp for GroupNormOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        2 * self.channels
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        folded.refill_norm(&self.norm, params);
    }

    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(GroupNormKernel { norm: self.norm, groups: self.groups, shape: inputs[0] })
    }
}

/// Group norm at one image size.
struct GroupNormKernel {
    norm: LayerNorm,
    groups: usize,
    shape: Shape,
}

/// Mean and inverse standard deviation of a group.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    inverse: f64,
}

impl GroupNormKernel {
    /// Channels of a group.
    const fn width(&self) -> usize {
        self.shape.channels / self.groups
    }

    /// Values of a group.
    const fn len(&self) -> usize {
        self.shape.pixels() * self.width()
    }

    /// Calls `visit` with each value of a group of one image: its position in the image, and its channel.
    fn each(&self, group: usize, mut visit: impl FnMut(usize, usize)) {
        let channels = group * self.width()..(group + 1) * self.width();
        for pixel in 0..self.shape.pixels() {
            channels.clone().for_each(|channel| visit(pixel * self.shape.channels + channel, channel));
        }
    }

    /// Computes the moments of a group of one image in two passes.
    fn moments(&self, image: &[f32], group: usize, epsilon: f64) -> Moments {
        let len = self.len() as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        self.each(group, |index, _| sum += f64::from(image[index]));
        let mean = sum / len;
        self.each(group, |index, _| squares += (f64::from(image[index]) - mean).powi(2));
        Moments { mean, inverse: 1.0 / (squares / len + epsilon).sqrt() }
    }
}

impl Kernel for GroupNormKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, .. } = pass;
        let (input, norm) = (inputs[0], &folded.norm);
        in_parts(threads, self.shape.len(), output, |range, output| {
            let images = input[range].chunks_exact(self.shape.len()).zip(output.chunks_exact_mut(self.shape.len()));
            for (image, output) in images {
                for group in 0..self.groups {
                    let Moments { mean, inverse } = self.moments(image, group, self.norm.epsilon);
                    self.each(group, |index, channel| {
                        let value = ((f64::from(image[index]) - mean) * inverse) as f32;
                        output[index] = value.mul_add(norm.scale[channel], norm.shift[channel]);
                    });
                }
            }
        });
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, input_gradient: trains(self.norm.scale) || trains(self.norm.shift), ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, gradients, accumulate, gradient, sums, input, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let mut scales = vec![0.0; self.shape.channels];
        for (image, gradient) in input.chunks_exact(self.shape.len()).zip(gradient.chunks_exact(self.shape.len())) {
            for group in 0..self.groups {
                let Moments { mean, inverse } = self.moments(image, group, self.norm.epsilon);
                self.each(group, |index, channel| {
                    scales[channel] += (f64::from(image[index]) - mean) * inverse * f64::from(gradient[index]);
                });
            }
        }
        write_norm_gradients(&self.norm, [&scales, sums], gradients, accumulate);
        in_parts(threads, self.shape.len(), target, |range, target| {
            let images =
                input[range.clone()].chunks_exact(self.shape.len()).zip(gradient[range].chunks_exact(self.shape.len()));
            for ((image, gradient), target) in images.zip(target.chunks_exact_mut(self.shape.len())) {
                for group in 0..self.groups {
                    self.backward_group(&folded.norm.scale, (image, gradient), group, target);
                }
            }
        });
        epilogue.finish(threads, self.shape.channels, target)
    }
}

impl GroupNormKernel {
    /// Computes ∂L/∂x = (g − mean(g) − x̂ · mean(g ⊙ x̂)) / σ with g = γ ⊙ ∂L/∂y of one group of an image.
    fn backward_group(&self, scale: &[f32], (image, gradient): (&[f32], &[f32]), group: usize, target: &mut [f32]) {
        let Moments { mean, inverse } = self.moments(image, group, self.norm.epsilon);
        let scaled = |index: usize, channel: usize| f64::from(gradient[index]) * f64::from(scale[channel]);
        let normal = |index: usize| (f64::from(image[index]) - mean) * inverse;
        let (mut level, mut slope) = (0.0, 0.0);
        self.each(group, |index, channel| {
            level += scaled(index, channel);
            slope += scaled(index, channel) * normal(index);
        });
        let (level, slope) = (level / self.len() as f64, slope / self.len() as f64);
        self.each(group, |index, channel| {
            target[index] = ((scaled(index, channel) - level - normal(index) * slope) * inverse) as f32;
        });
    }
}
