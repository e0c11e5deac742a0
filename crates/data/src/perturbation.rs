//! Perturbations: changes of an image that a person would not notice, to tell how steady a network's answers are.

use crate::corruption::compress;
use crate::error::DataError;
use image::{RgbImage, imageops};
use std::fmt;

/// Change of a camera image that leaves its content what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Perturbation {
    /// The image is mirrored, left to right.
    Flip,
    /// The camera turned: everything moves right by 4 pixels of an image whose shorter side is 224; the border is repeated.
    Shift,
    /// JPEG at quality 75.
    Jpeg,
}

/// Pixels of a shift, where the shorter side has [`SIDE`].
const SHIFT: f64 = 4.0;
const SIDE: f64 = 224.0;
const QUALITY: u8 = 75;

impl Perturbation {
    /// All perturbations.
    pub const ALL: [Self; 3] = [Self::Flip, Self::Shift, Self::Jpeg];

    /// Name of the perturbation in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Shift => "shift",
            Self::Jpeg => "jpeg",
        }
    }

    /// Applies the perturbation to a decoded image; its size stays.
    ///
    /// # Errors
    /// If the image has a side of more than 65 535 pixels, which JPEG can't hold.
    pub fn apply(self, image: &mut RgbImage) -> Result<(), DataError> {
        if image.is_empty() {
            return Ok(());
        }
        match self {
            Self::Flip => imageops::flip_horizontal_in_place(image),
            Self::Shift => shift(image),
            Self::Jpeg => compress(image, QUALITY)?,
        }
        Ok(())
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn shift(image: &mut RgbImage) {
    let by = (SHIFT * f64::from(image.width().min(image.height())) / SIDE).round() as u32;
    *image = RgbImage::from_fn(image.width(), image.height(), |x, y| *image.get_pixel(x.saturating_sub(by), y));
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// Catches: a flip that is upside down, a shift by another length or to the other side, a compression that changes nothing.
    #[test]
    fn each_does_what_it_says() {
        let image = RgbImage::from_fn(448, 450, |x, y| Rgb([(x % 256) as u8, (y % 256) as u8, ((x * y) % 251) as u8]));
        let perturbed = |perturbation: Perturbation| {
            let mut image = image.clone();
            perturbation.apply(&mut image).expect("it is small");
            assert_eq!(image.dimensions(), (448, 450));
            image
        };
        let (flipped, shifted) = (perturbed(Perturbation::Flip), perturbed(Perturbation::Shift));
        assert_eq!(flipped.get_pixel(0, 7), image.get_pixel(447, 7));
        assert_eq!(
            (shifted.get_pixel(108, 7), shifted.get_pixel(3, 7)),
            (image.get_pixel(100, 7), image.get_pixel(0, 7))
        );
        assert_ne!(perturbed(Perturbation::Jpeg), image);
    }
}
