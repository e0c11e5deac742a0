//! JPEG compression artefacts.

use crate::error::DataError;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};

/// Encodes the image as JPEG at a quality and decodes it again.
pub(crate) fn compress(image: &mut RgbImage, quality: u8) -> Result<(), DataError> {
    let failed = |source| DataError::Compress { width: image.width(), height: image.height(), source };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).map_err(failed)?;
    *image = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).map_err(failed)?.into_rgb8();
    Ok(())
}
