//! Test helpers: folders of small images that differ from each other.

use fieldfit_data::{Dataset, Group, ImageSource, Preprocessor, Sample, Target};
use fieldfit_tensor::{Filter, Fit, Preprocessing};
use image::RgbImage;
use std::path::{Path, PathBuf};

pub const RECIPE: Preprocessing =
    Preprocessing { size: 16, fit: Fit::Crop, crop: 0.875, mean: [127.0; 3], std: [128.0; 3], filter: Filter::Bicubic };

pub fn preprocessor() -> Preprocessor {
    Preprocessor::new(&RECIPE, RECIPE.size, RECIPE.crop).unwrap()
}

/// An image that no other seed has.
pub fn image(seed: u32) -> RgbImage {
    RgbImage::from_fn(24, 20, |x, y| {
        let channel = |step: u32| ((x * step + y * 5 + seed * 31) % 251) as u8;
        image::Rgb([channel(3), channel(7), (seed % 256) as u8])
    })
}

/// Writes `count` images `<prefix><number>.png` whose seeds begin at `seed`.
pub fn write_images(folder: &Path, prefix: &str, seed: u32, count: u32) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).unwrap();
    let write = |number| {
        let path = folder.join(format!("{prefix}{number:03}.png"));
        image(seed + number).save(&path).unwrap();
        path
    };
    (0..count).map(write).collect()
}

/// A data set that was never on disk: of each class, groups of so many images.
pub fn imagined(classes: &[(&str, &[usize])]) -> Dataset {
    let mut samples = Vec::new();
    for (class, (name, groups)) in classes.iter().enumerate() {
        for (group, size) in groups.iter().enumerate() {
            for number in 0..*size {
                samples.push(Sample {
                    image: ImageSource::File(format!("{name}/{group}_{number}.png").into()),
                    target: Target::Class(class as u32),
                    group: Group::named(&format!("{name} {group}")),
                    group_name: None,
                    subset: None,
                    is_pseudo_labelled: false,
                });
            }
        }
    }
    let classes = classes.iter().map(|(name, _)| name.to_string()).collect();
    Dataset::of_samples(classes, samples)
}
