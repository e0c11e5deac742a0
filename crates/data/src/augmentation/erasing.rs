//! Random erasing: replaces a rectangle of an image by noise.

use crate::image_buffer::ImageBuffer;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use std::ops::{Range, RangeInclusive};

/// Range of the erased share of the image's area.
const AREA: RangeInclusive<f64> = 0.02..=0.33;
/// Range of the rectangle's aspect ratio, width over height.
const RATIO: RangeInclusive<f64> = 0.3..=3.3;

/// Random erasing: fills a random rectangle with noise, like an object in front of the camera (Zhong, Zheng, Kang, Li and Yang,
/// *Random Erasing Data Augmentation*, AAAI 2020, algorithm 1 with random values, which they found best). Sides are cut
/// to the image's rather than drawn again. Returns the rectangle.
pub(super) fn erase(random: &mut ChaCha8Rng, image: &mut ImageBuffer) -> Erased {
    let area = image.area() as f64 * random.random_range(AREA);
    let ratio = random.random_range(RATIO.start().ln()..=RATIO.end().ln()).exp();
    let pixels = |length: f64, most: usize| (length.round() as usize).clamp(1, most);
    let (width, height) = (pixels((area * ratio).sqrt(), image.width), pixels((area / ratio).sqrt(), image.height));
    let (left, top) = (random.random_range(0..=image.width - width), random.random_range(0..=image.height - height));
    let mut noise = vec![0; width];
    let (pixels, columns) = (image.area(), image.width);
    for channel in image.values.chunks_exact_mut(pixels) {
        for row in channel.chunks_exact_mut(columns).skip(top).take(height) {
            random.fill_bytes(&mut noise);
            for (value, noise) in row[left..left + width].iter_mut().zip(&noise) {
                *value = f32::from(*noise);
            }
        }
    }
    Erased { columns: left..left + width, rows: top..top + height }
}

/// Rectangle that was erased, in pixels of the input.
#[derive(Debug, Clone)]
pub(crate) struct Erased {
    pub columns: Range<usize>,
    pub rows: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Catches: an erased part of another size or shape than a rectangle, other pixels that change, and channels that
    /// are erased in different places.
    #[test]
    fn a_rectangle_is_erased_and_nothing_else() {
        const SIDE: usize = 40;
        for seed in 0..50 {
            let mut image = ImageBuffer::new([SIDE; 2]);
            image.values.fill(f32::NAN);
            erase(&mut ChaCha8Rng::seed_from_u64(seed), &mut image);
            let erased = |channel: usize| {
                let is_erased = move |index: &usize| !image.values[channel * SIDE * SIDE + index].is_nan();
                (0..SIDE * SIDE).filter(is_erased).collect::<Vec<_>>()
            };
            let pixels = erased.clone()(0);
            assert!(erased.clone()(1) == pixels && erased(2) == pixels);
            let columns = pixels.iter().map(|index| index % SIDE);
            let (left, right) = (columns.clone().min().unwrap(), columns.max().unwrap());
            let (top, bottom) = (pixels[0] / SIDE, pixels[pixels.len() - 1] / SIDE);
            assert_eq!(pixels.len(), (right - left + 1) * (bottom - top + 1), "seed {seed}");
            let part = pixels.len() as f64 / (SIDE * SIDE) as f64;
            assert!((0.015..=0.36).contains(&part), "seed {seed}: {part}");
        }
    }
}
