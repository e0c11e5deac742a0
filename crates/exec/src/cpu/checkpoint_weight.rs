//! Checkpoint weights, packed into the layouts of the matrix products. Packing takes a few outputs at a time: rows of a
//! large weight are a power of two apart, and more of them would evict each other from the cache.

use super::matmul::PackedMatrix;
use super::thread_pool::tiles;
use super::winograd;

/// Outputs packed at a time.
const OUTPUTS: usize = 16;

/// Weight in the checkpoint's layout, `[out, in, taps]`, taps row by row.
#[derive(Clone, Copy)]
pub(super) struct CheckpointWeight<'a> {
    pub values: &'a [f32],
    pub inputs: usize,
    /// 1 for a matrix.
    pub taps: usize,
    /// Factor of each output; empty for a factor of 1.
    pub scale: &'a [f32],
}

impl<'a> CheckpointWeight<'a> {
    /// Creates a matrix weight, `[out, in]`.
    pub const fn matrix(values: &'a [f32], inputs: usize) -> Self {
        Self { values, inputs, taps: 1, scale: &[] }
    }

    const fn outputs(&self) -> usize {
        self.values.len() / (self.inputs * self.taps)
    }

    fn scale(&self, output: usize) -> f32 {
        self.scale.get(output).copied().unwrap_or(1.0)
    }

    /// Packs `[taps · in, out]`.
    pub fn pack_forward(&self, packed: &mut PackedMatrix) {
        let Self { values, inputs, taps, .. } = *self;
        packed.refill_panels(taps * inputs, self.outputs(), |filled, width, panel| {
            for outputs in tiles(filled.clone(), OUTPUTS) {
                let first = outputs.start - filled.start;
                for k in 0..inputs * taps {
                    let row = &mut panel[(k % taps * inputs + k / taps) * width + first..];
                    for (value, output) in row.iter_mut().zip(outputs.clone()) {
                        *value = self.scale(output) * values[output * inputs * taps + k];
                    }
                }
            }
        });
    }

    /// Packs the transpose, `[out, taps · in]`.
    pub fn pack_backward(&self, packed: &mut PackedMatrix) {
        let Self { values, inputs, taps, .. } = *self;
        packed.refill_rows(self.outputs(), taps * inputs, |output, row| {
            let scale = self.scale(output);
            let values = &values[output * inputs * taps..][..inputs * taps];
            for (tap, row) in row.chunks_exact_mut(inputs).enumerate() {
                let values = values.iter().skip(tap).step_by(taps);
                row.iter_mut().zip(values).for_each(|(value, weight)| *value = scale * weight);
            }
        });
    }

    /// Packs a 3×3 kernel for [`winograd`].
    pub fn pack_winograd(&self, packed: &mut PackedMatrix) {
        winograd::pack(packed, self.inputs, self.outputs(), |input, output| self.kernel(output, input));
    }

    /// Packs the 3×3 kernel rotated by 180°, from outputs to inputs, for [`winograd`].
    pub fn pack_winograd_rotated(&self, packed: &mut PackedMatrix) {
        winograd::pack(packed, self.outputs(), self.inputs, |output, input| {
            let mut kernel: [f32; winograd::TAPS] = self.kernel(output, input);
            kernel.reverse();
            kernel
        });
    }

    /// Returns the scaled taps of one output and input.
    fn kernel<const N: usize>(&self, output: usize, input: usize) -> [f32; N] {
        let (scale, first) = (self.scale(output), (output * self.inputs + input) * N);
        std::array::from_fn(|tap| scale * self.values[first + tap])
    }
}
