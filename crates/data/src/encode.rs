//! Encoder: whole images as JPEG, which a collection stores and reports show.

use crate::error::DataError;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

/// Encodes an image as JPEG, at a quality of 1 to 100.
///
/// # Errors
/// [`DataError::Decode`] if the encoder refuses the image: a side of more than 65535 pixels.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image)?;
    Ok(bytes)
}
