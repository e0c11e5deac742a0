//! Tests of truncated image files: rejected, never decoded to grey or repeated pixels.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "helpers of tests")]

mod common;

use common::{RECIPE, write_images};
use fieldfit_data::{DataError, Dataset, FolderError, FolderOptions, Frame, PixelFormat, Pixels, Preprocessor};
use image::{DynamicImage, ImageFormat, RgbImage};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Files of `tests/images` whose last scan's data is checked to its last bit.
const CHECKED: [&str; 7] = [
    "baseline-420.jpg",
    "baseline-444.jpg",
    "restart-422.jpg",
    "grey.jpg",
    "progressive-420.jpg",
    "progressive-restart-444.jpg",
    "progressive-grey.jpg",
];
const END_MARKER: [u8; 2] = [0xff, 0xd9];

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name);
    std::fs::read(path).unwrap()
}

/// The whole picture as a network's input, or the error.
fn decoded(bytes: &[u8]) -> Result<Vec<f32>, DataError> {
    let mut preprocessor = Preprocessor::new(&RECIPE, 44, 1.0).unwrap();
    let mut out = vec![0.0; preprocessor.values()];
    preprocessor.prepare(&Frame::Encoded(bytes), &mut out).map(|()| out)
}

/// The picture as the `image` crate decodes it.
fn expected(bytes: &[u8]) -> Vec<f32> {
    let image = image::load_from_memory(bytes).unwrap().into_rgb8();
    let mut preprocessor = Preprocessor::new(&RECIPE, 44, 1.0).unwrap();
    let mut out = vec![0.0; preprocessor.values()];
    let pixels = Pixels::packed(image.as_raw(), PixelFormat::Rgb8, image.width(), image.height());
    preprocessor.prepare(&Frame::Pixels(pixels), &mut out).unwrap();
    out
}

fn is_truncated(result: &Result<Vec<f32>, DataError>) -> bool {
    matches!(result, Err(DataError::Truncated { format: "JPEG" }))
}

/// Position of the last scan's entropy-coded data: behind its header.
fn last_scan(bytes: &[u8]) -> usize {
    let marker = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    marker + 2 + usize::from(u16::from_be_bytes([bytes[marker + 2], bytes[marker + 3]]))
}

/// Catches: pixels that differ from the `image` crate's, with which models were trained and measured so far.
#[test]
fn whole_jpegs_keep_their_pixels() {
    for name in CHECKED.into_iter().chain(["scans-444.jpg"]) {
        let bytes = fixture(name);
        assert!(decoded(&bytes).unwrap() == expected(&bytes), "{name}");
    }
}

/// Catches: a JPEG that ends anywhere inside its data and is decoded with grey or repeated pixels in place of the rest.
#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    for name in CHECKED.into_iter().chain(["scans-444.jpg"]) {
        let bytes = fixture(name);
        let whole = decoded(&bytes).unwrap();
        let first_scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
        for length in 0..bytes.len() - END_MARKER.len() {
            match decoded(&bytes[..length]) {
                Err(DataError::Truncated { .. }) => {}
                // Cut inside its headers.
                Err(error) => assert!(length < first_scan, "{name}: {length} {error}"),
                // The last byte may hold nothing but the ones that fill it up.
                Ok(pixels) => {
                    let missing = bytes.len() - END_MARKER.len() - length;
                    assert!(missing <= 1 && pixels == whole, "{name}: without the last {missing} bytes");
                }
            }
        }
    }
}

/// Catches: an end marker that hides that data is missing before it, as repair tools and interrupted cameras write.
#[test]
fn an_end_marker_does_not_make_a_cut_jpeg_whole() {
    for name in CHECKED {
        let bytes = fixture(name);
        let (start, end) = (last_scan(&bytes), bytes.len() - END_MARKER.len());
        for length in start..end - 3 {
            let closed = [&bytes[..length], &END_MARKER].concat();
            let result = decoded(&closed);
            // In a progressive scan, a run that the cut ends may stand for the rest of the image.
            let may_pass = name.starts_with("progressive") && result.is_ok();
            assert!(may_pass || result.is_err(), "{name}: {length} of {end}");
        }
    }
    let closed = |name: &str, part: usize| {
        let bytes = fixture(name);
        let (start, end) = (last_scan(&bytes), bytes.len() - END_MARKER.len());
        decoded(&[&bytes[..start + (end - start) * part / 100], &END_MARKER].concat())
    };
    for part in [0, 20, 50, 80] {
        assert!(closed("progressive-420.jpg", part).is_err(), "{part} %");
    }
}

/// Catches: an end marker behind an early scan of a progressive JPEG, which is decoded to a coarse or grey picture: some bits
/// of some coefficients are in no scan.
#[test]
fn an_end_marker_does_not_stand_for_the_scans_behind_it() {
    let progressive = CHECKED.iter().filter(|name| name.starts_with("progressive")).chain(&["progressive-pillow.jpg"]);
    for name in progressive {
        let bytes = fixture(name);
        assert!(decoded(&bytes).unwrap() == expected(&bytes), "{name}: the whole");
        let scans: Vec<usize> = (0..bytes.len() - 1).filter(|&at| bytes[at..at + 2] == [0xff, 0xda]).collect();
        assert!(scans.len() > 5, "{name}: {scans:?}");
        for (scan, pair) in scans.windows(2).enumerate() {
            for at in [pair[1], pair[0] + (pair[1] - pair[0]) / 2 + 6] {
                let closed = [&bytes[..at.min(pair[1])], &END_MARKER].concat();
                assert!(is_truncated(&decoded(&closed)), "{name}: closed in or behind scan {scan}");
            }
        }
    }
}

/// Catches: a JPEG without its end marker, or with bytes behind it, that is refused although all its pixels are there.
#[test]
fn whole_jpegs_without_an_end_or_with_more_behind_it_stay_readable() {
    for name in CHECKED {
        let bytes = fixture(name);
        let whole = decoded(&bytes).unwrap();
        let endless = &bytes[..bytes.len() - END_MARKER.len()];
        assert!(decoded(endless).is_ok_and(|pixels| pixels == whole), "{name}");
        for behind in [&b"garbage"[..], &[0; 100], &[0xff; 40], &bytes] {
            let longer = [&bytes[..], behind].concat();
            assert!(decoded(&longer).is_ok_and(|pixels| pixels == whole), "{name}");
        }
        // Fill bytes before a marker are allowed (T.81, B.1.1.2).
        let filled = [endless, &[0xff; 7], &END_MARKER].concat();
        assert!(decoded(&filled).is_ok_and(|pixels| pixels == whole), "{name}");
    }
}

/// Catches: lines that are lost between two restart markers and show as a stripe.
#[test]
fn data_that_is_lost_before_a_restart_marker_is_refused() {
    let bytes = fixture("restart-422.jpg");
    let restart = bytes.windows(2).rposition(|pair| pair[0] == 0xff && (0xd0..=0xd7).contains(&pair[1])).unwrap();
    let lossy = [&bytes[..restart - 20], &bytes[restart..]].concat();
    assert!(decoded(&lossy).is_err());
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(52, 44, |x, y| image::Rgb([(x * 5 + y) as u8, (y * 5) as u8, (x * y % 251) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Catches: a file of another format that ends early and is decoded with black or repeated pixels in place of the rest.
#[test]
fn no_other_format_is_decoded_without_its_end() {
    use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
    let lossy = (["lossy.webp", "lossy-alpha.webp"]).map(|name| (name.to_owned(), fixture(name)));
    let lossless = [Png, WebP, Bmp, Tiff, Gif].map(|format| (format!("{format:?}"), encoded(format)));
    for (format, bytes) in lossless.into_iter().chain(lossy) {
        let whole = decoded(&bytes).unwrap();
        for length in 0..bytes.len() {
            if let Ok(pixels) = decoded(&bytes[..length]) {
                assert!(pixels == whole, "{format}: {length} of {} bytes", bytes.len());
            }
        }
    }
}

/// Catches: truncated images that are trained on: they must count as unreadable, with a reason and a path.
#[test]
fn truncated_images_of_a_folder_are_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 20);
    write_images(&folder.path().join("b"), "", 30, 19);
    let jpeg = fixture("baseline-420.jpg");
    let cut = folder.path().join("b/cut.jpg");
    std::fs::write(&cut, &jpeg[..jpeg.len() - 200]).unwrap();
    let dataset = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    assert_eq!((dataset.samples.len(), dataset.unreadable()), (39, 1));
    assert_eq!(dataset.skipped[0].path, cut);
    assert!(dataset.skipped[0].reason.contains("truncated"), "{}", dataset.skipped[0]);

    std::fs::write(folder.path().join("b/cut2.jpg"), &jpeg[..jpeg.len() - 100]).unwrap();
    std::fs::write(folder.path().join("b/cut3.jpg"), &jpeg[..jpeg.len() - 300]).unwrap();
    let error = Dataset::open(folder.path(), &FolderOptions::default());
    assert!(matches!(error, Err(DataError::Folder(FolderError::TooManyUnreadable { unreadable: 3, found: 42, .. }))));
}

/// Catches: an image of a format that is not decoded, under whatever name, whose error does not say how to convert it.
#[test]
fn formats_that_are_not_decoded_are_named_by_their_content() {
    let brand = |brand: &[u8]| [b"\0\0\0\x18ftyp", brand, b"\0\0\0\0mif1heic"].concat();
    for (bytes, name, converter) in [
        (brand(b"heic"), "HEIC", "heif-convert"),
        (brand(b"mif1"), "HEIC", "heif-convert"),
        (brand(b"avif"), "AVIF", "avifdec"),
        (brand(b"crx "), "camera raw", "darktable"),
        (b"\xff\x0a\0\0\0\0\0\0\0\0\0\0".to_vec(), "JPEG XL", "djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n".to_vec(), "JPEG XL", "djxl"),
    ] {
        let error = decoded(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is not decoded: convert it")), "{error}");
        assert!(error.contains(converter), "{error}");
    }
}
