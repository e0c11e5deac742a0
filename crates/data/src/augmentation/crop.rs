//! Random crop: a window of random area and aspect ratio.

use crate::resampler::Window;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// Range of the crop's share of the image's area.
const AREA: RangeInclusive<f64> = 0.7..=1.0;
/// Range of the crop's aspect ratio, width over height, relative to the input's.
const RATIO: RangeInclusive<f64> = 0.75..=4.0 / 3.0;

/// Draws a random crop window of an image for an input of that aspect ratio, width over height.
pub(super) fn crop(random: &mut ChaCha8Rng, width: u32, height: u32, aspect: f64) -> Window {
    let (crop_width, crop_height) = crop_size(random, width, height, aspect);
    Window {
        left: f64::from(random.random_range(0..=width - crop_width)),
        top: f64::from(random.random_range(0..=height - crop_height)),
        width: f64::from(crop_width),
        height: f64::from(crop_height),
    }
}

/// Sides of a random crop, at most the image's: of random area and, uniform in its logarithm, random aspect ratio.
fn crop_size(random: &mut ChaCha8Rng, width: u32, height: u32, aspect: f64) -> (u32, u32) {
    let area = f64::from(width) * f64::from(height) * random.random_range(AREA);
    let ratio = aspect * random.random_range(RATIO.start().ln()..=RATIO.end().ln()).exp();
    let side = |length: f64, limit: u32| (length.round() as u32).clamp(1, limit);
    (side((area * ratio).sqrt(), width), side((area / ratio).sqrt(), height))
}
