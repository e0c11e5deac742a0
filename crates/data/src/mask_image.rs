//! Mask encoder: PNG files of masks as palette images, and of masks drawn over their frames.

use crate::error::DataError;
use image::RgbImage;
use png::{BitDepth, ColorType, Encoder};

/// Returns the colour of a class, red, green and blue: that of PASCAL VOC's palette, whose neighbours differ.
pub fn class_colour(class: u8) -> [u8; 3] {
    let bit =
        |channel: usize, bit: usize| (class.checked_shr((3 * bit + channel) as u32).unwrap_or(0) & 1) << (7 - bit);
    std::array::from_fn(|channel| (0..3).fold(0, |value, position| value | bit(channel, position)))
}

/// Colours of all classes.
fn palette() -> [[u8; 3]; 256] {
    std::array::from_fn(|class| class_colour(class as u8))
}

/// Encodes a mask, row by row, as a palette PNG whose indices are the classes.
///
/// # Errors
/// If it has no pixels, or other than `width · height` of them.
pub fn encode_mask(width: u32, height: u32, classes: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(palette().concat());
    write(encoder, classes)?;
    Ok(bytes)
}

/// Encodes an image, half covered by the colours of a mask of its size, as an RGB PNG.
///
/// # Errors
/// If the mask has another number of pixels than the image, or there are none.
pub fn encode_overlay(image: &RgbImage, classes: &[u8]) -> Result<Vec<u8>, DataError> {
    let palette = palette();
    let mixed = |(value, colour): (u8, u8)| value.midpoint(colour);
    let pixels = image.pixels().zip(classes);
    let data: Vec<u8> =
        pixels.flat_map(|(pixel, class)| pixel.0.into_iter().zip(palette[usize::from(*class)]).map(mixed)).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    write(encoder, &data)?;
    Ok(bytes)
}

/// Text chunk of a PNG that [`encode_mask`] or [`encode_overlay`] made: its type, keyword and value.
const WRITTEN: &[u8] = b"tEXtSoftware\0fieldfit";

/// Returns whether a file that starts like this is a mask or an overlay that was encoded here, and not, say, the mask of a labelled
/// image.
pub fn is_written_mask(start: &[u8]) -> bool {
    start.windows(WRITTEN.len()).any(|window| window == WRITTEN)
}

fn write(mut encoder: Encoder<'_, &mut Vec<u8>>, data: &[u8]) -> Result<(), DataError> {
    let failed = |error: png::EncodingError| DataError::MaskFormat { reason: error.to_string() };
    encoder.add_text_chunk("Software".into(), "fieldfit".into()).map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(data).map_err(failed)?;
    writer.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use crate::frame::{Frame, PixelFormat, Pixels};

    /// Catches: classes that share a colour, or a palette that other tools draw differently.
    #[test]
    fn the_palette_is_pascal_vocs() {
        let palette = palette();
        assert_eq!(palette[..4], [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]);
        assert_eq!((palette[15], palette[255]), ([192, 128, 128], [224, 224, 192]));
        let distinct: std::collections::BTreeSet<_> = palette.iter().collect();
        assert_eq!(distinct.len(), 256);
    }

    /// Catches: an overlay of another frame's pixels, colours in another order, a mask of another size that is drawn all the
    /// same.
    #[test]
    fn overlays_show_the_frame_under_the_mask() {
        let pixels = [10, 20, 30, 200, 100, 50];
        let frame = Frame::Pixels(Pixels::packed(&pixels, PixelFormat::Bgr8, 2, 1));
        let image = frame.to_rgb().unwrap();
        assert_eq!(image.as_raw(), &[30, 20, 10, 50, 100, 200]);
        let overlay = encode_overlay(&image, &[1, 2]).unwrap();
        assert_eq!(decode::decode(&overlay).unwrap().as_raw(), &[79, 10, 5, 25, 114, 100]);
        assert!(encode_overlay(&image, &[1]).is_err());
        assert!(encode_mask(2, 1, &[0, 1, 2]).is_err());
        let mask = encode_mask(2, 1, &[0, 1]).unwrap();
        assert_eq!(decode::decode(&mask).unwrap().as_raw(), &[0, 0, 0, 128, 0, 0]);
    }
}
