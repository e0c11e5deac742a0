//! Tests of preprocessing: the pixels that the network reads, and malformed frames.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use common::{RECIPE, preprocessor};
use fieldfit_data::{DataError, Frame, MAX_PIXELS, PixelFormat, Pixels, Preprocessor};
use fieldfit_tensor::{Filter, Fit, Preprocessing};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;

/// Values in 0..255, so that they compare with bytes.
const PLAIN: Preprocessing =
    Preprocessing { size: 6, fit: Fit::Crop, crop: 0.8, mean: [0.0; 3], std: [1.0; 3], filter: Filter::Bicubic };

/// Pillow 13's `resize((11, 7), BILINEAR)` of [`pattern`], then columns 2 to 7 and rows 0 to 5.
const PILLOW_BILINEAR: [u8; 108] = [
    74, 65, 12, 98, 130, 17, 121, 148, 21, 145, 79, 26, 169, 148, 31, 192, 114, 36, 113, 68, 35, 137, 133, 50, 160,
    151, 65, 184, 82, 80, 207, 151, 95, 205, 117, 110, 155, 72, 60, 179, 137, 87, 202, 155, 112, 203, 86, 138, 145,
    155, 164, 70, 121, 183, 198, 75, 87, 211, 140, 124, 175, 158, 161, 75, 89, 191, 43, 158, 172, 60, 124, 106, 174,
    78, 113, 92, 143, 162, 46, 161, 196, 56, 92, 136, 80, 161, 67, 103, 127, 98, 46, 82, 139, 51, 147, 192, 74, 165,
    138, 98, 96, 69, 122, 165, 120, 145, 131, 167,
];
/// The same with `BICUBIC`.
const PILLOW_BICUBIC: [u8; 108] = [
    71, 64, 10, 95, 136, 14, 118, 151, 18, 142, 70, 22, 166, 154, 26, 192, 110, 30, 112, 67, 35, 136, 139, 49, 158,
    154, 64, 185, 73, 79, 217, 157, 93, 220, 113, 108, 155, 71, 61, 180, 143, 87, 211, 158, 113, 219, 77, 139, 148,
    161, 172, 55, 117, 197, 206, 74, 87, 228, 146, 124, 185, 161, 163, 63, 80, 205, 26, 164, 183, 54, 120, 99, 185, 77,
    113, 87, 149, 163, 31, 164, 211, 49, 83, 138, 80, 167, 49, 103, 123, 88, 28, 81, 140, 43, 153, 205, 74, 168, 138,
    99, 87, 50, 123, 171, 120, 146, 127, 181,
];
/// Pillow's `resize((27, 21), BICUBIC)` of a 9 × 7 image of the same kind, then columns 10 to 16 and rows 7 to 13.
const PILLOW_ENLARGED: [u8; 147] = [
    47, 11, 54, 49, 13, 60, 52, 15, 66, 54, 18, 72, 56, 21, 78, 59, 24, 84, 61, 27, 90, 51, 11, 63, 53, 13, 70, 56, 15,
    77, 58, 18, 84, 60, 21, 91, 63, 24, 98, 65, 27, 105, 56, 12, 72, 58, 14, 80, 61, 16, 88, 63, 19, 96, 65, 22, 104,
    68, 25, 112, 70, 28, 120, 60, 12, 81, 62, 14, 90, 65, 16, 99, 67, 19, 108, 69, 22, 117, 72, 25, 126, 74, 28, 135,
    64, 12, 90, 66, 14, 100, 69, 16, 110, 71, 19, 120, 73, 22, 130, 76, 25, 139, 78, 28, 150, 69, 13, 99, 71, 15, 110,
    74, 17, 121, 76, 20, 132, 78, 23, 142, 81, 26, 153, 83, 29, 165, 73, 13, 108, 75, 15, 120, 78, 17, 132, 80, 20,
    144, 82, 23, 156, 85, 26, 168, 87, 29, 180,
];

fn pattern() -> RgbImage {
    let byte = |value: u32| (value % 256) as u8;
    RgbImage::from_fn(37, 23, |x, y| Rgb([byte(x * 7 + y * 13), byte(x * x + y), byte(x * y)]))
}

fn prepared(recipe: &Preprocessing, frame: Frame) -> Vec<f32> {
    let mut preprocessor = Preprocessor::new(recipe, recipe.size, recipe.crop).unwrap();
    let mut out = vec![f32::NAN; preprocessor.values()];
    preprocessor.prepare(&frame, &mut out).unwrap();
    out
}

fn refused(frame: Frame) -> DataError {
    let mut preprocessor = preprocessor();
    let mut out = vec![0.0; preprocessor.values()];
    preprocessor.prepare(&frame, &mut out).unwrap_err()
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Catches: another filter, a missing antialias, a crop that is off by a pixel, and a size rounded up.
#[test]
fn scaling_and_cropping_agree_with_pillow() {
    let image = pattern();
    let frame = Frame::Pixels(Pixels::packed(image.as_raw(), PixelFormat::Rgb8, 37, 23));
    for (filter, expected) in [(Filter::Bilinear, PILLOW_BILINEAR), (Filter::Bicubic, PILLOW_BICUBIC)] {
        let found = prepared(&Preprocessing { filter, ..PLAIN }, frame);
        assert_within_a_step(&found, &expected);
    }
}

/// Catches: the resampler's own fault with crops whose first pixel is centred on one of the image.
#[test]
fn enlarged_crops_agree_with_pillow() {
    let image = RgbImage::from_fn(9, 7, |x, y| Rgb([(x * 7 + y * 13) as u8, (x * x + y) as u8, (x * y * 9) as u8]));
    let recipe = Preprocessing { size: 7, crop: 1.0 / 3.0, ..PLAIN };
    let found = prepared(&recipe, Frame::Pixels(Pixels::packed(image.as_raw(), PixelFormat::Rgb8, 9, 7)));
    assert_within_a_step(&found, &PILLOW_ENLARGED);
}

/// One 8-bit step: both round between their two passes, not always to the same side.
fn assert_within_a_step(found: &[f32], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - f32::from(*expected)).abs() <= 1.0, "{position}: {found} {expected}");
    }
}

/// Catches: mean and std of another channel, or taken in 0..1.
#[test]
fn each_channel_has_its_own_mean_and_std() {
    let recipe = Preprocessing { mean: [10.0, 20.0, 30.0], std: [1.0, 2.0, 4.0], ..PLAIN };
    let image = RgbImage::from_pixel(9, 9, Rgb([100, 110, 120]));
    let values = prepared(&recipe, Frame::Pixels(Pixels::packed(image.as_raw(), PixelFormat::Rgb8, 9, 9)));
    assert!(values.chunks(3).all(|pixel| pixel == [90.0, 45.0, 22.5]));
}

/// Catches: channels in the wrong order and grey that fills one channel only.
#[test]
fn formats_of_the_same_picture_give_the_same_input() {
    let rgb = pattern();
    let bgr: Vec<u8> = rgb.pixels().flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
    let frame = |data, format| Frame::Pixels(Pixels::packed(data, format, 37, 23));
    assert_eq!(
        prepared(&PLAIN, frame(&bgr, PixelFormat::Bgr8)),
        prepared(&PLAIN, frame(rgb.as_raw(), PixelFormat::Rgb8))
    );

    let grey: Vec<u8> = rgb.pixels().map(|pixel| pixel[1]).collect();
    let tripled: Vec<u8> = grey.iter().flat_map(|value| [*value; 3]).collect();
    assert_eq!(
        prepared(&PLAIN, frame(&grey, PixelFormat::Gray8)),
        prepared(&PLAIN, frame(&tripled, PixelFormat::Rgb8))
    );
}

/// Catches: padding read as pixels; the last row may or may not be padded.
#[test]
fn padding_between_rows_is_skipped() {
    let image = pattern();
    let plain = prepared(&PLAIN, Frame::Pixels(Pixels::packed(image.as_raw(), PixelFormat::Rgb8, 37, 23)));
    let mut padded: Vec<u8> = image.as_raw().chunks(37 * 3).flat_map(|row| [row, &[255; 17]].concat()).collect();
    for _ in 0..2 {
        let pixels = Pixels { stride: 37 * 3 + 17, ..Pixels::packed(&padded, PixelFormat::Rgb8, 37, 23) };
        assert_eq!(prepared(&PLAIN, Frame::Pixels(pixels)), plain);
        padded.truncate(padded.len() - 17);
    }
}

/// Catches: a crop box that leaves the image by a rounding error, for any shape.
#[test]
fn images_of_any_shape_are_prepared() {
    let few = [(1, 1), (1, 300), (300, 1), (227, 227), (641, 479), (333, 1000)];
    let small = (1..40).flat_map(|width| (1..12).map(move |height| (width, height)));
    for (width, height) in few.into_iter().chain(small) {
        for (size, crop) in [(96, 0.875), (128, 0.8), (224, 1.0), (64, 2.0 / 3.0), (33, 0.5), (3, 0.95), (1, 0.1)] {
            let image = RgbImage::from_pixel(width, height, Rgb([50, 60, 70]));
            let recipe = Preprocessing { size, crop, ..PLAIN };
            let pixels = Pixels::packed(image.as_raw(), PixelFormat::Rgb8, width, height);
            let values = prepared(&recipe, Frame::Pixels(pixels));
            assert!(values.chunks(3).all(|pixel| pixel == [50.0, 60.0, 70.0]), "{width} × {height}, {size}, {crop}");
        }
    }
}

/// Catches: a format that can't be decoded, and decoded pixels that go another way than a camera's.
#[test]
fn encoded_frames_are_decoded() {
    let image = pattern();
    let pixels = prepared(&PLAIN, Frame::Pixels(Pixels::packed(image.as_raw(), PixelFormat::Rgb8, 37, 23)));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        assert_eq!(prepared(&PLAIN, Frame::Encoded(&encoded(image.clone(), format))), pixels);
    }
    let flat = encoded(RgbImage::from_pixel(20, 20, Rgb([200, 30, 90])), ImageFormat::Jpeg);
    for pixel in prepared(&PLAIN, Frame::Encoded(&flat)).chunks(3) {
        assert!(pixel.iter().zip([200.0, 30.0, 90.0]).all(|(found, expected)| (found - expected).abs() <= 3.0));
    }
}

/// Catches: transparent pixels drawn on black, or with the colour that happens to be stored under them.
#[test]
fn transparent_pixels_are_drawn_on_white() {
    for (alpha, expected) in [(0, [255.0; 3]), (255, [200.0, 0.0, 10.0]), (51, [244.0, 204.0, 206.0])] {
        let image = RgbaImage::from_pixel(8, 8, Rgba([200, 0, 10, alpha]));
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let values = prepared(&PLAIN, Frame::Encoded(&encoded(image.clone(), format)));
            assert!(values.chunks(3).all(|pixel| pixel == expected), "{alpha} {format:?} {:?}", &values[..3]);
        }
    }
}

/// Catches: a photo that lies on its side because its orientation tag is ignored.
#[test]
fn a_photo_is_turned_as_its_camera_noted() {
    let image = RgbImage::from_fn(16, 16, |_, y| Rgb([if y < 8 { 0 } else { 255 }; 3]));
    let mut upside_down = encoded(image, ImageFormat::Jpeg);
    // APP1: Exif, big-endian TIFF, one entry: orientation (0x112), short, 3 = rotated by 180°.
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
    upside_down.splice(2..2, exif.iter().copied());
    let values = prepared(&PLAIN, Frame::Encoded(&upside_down));
    assert!(values[0] > 250.0 && values[values.len() - 1] < 5.0, "{values:?}");
}

/// Catches: a frame whose data is read past its end, or whose width and height are swapped or mistaken.
#[test]
fn frames_that_are_not_what_they_say_are_refused() {
    let data = [0; 60];
    let frame = |data, width, height, stride| {
        Frame::Pixels(Pixels { stride, ..Pixels::packed(data, PixelFormat::Rgb8, width, height) })
    };
    assert_eq!(refused(frame(&data, 0, 5, 0)).to_string(), "the frame is 0 × 5 pixels: both sides must be at least 1");
    assert!(matches!(refused(frame(&data, 5, 0, 15)), DataError::EmptyFrame { width: 5, height: 0 }));
    assert_eq!(
        refused(frame(&data, 4, 5, 11)).to_string(),
        "the frame's stride is 11 bytes, but a row of 4 Rgb8 pixels takes 12"
    );
    let short = refused(frame(&data[..59], 4, 5, 12));
    assert!(matches!(short, DataError::Length { expected: 60, found: 59, .. }));
    assert!(short.to_string().starts_with("the frame has 59 bytes, but 4 × 5 pixels at a stride of 12 bytes take 60"));
    assert!(matches!(refused(frame(&data, 4, 4, 12)), DataError::Length { expected: 48, found: 60, .. }));
    let huge = refused(frame(&data, u32::MAX, u32::MAX, usize::MAX));
    assert!(matches!(huge, DataError::Length { found: 60, .. }));
}

/// Catches: a buffer of another size that is filled in part.
#[test]
fn a_buffer_of_another_size_is_refused() {
    let image = pattern();
    let frame = Frame::Pixels(Pixels::packed(image.as_raw(), PixelFormat::Rgb8, 37, 23));
    let error = preprocessor().prepare(&frame, &mut [0.0; 12]).unwrap_err();
    assert_eq!(error.to_string(), "the buffer has 12 values, but the network's input of 16 × 16 × 3 has 768");
}

/// Catches: sizes and crops that would divide by zero or crop outside the image.
#[test]
fn impossible_recipes_are_refused() {
    for (size, crop) in [(0, 0.875), (4097, 0.875), (96, 0.0), (96, -1.0), (96, 1.1), (96, f32::NAN)] {
        assert!(matches!(Preprocessor::new(&RECIPE, size, crop), Err(DataError::Recipe { .. })), "{size} {crop}");
    }
}

/// Catches: bytes that are no image, an image that is cut short, and a decoder that panics on either.
#[test]
fn bytes_that_are_no_image_are_refused() {
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
        let whole = encoded(pattern(), format);
        for length in [0, 1, 4, 12, 30, whole.len() / 4] {
            let error = refused(Frame::Encoded(&whole[..length]));
            assert!(
                matches!(error, DataError::Decode(_) | DataError::Truncated { .. }),
                "{format:?} {length}: {error}"
            );
        }
    }
    for bytes in [&b"GIF89a"[..], b"no image at all"] {
        let text = refused(Frame::Encoded(bytes)).to_string();
        assert!(text.starts_with("not a readable JPEG, PNG, WebP, BMP, TIFF or GIF image: "), "{text}");
    }
}

/// Catches: a small file that claims a huge image and takes all memory.
#[test]
fn a_file_that_claims_too_many_pixels_is_refused() {
    let mut png = encoded(RgbImage::new(1, 1), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = refused(Frame::Encoded(&png));
    assert!(
        matches!(error, DataError::TooLarge { width: 65_536, height: 65_536, limit: MAX_PIXELS })
            || matches!(error, DataError::Decode(image::ImageError::Limits(_))),
        "{error:?}"
    );
}

/// PNG's checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

/// Catches: a picture of an input with another channel's mean or deviation, or with rows and columns exchanged.
#[test]
fn a_picture_of_an_input_is_what_was_resized() {
    let recipe = Preprocessing { mean: [120.0, 110.0, 100.0], std: [60.0, 50.0, 40.0], ..PLAIN };
    let recipe = Preprocessing { size: 6, fit: Fit::Whole { width: 9 }, ..recipe };
    let mut preprocessor = Preprocessor::new(&recipe, recipe.size, recipe.crop).unwrap();
    let mut input = vec![0.0; preprocessor.values()];
    let image = pattern();
    let pixels = Pixels::packed(image.as_raw(), PixelFormat::Rgb8, image.width(), image.height());
    preprocessor.prepare(&Frame::Pixels(pixels), &mut input).unwrap();
    let picture = preprocessor.picture(&input).unwrap();
    let plain = Preprocessing { mean: [0.0; 3], std: [1.0; 3], ..recipe };
    let expected = prepared(&plain, Frame::Pixels(pixels));
    assert_eq!([picture.height(), picture.width()], preprocessor.input().map(|side| side as u32));
    assert!(picture.as_raw().iter().zip(expected).all(|(found, expected)| f32::from(*found) == expected));
    assert!(preprocessor.picture(&input[1..]).is_err());
}
