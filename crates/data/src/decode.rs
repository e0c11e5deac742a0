//! Image files to pixels.

use crate::error::DataError;
use crate::frame::{PixelFormat, Pixels};
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage, Rgba};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Names of image files end in one of these, in any case.
pub const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// The most pixels of an image that is decoded. An image that claims more is refused before memory for its
/// pixels is taken.
pub const MAX_PIXELS: u64 = 1 << 26;
/// The most bytes of an image file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 28;
/// JPEG quality of a thumbnail.
const THUMBNAIL_QUALITY: u8 = 70;
/// The most bytes that a decoder may allocate, its output included.
const MAX_DECODER_BYTES: u64 = 4 * MAX_PIXELS + (1 << 26);

/// Decodes a JPEG, PNG or WebP image to upright RGB: the orientation that a camera noted is applied, transparent pixels
/// are drawn on white, 16-bit channels become 8-bit.
///
/// JPEG is always decoded in full. Half of that is Huffman decoding, which a decode at 1/2, 1/4 or 1/8 needs as well, and
/// the pure Rust decoders that can scale are slower at it: of 1920 × 1080 images at quality 90, jpeg-decoder's quarter
/// takes 1.2 times the CPU of the full decode here where colours are not subsampled, 0.9 times at 4:2:2 and 0.8 times at
/// 4:2:0. That is too little for a second decoder whose pixels differ.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, DataError> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.with_guessed_format().map_err(image::ImageError::from)?.into_decoder()?;
    check_size(decoder.dimensions())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() { on_white(&image) } else { image.into_rgb8() })
}

/// Reads the file, refusing one that is too long to be an image.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(DataError::LargeFile { bytes, limit: MAX_FILE_BYTES }.of(path));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    file.take(MAX_FILE_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Reads and decodes the file.
pub(crate) fn open(path: &Path) -> Result<RgbImage, DataError> {
    decode(&read(path)?).map_err(|error| error.of(path))
}

/// The image of a file as a JPEG whose longer side has at most that many pixels.
///
/// # Errors
/// If the file can't be read, is no image, or can't be encoded.
pub fn thumbnail(path: &Path, side: u32) -> Result<Vec<u8>, DataError> {
    let image = DynamicImage::ImageRgb8(open(path)?).thumbnail(side, side).into_rgb8();
    let mut bytes = Vec::new();
    let encoded = JpegEncoder::new_with_quality(&mut bytes, THUMBNAIL_QUALITY).encode_image(&image);
    encoded.map_err(|error| DataError::from(error).of(path))?;
    Ok(bytes)
}

/// The decoded image as a frame's pixels.
pub(crate) fn pixels(image: &RgbImage) -> Pixels<'_> {
    Pixels::packed(image.as_raw(), PixelFormat::Rgb8, image.width(), image.height())
}

impl DataError {
    /// The same, of a file.
    pub(crate) fn of(self, path: &Path) -> Self {
        Self::Image { path: path.into(), source: Box::new(self) }
    }
}

fn check_size((width, height): (u32, u32)) -> Result<(), DataError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(DataError::EmptyFrame { width, height }),
        pixels if pixels > MAX_PIXELS => Err(DataError::TooLarge { width, height, limit: MAX_PIXELS }),
        _ => Ok(()),
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
