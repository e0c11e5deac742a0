//! Selection: which frames are worth keeping, by rate, exposure, sharpness and similarity.

use fieldfit_data::RgbImage;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage};
use serde::Serialize;
use std::ops::RangeInclusive;

/// Side of the luma that exposure and sharpness are measured on.
const SIDE: u32 = 64;

/// Rules by which frames are selected, the cheap ones first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// Maximum frames a second that are buffered, by the camera's clock.
    pub rate: f32,
    /// Range of the mean luma, 0..=255: darker and brighter frames are left out.
    pub exposure: RangeInclusive<f32>,
    /// Minimum sharpness: the variance of the Laplacian of the luma at 64 × 64 pixels.
    pub sharpness: f32,
    /// Hamming distance of 64-bit dHashes up to which a frame is the same as a recent one; `None` keeps all.
    pub hamming: Option<u32>,
    /// Cosine of feature vectors from which on a frame is the same as a recent one, where features are given.
    pub cosine: f32,
    /// Number of recent images of the same recording and class that a frame is compared with.
    pub recent: usize,
}

/// 2 frames a second, mean luma 12 to 243, sharpness 2, dHash within 6 of the last 32, cosine 0.98.
impl Default for Selection {
    fn default() -> Self {
        Self { rate: 2.0, exposure: 12.0..=243.0, sharpness: 2.0, hamming: Some(6), cosine: 0.98, recent: 32 }
    }
}

impl Selection {
    /// Returns the rules with that maximum [`rate`](Self::rate).
    #[must_use]
    pub const fn with_rate(mut self, frames_a_second: f32) -> Self {
        self.rate = frames_a_second;
        self
    }

    /// Returns the rules with that range of [`exposure`](Self::exposure).
    #[must_use]
    pub const fn with_exposure(mut self, luma: RangeInclusive<f32>) -> Self {
        self.exposure = luma;
        self
    }

    /// Returns the rules with that minimum [`sharpness`](Self::sharpness).
    #[must_use]
    pub const fn with_sharpness(mut self, variance: f32) -> Self {
        self.sharpness = variance;
        self
    }

    /// Returns the rules with that [`hamming`](Self::hamming) distance.
    #[must_use]
    pub const fn with_hamming(mut self, distance: Option<u32>) -> Self {
        self.hamming = distance;
        self
    }

    /// Returns the rules that take every frame, at most at the same rate, whatever its exposure, sharpness and likeness to others.
    #[must_use]
    pub const fn of_all(self) -> Self {
        let Self { rate, cosine: _, recent, .. } = self;
        Self { rate, exposure: 0.0..=255.0, sharpness: 0.0, hamming: None, cosine: f32::INFINITY, recent }
    }

    /// Returns why a frame is of no use; `None` if it is.
    pub(crate) fn flaw(&self, measured: &Measured) -> Option<Flaw> {
        match measured {
            Measured { exposure, .. } if exposure < self.exposure.start() => Some(Flaw::Dark),
            Measured { exposure, .. } if exposure > self.exposure.end() => Some(Flaw::Bright),
            Measured { sharpness, .. } if *sharpness < self.sharpness => Some(Flaw::Blurred),
            _usable => None,
        }
    }

    /// Whether a frame shows the same as a recent one.
    pub(crate) fn is_same(&self, frame: &Appearance<'_>, recent: &Appearance<'_>) -> bool {
        let is_near = self.hamming.is_some_and(|limit| (frame.fingerprint ^ recent.fingerprint).count_ones() <= limit);
        let is_like = match (frame.features, recent.features) {
            (Some(one), Some(other)) => cosine(one, other).is_some_and(|cosine| cosine >= self.cosine),
            _unknown => false,
        };
        is_near || is_like
    }
}

/// What frames are compared by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appearance<'a> {
    pub fingerprint: u64,
    pub features: Option<&'a [f32]>,
}

/// Number of frames that a label was not stored for, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// Frames that show the same as an image of the collection, which counts them.
    pub similar: usize,
    /// Underexposed frames.
    pub dark: usize,
    /// Overexposed frames.
    pub bright: usize,
    /// Frames without detail: out of focus, in motion, or of a blank wall.
    pub blurred: usize,
    /// Frames that could not be decoded.
    pub unreadable: usize,
    /// Frames for which no image of the full collection may go.
    pub full: usize,
}

/// Flaw that makes a frame useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Dark,
    Bright,
    Blurred,
}

impl LeftOut {
    /// Number of frames left out, for any reason.
    pub const fn total(&self) -> usize {
        let Self { similar, dark, bright, blurred, unreadable, full } = *self;
        similar + dark + bright + blurred + unreadable + full
    }

    pub(crate) fn count(&mut self, flaw: Flaw) {
        match flaw {
            Flaw::Dark => self.dark += 1,
            Flaw::Bright => self.bright += 1,
            Flaw::Blurred => self.blurred += 1,
        }
    }
}

impl std::ops::AddAssign for LeftOut {
    fn add_assign(&mut self, other: Self) {
        let Self { similar, dark, bright, blurred, unreadable, full } = other;
        self.similar += similar;
        self.dark += dark;
        self.bright += bright;
        self.blurred += blurred;
        self.unreadable += unreadable;
        self.full += full;
    }
}

/// Measurements of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// Mean luma, 0..=255.
    pub exposure: f32,
    /// Variance of the Laplacian of the luma at 64 × 64 pixels.
    pub sharpness: f32,
    /// 64-bit dHash: whether each pixel of 8 × 8 is brighter than its right neighbour, of 9 × 8.
    pub fingerprint: u64,
}

impl Measured {
    pub fn of(image: &RgbImage) -> Self {
        // One pass over the large image; the rest is done on a small one.
        let small = DynamicImage::ImageRgb8(imageops::thumbnail(image, SIDE, SIDE)).into_luma8();
        let mean = small.pixels().map(|pixel| f32::from(pixel.0[0])).sum::<f32>() / (SIDE * SIDE) as f32;
        Self { exposure: mean, sharpness: sharpness(&small), fingerprint: fingerprint(&small) }
    }
}

/// Variance of the Laplacian, borders left out.
fn sharpness(luma: &GrayImage) -> f32 {
    let at = |x: u32, y: u32| f64::from(luma.get_pixel(x, y).0[0]);
    let inner = (1..SIDE - 1).flat_map(|y| (1..SIDE - 1).map(move |x| (x, y)));
    let laplacian = |(x, y)| at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y);
    let (sum, squares) = inner.map(laplacian).fold((0.0, 0.0), |(sum, squares), v| (sum + v, squares + v * v));
    let count = f64::from((SIDE - 2) * (SIDE - 2));
    (squares / count - (sum / count).powi(2)) as f32
}

fn fingerprint(luma: &GrayImage) -> u64 {
    let small = imageops::resize(luma, 9, 8, FilterType::Triangle);
    let pairs = (0..8).flat_map(|y| (0..8).map(move |x| (x, y)));
    pairs.fold(0, |bits, (x, y)| bits << 1 | u64::from(small.get_pixel(x, y).0 > small.get_pixel(x + 1, y).0))
}

/// Cosine of the angle between two vectors of one length; `None` if either is zero.
fn cosine(one: &[f32], other: &[f32]) -> Option<f32> {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let norms = (product(one, one) * product(other, other)).sqrt();
    (one.len() == other.len() && norms > 0.0).then(|| (product(one, other) / norms) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn scene(shift: u32, brightness: i32) -> RgbImage {
        RgbImage::from_fn(320, 240, |x, y| {
            let value = ((x + shift) / 40 * 57 + y / 30 * 91) % 180;
            Rgb([(value as i32 + brightness).clamp(0, 255) as u8; 3])
        })
    }

    /// Catches: a hash that changes with exposure or scale, and one that does not change with the scene.
    #[test]
    fn fingerprints_follow_the_scene_and_not_its_light() {
        let distance = |one: &RgbImage, other: &RgbImage| {
            (Measured::of(one).fingerprint ^ Measured::of(other).fingerprint).count_ones()
        };
        let (base, brighter) = (scene(0, 20), scene(0, 60));
        let smaller = imageops::resize(&base, 160, 120, FilterType::Triangle);
        assert!(distance(&base, &brighter) <= 6 && distance(&base, &smaller) <= 6);
        assert!(distance(&base, &scene(97, 20)) > 6);
    }

    /// Catches: measures of exposure and sharpness that mistake one for the other.
    #[test]
    fn dark_bright_and_blurred_frames_are_told_apart() {
        let flaw = |image: &RgbImage| Selection::default().flaw(&Measured::of(image));
        let sharp = scene(0, 20);
        assert_eq!(flaw(&sharp), None);
        assert_eq!(flaw(&RgbImage::from_pixel(64, 48, Rgb([2; 3]))), Some(Flaw::Dark));
        assert_eq!(flaw(&RgbImage::from_pixel(64, 48, Rgb([250; 3]))), Some(Flaw::Bright));
        assert_eq!(flaw(&imageops::blur(&sharp, 40.0)), Some(Flaw::Blurred));
    }

    /// Catches: features of different lengths or without a direction that pass for similar, similar ones that don't.
    #[test]
    fn features_decide_where_both_have_them() {
        let selection = Selection::default();
        let appearance = |fingerprint, features| Appearance { fingerprint, features };
        let far = appearance(u64::MAX, Some(&[1.0, 0.1][..]));
        assert!(selection.is_same(&far, &appearance(0, Some(&[2.0, 0.21]))));
        assert!(!selection.is_same(&far, &appearance(0, Some(&[0.0, 1.0]))));
        assert!(!selection.is_same(&far, &appearance(0, Some(&[0.0, 0.0]))));
        assert!(!selection.is_same(&far, &appearance(0, Some(&[1.0]))));
        assert!(!selection.is_same(&far, &appearance(0, None)));
        assert!(selection.is_same(&far, &appearance(u64::MAX << 6, None)), "6 bits");
        assert!(!selection.is_same(&far, &appearance(u64::MAX << 7, None)), "7 bits");
    }
}
