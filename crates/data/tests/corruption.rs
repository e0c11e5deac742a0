//! Tests of corruptions: severities, repeatability, and images of any size.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use common::{preprocessor, write_images};
use fieldfit_data::{
    Augmentation, Corruption, DataError, Dataset, FolderOptions, Loader, LoaderOptions, RgbImage, Severity,
};
use std::path::Path;

/// Images of the demo, every twentieth.
fn pictures() -> Vec<RgbImage> {
    let style = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/emoji/google/train");
    let mut paths: Vec<_> = std::fs::read_dir(style)
        .unwrap()
        .flat_map(|class| std::fs::read_dir(class.unwrap().path()).unwrap())
        .map(|image| image.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().step_by(20).map(|path| image::open(path).unwrap().into_rgb8()).collect()
}

fn corrupted(corruption: Corruption, severity: Severity, seed: u64, image: &RgbImage) -> RgbImage {
    let mut changed = image.clone();
    corruption.apply(severity, seed, &mut changed).unwrap();
    changed
}

/// The mean absolute difference, in 8-bit steps.
fn distance(a: &RgbImage, b: &RgbImage) -> f64 {
    let total: u64 = a.iter().zip(b.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    total as f64 / a.len() as f64
}

/// Catches: severities in the wrong order, one that does nothing, and one that changes a mild image beyond recognition.
#[test]
fn every_severity_is_farther_from_the_image_than_the_one_before() {
    let pictures = pictures();
    assert!(pictures.len() > 15);
    for corruption in Corruption::ALL {
        let distances = Severity::ALL.map(|severity| {
            let of = |(seed, image)| distance(image, &corrupted(corruption, severity, seed, image));
            (0..).zip(&pictures).map(of).sum::<f64>() / pictures.len() as f64
        });
        assert!(distances.is_sorted_by(|a, b| 1.05 * a < *b), "{corruption}: {distances:?}");
        // One stop less light takes 67 steps from white.
        assert!((0.3..40.0).contains(&distances[0]), "{corruption}: {distances:?}");
    }
}

/// Catches: a change that depends on anything but severity, seed and image, and one that ignores its seed.
#[test]
fn the_same_seed_gives_the_same_image() {
    let image = &pictures()[3];
    let needs_no_seed = [Corruption::Defocus, Corruption::OverExposure, Corruption::Jpeg];
    for corruption in Corruption::ALL {
        let of = |seed| corrupted(corruption, Severity::ALL[3], seed, image);
        assert_eq!(of(1), of(1), "{corruption}");
        let differs = (2..10).any(|seed| of(seed) != of(1));
        assert_eq!(differs, !needs_no_seed.contains(&corruption), "{corruption}");
    }
}

/// Catches: divisions by a size of nothing, neighbours beyond the border, and an image whose size changes.
#[test]
fn images_of_any_size_keep_it() {
    for (width, height) in [(0, 0), (1, 1), (1, 300), (300, 1), (2, 3), (7, 500), (640, 3)] {
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 9) as u8, (y * 5) as u8, 77]));
        for (corruption, severity) in Corruption::ALL.into_iter().zip(Severity::ALL.into_iter().cycle()) {
            let changed = corrupted(corruption, severity, 4, &image);
            assert_eq!(changed.dimensions(), (width, height), "{corruption}");
            corrupted(corruption, Severity::ALL[4], 5, &image);
        }
    }
}

/// Catches: blurs and geometry that darken borders or change what has no structure.
#[test]
fn what_only_moves_light_leaves_a_plain_image() {
    let plain = RgbImage::from_pixel(50, 31, image::Rgb([200, 90, 10]));
    for corruption in [Corruption::Defocus, Corruption::MotionBlur, Corruption::Rotation] {
        for severity in Severity::ALL {
            assert_eq!(corrupted(corruption, severity, 9, &plain), plain, "{corruption} {severity}");
        }
    }
}

/// Catches: a severity whose effect depends on the camera's resolution: an image four times as large must look, scaled
/// down, like the small one.
#[test]
fn severities_mean_the_same_at_any_resolution() {
    let small = RgbImage::from_fn(224, 224, |x, y| image::Rgb([(60 + (x / 28 + y / 28) % 2 * 120) as u8; 3]));
    let large = image::imageops::resize(&small, 896, 896, image::imageops::FilterType::Nearest);
    for corruption in Corruption::ALL.into_iter().filter(|corruption| *corruption != Corruption::Jpeg) {
        let of = |image| corrupted(corruption, Severity::ALL[2], 3, image);
        let scaled = image::imageops::thumbnail(&of(&large), 224, 224);
        let (effect, difference) = (distance(&small, &of(&small)), distance(&of(&small), &scaled));
        let is_random_by_pixel = matches!(corruption, Corruption::SensorNoise | Corruption::LowLight);
        let scaled_effect = distance(&small, &scaled);
        assert!((0.8..1.25).contains(&(scaled_effect / effect)), "{corruption}: {effect} {scaled_effect}");
        assert!(is_random_by_pixel || difference < 0.15 * effect, "{corruption}: {effect} {difference}");
    }
}

/// Catches: a disk of another radius, or one that is a square: a point of light must fill πr² and reach r.
#[test]
fn a_point_out_of_focus_is_a_disk() {
    let mut image = RgbImage::new(224, 224);
    for (x, y) in [(100, 100), (101, 100), (100, 101), (101, 101)] {
        image.put_pixel(x, y, image::Rgb([255; 3]));
    }
    let blurred = corrupted(Corruption::Defocus, Severity::ALL[4], 0, &image);
    let lit: Vec<_> = blurred.enumerate_pixels().filter(|(.., pixel)| pixel.0[0] >= 2).collect();
    let reach = lit.iter().map(|(x, y, _)| (*x as f64 - 100.5).hypot(*y as f64 - 100.5)).fold(0.0, f64::max);
    assert!((180..=290).contains(&lit.len()) && (7.5..10.0).contains(&reach), "{} {reach}", lit.len());
}

/// Catches: a loader that ignores its corruption, draws anew each epoch, or gives every image the same.
#[test]
fn loaders_corrupt_before_preprocessing_and_by_sample() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 3);
    write_images(&folder.path().join("b"), "", 20, 3);
    let dataset = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    let load = |corruption, seed, epoch| {
        let options =
            LoaderOptions { augmentation: Augmentation::None, corruption, seed, epoch, ..LoaderOptions::default() };
        Loader::new(&dataset, &[0, 1, 0], &preprocessor(), &options).unwrap().next().unwrap().unwrap().images
    };
    let noise = Some((Corruption::SensorNoise, Severity::ALL[2]));
    let noisy = load(noise, 1, 0);
    assert_ne!(noisy, load(None, 1, 0));
    assert_ne!(noisy, load(noise, 2, 0));
    assert_eq!(noisy, load(noise, 1, 7));
    assert_eq!(noisy.image(0), noisy.image(2));
}

/// Catches: names that can't be typed, two of the same name, and severities beyond the scale.
#[test]
fn names_and_severities_are_parsed_or_refused() {
    for corruption in Corruption::ALL {
        assert_eq!(corruption.name().parse::<Corruption>().unwrap(), corruption);
    }
    let error = "rain".parse::<Corruption>().unwrap_err().to_string();
    assert!(error.starts_with("there is no corruption `rain`: expected one of defocus, motion-blur, "), "{error}");
    assert_eq!([1, 2, 3, 4, 5].map(|number| Severity::try_from(number).unwrap()), Severity::ALL);
    for number in [0, 6, 255] {
        assert!(matches!(Severity::try_from(number), Err(DataError::Severity { found }) if found == number));
    }
}

/// Catches: a panic, or half a change, where JPEG can't hold the image.
#[test]
fn an_image_too_long_for_jpeg_is_refused_as_it_was() {
    let mut image = RgbImage::from_pixel(70_000, 1, image::Rgb([1, 2, 3]));
    let error = Corruption::Jpeg.apply(Severity::ALL[0], 0, &mut image).unwrap_err();
    assert!(error.to_string().starts_with("the image of 70000 × 1 pixels cannot be made a JPEG: "), "{error}");
    assert!(image.width() == 70_000 && image.pixels().all(|pixel| pixel.0 == [1, 2, 3]));
}
