//! Augmentation: random changes to training images that keep their class; masks change with their images.

mod colour;
mod convolution;
mod crop;
mod erasing;
mod fourier;

use crate::error::DataError;
use crate::frame::Pixels;
use crate::image_buffer::ImageBuffer;
use crate::preprocessor::Preprocessor;
use crate::resampler::Window;
use crate::rng::{Stream, rng};
use colour::Jitter;
use convolution::RandomConvolution;
pub(crate) use erasing::Erased;
use fourier::AmplitudeMix;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Augmentation preset of training images. Random numbers follow from seed, epoch and sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// No augmentation: the centre crop, as at inference.
    None,
    /// Random crop, horizontal flip with probability 0.5, weak colour jitter.
    #[default]
    Basic,
    /// Basic with strong colour jitter and, at random, greyscale, inversion, random convolution (texture), Fourier amplitude
    /// mixing (style) and random erasing: for test images that look different from the training images.
    Robust,
}

impl Augmentation {
    /// All presets, the weakest first.
    pub const ALL: [Self; 3] = [Self::None, Self::Basic, Self::Robust];

    /// Name of the preset on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Robust => "robust",
        }
    }

    /// Description in one line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::None => "images as at inference",
            Self::Basic => "random crops, flips, and colours a little off",
            Self::Robust => "basic, and strong colours, random textures and styles, parts erased",
        }
    }
}

impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Augmentation {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|augmentation| augmentation.name() == name);
        found.ok_or_else(|| DataError::unknown("augmentation", name, Self::ALL.map(Self::name)))
    }
}

/// Key of the random numbers of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub seed: u64,
    pub epoch: u64,
    pub sample: u64,
}

/// Changes of position that keep what an image is labelled with, or change it in a known way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Crops and horizontal flips.
    Any,
    /// Horizontal flips.
    Flipped,
    /// None: what is seen lies where it lies at inference.
    Fixed,
}

/// Ranges of the factors of brightness, contrast and saturation.
const BASIC_COLOUR: RangeInclusive<f32> = 0.8..=1.2;
const ROBUST_COLOUR: RangeInclusive<f32> = 0.6..=1.4;
/// Probability of each operation of the robust preset.
const GREY: f64 = 0.2;
const INVERTED: f64 = 0.1;
const CONVOLVED: f64 = 0.5;
const MIXED: f64 = 0.5;
const ERASED: f64 = 0.25;

/// Augmenter: writes augmented network inputs, and reuses its buffers.
#[derive(Clone)]
pub(crate) struct Augmenter {
    image: ImageBuffer,
    robust: Option<Robust>,
}

impl Augmenter {
    /// Augmenter for inputs of these rows and columns; `None` for [`Augmentation::None`].
    pub fn new(augmentation: Augmentation, input: [usize; 2]) -> Option<Self> {
        let robust = match augmentation {
            Augmentation::None => return None,
            Augmentation::Basic => None,
            Augmentation::Robust => Some(Robust::new(input)),
        };
        Some(Self { image: ImageBuffer::new(input), robust })
    }

    /// Writes the augmented image as the network's input; returns how its pixels lie in the image that it was made of.
    pub fn prepare(
        &mut self,
        (key, positions): (Key, Positions),
        pixels: &Pixels,
        preprocessor: &mut Preprocessor,
        out: &mut [f32],
    ) -> Result<Geometry, DataError> {
        let random = &mut rng(Stream::Augmentation, key.seed, key.epoch, key.sample);
        let aspect = self.image.width as f64 / self.image.height as f64;
        let window = match positions {
            Positions::Any => crop::crop(random, pixels.width, pixels.height, aspect),
            Positions::Flipped | Positions::Fixed => preprocessor.window(pixels.width, pixels.height),
        };
        let is_flipped = match positions {
            Positions::Any | Positions::Flipped => random.random(),
            Positions::Fixed => false,
        };
        preprocessor.crop(pixels, &window, &mut self.image)?;
        let erased = match &mut self.robust {
            None => {
                Jitter::draw(random, BASIC_COLOUR).apply(&mut self.image);
                None
            }
            Some(robust) => robust.apply(random, &mut self.image),
        };
        if is_flipped {
            self.image.mirror();
        }
        preprocessor.normalise_buffer(&self.image, out)?;
        Ok(Geometry { window, is_flipped, erased })
    }
}

/// Geometry of an input: the window of the image that it shows, whether it is flipped, and what was erased before that.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    pub window: Window,
    pub is_flipped: bool,
    pub erased: Option<Erased>,
}

/// Operations of the robust preset beyond cropping and flipping.
#[derive(Clone)]
struct Robust {
    convolution: RandomConvolution,
    mix: AmplitudeMix,
    /// Image whose amplitudes are mixed in.
    other: ImageBuffer,
}

impl Robust {
    fn new(input: [usize; 2]) -> Self {
        Self {
            convolution: RandomConvolution::default(),
            mix: AmplitudeMix::new(input),
            other: ImageBuffer::new(input),
        }
    }

    /// Changes the image; returns the rectangle that it erased, if any.
    fn apply(&mut self, random: &mut ChaCha8Rng, image: &mut ImageBuffer) -> Option<Erased> {
        let is_mixed = random.random_bool(MIXED);
        if is_mixed {
            self.other.copy_from(image);
            Jitter::draw(random, ROBUST_COLOUR).apply(&mut self.other);
            self.convolution.apply(random, &mut self.other);
        }
        Jitter::draw(random, ROBUST_COLOUR).apply(image);
        if random.random_bool(GREY) {
            colour::grey(image);
        }
        if random.random_bool(INVERTED) {
            colour::invert(image);
        }
        if random.random_bool(CONVOLVED) {
            self.convolution.apply(random, image);
        }
        if is_mixed {
            self.mix.apply(random, image, &self.other);
        }
        random.random_bool(ERASED).then(|| erasing::erase(random, image))
    }
}
