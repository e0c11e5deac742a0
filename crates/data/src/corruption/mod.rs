//! Corruptions: synthetic camera faults at five severities, to measure robustness with.

mod blur;
mod border;
mod compression;
mod dirt;
mod exposure;
mod fog;
mod noise;
mod rotation;

pub(crate) use compression::compress;

use crate::error::DataError;
use crate::rng::{Stream, rng};
use image::RgbImage;
use std::fmt;
use std::str::FromStr;

/// Corruption of a camera image, after Hendrycks and Dietterich,
/// *Benchmarking Neural Network Robustness to Common Corruptions and Perturbations*, ICLR 2019.
///
/// Lengths below are in pixels of an image whose shorter side is 224, and grow with the image, so that a severity means
/// the same for a thumbnail and for a full frame. The exception is JPEG, whose blocks have 8 pixels in any image.
/// Light is what sRGB values stand for; a stop is a factor of 2 in it. Nothing is ever black for want of data: beyond
/// the border an image is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// The lens is out of focus: a disk of radius 1.5, 2.5, 4, 6 or 8.
    Defocus,
    /// The camera moves during exposure, along a line of length 5, 9, 14, 20 or 28 in a random direction.
    MotionBlur,
    /// Photon and read noise where white is 120, 60, 30, 15 or 7 photons and reading adds 2 of them.
    SensorNoise,
    /// 1, 2, 3, 4 or 5 stops too dark, with the noise of 1000 photons for white at the right exposure.
    LowLight,
    /// 0.5, 1, 1.5, 2 or 2.5 stops too bright; what exceeds white is lost.
    OverExposure,
    /// Haze of uneven density that thickens upwards: on average some 75, 60, 50, 35 or 25 % of the contrast is left.
    Fog,
    /// JPEG at quality 25, 18, 15, 10 or 7.
    Jpeg,
    /// 3, 6, 10, 15 or 21 blurred dark spots on the lens; the higher severity keeps the lower one's.
    Dirt,
    /// The white balance is off towards red, blue, green or magenta, by 0.3, 0.6, 0.9, 1.2 or 1.5 stops.
    ColourCast,
    /// The camera is mounted askew, by 4, 8, 15, 25 or 40° to the left or to the right.
    Rotation,
}

impl Corruption {
    /// All corruptions.
    pub const ALL: [Self; 10] = [
        Self::Defocus,
        Self::MotionBlur,
        Self::SensorNoise,
        Self::LowLight,
        Self::OverExposure,
        Self::Fog,
        Self::Jpeg,
        Self::Dirt,
        Self::ColourCast,
        Self::Rotation,
    ];

    /// Name of the corruption on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Defocus => "defocus",
            Self::MotionBlur => "motion-blur",
            Self::SensorNoise => "sensor-noise",
            Self::LowLight => "low-light",
            Self::OverExposure => "over-exposure",
            Self::Fog => "fog",
            Self::Jpeg => "jpeg",
            Self::Dirt => "dirt",
            Self::ColourCast => "colour-cast",
            Self::Rotation => "rotation",
        }
    }

    /// Whether it moves pixels, so that a mask of the image is none of the corrupted one.
    pub const fn moves_pixels(self) -> bool {
        match self {
            Self::Rotation => true,
            Self::Defocus
            | Self::MotionBlur
            | Self::SensorNoise
            | Self::LowLight
            | Self::OverExposure
            | Self::Fog
            | Self::Jpeg
            | Self::Dirt
            | Self::ColourCast => false,
        }
    }

    /// Applies the corruption to a decoded image at a severity; its size stays. The same seed gives the same result.
    ///
    /// # Errors
    /// If the image has a side of more than 65 535 pixels, which JPEG can't hold. The image is then unchanged.
    pub fn apply(self, severity: Severity, seed: u64, image: &mut RgbImage) -> Result<(), DataError> {
        if image.is_empty() {
            return Ok(());
        }
        let random = &mut rng(Stream::Corruption, seed, 0, self as u64);
        match self {
            Self::Defocus => blur::defocus(image, severity.of([1.5, 2.5, 4.0, 6.0, 8.0])),
            Self::MotionBlur => blur::motion(random, image, severity.of([5.0, 9.0, 14.0, 20.0, 28.0])),
            Self::SensorNoise => noise::sensor(random, image, severity.of([120.0, 60.0, 30.0, 15.0, 7.0])),
            Self::LowLight => noise::low_light(random, image, severity.of([1.0, 2.0, 3.0, 4.0, 5.0])),
            Self::OverExposure => exposure::brighten(image, severity.of([0.5, 1.0, 1.5, 2.0, 2.5])),
            Self::Fog => fog::add(random, image, severity.of([0.3, 0.5, 0.7, 1.0, 1.35])),
            Self::Jpeg => compress(image, severity.of([25, 18, 15, 10, 7]))?,
            Self::Dirt => dirt::add(random, image, severity.of([3, 6, 10, 15, 21])),
            Self::ColourCast => exposure::cast(random, image, severity.of([0.3, 0.6, 0.9, 1.2, 1.5])),
            Self::Rotation => rotation::rotate(random, image, severity.of([4.0, 8.0, 15.0, 25.0, 40.0])),
        }
        Ok(())
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Corruption {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|corruption| corruption.name() == name);
        found.ok_or_else(|| DataError::unknown("corruption", name, Self::ALL.map(Self::name)))
    }
}

/// Severity of a [`Corruption`]: from 1, mild, to 5, hard for people to recognise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Severity(u8);

impl Severity {
    /// 1 to 5.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The number, 1 to 5.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Selects a corruption's level at this severity.
    fn of<T: Copy>(self, levels: [T; 5]) -> T {
        levels[usize::from(self.0) - 1]
    }
}

impl TryFrom<u8> for Severity {
    type Error = DataError;

    fn try_from(number: u8) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|severity| severity.0 == number).ok_or(DataError::Severity { found: number })
    }
}

impl From<Severity> for u8 {
    fn from(severity: Severity) -> Self {
        severity.0
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Length in this image of one pixel of an image with a shorter side of 224.
fn unit(image: &RgbImage) -> f32 {
    image.width().min(image.height()) as f32 / 224.0
}
