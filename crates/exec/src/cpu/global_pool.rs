//! Global average pool op: the mean over each image's pixels.

use super::epilogue::ChannelSums;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::thread_pool::split_rows;
use fieldfit_nets::Shape;
use fieldfit_tensor::TensorId;
use std::ops::Range;

/// Global average pool at any image size.
pub(super) struct GlobalPoolOp;

impl CpuOp for GlobalPoolOp {
    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(GlobalPoolKernel(inputs[0]))
    }
}

/// Global average pool at one image size.
struct GlobalPoolKernel(Shape);

impl Kernel for GlobalPoolKernel {
    fn forward(&self, pass: Forward<'_>) {
        let (pixels, channels) = (self.0.pixels(), self.0.channels);
        for (image, mean) in pass.inputs[0].chunks_exact(self.0.len()).zip(pass.output.chunks_exact_mut(channels)) {
            mean.fill(0.0);
            for pixel in image.chunks_exact(channels) {
                mean.iter_mut().zip(pixel).for_each(|(mean, value)| *mean += value);
            }
            mean.iter_mut().for_each(|mean| *mean /= pixels as f32);
        }
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs::default()
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        let (pixels, channels, image) = (self.0.pixels(), self.0.channels, self.0.len());
        let ranges = threads.ranges(target.len() / image);
        let mut sums = vec![ChannelSums::new(channels); ranges.len()];
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, image, target)).zip(&mut sums);
        threads.for_each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), _)| {
            for (index, target) in range.zip(part.chunks_exact_mut(image)) {
                let gradient = &gradient[index * channels..][..channels];
                for pixel in target.chunks_exact_mut(channels) {
                    pixel.iter_mut().zip(gradient).for_each(|(value, gradient)| *value = gradient / pixels as f32);
                }
                epilogue.with_sums(sums).apply_rows(index * image, target);
            }
        });
        ChannelSums::merge(sums)
    }
}
