//! Sensor noise and low light.

use super::exposure::{from_light, light};
use super::unit;
use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Standard deviation of the read noise, in photons.
const READ: f32 = 2.0;
/// Photons of white in a good sensor at the right exposure.
const GOOD_SENSOR: f32 = 1000.0;

/// Adds photon and read noise; `photons` make white.
pub(super) fn sensor(random: &mut ChaCha8Rng, image: &mut RgbImage, photons: f32) {
    expose(random, image, 1.0, photons);
}

/// Darkens the image by stops, and adds the noise of a good sensor.
pub(super) fn low_light(random: &mut ChaCha8Rng, image: &mut RgbImage, stops: f32) {
    expose(random, image, (-stops).exp2(), GOOD_SENSOR);
}

/// Scales the light by `part` and adds noise that is normal with a variance of the light's photons (Poisson's, for
/// many) and the read noise's. A grain of noise is as large as a pixel of an image with a shorter side of 224, so that
/// scaling down does not take it away.
fn expose(random: &mut ChaCha8Rng, image: &mut RgbImage, part: f32, photons: f32) {
    let lights: [f32; 256] = std::array::from_fn(|value| part * light(value as u8));
    let grain = (unit(image).round() as u32).max(1);
    let mut noise = vec![[0.0; 3]; image.width().div_ceil(grain) as usize];
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if x == 0 && y.is_multiple_of(grain) {
            noise.fill_with(|| std::array::from_fn(|_| random.sample(StandardNormal)));
        }
        let noise: [f32; 3] = noise[(x / grain) as usize];
        pixel.0 = std::array::from_fn(|channel| {
            let light = lights[usize::from(pixel.0[channel])];
            let deviation = (light * photons + READ * READ).sqrt() / photons;
            from_light(light + deviation * noise[channel])
        });
    }
}
