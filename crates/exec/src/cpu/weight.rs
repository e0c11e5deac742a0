//! A checkpoint's weights in the layouts that products read, packed a few outputs at a time: the rows of a large one lie a
//! power of two apart, and more of them at once would push each other out of the cache.

use super::product::Packed;
use super::threads::tiles;
use super::winograd;

/// Outputs at a time.
const OUTPUTS: usize = 16;

/// Weights as checkpoints have them, `[out, in, taps]`, taps by lines of the kernel.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    pub values: &'a [f32],
    pub inputs: usize,
    /// 1 where it is a matrix.
    pub taps: usize,
    /// A factor for each output; none: 1.
    pub scale: &'a [f32],
}

impl<'a> Weight<'a> {
    /// A matrix, `[out, in]`.
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
    pub fn pack_forward(&self, packed: &mut Packed) {
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

    /// Packs the same transposed, `[out, taps · in]`.
    pub fn pack_backward(&self, packed: &mut Packed) {
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

    /// Packs what [`winograd`] reads of a 3×3 kernel.
    pub fn pack_winograd(&self, packed: &mut Packed) {
        winograd::pack(packed, self.inputs, self.outputs(), |input, output| self.kernel(output, input));
    }

    /// The same of the kernel turned about, from outputs to inputs.
    pub fn pack_winograd_turned(&self, packed: &mut Packed) {
        winograd::pack(packed, self.outputs(), self.inputs, |output, input| {
            let mut kernel: [f32; winograd::TAPS] = self.kernel(output, input);
            kernel.reverse();
            kernel
        });
    }

    /// What one output has of one input.
    fn kernel<const N: usize>(&self, output: usize, input: usize) -> [f32; N] {
        let (scale, first) = (self.scale(output), (output * self.inputs + input) * N);
        std::array::from_fn(|tap| scale * self.values[first + tap])
    }
}
