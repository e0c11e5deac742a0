//! Random changes to training images that leave their class as it is.

use crate::generator::{Stream, generator};
use crate::preprocessor::{Colour, View};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// Which random changes a training image goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// None: the centre crop, as at inference.
    None,
    /// A random part of the image, flipped every other time, its colours a little off.
    #[default]
    Basic,
}

impl Augmentation {
    /// How the image of that size is looked at: the same for the same seed, epoch and sample, whatever thread asks.
    pub(crate) fn view(self, key: Key, width: u32, height: u32, centre: View) -> View {
        match self {
            Self::None => centre,
            Self::Basic => basic(&mut generator(Stream::Augmentation, key.seed, key.epoch, key.sample), width, height),
        }
    }
}

/// What the random numbers of one image are drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub seed: u64,
    pub epoch: u64,
    pub sample: u64,
}

/// The part of the image's area that a random crop covers.
const AREA: RangeInclusive<f64> = 0.7..=1.0;
/// Width over height of a random crop, relative to a square.
const RATIO: RangeInclusive<f64> = 0.75..=4.0 / 3.0;
/// How far brightness, contrast and saturation may be off.
const COLOUR: RangeInclusive<f32> = 0.8..=1.2;

fn basic(random: &mut ChaCha8Rng, width: u32, height: u32) -> View {
    let (crop_width, crop_height) = crop_size(random, width, height);
    View {
        left: f64::from(random.random_range(0..=width - crop_width)),
        top: f64::from(random.random_range(0..=height - crop_height)),
        width: f64::from(crop_width),
        height: f64::from(crop_height),
        flip: random.random(),
        colour: Some(Colour {
            brightness: random.random_range(COLOUR),
            contrast: random.random_range(COLOUR),
            saturation: random.random_range(COLOUR),
        }),
    }
}

/// Sides of a random crop, at most the image's: of random area and, uniform in its logarithm, random aspect ratio.
fn crop_size(random: &mut ChaCha8Rng, width: u32, height: u32) -> (u32, u32) {
    let area = f64::from(width) * f64::from(height) * random.random_range(AREA);
    let ratio = random.random_range(RATIO.start().ln()..=RATIO.end().ln()).exp();
    let side = |length: f64, limit: u32| (length.round() as u32).clamp(1, limit);
    (side((area * ratio).sqrt(), width), side((area / ratio).sqrt(), height))
}
