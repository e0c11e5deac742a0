//! Tests of data sets from memory: they are the images that a folder would hold, and are named by their number.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use common::{image, preprocessor, write_images};
use fieldfit_data::{
    Augmentation, Batch, Corruption, DataError, Dataset, DatasetBuilder, FolderOptions, Fractions, Frame, Loader,
    LoaderOptions, PixelFormat, Pixels, Severity,
};
use tempfile::tempdir;

fn load(dataset: &Dataset, options: &LoaderOptions) -> Vec<Batch> {
    let order: Vec<usize> = (0..dataset.samples.len()).collect();
    Loader::new(dataset, &order, &preprocessor(), options).unwrap().map(Result::unwrap).collect()
}

/// A frame of BGR with padded rows.
fn bgr(seed: u32) -> (Vec<u8>, usize) {
    let image = image(seed);
    let stride = 3 * image.width() as usize + 5;
    let rows = image.as_raw().chunks_exact(3 * image.width() as usize).flat_map(|row| {
        let pixels = row.chunks_exact(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]);
        pixels.chain([255; 5]).collect::<Vec<u8>>()
    });
    (rows.collect(), stride)
}

fn padded(data: &[u8], stride: usize) -> Frame<'_> {
    Frame::Pixels(Pixels { stride, ..Pixels::packed(data, PixelFormat::Bgr8, 24, 20) })
}

/// Catches: images from memory that train, corrupt, split or group otherwise than the same images of a folder; channels in the
/// wrong order; padding taken for pixels.
#[test]
fn images_from_memory_are_those_of_a_folder() {
    let folder = tempdir().unwrap();
    let files = [write_images(&folder.path().join("a"), "", 0, 9), write_images(&folder.path().join("b"), "", 20, 9)];
    let expected = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    let (mut encoded, mut pixels) = (DatasetBuilder::new(), DatasetBuilder::new());
    for (class, seed, files) in [("a", 0, &files[0]), ("b", 20, &files[1])] {
        for (number, file) in (0..).zip(files) {
            encoded.push(&Frame::Encoded(&std::fs::read(file).unwrap()), class, None).unwrap();
            let (data, stride) = bgr(seed + number);
            pixels.push(&padded(&data, stride), class, None).unwrap();
        }
    }
    let corruption = Some((Corruption::ALL[0], Severity::ALL[2]));
    for options in [
        LoaderOptions::default(),
        LoaderOptions { augmentation: Augmentation::Robust, seed: 5, ..LoaderOptions::default() },
        LoaderOptions { corruption, ..LoaderOptions::default() },
    ] {
        let expected = load(&expected, &options);
        assert_eq!(load(&encoded.clone().build().unwrap(), &options), expected);
        assert_eq!(load(&pixels.clone().build().unwrap(), &options), expected);
    }
    let encoded = encoded.build().unwrap();
    assert_eq!(encoded.classes, expected.classes);
    let split = |dataset: &Dataset| dataset.split(&Fractions::default()).unwrap();
    assert_eq!(split(&encoded), split(&expected), "the same content is in the same slice");
}

/// Catches: colours of a YUV format taken from another pixel, or planes that are read at the wrong offset.
#[test]
fn yuv_frames_keep_their_colours() {
    let [width, height] = [24_usize, 20];
    let luma = |x: usize, y: usize| (40 + 5 * x + 3 * y) as u8;
    let chroma = |x: usize, y: usize| [(90 + 2 * x) as u8, (170 - 3 * y) as u8];
    let pixels = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let yuyv: Vec<u8> = pixels().flat_map(|(x, y)| [luma(x, y), chroma(x / 2, y / 2)[x % 2]]).collect();
    let uyvy: Vec<u8> = yuyv.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    let plane: Vec<u8> = pixels().map(|(x, y)| luma(x, y)).collect();
    let colours: Vec<u8> = (0..height / 2).flat_map(|y| (0..width / 2).flat_map(move |x| chroma(x, y))).collect();
    let packed = |data, format| Frame::Pixels(Pixels::packed(data, format, width as u32, height as u32));
    let nv12 = Frame::Pixels(Pixels::nv12(&plane, &colours, width as u32, height as u32));
    let mut expected = vec![0.0; preprocessor().values()];
    preprocessor().prepare(&nv12, &mut expected).unwrap();
    for frame in [packed(&yuyv, PixelFormat::Yuyv), packed(&uyvy, PixelFormat::Uyvy), nv12] {
        let mut images = DatasetBuilder::new();
        images.push(&frame, "a", None).unwrap();
        let batch = &load(&images.build().unwrap(), &LoaderOptions::default())[0];
        // Scaling before or after the conversion rounds otherwise, by a few steps of 1 / 128 of the network's input.
        let furthest = batch.images.values.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
        let furthest = furthest.fold(0.0, f32::max);
        assert!(furthest < 4.0 / 128.0, "{furthest}");
    }
}

/// Catches: an unusable image that is taken, or named as if it were a file; a builder that is damaged by one.
#[test]
fn an_unusable_image_is_refused_by_its_number() {
    let mut images = DatasetBuilder::new();
    assert!(matches!(images.clone().build(), Err(DataError::NoSamples)));
    let (data, stride) = bgr(1);
    images.push(&padded(&data, stride), "a", None).unwrap();
    let error = images.push(&Frame::Encoded(b"no image"), "b", None).unwrap_err();
    assert!(matches!(error, DataError::Sample { number: 1, .. }));
    assert!(error.to_string().starts_with("sample 1: not a readable"), "{error}");
    assert!(error.path().is_none());
    let short = Frame::Pixels(Pixels::packed(&data[..9], PixelFormat::Bgr8, 24, 20));
    assert!(images.push(&short, "b", None).unwrap_err().to_string().starts_with("sample 1: the frame has 9 bytes"));
    for name in ["", "  ", "a\u{7}b"] {
        let error = images.push(&padded(&data, stride), name, None).unwrap_err();
        assert!(matches!(error, DataError::ClassName { number: 1, .. }));
        assert!(!error.to_string().contains('\u{7}'), "{error}");
    }
    assert_eq!(images.len(), 1);
}

/// Catches: a group that is lost, classes in the order in which they came, and a digest that takes one image for another.
#[test]
fn groups_and_content_identify_images() {
    let built = |seeds: [u32; 3], groups: [Option<&str>; 3]| {
        let mut images = DatasetBuilder::new();
        for ((seed, group), class) in seeds.into_iter().zip(groups).zip(["z", "a", "z"]) {
            let (data, stride) = bgr(seed);
            images.push(&padded(&data, stride), class, group).unwrap();
        }
        images.build().unwrap()
    };
    let dataset = built([1, 2, 3], [Some("drive"), None, Some("drive")]);
    assert_eq!(dataset.classes, ["a", "z"]);
    assert_eq!(dataset.samples.iter().map(|sample| sample.target.class().unwrap()).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(dataset.samples[0].group, dataset.samples[2].group);
    assert_ne!(dataset.samples[0].group, dataset.samples[1].group);
    assert_eq!(dataset.samples[2].image.to_string(), "sample 2");
    let digest = |dataset: &Dataset| dataset.digest(&[0, 1, 2]);
    assert_eq!(digest(&dataset), digest(&built([1, 2, 3], [Some("drive"), None, Some("drive")])));
    assert_ne!(digest(&dataset), digest(&built([1, 2, 4], [Some("drive"), None, Some("drive")])));
    let copies = built([5, 5, 5], [None; 3]);
    assert_eq!(copies.samples[0].group, copies.samples[2].group);
    assert!(copies.notes[0].contains("sample 0 is `z` and sample 1 is `a`"), "{:?}", copies.notes);
}
