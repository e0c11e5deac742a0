//! Privacy: masks and downscaling that frames go through before they are kept, in memory or on disk.

use crate::error::CollectError;
use fieldfit_data::RgbImage;
use image::imageops::{self, FilterType};

/// Privacy options. With any of them, frames are encoded anew, so that no metadata of the camera is stored.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Privacy {
    /// Polygons that are painted black, each of at least 3 points, in shares of the width and height, 0..=1.
    pub masks: Vec<Vec<(f32, f32)>>,
    /// Maximum side of a stored image, in pixels; larger frames are scaled down. About 1.25 times the network's input keeps
    /// what it needs and loses faces and number plates in the distance.
    pub max_side: Option<u32>,
}

impl Privacy {
    /// Returns the options with one more [mask](Self::masks).
    #[must_use]
    pub fn with_mask(mut self, polygon: Vec<(f32, f32)>) -> Self {
        self.masks.push(polygon);
        self
    }

    /// Returns the options with that [`max_side`](Self::max_side).
    #[must_use]
    pub const fn with_max_side(mut self, pixels: Option<u32>) -> Self {
        self.max_side = pixels;
        self
    }

    /// Whether frames are changed.
    pub(crate) const fn is_on(&self) -> bool {
        !self.masks.is_empty() || self.max_side.is_some()
    }

    /// Checks that polygons have an area and sides are positive.
    pub(crate) fn check(&self) -> Result<(), CollectError> {
        let is_point = |(x, y): &(f32, f32)| (0.0..=1.0).contains(x) && (0.0..=1.0).contains(y);
        if let Some(mask) = self.masks.iter().find(|mask| mask.len() < 3 || !mask.iter().all(is_point)) {
            let expected = "polygons of at least 3 points, in shares of width and height";
            return Err(CollectError::Option { option: "mask", found: format!("{mask:?}"), expected });
        }
        match self.max_side {
            Some(0) => {
                Err(CollectError::Option { option: "max side", found: "0".into(), expected: "at least 1 pixel" })
            }
            _ => Ok(()),
        }
    }

    /// Masks an image and scales it down.
    pub(crate) fn apply(&self, mut image: RgbImage) -> RgbImage {
        self.masks.iter().for_each(|mask| paint(&mut image, mask));
        let longer = image.width().max(image.height());
        match self.max_side.filter(|side| *side < longer) {
            None => image,
            Some(side) => {
                let scaled = |length: u32| (u64::from(length) * u64::from(side) / u64::from(longer)).max(1) as u32;
                let (width, height) = (scaled(image.width()), scaled(image.height()));
                imageops::resize(&image, width, height, FilterType::Triangle)
            }
        }
    }
}

/// Paints the pixels black that a polygon touches: each row between the outermost crossings that the even-odd rule pairs,
/// widened to whole pixels.
fn paint(image: &mut RgbImage, polygon: &[(f32, f32)]) {
    let (width, height) = image.dimensions();
    let points: Vec<(f32, f32)> = polygon.iter().map(|(x, y)| (x * width as f32, y * height as f32)).collect();
    for row in 0..height {
        for (first, last) in spans(&points, row) {
            let end = (last.ceil() as u32).min(width);
            (first.floor().max(0.0) as u32..end).for_each(|column| image.put_pixel(column, row, image::Rgb([0; 3])));
        }
    }
}

/// Stretches of a row inside the polygon, of both edges of the row: a pixel that the polygon cuts is inside.
fn spans(points: &[(f32, f32)], row: u32) -> Vec<(f32, f32)> {
    let mut spans = Vec::new();
    // A polygon thinner than a row is met between its edges.
    for line in [0.001, 0.25, 0.5, 0.75, 0.999].map(|share| row as f32 + share) {
        let edges = points.iter().zip(points.iter().cycle().skip(1));
        let crossing = |((x0, y0), (x1, y1)): (&(f32, f32), &(f32, f32))| {
            let is_crossed = (*y0 <= line) != (*y1 <= line);
            is_crossed.then(|| x0 + (line - y0) / (y1 - y0) * (x1 - x0))
        };
        let mut crossings: Vec<f32> = edges.filter_map(crossing).collect();
        crossings.sort_by(f32::total_cmp);
        spans.extend(crossings.as_chunks::<2>().0.iter().map(|[first, last]| (*first, *last)));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a mask that leaves a strip of pixels at its edges, or covers the whole image.
    #[test]
    fn a_mask_is_black_and_nothing_else_is() {
        let image = RgbImage::from_pixel(10, 8, image::Rgb([200; 3]));
        let privacy = Privacy::default().with_mask(vec![(0.25, 0.25), (0.75, 0.25), (0.75, 1.0), (0.25, 1.0)]);
        for (x, y, pixel) in privacy.apply(image).enumerate_pixels() {
            let is_inside = (2..8).contains(&x) && y >= 2;
            assert_eq!(pixel.0, if is_inside { [0; 3] } else { [200; 3] }, "{x} {y}");
        }
    }

    /// Catches: an image that is enlarged, distorted, or scaled to nothing.
    #[test]
    fn the_longer_side_is_limited() {
        let size = |width, height, side| {
            Privacy::default().with_max_side(side).apply(RgbImage::new(width, height)).dimensions()
        };
        assert_eq!(size(640, 480, Some(280)), (280, 210));
        assert_eq!(size(480, 640, Some(280)), (210, 280));
        assert_eq!(size(100, 50, Some(280)), (100, 50));
        assert_eq!(size(1000, 1, Some(10)), (10, 1));
        assert_eq!(size(100, 50, None), (100, 50));
    }

    /// Catches: a polygon without an area, or in pixels instead of shares, that silently masks nothing.
    #[test]
    fn masks_are_checked() {
        for mask in [vec![(0.0, 0.0), (1.0, 1.0)], vec![(0.0, 0.0), (320.0, 0.0), (0.0, 1.0)], vec![(f32::NAN, 0.0); 3]]
        {
            assert!(Privacy::default().with_mask(mask.clone()).check().is_err(), "{mask:?}");
        }
        assert!(Privacy::default().with_max_side(Some(0)).check().is_err());
    }
}
