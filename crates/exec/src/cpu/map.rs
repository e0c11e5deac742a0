//! Separable map op: padding, slices, means, average pools and resizes, as two lists of weights, see
//! [`axis_map`](crate::axis_map).

use super::activate::in_parts;
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::thread_pool::ThreadPool;
use super::vector::vectorized;
use crate::axis_map::{AxisMap, axis_maps};
use fieldfit_nets::{Op, Shape};
use fieldfit_tensor::TensorId;

/// Separable map at any image size.
pub(super) struct MapOp(pub Op);

impl CpuOp for MapOp {
    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        let Some(forward) = axis_maps(&self.0, inputs[0], output) else {
            unreachable!("only separable ops are created: {}", self.0.name())
        };
        let backward = forward.each_ref().map(AxisMap::adjoint);
        Box::new(MapKernel { forward, backward, channels: output.channels })
    }
}

/// Separable map at one image size.
struct MapKernel {
    forward: [AxisMap; 2],
    backward: [AxisMap; 2],
    channels: usize,
}

impl Kernel for MapKernel {
    fn forward(&self, pass: Forward<'_>) {
        self.apply(&self.forward, pass.threads, pass.inputs[0], pass.output);
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs::default()
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        self.apply(&self.backward, threads, gradient, target);
        epilogue.finish(threads, self.channels, target)
    }
}

impl MapKernel {
    /// Computes every output pixel. Threads split the rows.
    fn apply(&self, [rows, columns]: &[AxisMap; 2], threads: &ThreadPool, input: &[f32], output: &mut [f32]) {
        let (channels, line) = (self.channels, columns.sources.len() * self.channels);
        let image = rows.from * columns.from * channels;
        in_parts(threads, line, output, |range, output| {
            for (index, line_out) in output.chunks_exact_mut(line).enumerate() {
                let row = range.start / line + index;
                let input = &input[row / rows.sources.len() * image..][..image];
                let sources = &rows.sources[row % rows.sources.len()];
                vectorized(
                    #[inline(always)]
                    || {
                        for (pixel, weights) in line_out.chunks_exact_mut(channels).zip(&columns.sources) {
                            pixel.fill(0.0);
                            for (row, tall) in sources {
                                for (column, wide) in weights {
                                    let weight = (tall * wide) as f32;
                                    let source = &input[(row * columns.from + column) * channels..][..channels];
                                    for (value, source) in pixel.iter_mut().zip(source) {
                                        *value += weight * source;
                                    }
                                }
                            }
                        }
                    },
                );
            }
        });
    }
}
