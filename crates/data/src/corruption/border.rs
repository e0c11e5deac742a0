//! Border handling: mirrored positions and bilinear sampling.

use image::RgbImage;

/// Position inside the image of one beyond its border, mirrored as often as needed.
pub(super) fn mirrored(position: i64, length: u32) -> u32 {
    let length = i64::from(length);
    if (0..length).contains(&position) {
        // Nearly always, and a division is slow.
        return position as u32;
    }
    let position = position.rem_euclid(2 * length);
    (if position < length { position } else { 2 * length - 1 - position }) as u32
}

/// Bilinear sample between pixels, whose centres are at whole numbers.
pub(super) fn bilinear(image: &RgbImage, x: f32, y: f32) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (right_part, lower_part) = (x - left, y - top);
    let [x0, x1] = [0, 1].map(|step| mirrored(left as i64 + step, image.width()));
    let [y0, y1] = [0, 1].map(|step| mirrored(top as i64 + step, image.height()));
    let [a, b, c, d] = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| image.get_pixel(x, y).0);
    std::array::from_fn(|channel| {
        let between = |from: u8, to: u8| f32::from(from) + right_part * (f32::from(to) - f32::from(from));
        let (upper, lower) = (between(a[channel], b[channel]), between(c[channel], d[channel]));
        upper + lower_part * (lower - upper)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a border that is skipped, repeated too often, or left when the image is one pixel wide.
    #[test]
    fn images_are_mirrored_at_their_borders() {
        let positions = |length| (-4..7).map(|position| mirrored(position, length)).collect::<Vec<_>>();
        assert_eq!(positions(3), [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        assert_eq!(positions(1), [0; 11]);
    }
}
