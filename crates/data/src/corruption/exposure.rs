//! Over-exposure and colour cast.

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Brightens the image by stops.
pub(super) fn brighten(image: &mut RgbImage, stops: f32) {
    amplify(image, [stops; 3]);
}

/// Shifts the white balance by stops towards red, blue, green or magenta.
pub(super) fn cast(random: &mut ChaCha8Rng, image: &mut RgbImage, stops: f32) {
    let half = stops / 2.0;
    let directions = [[half, 0.0, -half], [-half, 0.0, half], [-half, half, -half], [half, -half, half]];
    amplify(image, directions[random.random_range(0..directions.len())]);
}

/// Brightens each channel by its stops.
fn amplify(image: &mut RgbImage, stops: [f32; 3]) {
    let table = stops.map(|stops| {
        let gain = stops.exp2();
        std::array::from_fn::<u8, 256, _>(|value| from_light(gain * light(value as u8)))
    });
    for pixel in image.pixels_mut() {
        pixel.0 = std::array::from_fn(|channel| table[channel][usize::from(pixel.0[channel])]);
    }
}

/// Linear light of an sRGB value, 0 to 1 (IEC 61966-2-1).
pub(super) fn light(value: u8) -> f32 {
    let value = f32::from(value) / 255.0;
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// Nearest sRGB value of linear light.
pub(super) fn from_light(light: f32) -> u8 {
    let light = light.clamp(0.0, 1.0);
    let value = if light <= 0.0031308 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    (255.0 * value).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a curve that is not its own inverse, which would change an image that is to stay.
    #[test]
    fn light_and_values_are_inverse() {
        assert!((0..=255).all(|value| from_light(light(value)) == value));
    }

    /// Catches: stops that are counted in values instead of light: half the light of white is 188.
    #[test]
    fn a_stop_is_a_factor_of_two_in_light() {
        let mut image = RgbImage::from_pixel(1, 1, image::Rgb([188, 188, 10]));
        brighten(&mut image, 1.0);
        assert_eq!(image.get_pixel(0, 0).0, [255, 255, 18]);
    }
}
