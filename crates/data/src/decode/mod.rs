//! Image decoder: JPEG, PNG, WebP, BMP, TIFF and GIF files to upright 8-bit RGB.

mod format;
mod jpeg;
mod webp;

use crate::error::{DataError, foreign};
use crate::frame::{PixelFormat, Pixels};
use fieldfit_durable::{BoundedReadError, read_bounded};
pub use format::{EXTENSIONS, encoded_extension};
pub(crate) use format::{ForeignFormat, foreign_by_name, is_decodable};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage, Rgba};
use std::io::Cursor;
use std::path::Path;

/// Maximum pixels of an image that is decoded. An image that claims more is refused before memory for its pixels is taken.
pub const MAX_PIXELS: u64 = 1 << 26;
/// Maximum bytes of an image file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 28;
/// Maximum bytes that a decoder may allocate, its output included.
const MAX_DECODER_BYTES: u64 = 4 * MAX_PIXELS + (1 << 26);

/// Decodes an image file to upright RGB: the orientation that a camera noted is applied, transparent pixels are drawn on
/// white, 16-bit channels become 8-bit, and of an animation or a file of several pages the first image is taken.
///
/// JPEG is always decoded in full. Half of that is Huffman decoding, which a decode at 1/2, 1/4 or 1/8 needs as well, and
/// the pure Rust decoders that can scale are slower at it: of 1920 × 1080 images at quality 90, jpeg-decoder's quarter
/// takes 1.2 times the CPU of the full decode where colours are not subsampled, 0.9 times at 4:2:2 and 0.8 times at
/// 4:2:0. That is too little for a second decoder whose pixels differ.
///
/// # Errors
/// [`DataError::ForeignFormat`], [`DataError::Truncated`], [`DataError::TooLarge`], or [`DataError::Decode`] for all else.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, DataError> {
    if let Some(format) = format::foreign_by_content(bytes) {
        return Err(foreign(format));
    }
    let (mut image, orientation) =
        if bytes.starts_with(jpeg::MAGIC) { jpeg::decode(bytes)? } else { decode_other(bytes)? };
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() { on_white(&image) } else { image.into_rgb8() })
}

/// Decodes all formats but JPEG.
fn decode_other(bytes: &[u8]) -> Result<(DynamicImage, Orientation), DataError> {
    if webp::is_webp(bytes) && webp::is_truncated(bytes) {
        return Err(DataError::Truncated { format: "WebP" });
    }
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.with_guessed_format().map_err(image::ImageError::from)?.into_decoder()?;
    check_size(decoder.dimensions())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Reads an image file; refuses one that is too long for an image, and pipes and devices, without waiting on them.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    read_bounded(path, MAX_FILE_BYTES).map_err(|error| match error {
        BoundedReadError::Io { path, source } => DataError::Read { path, source },
        BoundedReadError::TooLarge { path, bytes, limit } => DataError::LargeFile { bytes, limit }.of(&path),
        BoundedReadError::NotRegular { path, found } => DataError::NotRegular { found }.of(&path),
        error => DataError::Read { path: path.to_owned(), source: std::io::Error::other(error) },
    })
}

/// Reads and decodes an image file.
pub(crate) fn open(path: &Path) -> Result<RgbImage, DataError> {
    decode(&read(path)?).map_err(|error| error.of(path))
}

/// Borrows a decoded image as a frame's pixels.
pub(crate) fn pixels(image: &RgbImage) -> Pixels<'_> {
    Pixels::packed(image.as_raw(), PixelFormat::Rgb8, image.width(), image.height())
}

impl DataError {
    /// Adds the file's path to an error.
    pub(crate) fn of(self, path: &Path) -> Self {
        Self::Image { path: path.into(), source: Box::new(self) }
    }
}

fn check_size((width, height): (u32, u32)) -> Result<(), DataError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(DataError::EmptyFrame { width, height }),
        pixels if pixels > MAX_PIXELS => Err(DataError::TooLarge { width, height, limit: MAX_PIXELS }),
        _within => Ok(()),
    }
}

fn on_white(image: &DynamicImage) -> RgbImage {
    let source = image.to_rgba8();
    let mut white = RgbImage::new(source.width(), source.height());
    for (out, Rgba([red, green, blue, alpha])) in white.pixels_mut().zip(source.pixels()) {
        out.0 = [red, green, blue].map(|channel| over_white(*channel, *alpha));
    }
    white
}

/// The rounded mix of a channel and white.
fn over_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}
