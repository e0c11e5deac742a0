//! Encoder: whole images as JPEG, which a collection stores and reports show.

use crate::error::DataError;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, RgbImage};

/// JPEG quality of a thumbnail.
const THUMBNAIL_QUALITY: u8 = 70;

/// Encodes an image as JPEG, at a quality of 1 to 100.
///
/// # Errors
/// [`DataError::Decode`] if the encoder refuses the image: a side of more than 65535 pixels.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image)?;
    Ok(bytes)
}

/// Encodes a thumbnail of an image: a JPEG whose longer side has at most `side` pixels.
///
/// # Errors
/// As [`encode_jpeg`].
pub fn encode_thumbnail(image: RgbImage, side: u32) -> Result<Vec<u8>, DataError> {
    encode_jpeg(&DynamicImage::ImageRgb8(image).thumbnail(side, side).into_rgb8(), THUMBNAIL_QUALITY)
}
