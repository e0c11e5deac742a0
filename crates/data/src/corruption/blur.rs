//! Defocus and motion blur.

use super::border::{bilinear, mirrored};
use super::unit;
use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Maximum number of points along a movement; more can't be told apart once the image is scaled down.
const MAX_POINTS: f32 = 33.0;

/// Defocus blur: convolves the image with a disk.
pub(super) fn defocus(image: &mut RgbImage, radius: f32) {
    let radius = radius * unit(image);
    let sharp = image.clone();
    let row_bytes = 3 * image.width() as usize;
    let reach = radius.floor() as i64 + 1;
    let (mut sums, mut prefix) = (vec![0.0; row_bytes], Vec::new());
    for (y, out) in (0..).zip(image.chunks_exact_mut(row_bytes)) {
        sums.fill(0.0);
        let mut total = 0.0;
        for distance in -reach..=reach {
            let part = (radius + 1.0 - distance.abs() as f32).clamp(0.0, 1.0);
            let half = (radius * radius - (distance * distance) as f32).max(0.0).sqrt();
            let row = mirrored(y + distance, sharp.height()) as usize;
            add_spans(&sharp.as_raw()[row * row_bytes..][..row_bytes], half, part, &mut prefix, &mut sums);
            total += part * (2.0 * half + 1.0);
        }
        for (out, sum) in out.iter_mut().zip(&sums) {
            *out = (sum / total).round() as u8;
        }
    }
}

/// Adds, to each pixel's sum, `part` times the sum of the pixels up to `half` to its left and right, the outermost two
/// by their fraction.
fn add_spans(row: &[u8], half: f32, part: f32, prefix: &mut Vec<u32>, sums: &mut [f32]) {
    let (reach, fraction) = (half.floor() as usize, half.fract());
    let width = row.len() / 3;
    for channel in 0..3 {
        let value = |position: usize| {
            let x = mirrored(position as i64 - reach as i64 - 1, width as u32);
            u32::from(row[3 * x as usize + channel])
        };
        prefix.clear();
        prefix.push(0);
        let mut sum = 0_u32;
        for position in 0..width + 2 * (reach + 1) {
            // Wraps in rows of millions of pixels; the differences below are right all the same.
            sum = sum.wrapping_add(value(position));
            prefix.push(sum);
        }
        let between = |from: usize, to: usize| prefix[to].wrapping_sub(prefix[from]) as f32;
        for x in 0..width {
            let (inner, outer) = (between(x + 1, x + 2 * reach + 2), between(x, x + 2 * reach + 3));
            sums[3 * x + channel] += part * (inner + fraction * (outer - inner));
        }
    }
}

/// Motion blur: convolves the image with a line of random direction.
pub(super) fn motion(random: &mut ChaCha8Rng, image: &mut RgbImage, length: f32) {
    let length = length * unit(image);
    let (sine, cosine) = random.random_range(0.0..std::f32::consts::PI).sin_cos();
    let points = (length.ceil() + 1.0).min(MAX_POINTS);
    let step = length / (points - 1.0);
    let sharp = image.clone();
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let mut sum = [0.0; 3];
        for point in 0..points as u32 {
            let along = point as f32 * step - length / 2.0;
            let value = bilinear(&sharp, x as f32 + along * cosine, y as f32 + along * sine);
            sum = std::array::from_fn(|channel| sum[channel] + value[channel]);
        }
        pixel.0 = sum.map(|sum| (sum / points).round() as u8);
    }
}
