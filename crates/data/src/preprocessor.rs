//! Preprocessor: resizes, crops and normalises frames to the network's input.

use crate::decode;
use crate::error::DataError;
use crate::frame::{Frame, Pixels};
use crate::image_buffer::ImageBuffer;
use crate::resampler::{Resampler, Window};
use fieldfit_tensor::{Fit, Preprocessing};
use image::RgbImage;

/// Maximum side of a network's input, in pixels.
const MAX_SIZE: u32 = 4096;

/// Preprocessor: turns frames into a network's input, `[rows, columns, 3]`, and reuses its buffers.
///
/// For a square, the image's shorter side is scaled to `size / crop` pixels and the `size × size` in its centre are taken;
/// else the [whole frame](Fit::Whole) is. Both are one resampling of 8-bit values with antialiasing, as Pillow resizes and
/// crops; then `(value − mean) / std` per channel.
/// Pixels with packed rows are read in place. Once buffers have grown, nothing is allocated for them but the coefficients of the
/// resampling: a few hundred bytes a row and a column of the input. An encoded frame takes what its decoder takes.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    /// Rows and columns of the input.
    input: [u32; 2],
    fit: Fit,
    crop: f32,
    mean: [f32; 3],
    std: [f32; 3],
    resampler: Resampler,
    /// Normalised value of each 8-bit value, per channel.
    table: Vec<[f32; 3]>,
}

impl Preprocessor {
    /// Preprocessor for inputs of `size` rows, with a model's fit, mean, std and filter. A square covers `crop` of the shorter
    /// side.
    ///
    /// # Errors
    /// If a side is not 1 to 4096 or the crop not above 0 and at most 1.
    pub fn new(recipe: &Preprocessing, size: u32, crop: f32) -> Result<Self, DataError> {
        let input = recipe.input(size);
        let is_possible = input.iter().all(|side| (1..=MAX_SIZE).contains(side)) && crop > 0.0 && crop <= 1.0;
        if !is_possible {
            return Err(DataError::Recipe { size, crop });
        }
        let Preprocessing { mean, std, .. } = *recipe;
        let normalised = |value: u8| std::array::from_fn(|channel| (f32::from(value) - mean[channel]) / std[channel]);
        Ok(Self {
            input,
            fit: recipe.fit,
            crop,
            mean,
            std,
            resampler: Resampler::new(input, recipe.filter),
            table: (0..=255).map(normalised).collect(),
        })
    }

    /// Rows and columns of the network's input, in pixels.
    pub const fn input(&self) -> [usize; 2] {
        let [rows, columns] = self.input;
        [rows as usize, columns as usize]
    }

    /// Number of values of the network's input: `rows · columns · 3`.
    pub const fn values(&self) -> usize {
        let [rows, columns] = self.input();
        rows * columns * 3
    }

    /// Writes the frame as the network's input, `[rows, columns, 3]`, red first.
    ///
    /// # Errors
    /// If the frame's description does not fit its data, encoded bytes can't be decoded, or `out` has another length.
    pub fn prepare(&mut self, frame: &Frame, out: &mut [f32]) -> Result<(), DataError> {
        match frame {
            Frame::Pixels(pixels) => self.prepare_pixels(pixels, out),
            Frame::Encoded(bytes) => self.prepare_pixels(&decode::pixels(&decode::decode(bytes)?), out),
        }
    }

    pub(crate) fn prepare_pixels(&mut self, pixels: &Pixels, out: &mut [f32]) -> Result<(), DataError> {
        pixels.check()?;
        self.check_output(out)?;
        let window = self.window(pixels.width, pixels.height);
        self.resampler.resample(pixels, &window)?;
        self.normalise(out);
        Ok(())
    }

    /// Resamples a window of checked pixels to the network's size.
    pub(crate) fn crop(&mut self, pixels: &Pixels, window: &Window, buffer: &mut ImageBuffer) -> Result<(), DataError> {
        self.resampler.resample(pixels, window)?;
        buffer.fill(self.resampler.colours());
        Ok(())
    }

    /// Writes an image buffer as the network's input.
    pub(crate) fn normalise_buffer(&self, buffer: &ImageBuffer, out: &mut [f32]) -> Result<(), DataError> {
        self.check_output(out)?;
        for (out, pixel) in out.chunks_exact_mut(3).zip(buffer.pixels()) {
            for channel in 0..3 {
                out[channel] = (pixel[channel] - self.mean[channel]) / self.std[channel];
            }
        }
        Ok(())
    }

    /// Returns the picture that an input of the network shows, whose values were normalised: 8-bit values, rounded.
    ///
    /// # Errors
    /// If the input has another length than [`values`](Self::values).
    pub fn picture(&self, input: &[f32]) -> Result<RgbImage, DataError> {
        self.check_output(input)?;
        let [rows, columns] = self.input;
        let mut picture = RgbImage::new(columns, rows);
        for (pixel, values) in picture.pixels_mut().zip(input.chunks_exact(3)) {
            let value = |channel: usize| values[channel] * self.std[channel] + self.mean[channel];
            pixel.0 = std::array::from_fn(|channel| value(channel).round().clamp(0.0, 255.0) as u8);
        }
        Ok(picture)
    }

    /// Window of inference, in the pixels of the original image.
    pub(crate) fn window(&self, width: u32, height: u32) -> Window {
        match self.fit {
            Fit::Crop => self.centre(width, height),
            Fit::Whole { .. } => Window::whole(width, height),
        }
    }

    /// Centre crop of inference, in the pixels of the original image.
    fn centre(&self, width: u32, height: u32) -> Window {
        let (shorter, [size, _]) = (width.min(height), self.input);
        // In f32, as the crop is: 128 / 0.8 is then 160, not a little less.
        let scaled_shorter = (size as f32 / self.crop).floor() as u64;
        let span = |side: u32| {
            let scaled = scaled_shorter * u64::from(side) / u64::from(shorter);
            let margin = ((scaled - u64::from(size)) as f64 / 2.0).round_ties_even();
            let original = |length: f64| length * f64::from(side) / scaled as f64;
            let length = original(f64::from(size));
            (off_centres(original(margin), length, size), length)
        };
        let ((left, width), (top, height)) = (span(width), span(height));
        Window { left, top, width, height }
    }

    fn check_output(&self, out: &[f32]) -> Result<(), DataError> {
        if out.len() != self.values() {
            return Err(DataError::Output { input: self.input, expected: self.values(), found: out.len() });
        }
        Ok(())
    }

    fn normalise(&self, out: &mut [f32]) {
        let table = |value: u8| &self.table[usize::from(value)];
        for (out, [red, green, blue]) in out.chunks_exact_mut(3).zip(self.resampler.colours()) {
            out.copy_from_slice(&[table(red)[0], table(green)[1], table(blue)[2]]);
        }
    }
}

/// Start of a span of pixels that is resampled to `size` pixels, moved by a millionth of a pixel off pixel centres.
///
/// When the resampler enlarges, and the first or the last pixel it makes is centred on one of the image, it leaves out
/// that one's neighbours, whose weights are 0, and then takes them to be absent for the next pixel, too.
fn off_centres(start: f64, length: f64, size: u32) -> f64 {
    const NUDGE: f64 = 1e-6;
    let scale = length / f64::from(size);
    let is_on_centre = |position: f64| {
        let centre = start + (position + 0.5) * scale - 0.5;
        (centre - centre.round()).abs() < NUDGE / 4.0
    };
    let is_whole_image_at_its_size = start == 0.0 && length == f64::from(size);
    let is_enlarged = scale < 1.0 + f64::EPSILON * length;
    if is_enlarged && !is_whole_image_at_its_size && (is_on_centre(0.0) || is_on_centre(f64::from(size - 1))) {
        start + NUDGE
    } else {
        start
    }
}
