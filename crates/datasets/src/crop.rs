//! Crops: the part of an image that a box marks, encoded as JPEG.

use fieldfit_data::{Frame, encode_jpeg};
use image::imageops;
use std::fmt::{self, Display, Formatter};

/// JPEG quality of a crop: high, since it is encoded a second time.
const QUALITY: u8 = 95;

/// Box of an image in pixels, or in shares of its sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    /// Whether the numbers are shares of the image's sides.
    pub is_relative: bool,
    /// Share of the sides that is added on each side.
    pub pad: f32,
}

/// Share of a pixel that an area may reach into it by the rounding of its numbers.
const SLACK: f64 = 1e-3;

impl Display for Area {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { left, top, width, height, is_relative, pad: _ } = self;
        let unit = if *is_relative { "shares of the sides" } else { "pixels" };
        write!(f, "left {left}, top {top}, width {width}, height {height} in {unit}")
    }
}

/// Refuses a box that is rotated, in degrees: the pixels between its upright sides are others.
pub(crate) fn require_upright(rotation: f64) -> Result<(), String> {
    if rotation == 0.0 {
        return Ok(());
    }
    Err(format!("its box is rotated by {rotation}°, and boxes are cut out upright: draw it upright, or leave it out"))
}

/// Cuts an area out of an encoded image, within its borders.
pub(crate) fn cut(bytes: &[u8], area: Area) -> Result<Vec<u8>, String> {
    let image = Frame::Encoded(bytes).to_rgb().map_err(|error| error.to_string())?;
    let (width, height) = image.dimensions();
    let scale = |side: u32| if area.is_relative { f64::from(side) } else { 1.0 };
    let span = |start: f64, length: f64, side: u32| {
        let pad = length * f64::from(area.pad);
        let from = ((start - pad) * scale(side) + SLACK).floor().clamp(0.0, f64::from(side));
        let to = ((start + length + pad) * scale(side) - SLACK).ceil().clamp(0.0, f64::from(side));
        (from as u32, (to - from).max(0.0) as u32)
    };
    let ((left, columns), (top, rows)) = (span(area.left, area.width, width), span(area.top, area.height, height));
    if columns == 0 || rows == 0 {
        return Err(format!("the box ({area}) has no pixel of the image of {width} × {height}"));
    }
    let part = imageops::crop_imm(&image, left, top, columns, rows).to_image();
    encode_jpeg(&part, QUALITY).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use fieldfit_data::RgbImage;

    /// Catches: boxes in shares read as pixels, padding beyond the image, corners that are off.
    #[test]
    fn boxes_are_cut_within_the_image() {
        let image = RgbImage::from_fn(40, 20, |x, _| image::Rgb([if x < 20 { 0 } else { 250 }; 3]));
        let bytes = encode_jpeg(&image, 100).unwrap();
        let cut = |left, top, width, height, is_relative, pad| {
            super::cut(&bytes, Area { left, top, width, height, is_relative, pad })
                .map(|bytes| Frame::Encoded(&bytes).to_rgb().unwrap())
        };
        let pixels = cut(24.0, 4.0, 8.0, 6.0, false, 0.0).unwrap();
        assert!(pixels.dimensions() == (8, 6) && pixels.pixels().all(|pixel| pixel.0[0] > 200));
        assert_eq!(cut(24.0, 4.0, 8.0, 6.0, false, 0.25).unwrap().dimensions(), (12, 10));
        assert_eq!(cut(0.5, 0.0, 0.5, 1.0, true, 0.1).unwrap().dimensions(), (22, 20));
        for (left, width) in [(50.0, 5.0), (5.0, 0.0), (f64::NAN, 5.0), (5.0, -9.0)] {
            assert!(cut(left, 4.0, width, 6.0, false, 0.0).is_err(), "{left} {width}");
        }
    }
}
