//! Colour jitter, greyscale and inversion.

use crate::image_buffer::{ImageBuffer, luma};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// Colour jitter: factors of brightness, contrast and saturation; 1 keeps them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Jitter {
    pub brightness: f32,
    /// About the mean brightness of the image.
    pub contrast: f32,
    /// About the pixel's own brightness.
    pub saturation: f32,
}

impl Jitter {
    /// Draws three factors from a range.
    pub fn draw(random: &mut ChaCha8Rng, range: RangeInclusive<f32>) -> Self {
        Self {
            brightness: random.random_range(range.clone()),
            contrast: random.random_range(range.clone()),
            saturation: random.random_range(range),
        }
    }

    /// Applies saturation, contrast and brightness, in that order.
    pub fn apply(&self, image: &mut ImageBuffer) {
        let total: f64 = image.pixels().map(|pixel| f64::from(luma(pixel))).sum();
        let mean_brightness = (total / image.area() as f64) as f32;
        image.map(|pixel| self.changed(pixel, mean_brightness));
    }

    fn changed(&self, pixel: [f32; 3], mean_brightness: f32) -> [f32; 3] {
        let grey = luma(pixel);
        pixel.map(|channel| {
            let saturated = grey + self.saturation * (channel - grey);
            let contrasted = mean_brightness + self.contrast * (saturated - mean_brightness);
            (contrasted * self.brightness).clamp(0.0, 255.0)
        })
    }
}

/// Converts the image to greyscale.
pub(super) fn grey(image: &mut ImageBuffer) {
    image.map(|pixel| [luma(pixel).min(255.0); 3]);
}

/// Inverts the image.
pub(super) fn invert(image: &mut ImageBuffer) {
    image.values.iter_mut().for_each(|value| *value = 255.0 - *value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageBuffer {
        let mut image = ImageBuffer::new([2; 2]);
        image.fill([[10, 20, 30], [200, 100, 50], [0, 255, 0], [255, 255, 255]].into_iter());
        image
    }

    /// Catches: grey that keeps colour or changes brightness, and a negative that is not undone by another.
    #[test]
    fn grey_keeps_brightness_and_a_negative_of_a_negative_is_the_image() {
        let mut changed = image();
        grey(&mut changed);
        for (grey, pixel) in changed.pixels().zip(image().pixels()) {
            assert!(grey[0] == grey[1] && grey[1] == grey[2] && (grey[0] - luma(pixel)).abs() < 1e-3);
        }
        let mut changed = image();
        invert(&mut changed);
        assert_eq!(changed.pixels().next(), Some([245.0, 235.0, 225.0]));
        invert(&mut changed);
        assert_eq!(changed.values, image().values);
    }

    /// Catches: factors that act on something else than they are named for: 1 changes nothing, no contrast leaves the
    /// mean, no saturation leaves grey, half the brightness halves.
    #[test]
    fn factors_do_what_they_are_named_for() {
        let jitter = |brightness, contrast, saturation| {
            let mut changed = image();
            Jitter { brightness, contrast, saturation }.apply(&mut changed);
            changed.pixels().collect::<Vec<_>>()
        };
        let original: Vec<_> = image().pixels().collect();
        let near = |found: [f32; 3], expected: [f32; 3]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
        let mean = original.iter().map(|pixel| luma(*pixel)).sum::<f32>() / 4.0;
        for (index, pixel) in original.iter().enumerate() {
            assert!(near(jitter(1.0, 1.0, 1.0)[index], *pixel));
            assert!(near(jitter(1.0, 0.0, 1.0)[index], [mean; 3]));
            assert!(near(jitter(1.0, 1.0, 0.0)[index], [luma(*pixel); 3]));
            assert!(near(jitter(0.5, 1.0, 1.0)[index], pixel.map(|channel| channel / 2.0)));
        }
    }
}
