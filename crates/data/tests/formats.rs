//! Tests of camera formats: the input that frames of every pixel format give, and parts of frames.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use fieldfit_data::{DataError, Frame, PixelFormat, Pixels, Plane, Preprocessor, Rect};
use fieldfit_tensor::{Filter, Fit, Preprocessing};

const RECIPE: Preprocessing =
    Preprocessing { size: 12, fit: Fit::Crop, crop: 1.0, mean: [0.0; 3], std: [1.0; 3], filter: Filter::Bilinear };
const WIDTH: u32 = 48;
const HEIGHT: u32 = 32;

fn prepared(pixels: Pixels<'_>) -> Vec<f32> {
    let mut preprocessor = Preprocessor::new(&RECIPE, RECIPE.size, RECIPE.crop).unwrap();
    let mut out = vec![f32::NAN; preprocessor.values()];
    preprocessor.prepare(&Frame::Pixels(pixels), &mut out).unwrap();
    out
}

/// A smooth YUV picture: brightness per pixel, colours per 2 × 2 pixels.
struct Picture {
    luma: Vec<u8>,
    chroma: Vec<[u8; 2]>,
}

impl Picture {
    fn new() -> Self {
        let each = |width: u32, height: u32| (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)));
        let luma = each(WIDTH, HEIGHT).map(|(x, y)| (60 + 3 * x - y) as u8).collect();
        let chroma = each(WIDTH / 2, HEIGHT / 2).map(|(x, y)| [(100 + 2 * x) as u8, (150 - 3 * y) as u8]).collect();
        Self { luma, chroma }
    }

    /// Brightness and colours of a pixel.
    fn at(&self, x: u32, y: u32) -> (u8, [u8; 2]) {
        (self.luma[(y * WIDTH + x) as usize], self.chroma[(y / 2 * (WIDTH / 2) + x / 2) as usize])
    }

    /// The same picture as RGB by BT.601 in f64.
    fn rgb(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (luma, [u, v]) = self.at(x, y);
                let (luma, u, v) = (1.164_384 * (f64::from(luma) - 16.0), f64::from(u) - 128.0, f64::from(v) - 128.0);
                let colours = [luma + 1.596_027 * v, luma - 0.391_762 * u - 0.812_968 * v, luma + 2.017_232 * u];
                bytes.extend(colours.map(|colour| colour.clamp(0.0, 255.0).round() as u8));
            }
        }
        bytes
    }

    /// Two pixels in four bytes, in the order of `pack`.
    fn packed(&self, pack: impl Fn([u8; 4]) -> [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for y in 0..HEIGHT {
            for x in (0..WIDTH).step_by(2) {
                let (first, [u, v]) = self.at(x, y);
                bytes.extend(pack([first, u, self.at(x + 1, y).0, v]));
            }
        }
        bytes
    }
}

/// Two 8-bit steps: the picture is scaled before its colours are converted, or after, and each step rounds.
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 2.0, "{what}, value {position}: {found} {expected}");
    }
}

/// Catches: U and V exchanged, brightness read as colour, colours that lie half a block beside their pixels, a plane whose
/// rows are read at the other's stride.
#[test]
fn yuv_formats_give_the_input_of_the_same_rgb_picture() {
    let picture = Picture::new();
    let rgb = picture.rgb();
    let expected = prepared(Pixels::packed(&rgb, PixelFormat::Rgb8, WIDTH, HEIGHT));
    let yuyv = picture.packed(|bytes| bytes);
    assert_close(&prepared(Pixels::packed(&yuyv, PixelFormat::Yuyv, WIDTH, HEIGHT)), &expected, "YUYV");
    let uyvy = picture.packed(|[first, u, second, v]| [u, first, v, second]);
    assert_close(&prepared(Pixels::packed(&uyvy, PixelFormat::Uyvy, WIDTH, HEIGHT)), &expected, "UYVY");
    let chroma = picture.chroma.concat();
    let nv12 = Pixels::nv12(&picture.luma, &chroma, WIDTH, HEIGHT);
    assert_close(&prepared(nv12), &expected, "NV12");

    let pad = |rows: &[u8], padding: usize| -> Vec<u8> {
        rows.chunks(WIDTH as usize).flat_map(|row| [row, &vec![255; padding]].concat()).collect()
    };
    let (luma, chroma) = (pad(&picture.luma, 16), pad(&chroma, 8));
    let plane = Plane { data: &chroma, stride: WIDTH as usize + 8 };
    let padded = Pixels { data: &luma, stride: WIDTH as usize + 16, chroma: Some(plane), ..nv12 };
    assert_eq!(prepared(padded), prepared(nv12));
}

/// Catches: an alpha that colours are multiplied with, channels in the wrong order, the high byte of a grey value taken for
/// the low one.
#[test]
fn other_formats_give_the_input_of_the_same_picture() {
    let rgb = Picture::new().rgb();
    let expected = prepared(Pixels::packed(&rgb, PixelFormat::Rgb8, WIDTH, HEIGHT));
    let alpha = |order: [usize; 3]| -> Vec<u8> {
        let pixels = rgb.chunks(3).enumerate();
        pixels.flat_map(|(index, pixel)| [pixel[order[0]], pixel[order[1]], pixel[order[2]], index as u8]).collect()
    };
    let rgba = alpha([0, 1, 2]);
    assert_eq!(prepared(Pixels::packed(&rgba, PixelFormat::Rgba8, WIDTH, HEIGHT)), expected);
    let bgra = alpha([2, 1, 0]);
    assert_eq!(prepared(Pixels::packed(&bgra, PixelFormat::Bgra8, WIDTH, HEIGHT)), expected);

    let grey: Vec<u8> = rgb.iter().copied().step_by(3).collect();
    // Within half a step of 257 of the 8-bit value, above it and below it in turn.
    let offset = |index: usize| if index.is_multiple_of(2) { 128 } else { -128 };
    let wide = grey.iter().enumerate().map(|(index, value)| (i32::from(*value) * 257 + offset(index)) as u16);
    let wide: Vec<u8> = wide.flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        prepared(Pixels::packed(&wide, PixelFormat::Gray16, WIDTH, HEIGHT)),
        prepared(Pixels::packed(&grey, PixelFormat::Gray8, WIDTH, HEIGHT))
    );
}

/// Catches: a part that starts at another pixel, reaches into the pixels around it, or takes the colours of another part.
#[test]
fn a_part_gives_the_input_of_its_copy() {
    let picture = Picture::new();
    let rgb = picture.rgb();
    let (left, top, width, height) = (10, 6, 20, 16);
    let rect = Rect { left, top, width, height };
    let copy = |bytes: &[u8], pixel: usize, [left, top, width, height]: [u32; 4], row: usize| -> Vec<u8> {
        let start = left as usize * pixel;
        let rows = bytes.chunks(row).skip(top as usize).take(height as usize);
        rows.flat_map(|row| row[start..start + width as usize * pixel].to_vec()).collect()
    };
    let copied = copy(&rgb, 3, [left, top, width, height], WIDTH as usize * 3);
    let frame = Pixels::packed(&rgb, PixelFormat::Rgb8, WIDTH, HEIGHT);
    let part = frame.crop(rect).unwrap();
    assert_eq!(prepared(part), prepared(Pixels::packed(&copied, PixelFormat::Rgb8, width, height)));
    assert!(std::ptr::eq(part.data.as_ptr(), &raw const rgb[(6 * 48 + 10) * 3]), "a part is a view");

    let luma = copy(&picture.luma, 1, [left, top, width, height], WIDTH as usize);
    let colours = picture.chroma.concat();
    let chroma = copy(&colours, 2, [left / 2, top / 2, width / 2, height / 2], WIDTH as usize);
    let part = Pixels::nv12(&picture.luma, &colours, WIDTH, HEIGHT).crop(rect).unwrap();
    assert_eq!(prepared(part), prepared(Pixels::nv12(&luma, &chroma, width, height)));

    let whole = Rect { left: 0, top: 0, width: WIDTH, height: HEIGHT };
    let corner = Rect { left: WIDTH - 1, top: HEIGHT - 1, width: 1, height: 1 };
    assert_eq!(prepared(frame.crop(whole).unwrap()), prepared(frame));
    assert_eq!(
        prepared(frame.crop(corner).unwrap())[..3],
        rgb[rgb.len() - 3..].iter().map(|v| f32::from(*v)).collect::<Vec<_>>()
    );
}

/// Catches: a part or plane that is read past its end, and colours that are divided without a word.
#[test]
fn frames_and_parts_that_do_not_fit_are_refused() {
    let bytes = vec![0; (WIDTH * HEIGHT * 3) as usize];
    let rgb = Pixels::packed(&bytes, PixelFormat::Rgb8, WIDTH, HEIGHT);
    for rect in [
        Rect { left: 0, top: 0, width: 0, height: 4 },
        Rect { left: 0, top: 0, width: 4, height: 0 },
        Rect { left: 1, top: 0, width: WIDTH, height: 4 },
        Rect { left: 0, top: HEIGHT, width: 4, height: 1 },
        Rect { left: u32::MAX, top: 0, width: 2, height: 1 },
    ] {
        assert!(matches!(rgb.crop(rect), Err(DataError::Crop { .. })), "{rect:?}");
    }
    assert!(matches!(
        Frame::Encoded(&[]).crop(Rect { left: 0, top: 0, width: 1, height: 1 }),
        Err(DataError::CropEncoded)
    ));

    let plane = &bytes[..(WIDTH * HEIGHT) as usize];
    let half = &bytes[..(WIDTH * HEIGHT / 2) as usize];
    let nv12 = Pixels::nv12(plane, half, WIDTH, HEIGHT);
    let odd = Rect { left: 2, top: 3, width: 4, height: 4 };
    assert!(matches!(nv12.crop(odd), Err(DataError::Subsampling { block: [2, 2], .. })));
    let yuyv = Pixels::packed(&bytes[..9 * 4 * 2], PixelFormat::Yuyv, 9, 4);
    assert_eq!(
        yuyv.check().unwrap_err().to_string(),
        "Yuyv pixels share a colour in blocks of 2 × 1: give corners and sides that are multiples of them"
    );
    assert!(nv12.check().is_ok());
    let short = Pixels::nv12(plane, &half[1..], WIDTH, HEIGHT);
    assert!(matches!(short.check(), Err(DataError::Length { height: 16, .. })));
    let lacks = Pixels { chroma: None, ..nv12 };
    assert!(matches!(lacks.check(), Err(DataError::Planes { expected: 2, found: 1, .. })));
    let extra = Pixels { chroma: nv12.chroma, ..rgb };
    assert!(matches!(extra.check(), Err(DataError::Planes { expected: 1, found: 2, .. })));
}
