//! JPEG decoder: zune-jpeg, set up so that missing image data is an error instead of grey or repeated pixels.
//!
//! A decoder that runs out of entropy-coded data fills the rest of the image and reports success, also where an end marker
//! follows. Here the data of each segment is followed by bytes of ones before the decoder sees it. No Huffman code
//! consists of ones alone (ITU-T T.81, C.2), so that a decoder in strict mode fails as soon as it needs more than there
//! was, while a whole image never reads as far. That costs a search for markers and one copy of the file, and no second
//! Huffman decoding.

mod outline;

use super::check_size;
use crate::error::DataError;
use image::error::{DecodingError, ImageFormatHint, UnsupportedError, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageError, ImageFormat, RgbImage};
use outline::Outline;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// First bytes of a JPEG file: the start marker, and the next one's first byte.
pub(super) const MAGIC: &[u8] = b"\xff\xd8\xff";

/// Bytes of ones, each followed by the zero that tells it from a marker (T.81, F.1.2.3): longer than what a decoder reads
/// ahead, 8 bytes, and than the rest of a symbol that the end of the data cuts.
const ONES: [u8; 32] = [
    255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0,
    255, 0, 255, 0,
];
const ZEROS: [u8; 32] = [0; 32];
const END_MARKER: [u8; 2] = [0xff, 0xd9];

/// Decodes a JPEG file to 8-bit grey or RGB pixels, with the orientation that the camera noted.
///
/// # Errors
/// [`DataError::Truncated`] if image data is missing, [`DataError::Decode`] if the file is malformed or of a kind that is not
/// decoded, such as lossless or arithmetic coding, [`DataError::TooLarge`] before memory for too many pixels is taken.
pub(super) fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), DataError> {
    let Some(outline) = Outline::parse(bytes) else { return decode_stream(bytes, false) };
    if outline.lacks_scans() {
        return Err(TRUNCATED);
    }
    if !outline.can_be_padded() {
        // Each component in a scan of its own, one after the other: the decoder looks for the next scan right behind.
        return if outline.has_end_marker { decode_stream(bytes, false) } else { Err(TRUNCATED) };
    }
    let decoded = decode_stream(&outline.padded(bytes, &ONES), true);
    if outline.has_end_marker {
        return decoded;
    }
    let decoded = decoded.map_err(|error| match error {
        DataError::Decode(ImageError::Decoding(_)) => TRUNCATED,
        error => error,
    })?;
    // Ones may complete the run that a progressive scan ends with: the image is whole if other bits give the same.
    let is_whole = !outline.is_progressive
        || decode_stream(&outline.padded(bytes, &ZEROS), true).is_ok_and(|other| other == decoded);
    if is_whole { Ok(decoded) } else { Err(TRUNCATED) }
}

const TRUNCATED: DataError = DataError::Truncated { format: "JPEG" };

fn decode_stream(bytes: &[u8], is_strict: bool) -> Result<(DynamicImage, Orientation), DataError> {
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(image_error)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    check_size((width, height))?;
    let input = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let output = if input == ColorSpace::Luma { ColorSpace::Luma } else { ColorSpace::RGB };
    // Strict mode also refuses a colour space that does not fit the components, which is no question of missing data.
    let is_consistent = decoder.info().is_some_and(|info| usize::from(info.components) == input.num_components());
    decoder.set_options(options.jpeg_set_out_colorspace(output).set_strict_mode(is_strict && is_consistent));
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap_or_default()];
    decoder.decode_into(&mut pixels).map_err(image_error)?;
    let image = match output {
        ColorSpace::Luma => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        _rgb => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
    };
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let image = image.ok_or(DataError::EmptyFrame { width, height })?;
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// The error as the `image` crate reports it for its own decoders.
fn image_error(error: DecodeErrors) -> ImageError {
    let format = || ImageFormatHint::Exact(ImageFormat::Jpeg);
    match error {
        DecodeErrors::Unsupported(scheme) => {
            let feature = UnsupportedErrorKind::GenericFeature(format!("{scheme:?}"));
            ImageError::Unsupported(UnsupportedError::from_format_and_kind(format(), feature))
        }
        error => ImageError::Decoding(DecodingError::new(format(), error)),
    }
}
