//! Conversion of whole frames to RGB, and their encoding as JPEG: what a collection of images stores and hashes.

use crate::decode;
use crate::error::DataError;
use crate::frame::{Frame, PixelFormat, Pixels};
use crate::yuv;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

/// Returns a frame as 8-bit RGB of its own size: pixels converted as [`PixelFormat`] says, an encoded image decoded, upright.
///
/// # Errors
/// If the frame's description does not fit its data, or encoded bytes can't be decoded.
pub fn to_rgb(frame: &Frame) -> Result<RgbImage, DataError> {
    match frame {
        Frame::Encoded(bytes) => decode::decode(bytes),
        Frame::Pixels(pixels) => from_pixels(pixels),
    }
}

/// Encodes an image as JPEG, at a quality of 1 to 100.
///
/// # Errors
/// [`DataError::Decode`] if the encoder refuses the image: a side of more than 65535 pixels.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image)?;
    Ok(bytes)
}

fn from_pixels(pixels: &Pixels<'_>) -> Result<RgbImage, DataError> {
    pixels.check()?;
    let Pixels { width, height, .. } = *pixels;
    let mut image = RgbImage::new(width, height);
    for (row, out) in image.as_flat_samples_mut().samples.chunks_exact_mut(3 * width as usize).enumerate() {
        let line = &pixels.data[row * pixels.stride..][..pixels.row_bytes()];
        match pixels.format {
            PixelFormat::Rgb8 => out.copy_from_slice(line),
            PixelFormat::Bgr8 => fill(out, line.as_chunks().0, |[blue, green, red]: [u8; 3]| [red, green, blue]),
            PixelFormat::Rgba8 => fill(out, line.as_chunks().0, |[red, green, blue, _]: [u8; 4]| [red, green, blue]),
            PixelFormat::Bgra8 => fill(out, line.as_chunks().0, |[blue, green, red, _]: [u8; 4]| [red, green, blue]),
            PixelFormat::Gray8 => fill(out, line.as_chunks().0, |[grey]: [u8; 1]| [grey; 3]),
            PixelFormat::Gray16 => fill(out, line.as_chunks().0, |bytes: [u8; 2]| [nearest(bytes); 3]),
            PixelFormat::Yuyv => fill_pairs(out, line, [0, 2, 1, 3]),
            PixelFormat::Uyvy => fill_pairs(out, line, [1, 3, 0, 2]),
            PixelFormat::Nv12 => {
                // `check` has made sure of the plane.
                let Some(chroma) = pixels.chroma else { continue };
                let colours = &chroma.data[row / 2 * chroma.stride..][..line.len()];
                for (column, (out, y)) in out.as_chunks_mut().0.iter_mut().zip(line).enumerate() {
                    let pair = column / 2 * 2;
                    *out = yuv::rgb(*y, colours[pair], colours[pair + 1]);
                }
            }
        }
    }
    Ok(image)
}

/// Fills a row pixel by pixel.
fn fill<const N: usize>(out: &mut [u8], line: &[[u8; N]], rgb: impl Fn([u8; N]) -> [u8; 3]) {
    for (out, pixel) in out.as_chunks_mut().0.iter_mut().zip(line) {
        *out = rgb(*pixel);
    }
}

/// Fills a row of which two pixels share their colour; `order` has the positions of Y, Y, U and V.
fn fill_pairs(out: &mut [u8], line: &[u8], [first, second, u, v]: [usize; 4]) {
    for ([one, two], bytes) in out.as_chunks_mut().0.as_chunks_mut().0.iter_mut().zip(line.as_chunks::<4>().0) {
        *one = yuv::rgb(bytes[first], bytes[u], bytes[v]);
        *two = yuv::rgb(bytes[second], bytes[u], bytes[v]);
    }
}

/// The nearest 8-bit value of one of 16 bits.
fn nearest(bytes: [u8; 2]) -> u8 {
    ((u32::from(u16::from_le_bytes(bytes)) + 128) / 257) as u8
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rows(frame: &Pixels) -> Vec<[u8; 3]> {
        to_rgb(&Frame::Pixels(*frame)).unwrap().pixels().map(|pixel| pixel.0).collect()
    }

    /// Catches: channels in the wrong order, padding read as pixels, 16 bits cut instead of rounded.
    #[test]
    fn packed_formats_keep_their_colours_and_skip_padding() {
        let padded =
            |format: PixelFormat, data: &[u8], stride| rows(&Pixels { stride, ..Pixels::packed(data, format, 1, 2) });
        let expected = vec![[10, 20, 30], [40, 50, 60]];
        assert_eq!(padded(PixelFormat::Rgb8, &[10, 20, 30, 99, 40, 50, 60], 4), expected);
        assert_eq!(padded(PixelFormat::Bgr8, &[30, 20, 10, 99, 60, 50, 40], 4), expected);
        assert_eq!(padded(PixelFormat::Rgba8, &[10, 20, 30, 9, 99, 40, 50, 60, 9], 5), expected);
        assert_eq!(padded(PixelFormat::Bgra8, &[30, 20, 10, 9, 99, 60, 50, 40, 9], 5), expected);
        assert_eq!(padded(PixelFormat::Gray8, &[7, 99, 8], 2), [[7; 3], [8; 3]]);
        assert_eq!(padded(PixelFormat::Gray16, &[0x7f, 0x01, 9, 0x81, 0x01], 3), [[1; 3], [1; 3]]);
        assert_eq!(padded(PixelFormat::Gray16, &[0x82, 0x01, 9, 0xff, 0xff], 3), [[2; 3], [255; 3]]);
    }

    /// Catches: colours of YUV formats taken from another pair, another row, or in the wrong order.
    #[test]
    fn yuv_formats_share_the_colours_of_their_blocks() {
        let pair = |y: u8| yuv::rgb(y, 90, 200);
        let other = |y: u8| yuv::rgb(y, 30, 40);
        let expected = [pair(50), pair(60), other(70), other(80)];
        let yuyv = [50, 90, 60, 200, 70, 30, 80, 40];
        assert_eq!(rows(&Pixels::packed(&yuyv, PixelFormat::Yuyv, 4, 1)), expected);
        let uyvy = [90, 50, 200, 60, 30, 70, 40, 80];
        assert_eq!(rows(&Pixels::packed(&uyvy, PixelFormat::Uyvy, 4, 1)), expected);
        let luma = [50, 60, 70, 80, 51, 61, 71, 81];
        let both = [expected.to_vec(), vec![pair(51), pair(61), other(71), other(81)]].concat();
        assert_eq!(rows(&Pixels::nv12(&luma, &[90, 200, 30, 40], 4, 2)), both);
    }

    /// Catches: a frame whose description lies that is read beyond its end.
    #[test]
    fn a_frame_that_does_not_fit_its_data_is_an_error() {
        assert!(to_rgb(&Frame::Pixels(Pixels::packed(&[0; 5], PixelFormat::Rgb8, 2, 1))).is_err());
        assert!(to_rgb(&Frame::Pixels(Pixels::packed(&[0; 8], PixelFormat::Nv12, 4, 2))).is_err());
        assert!(to_rgb(&Frame::Encoded(b"no image")).is_err());
    }
}
