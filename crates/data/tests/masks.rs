//! Tests of data sets of masks: their folders, their defects, and batches whose masks follow their images.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "helpers of tests")]

mod common;

use fieldfit_data::{
    Augmentation, Batch, Corruption, DataError, Dataset, FolderOptions, Fractions, Loader, LoaderOptions, Masks,
    Preprocessor, Purpose, Severity, SkipKind, Subset, Target, Targets,
};
use fieldfit_tensor::{Filter, Fit, Preprocessing, Task};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

const WHOLE: Preprocessing = Preprocessing {
    size: 10,
    fit: Fit::Whole { width: 20 },
    crop: 1.0,
    mean: [0.0; 3],
    std: [1.0; 3],
    filter: Filter::Bilinear,
};

/// Writes frames of 40 × 20 pixels whose grey value is ten times their mask's class: quarters of classes 0 to 3.
fn write(folder: &Path, names: &[&str]) {
    ["images", "masks"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
    for (index, name) in names.iter().enumerate() {
        let shift = index as u32 % 4;
        let class = |x: u32, y: u32| ((x / 20 + 2 * (y / 10) + shift) % 4) as u8;
        let image = RgbImage::from_fn(40, 20, |x, y| Rgb([10 * class(x, y); 3]));
        image.save(folder.join("images").join(format!("{name}.png"))).unwrap();
        let mask = GrayImage::from_fn(40, 20, |x, y| Luma([class(x, y)]));
        mask.save(folder.join("masks").join(format!("{name}.png"))).unwrap();
    }
    fs::write(folder.join("classes.txt"), "a\nb\nc\nd\n").unwrap();
}

fn open(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions::default())
}

fn batches(dataset: &Dataset, options: &LoaderOptions) -> Vec<Batch> {
    let order: Vec<usize> = (0..dataset.samples.len()).collect();
    let preprocessor = Preprocessor::new(&WHOLE, WHOLE.size, WHOLE.crop).unwrap();
    Loader::new(dataset, &order, &preprocessor, options).unwrap().map(Result::unwrap).collect()
}

fn masks(batch: &Batch) -> &Masks {
    match &batch.targets {
        Targets::Masks(masks) => masks,
        Targets::Classes(_) | Targets::Values(_) | Targets::Labels(_) => panic!("expected masks"),
    }
}

/// Catches: folders of masks that are taken for two classes, subsets that are not found, masks of CamVid's names that are
/// missed, images without a mask that count, files of names that are looked for in the wrong place.
#[test]
fn images_and_masks_are_a_data_set() {
    let folder = tempdir().unwrap();
    write(folder.path(), &["one", "two", "three"]);
    let masks = folder.path().join("masks");
    fs::rename(masks.join("two.png"), masks.join("two_L.png")).unwrap();
    fs::rename(masks.join("three.png"), masks.join("four.png")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!((dataset.task(), dataset.classes.join(" ")), (Task::Segmentation, "a b c d".to_owned()));
    let names: Vec<_> =
        dataset.samples.iter().map(|sample| sample.image.path().unwrap().file_stem().unwrap().to_owned()).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(matches!(&dataset.samples[1].target, Target::Mask(mask) if mask.path.ends_with("two_L.png")));
    let kinds: Vec<_> = dataset.skipped.iter().map(|skipped| skipped.kind).collect();
    assert_eq!(kinds, [SkipKind::NoMask, SkipKind::NoImage]);

    let parts = tempdir().unwrap();
    write(&parts.path().join("Train"), &["one", "two"]);
    write(&parts.path().join("valid"), &["three"]);
    for part in ["Train", "valid"] {
        fs::rename(parts.path().join(part).join("classes.txt"), parts.path().join("classes.txt")).unwrap();
    }
    let subsets: Vec<_> = open(parts.path()).unwrap().samples.iter().map(|sample| sample.subset).collect();
    assert_eq!(subsets, [Some(Subset::Train), Some(Subset::Train), Some(Subset::Val)]);
    let error = Dataset::open(parts.path(), &FolderOptions::new(Purpose::Evaluate)).unwrap_err().to_string();
    assert!(error.contains("not `test`"), "{error}");
    // One subset alone, named from the folder above.
    assert_eq!(open(&parts.path().join("valid")).unwrap().classes.len(), 4);
    let unlabelled = Dataset::open(folder.path(), &FolderOptions::new(Purpose::Unlabelled)).unwrap();
    assert_eq!(unlabelled.samples.len(), 3, "masks are no images");
}

/// Catches: a mask that is stretched, cut or read for another image; values that count although they are to be ignored; a mask
/// that is wrong and used all the same.
#[test]
fn wrong_masks_are_named_with_what_is_wrong() {
    let refused = |spoil: &dyn Fn(&Path)| {
        let folder = tempdir().unwrap();
        write(folder.path(), &["one", "two"]);
        spoil(folder.path());
        open(folder.path()).unwrap_err().to_string()
    };
    let grey = |width, height, value| {
        move |folder: &Path| {
            GrayImage::from_pixel(width, height, Luma([value])).save(folder.join("masks/two.png")).unwrap()
        }
    };
    for (spoil, expected) in [
        (&grey(20, 40, 0) as &dyn Fn(&Path), "the mask is 20 × 40 pixels, but its image is 40 × 20"),
        (&grey(40, 20, 4), "value 4, which is no class of classes.txt"),
        (&grey(40, 20, 255), "every pixel of the mask is ignored"),
        (&|folder: &Path| fs::write(folder.join("masks/two.png"), "no PNG").unwrap(), "grey, palette or RGB PNG"),
        (&|folder: &Path| fs::remove_file(folder.join("classes.txt")).unwrap(), "neither classes.txt"),
        (&|folder: &Path| fs::write(folder.join("classes.txt"), "a\n\u{1b}[2J\n").unwrap(), "line 2: it is blank or"),
        (&|folder: &Path| fs::write(folder.join("classes.txt"), "a\nb\na\n").unwrap(), "line 3: it names a class"),
        (&|folder: &Path| fs::write(folder.join("classes.txt"), "a\nvoid\n").unwrap(), "names 1 class"),
        (
            &|folder: &Path| {
                for name in ["one", "two"] {
                    fs::rename(folder.join(format!("masks/{name}.png")), folder.join(format!("masks/{name}.bak")))
                        .unwrap();
                }
            },
            "no image in",
        ),
    ] {
        let error = refused(spoil);
        assert!(error.contains(expected), "{error}, not {expected}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}

/// Catches: an image and its mask that are cropped, flipped or resized differently; a mask that depends on the number of
/// threads; a size of masks that is the images' instead of the one asked for.
#[test]
fn masks_follow_their_images() {
    let folder = tempdir().unwrap();
    let names: Vec<String> = (0..12).map(|index| format!("frame{index}")).collect();
    write(folder.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let dataset = open(folder.path()).unwrap();
    let options = LoaderOptions { batch: 5, ..LoaderOptions::default() };
    let plain = batches(&dataset, &options);
    assert_eq!(masks(&plain[0]).image(0)[..20], [[0; 10], [1; 10]].concat());
    let small = batches(&dataset, &LoaderOptions { mask_size: Some([2, 2]), ..options.clone() });
    assert_eq!(masks(&small[0]).image(0), [0, 1, 2, 3]);

    // Colours change, but in order: where classes differ, greys do. At edges, resampling mixes greys.
    let augmented = LoaderOptions { augmentation: Augmentation::Basic, seed: 3, ..options.clone() };
    let all = batches(&dataset, &augmented);
    for batch in &all {
        for image in 0..batch.samples.len() {
            let greys: Vec<f32> = batch.images.image(image).chunks(3).map(|pixel| pixel[0]).collect();
            let mut means = [[0.0; 2]; 4];
            for (grey, class) in greys.iter().zip(masks(batch).image(image)) {
                let [sum, count] = &mut means[usize::from(*class)];
                (*sum, *count) = (*sum + grey, *count + 1.0);
            }
            let means: Vec<f32> =
                means.iter().filter(|[_, count]| *count > 0.0).map(|[sum, count]| sum / count).collect();
            assert!(means.windows(2).all(|pair| pair[0] + 2.0 < pair[1]), "{means:?}");
        }
    }
    let alone = batches(&dataset, &LoaderOptions { threads: 1, ..augmented.clone() });
    assert_eq!(alone, all);
    let erased = LoaderOptions { augmentation: Augmentation::Robust, ..augmented };
    let ignored = batches(&dataset, &erased).iter().any(|batch| masks(batch).values.contains(&Masks::IGNORED));
    assert!(ignored, "some of a dozen robust views have a part erased");
}

/// Catches: classes that keep their own numbers under a model's labels, or void that becomes a class.
#[test]
fn masks_take_a_models_labels() {
    let folder = tempdir().unwrap();
    write(folder.path(), &["one", "two"]);
    fs::write(folder.path().join("classes.txt"), "a\nvoid\nc\nd\n").unwrap();
    let labels = ["d", "x", "a", "c"].map(str::to_owned);
    let dataset = open(folder.path()).unwrap().with_labels(&labels).unwrap();
    let small = LoaderOptions { mask_size: Some([2, 2]), ..LoaderOptions::default() };
    assert_eq!(masks(&batches(&dataset, &small)[0]).image(0), [2, Masks::IGNORED, 3, 0]);
    let error = open(folder.path()).unwrap().with_labels(&labels[..3]).unwrap_err().to_string();
    assert!(error.contains("the classes c are not"), "{error}");
    let many: Vec<String> = (0..300).map(|index| format!("label {index}")).chain(labels).collect();
    let error = open(folder.path()).unwrap().with_labels(&many).unwrap_err().to_string();
    assert!(error.contains("255"), "{error}");
}

/// Catches: slices without images, a folder that is too small and split all the same, a data set that does not tell edited masks
/// from those before.
#[test]
fn images_with_masks_are_split_as_one_class() {
    let folder = tempdir().unwrap();
    let names: Vec<String> = (0..12).map(|index| format!("frame{index}")).collect();
    write(folder.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    // Twelve different files, or a copy would be of its original's group.
    for (index, name) in names.iter().enumerate() {
        RgbImage::from_pixel(40, 20, Rgb([index as u8; 3]))
            .save(folder.path().join(format!("images/{name}.png")))
            .unwrap();
    }
    let dataset = open(folder.path()).unwrap();
    let split = dataset.split(&Fractions::default()).unwrap();
    assert!(split.validation.len() >= 2 && split.gate.len() >= 2 && split.train.len() >= 2, "{split:?}");
    let digest = dataset.digest(&split.train);
    let edited = dataset.samples[split.train[0]].image.path().unwrap().file_name().unwrap().to_owned();
    GrayImage::from_pixel(40, 20, Luma([1])).save(folder.path().join("masks").join(edited)).unwrap();
    assert_ne!(open(folder.path()).unwrap().digest(&split.train), digest);
    assert!(dataset.limited(4, 0).samples.len() == 4);
    let small = tempdir().unwrap();
    write(small.path(), &["one", "two", "three"]);
    let error = open(small.path()).unwrap().split(&Fractions::default()).unwrap_err().to_string();
    assert!(error.contains("too small to split"), "{error}");
}

/// Catches: a rotated image whose mask stands still and counts.
#[test]
fn corruptions_that_move_pixels_are_refused() {
    let folder = tempdir().unwrap();
    write(folder.path(), &["one", "two"]);
    let dataset = open(folder.path()).unwrap();
    let preprocessor = Preprocessor::new(&WHOLE, WHOLE.size, WHOLE.crop).unwrap();
    let load = |corruption| {
        let options = LoaderOptions { corruption: Some((corruption, Severity::ALL[2])), ..LoaderOptions::default() };
        Loader::new(&dataset, &[0, 1], &preprocessor, &options).unwrap().next().unwrap()
    };
    assert!(load(Corruption::Fog).is_ok());
    assert!(load(Corruption::Rotation).is_err_and(|error| error.to_string().contains("rotation moves pixels")));
}
