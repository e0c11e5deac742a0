//! Fourier amplitude mixing: changes an image's style and keeps its shapes.

use crate::image_buffer::ImageBuffer;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use std::sync::Arc;

/// Amplitude mixing: mixes the Fourier amplitudes of two images and keeps the first one's phases: |A| becomes
/// `(1 − λ) |A| + λ |B|` with λ uniform in 0..1 (FACT: Xu, Zhang, Zhang, Wang and Tian, *A Fourier-based Framework for
/// Domain Generalization*, CVPR 2021, equation 5). The other image is another augmented copy of the same one, which
/// needs no second file (APR-S: Chen, Peng, Ma, Li, Du and Tian, *Amplitude-Phase Recombination*, ICCV 2021).
#[derive(Clone)]
pub(super) struct AmplitudeMix {
    /// Transforms of a row and of a column, there and back.
    forward: [Arc<dyn Fft<f32>>; 2],
    backward: [Arc<dyn Fft<f32>>; 2],
    /// One channel of both images as real and imaginary part; then its transform.
    both: Vec<Complex32>,
    mixed: Vec<Complex32>,
    /// A channel on its way from rows to columns, if the image is no square.
    turned: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl AmplitudeMix {
    /// Plans transforms for images of these rows and columns.
    pub fn new([height, width]: [usize; 2]) -> Self {
        let mut planner = FftPlanner::new();
        let forward = [width, height].map(|length| planner.plan_fft_forward(length));
        let backward = [width, height].map(|length| planner.plan_fft_inverse(length));
        let scratch = forward.iter().chain(&backward).map(|fft| fft.get_inplace_scratch_len()).max().unwrap_or(0);
        let zeros = |length| vec![Complex32::ZERO; length];
        let (both, mixed, scratch) = (zeros(height * width), zeros(height * width), zeros(scratch));
        Self { forward, backward, both, mixed, turned: Vec::new(), scratch }
    }

    /// Draws λ and changes the image.
    pub fn apply(&mut self, random: &mut ChaCha8Rng, image: &mut ImageBuffer, other: &ImageBuffer) {
        let (lambda, size, area) = (random.random(), [image.height, image.width], image.area());
        let channels = image.values.chunks_exact_mut(area).zip(other.values.chunks_exact(area));
        for (channel, other) in channels {
            self.mix(channel, other, size, lambda);
        }
    }

    fn mix(&mut self, channel: &mut [f32], other: &[f32], [height, width]: [usize; 2], lambda: f32) {
        for ((both, own), other) in self.both.iter_mut().zip(&*channel).zip(other) {
            *both = Complex32::new(*own, *other);
        }
        let ([forward_row, forward_column], [backward_row, backward_column]) = (&self.forward, &self.backward);
        forward_row.process_with_scratch(&mut self.both, &mut self.scratch);
        transpose(&mut self.both, [height, width], &mut self.turned);
        forward_column.process_with_scratch(&mut self.both, &mut self.scratch);
        mix_amplitudes(&self.both, &mut self.mixed, [width, height], lambda);
        // Columns are now rows: they go back first, and a second transposition restores the image's order.
        backward_column.process_with_scratch(&mut self.mixed, &mut self.scratch);
        transpose(&mut self.mixed, [width, height], &mut self.turned);
        backward_row.process_with_scratch(&mut self.mixed, &mut self.scratch);
        let scale = 1.0 / (height * width) as f32;
        for (value, mixed) in channel.iter_mut().zip(&self.mixed) {
            *value = (mixed.re * scale).clamp(0.0, 255.0);
        }
    }
}

/// Splits the transform of `a + ib` into those of the real a and b, by their symmetry about the origin, and writes a's
/// with the mixed amplitude.
fn mix_amplitudes(both: &[Complex32], mixed: &mut [Complex32], [rows, columns]: [usize; 2], lambda: f32) {
    for v in 0..rows {
        let row = &both[v * columns..][..columns];
        let opposite = &both[(rows - v) % rows * columns..][..columns];
        for (u, mixed) in mixed[v * columns..][..columns].iter_mut().enumerate() {
            let reflected = opposite[(columns - u) % columns].conj();
            let (twice_own, twice_other) = (row[u] + reflected, row[u] - reflected);
            let amplitude = twice_own.norm_sqr().sqrt();
            let gain = if amplitude > 0.0 { twice_other.norm_sqr().sqrt() / amplitude } else { 0.0 };
            *mixed = twice_own * (0.5 * (1.0 - lambda + lambda * gain));
        }
    }
}

/// Exchanges rows and columns; a square in place.
fn transpose(values: &mut [Complex32], [rows, columns]: [usize; 2], turned: &mut Vec<Complex32>) {
    if rows == columns {
        for row in 1..rows {
            for column in 0..row {
                values.swap(row * columns + column, column * columns + row);
            }
        }
        return;
    }
    turned.clear();
    turned.extend((0..rows * columns).map(|index| values[index % rows * columns + index / rows]));
    values.copy_from_slice(turned);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves(phase: f32, [height, width]: [usize; 2]) -> Vec<f32> {
        let value = |index: usize| {
            let (x, y) = ((index % width) as f32, (index / width) as f32);
            128.0 + 20.0 * (x * 0.9 + phase).sin() * (y * 0.7 + 2.0 * phase).cos() + 5.0 * ((x * y) % 3.0)
        };
        (0..height * width).map(value).collect()
    }

    /// One frequency of the transform, by its definition.
    fn frequency(values: &[f32], [height, width]: [usize; 2], u: usize, v: usize) -> Complex32 {
        let term = |(index, value): (usize, &f32)| {
            let (x, y) = ((u * (index % width)) as f32 / width as f32, (v * (index / width)) as f32 / height as f32);
            Complex32::from_polar(*value, -std::f32::consts::TAU * (x + y))
        };
        values.iter().enumerate().map(term).sum()
    }

    /// Catches: rows and columns that change places, a transform taken apart at the wrong frequency, and a wrong scale:
    /// the mix must have both amplitudes in proportion and the image's own phase.
    #[test]
    fn amplitudes_are_mixed_and_phases_kept() {
        for size in [[12, 12], [10, 12], [12, 7]] {
            let (own, other) = (waves(0.3, size), waves(1.9, size));
            for lambda in [0.0, 0.4, 1.0] {
                let mut mixed = own.clone();
                AmplitudeMix::new(size).mix(&mut mixed, &other, size, lambda);
                for (u, v) in [(0, 0), (1, 0), (0, 2), (2, 1), (5, 6), (6, 3), (6, 6)] {
                    let (a, b) = (frequency(&own, size, u, v), frequency(&other, size, u, v));
                    let expected = Complex32::from_polar((1.0 - lambda) * a.norm() + lambda * b.norm(), a.arg());
                    let found = frequency(&mixed, size, u, v);
                    assert!((found - expected).norm() < 0.05, "{size:?} {u} {v} {lambda}: {found} {expected}");
                }
            }
        }
    }
}
