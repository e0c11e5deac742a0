//! Benchmark of image loading, from a file's bytes to the network's input: on one thread, and through the loader on two.
//!
//! `cargo bench -p fieldfit-data --bench images`

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark: criterion's macros, and panics that end it")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fieldfit_data::{Augmentation, Dataset, FolderOptions, Frame, Loader, LoaderOptions, Preprocessor};
use fieldfit_tensor::{Filter, Fit, Preprocessing};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use std::fs;
use std::hint::black_box;
use std::io::Cursor;
use tempfile::TempDir;

/// Sides of the network's input.
const SIZES: [u32; 2] = [128, 224];
/// Images of a folder.
const IMAGES: u32 = 64;

/// Something like a photograph: smooth shades, edges, and a little noise.
fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let noise = (x ^ (y << 12) ^ (seed << 24)).wrapping_mul(2_654_435_761) >> 28;
        let edge = 60 * ((x * 8 / width + y * 6 / height + seed) % 3);
        let shade = |scale: u32| (x * scale / width + y * 50 / height + edge + noise).min(255) as u8;
        image::Rgb([shade(90), shade(60), shade(30)])
    })
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(image).unwrap();
    bytes
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn preprocessor(size: u32) -> Preprocessor {
    let recipe =
        Preprocessing { size, fit: Fit::Crop, crop: 0.875, mean: [127.0; 3], std: [128.0; 3], filter: Filter::Bicubic };
    Preprocessor::new(&recipe, size, recipe.crop).unwrap()
}

/// One image as at inference.
fn one_thread(criterion: &mut Criterion) {
    let small = picture(227, 227, 0);
    let large = picture(1920, 1080, 0);
    let files = [("jpeg/227x227", jpeg(&small)), ("png/227x227", png(&small)), ("jpeg/1920x1080", jpeg(&large))];
    let mut group = criterion.benchmark_group("prepare");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut preprocessor = preprocessor(size);
        let mut out = vec![0.0; preprocessor.values()];
        for (name, bytes) in &files {
            group.bench_function(format!("{name} to {size}"), |b| {
                b.iter(|| preprocessor.prepare(&Frame::Encoded(black_box(bytes)), &mut out).unwrap());
            });
        }
    }
}

/// A folder of two classes.
fn folder(width: u32, height: u32) -> (TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        fs::create_dir(folder.path().join(class)).unwrap();
    }
    for image in 0..IMAGES {
        let class = if image % 2 == 0 { "a" } else { "b" };
        fs::write(folder.path().join(class).join(format!("{image}.jpg")), jpeg(&picture(width, height, image)))
            .unwrap();
    }
    let dataset = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    (folder, dataset)
}

/// Batches of 16 images, with each augmentation: what one costs is the difference from `none`, times two threads.
fn loader(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loader");
    group.throughput(Throughput::Elements(u64::from(IMAGES)));
    group.sample_size(10);
    for (width, height) in [(227, 227), (1920, 1080)] {
        let (_folder, dataset) = folder(width, height);
        let order: Vec<_> = (0..dataset.samples.len()).collect();
        for (size, augmentation) in SIZES.into_iter().flat_map(|size| Augmentation::ALL.map(|preset| (size, preset))) {
            let preprocessor = preprocessor(size);
            let options = LoaderOptions { augmentation, ..LoaderOptions::default() };
            group.bench_function(format!("jpeg/{width}x{height} to {size}, {augmentation}"), |b| {
                let batches = || Loader::new(&dataset, &order, &preprocessor, &options).unwrap();
                b.iter(|| batches().for_each(|batch| drop(black_box(batch.unwrap()))));
            });
        }
    }
}

criterion_group!(benches, one_thread, loader);
criterion_main!(benches);
