//! Preprocessor: resizes, crops and normalises frames to the network's input.

use crate::decode;
use crate::error::DataError;
use crate::frame::{Frame, Pixels};
use crate::image_buffer::ImageBuffer;
use crate::resampler::{Resampler, Window};
use fieldfit_tensor::Preprocessing;

/// Maximum side of a network's input, in pixels.
const MAX_SIZE: u32 = 4096;

/// Preprocessor: turns frames into a network's input, `[size, size, 3]`, and reuses its buffers.
///
/// The image's shorter side is scaled to `size / crop` pixels and the `size × size` in its centre are taken, in one
/// resampling of 8-bit values with antialiasing, as Pillow resizes and crops; then `(value − mean) / std` per channel.
/// Pixels with packed rows are read in place. Once buffers have grown, nothing is allocated for them but the coefficients of the
/// resampling: a few hundred bytes a row and a column of the input. An encoded frame takes what its decoder takes.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    size: u32,
    crop: f32,
    mean: [f32; 3],
    std: [f32; 3],
    resampler: Resampler,
    /// Normalised value of each 8-bit value, per channel.
    table: Vec<[f32; 3]>,
}

impl Preprocessor {
    /// Preprocessor for inputs of `size × size` pixels that cover `crop` of the shorter side, with a model's mean, std and
    /// filter.
    ///
    /// # Errors
    /// If the size is not 1 to 4096 or the crop not above 0 and at most 1.
    pub fn new(recipe: &Preprocessing, size: u32, crop: f32) -> Result<Self, DataError> {
        let is_possible = (1..=MAX_SIZE).contains(&size) && crop > 0.0 && crop <= 1.0;
        if !is_possible {
            return Err(DataError::Recipe { size, crop });
        }
        let Preprocessing { mean, std, .. } = *recipe;
        let normalised = |value: u8| std::array::from_fn(|channel| (f32::from(value) - mean[channel]) / std[channel]);
        Ok(Self {
            size,
            crop,
            mean,
            std,
            resampler: Resampler::new(size, recipe.filter),
            table: (0..=255).map(normalised).collect(),
        })
    }

    /// Side of the network's input, in pixels.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Number of values of the network's input: `size · size · 3`.
    pub const fn values(&self) -> usize {
        self.size as usize * self.size as usize * 3
    }

    /// Writes the frame as the network's input, `[size, size, 3]`, red first.
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
        let window = self.centre(pixels.width, pixels.height);
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

    /// Centre crop of inference, in the pixels of the original image.
    fn centre(&self, width: u32, height: u32) -> Window {
        let shorter = width.min(height);
        // In f32, as the crop is: 128 / 0.8 is then 160, not a little less.
        let scaled_shorter = (self.size as f32 / self.crop).floor() as u64;
        let span = |side: u32| {
            let scaled = scaled_shorter * u64::from(side) / u64::from(shorter);
            let margin = ((scaled - u64::from(self.size)) as f64 / 2.0).round_ties_even();
            let original = |length: f64| length * f64::from(side) / scaled as f64;
            let length = original(f64::from(self.size));
            (off_centres(original(margin), length, self.size), length)
        };
        let ((left, width), (top, height)) = (span(width), span(height));
        Window { left, top, width, height }
    }

    fn check_output(&self, out: &[f32]) -> Result<(), DataError> {
        if out.len() != self.values() {
            return Err(DataError::Output { size: self.size, expected: self.values(), found: out.len() });
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
