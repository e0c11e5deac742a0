//! Random convolution: changes an image's texture and keeps its shapes.

use crate::image_buffer::ImageBuffer;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Sides of kernels, in pixels.
const SIDES: [usize; 4] = [1, 3, 5, 7];
/// Middle of the value range: weights multiply differences from it, as if values were normalised.
const MIDDLE: f32 = 127.5;

/// Random convolution: convolves an image with random weights and mixes the result with the image (Xu, Liu,
/// Yang, Raffel and Niethammer, *Robust and Generalizable Visual Representation Learning via Random Convolutions*,
/// ICLR 2021: RC with mixing, multi-scale).
///
/// The kernel's side is 1, 3, 5 or 7; its weights, from each colour to each, are normal with variance `1 / (3 side²)`;
/// the image's part α in the mix is uniform in 0..1. Beyond the image's border its edge continues.
#[derive(Debug, Clone, Default)]
pub(super) struct RandomConvolution {
    weights: Vec<f32>,
    /// The image minus the middle value, with the border that a kernel needs: `[3, height + 2 reach, width + 2 reach]`.
    padded: Vec<f32>,
    row: Vec<f32>,
}

impl RandomConvolution {
    /// Draws a kernel and α, and changes the image.
    pub fn apply(&mut self, random: &mut ChaCha8Rng, image: &mut ImageBuffer) {
        let side = SIDES.choose(random).copied().unwrap_or(1);
        let deviation = 1.0 / (3.0 * (side * side) as f32).sqrt();
        let alpha: f32 = random.random();
        self.weights.clear();
        self.weights.extend((0..9 * side * side).map(|_| deviation * random.sample::<f32, _>(StandardNormal)));
        self.pad(image, side / 2);
        self.convolve(image, side, alpha);
    }

    fn pad(&mut self, image: &ImageBuffer, reach: usize) {
        let (height, width) = (image.height, image.width);
        self.padded.clear();
        for channel in image.values.chunks_exact(image.area()) {
            for y in 0..height + 2 * reach {
                let row = &channel[y.saturating_sub(reach).min(height - 1) * width..][..width];
                let (left, right) = (row[0] - MIDDLE, row[width - 1] - MIDDLE);
                self.padded.extend(std::iter::repeat_n(left, reach));
                self.padded.extend(row.iter().map(|value| value - MIDDLE));
                self.padded.extend(std::iter::repeat_n(right, reach));
            }
        }
    }

    fn convolve(&mut self, image: &mut ImageBuffer, kernel: usize, alpha: f32) {
        let (height, width) = (image.height, image.width);
        self.row.resize(width, 0.0);
        for (row, out) in image.values.chunks_exact_mut(width).enumerate() {
            self.convolve_row((row / height, row % height), [height, width], kernel);
            for (out, convolved) in out.iter_mut().zip(&self.row) {
                *out = (alpha * *out + (1.0 - alpha) * (convolved + MIDDLE)).clamp(0.0, 255.0);
            }
        }
    }

    /// Computes one row of one channel of the convolution into `row`.
    fn convolve_row(&mut self, (channel, y): (usize, usize), image: [usize; 2], kernel: usize) {
        let [padded_height, padded_width] = image.map(|side| side + kernel - 1);
        let weights = &self.weights[channel * 3 * kernel * kernel..][..3 * kernel * kernel];
        self.row.fill(0.0);
        for (taps, weights) in weights.chunks_exact(kernel).enumerate() {
            let (source, dy) = (taps / kernel, taps % kernel);
            let start = (source * padded_height + y + dy) * padded_width;
            for (dx, weight) in weights.iter().enumerate() {
                for (out, value) in self.row.iter_mut().zip(&self.padded[start + dx..]) {
                    *out += weight * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const SIDE: usize = 9;

    fn image() -> ImageBuffer {
        let mut image = ImageBuffer::new([SIDE; 2]);
        for (index, value) in image.values.iter_mut().enumerate() {
            *value = 90.0 + ((index * 37) % 71) as f32;
        }
        image
    }

    /// The convolution by its definition, with the edge continued.
    fn defined(image: &ImageBuffer, weights: &[f32], kernel: usize, alpha: f32) -> Vec<f32> {
        let inside = |position: usize, tap: usize| (position + tap).saturating_sub(kernel / 2).min(SIDE - 1);
        let value = |index: usize| {
            let (channel, y, x) = (index / (SIDE * SIDE), index / SIDE % SIDE, index % SIDE);
            let mut sum = 0.0;
            for tap in 0..3 * kernel * kernel {
                let (source, dy, dx) = (tap / (kernel * kernel), tap / kernel % kernel, tap % kernel);
                let from = image.values[(source * SIDE + inside(y, dy)) * SIDE + inside(x, dx)];
                sum += weights[channel * 3 * kernel * kernel + tap] * (from - MIDDLE);
            }
            (alpha * image.values[index] + (1.0 - alpha) * (sum + MIDDLE)).clamp(0.0, 255.0)
        };
        (0..image.values.len()).map(value).collect()
    }

    /// Catches: taps, channels or borders that are off by one, and a mix with the parts exchanged.
    #[test]
    fn the_convolution_is_its_definition() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for kernel in SIDES {
            let mut convolution = RandomConvolution {
                weights: (0..9 * kernel * kernel).map(|_| random.random_range(-0.1..0.1)).collect(),
                ..RandomConvolution::default()
            };
            let mut found = image();
            convolution.pad(&found, kernel / 2);
            convolution.convolve(&mut found, kernel, 0.3);
            for (found, expected) in found.values.iter().zip(defined(&image(), &convolution.weights, kernel, 0.3)) {
                assert!((found - expected).abs() < 1e-3, "{kernel}: {found} {expected}");
            }
        }
    }

    /// Catches: weights whose variance is not 1 / (3 side²), which would wash images out or saturate them.
    #[test]
    fn weights_have_the_papers_variance() {
        let (mut random, mut convolution) = (ChaCha8Rng::seed_from_u64(1), RandomConvolution::default());
        let mut sums = [(0.0, 0); 4];
        for _ in 0..400 {
            convolution.apply(&mut random, &mut image());
            let side = ((convolution.weights.len() / 9) as f64).sqrt() as usize;
            let sum = &mut sums[side / 2];
            sum.0 += convolution.weights.iter().map(|weight| f64::from(weight * weight)).sum::<f64>();
            sum.1 += convolution.weights.len();
        }
        for (side, (squares, count)) in SIDES.iter().zip(sums) {
            let relative = squares / count as f64 * (3 * side * side) as f64;
            assert!((0.85..1.15).contains(&relative), "side {side}: {relative} of the variance over {count} weights");
        }
    }
}
