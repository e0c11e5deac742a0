//! Dirt on the lens: dark, blurred spots.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// Share of a spot's radius over which it fades: it is far out of focus.
const FADE: f32 = 0.5;

/// Spot of dirt: a circle with dents, in pixels.
struct Spot {
    centre: [f32; 2],
    radius: f32,
    /// Phases of its two and its three dents, in radians.
    dents: [f32; 2],
    opacity: f32,
    colour: [f32; 3],
}

/// Adds `count` random spots.
pub(super) fn add(random: &mut ChaCha8Rng, image: &mut RgbImage, count: usize) {
    for _ in 0..count {
        Spot::draw(random, image).paint(image);
    }
}

impl Spot {
    fn draw(random: &mut ChaCha8Rng, image: &RgbImage) -> Self {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let mut between = |range: RangeInclusive<f32>| random.random_range(range);
        let shade = between(20.0..=70.0);
        Self {
            centre: [between(0.0..=width), between(0.0..=height)],
            radius: between(0.05..=0.13) * width.min(height),
            dents: [between(0.0..=std::f32::consts::TAU), between(0.0..=std::f32::consts::TAU)],
            opacity: between(0.5..=0.95),
            colour: [shade, 0.85 * shade, 0.65 * shade],
        }
    }

    fn paint(&self, image: &mut RgbImage) {
        let span = |centre: f32, limit: u32| {
            let reach = 1.5 * self.radius;
            (centre - reach).max(0.0) as u32..((centre + reach).ceil() as u32).min(limit)
        };
        for y in span(self.centre[1], image.height()) {
            for x in span(self.centre[0], image.width()) {
                self.shade(image.get_pixel_mut(x, y), x as f32 + 0.5, y as f32 + 0.5);
            }
        }
    }

    fn shade(&self, pixel: &mut Rgb<u8>, x: f32, y: f32) {
        let (right, down) = (x - self.centre[0], y - self.centre[1]);
        let angle = down.atan2(right);
        let border = 1.0 + 0.25 * (2.0 * angle + self.dents[0]).sin() + 0.15 * (3.0 * angle + self.dents[1]).sin();
        let inside = (border - right.hypot(down) / self.radius) / FADE;
        let opacity = self.opacity * inside.clamp(0.0, 1.0);
        for (value, colour) in pixel.0.iter_mut().zip(self.colour) {
            *value = (f32::from(*value) + opacity * (colour - f32::from(*value))).round() as u8;
        }
    }
}
