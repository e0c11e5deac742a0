//! Max pool op, vectorised over channels, forward and backward.

use super::epilogue::{BackwardEpilogue, ChannelSums};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::thread_pool::{ThreadPool, split_rows};
use fieldfit_nets::{Padding, Shape, SpatialAxis, Window};
use fieldfit_tensor::TensorId;
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Max pool at any image size.
pub(super) struct MaxPoolOp(Window);

impl MaxPoolOp {
    /// Creates the op; describes the pool if it has windows of padding alone.
    pub fn new(window: Window) -> Result<Self, String> {
        let reaches = |(padding, axis): ([usize; 2], SpatialAxis)| {
            padding.into_iter().any(|amount| amount >= window.extent(axis))
        };
        match window.padding {
            Padding::Fixed(padding) if padding.into_iter().zip(SpatialAxis::BOTH).any(reaches) => {
                Err("a max pool with windows of padding alone".into())
            }
            Padding::Fixed(_) | Padding::Same | Padding::SameLower => Ok(Self(window)),
        }
    }
}

impl CpuOp for MaxPoolOp {
    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        Box::new(MaxPoolKernel { window: self.0, input: inputs[0], output })
    }
}

/// Max pool at one image size.
#[derive(Debug)]
pub(super) struct MaxPoolKernel {
    pub window: Window,
    pub input: Shape,
    pub output: Shape,
}

impl Kernel for MaxPoolKernel {
    fn forward(&self, pass: Forward<'_>) {
        self.largest(pass.threads, pass.inputs[0], pass.output);
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, target, .. } = pass;
        target.map_or_else(Vec::new, |(target, epilogue)| self.route(threads, gradient, target, &epilogue))
    }
}

impl MaxPoolKernel {
    /// Computes `output[p] = max input[pixels under p]`. Threads split the output's rows.
    pub fn largest(&self, threads: &ThreadPool, input: &[f32], output: &mut [f32]) {
        let Shape { height, width, channels } = self.output;
        let ranges = threads.ranges(output.len() / (width * channels));
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, width * channels, output));
        threads.for_each(parts, |(range, part)| {
            for (row, line) in range.zip(part.chunks_exact_mut(width * channels)) {
                let image = &input[row / height * self.input.len()..][..self.input.len()];
                for (column, largest) in line.chunks_exact_mut(channels).enumerate() {
                    largest.fill(f32::NEG_INFINITY);
                    for pixel in self.covered(row % height, column) {
                        Arch::new().dispatch(UpdateMax { largest, values: &image[pixel * channels..][..channels] });
                    }
                }
            }
        });
    }

    /// Computes the input's gradient: each maximum's gradient goes to the first pixel that has it. Returns the
    /// per-channel sums over pixels.
    ///
    /// Windows overlap, so the input's gradient is split by image.
    pub fn route(
        &self,
        threads: &ThreadPool,
        gradient: &[f32],
        target: &mut [f32],
        epilogue: &BackwardEpilogue<'_>,
    ) -> Vec<f64> {
        let image = self.input.len();
        let ranges = threads.ranges(target.len() / image);
        let mut sums = vec![ChannelSums::new(self.input.channels); ranges.len()];
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, image, target)).zip(&mut sums);
        threads.for_each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), _)| {
            let mut scratch = vec![0.0; 2 * self.input.channels];
            for (index, target) in range.zip(part.chunks_exact_mut(image)) {
                let gradient = &gradient[index * self.output.len()..][..self.output.len()];
                self.scatter(gradient, &epilogue.input[index * image..][..image], target, &mut scratch);
                epilogue.with_sums(sums).apply_rows(index * image, target);
            }
        });
        ChannelSums::merge(sums)
    }

    /// Computes the input's gradient of one image; `scratch` has two values per channel.
    fn scatter(&self, gradient: &[f32], input: &[f32], target: &mut [f32], scratch: &mut [f32]) {
        let channels = self.input.channels;
        let (largest, remaining) = scratch.split_at_mut(channels);
        target.fill(0.0);
        for (pixel, gradient) in gradient.chunks_exact(channels).enumerate() {
            let window = || self.covered(pixel / self.output.width, pixel % self.output.width);
            largest.fill(f32::NEG_INFINITY);
            for window in window() {
                Arch::new().dispatch(UpdateMax { largest, values: &input[window * channels..][..channels] });
            }
            remaining.copy_from_slice(gradient);
            for window in window() {
                let (values, target) = (&input[window * channels..][..channels], &mut target[window * channels..]);
                Arch::new().dispatch(RouteGradient { largest, values, remaining, target: &mut target[..channels] });
            }
        }
    }

    /// Iterates over the input pixels under an output pixel, row by row.
    fn covered(&self, row: usize, column: usize) -> impl Iterator<Item = usize> {
        let rows = self.window.covered(SpatialAxis::Rows, row, self.input.height);
        let columns = self.window.covered(SpatialAxis::Columns, column, self.input.width);
        let width = self.input.width;
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }
}

/// SIMD kernel of `largest = max(largest, values)`; a NaN in `values` is ignored.
struct UpdateMax<'a> {
    largest: &'a mut [f32],
    values: &'a [f32],
}

impl WithSimd for UpdateMax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (largest, value) in self.largest.iter_mut().zip(self.values) {
            *largest = if *value > *largest { *value } else { *largest };
        }
    }
}

/// SIMD kernel that adds the remaining gradient of each channel to the target if the value is the maximum.
struct RouteGradient<'a> {
    largest: &'a [f32],
    values: &'a [f32],
    remaining: &'a mut [f32],
    target: &'a mut [f32],
}

impl WithSimd for RouteGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let operands = self.largest.iter().zip(self.values).zip(self.remaining).zip(self.target);
        for (((largest, value), remaining), target) in operands {
            let routed = if *value == *largest { *remaining } else { 0.0 };
            *target += routed;
            *remaining -= routed;
        }
    }
}
