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
    forward: Arc<dyn Fft<f32>>,
    backward: Arc<dyn Fft<f32>>,
    /// One channel of both images as real and imaginary part; then its transform.
    both: Vec<Complex32>,
    mixed: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl AmplitudeMix {
    /// Plans transforms for images of `side × side` pixels.
    pub fn new(side: usize) -> Self {
        let mut planner = FftPlanner::new();
        let (forward, backward) = (planner.plan_fft_forward(side), planner.plan_fft_inverse(side));
        let scratch = forward.get_inplace_scratch_len().max(backward.get_inplace_scratch_len());
        let zeros = |length| vec![Complex32::ZERO; length];
        Self { forward, backward, both: zeros(side * side), mixed: zeros(side * side), scratch: zeros(scratch) }
    }

    /// Draws λ and changes the image.
    pub fn apply(&mut self, random: &mut ChaCha8Rng, image: &mut ImageBuffer, other: &ImageBuffer) {
        let (lambda, side) = (random.random(), image.side);
        let channels = image.values.chunks_exact_mut(side * side).zip(other.values.chunks_exact(side * side));
        for (channel, other) in channels {
            self.mix(channel, other, side, lambda);
        }
    }

    fn mix(&mut self, channel: &mut [f32], other: &[f32], side: usize, lambda: f32) {
        for ((both, own), other) in self.both.iter_mut().zip(&*channel).zip(other) {
            *both = Complex32::new(*own, *other);
        }
        self.forward.process_with_scratch(&mut self.both, &mut self.scratch);
        transpose(&mut self.both, side);
        self.forward.process_with_scratch(&mut self.both, &mut self.scratch);
        mix_amplitudes(&self.both, &mut self.mixed, side, lambda);
        // Columns are now rows: they go back first, and a second transposition restores the image's order.
        self.backward.process_with_scratch(&mut self.mixed, &mut self.scratch);
        transpose(&mut self.mixed, side);
        self.backward.process_with_scratch(&mut self.mixed, &mut self.scratch);
        let scale = 1.0 / (side * side) as f32;
        for (value, mixed) in channel.iter_mut().zip(&self.mixed) {
            *value = (mixed.re * scale).clamp(0.0, 255.0);
        }
    }
}

/// Splits the transform of `a + ib` into those of the real a and b, by their symmetry about the origin, and writes a's
/// with the mixed amplitude.
fn mix_amplitudes(both: &[Complex32], mixed: &mut [Complex32], side: usize, lambda: f32) {
    for v in 0..side {
        let row = &both[v * side..][..side];
        let opposite = &both[(side - v) % side * side..][..side];
        for (u, mixed) in mixed[v * side..][..side].iter_mut().enumerate() {
            let reflected = opposite[(side - u) % side].conj();
            let (twice_own, twice_other) = (row[u] + reflected, row[u] - reflected);
            let amplitude = twice_own.norm_sqr().sqrt();
            let gain = if amplitude > 0.0 { twice_other.norm_sqr().sqrt() / amplitude } else { 0.0 };
            *mixed = twice_own * (0.5 * (1.0 - lambda + lambda * gain));
        }
    }
}

fn transpose(values: &mut [Complex32], side: usize) {
    for row in 1..side {
        for column in 0..row {
            values.swap(row * side + column, column * side + row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 12;

    fn waves(phase: f32) -> Vec<f32> {
        let value = |index: usize| {
            let (x, y) = ((index % SIDE) as f32, (index / SIDE) as f32);
            128.0 + 20.0 * (x * 0.9 + phase).sin() * (y * 0.7 + 2.0 * phase).cos() + 5.0 * ((x * y) % 3.0)
        };
        (0..SIDE * SIDE).map(value).collect()
    }

    /// One frequency of the transform, by its definition.
    fn frequency(values: &[f32], u: usize, v: usize) -> Complex32 {
        let term = |(index, value): (usize, &f32)| {
            let angle = -std::f32::consts::TAU * (u * (index % SIDE) + v * (index / SIDE)) as f32 / SIDE as f32;
            Complex32::from_polar(*value, angle)
        };
        values.iter().enumerate().map(term).sum()
    }

    /// Catches: rows and columns that change places, a transform taken apart at the wrong frequency, and a wrong scale:
    /// the mix must have both amplitudes in proportion and the image's own phase.
    #[test]
    fn amplitudes_are_mixed_and_phases_kept() {
        let (own, other) = (waves(0.3), waves(1.9));
        for lambda in [0.0, 0.4, 1.0] {
            let mut mixed = own.clone();
            AmplitudeMix::new(SIDE).mix(&mut mixed, &other, SIDE, lambda);
            for (u, v) in [(0, 0), (1, 0), (0, 2), (2, 1), (5, 7), (11, 3), (6, 6)] {
                let (a, b) = (frequency(&own, u, v), frequency(&other, u, v));
                let expected = Complex32::from_polar((1.0 - lambda) * a.norm() + lambda * b.norm(), a.arg());
                let found = frequency(&mixed, u, v);
                assert!((found - expected).norm() < 0.05, "{u} {v} {lambda}: {found} {expected}");
            }
        }
    }
}
