//! Rotation of the camera.

use super::border::bilinear;
use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Rotates the image about its centre by degrees, to the left or to the right at random.
pub(super) fn rotate(random: &mut ChaCha8Rng, image: &mut RgbImage, degrees: f32) {
    let turn = if random.random() { degrees } else { -degrees };
    let (sine, cosine) = turn.to_radians().sin_cos();
    let (middle_x, middle_y) = ((image.width() - 1) as f32 / 2.0, (image.height() - 1) as f32 / 2.0);
    let upright = image.clone();
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (right, down) = (x as f32 - middle_x, y as f32 - middle_y);
        let (from_x, from_y) = (cosine * right - sine * down, sine * right + cosine * down);
        pixel.0 = bilinear(&upright, middle_x + from_x, middle_y + from_y).map(|value| value.round() as u8);
    }
}
