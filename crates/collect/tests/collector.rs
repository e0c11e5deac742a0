//! The collector: buffer, selection, groups, privacy, and exports.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{NOW, TestClock, jpeg, scene};
use fieldfit_collect::{
    CollectError, Collector, CollectorOptions, Contents, Export, Kept, Label, Limits, ModelOutput, Origin, Privacy,
    Selection, Span, is_collection,
};
use fieldfit_data::{Dataset, FolderOptions, Fractions, Frame, PixelFormat, Pixels, Purpose, RgbImage, encode_jpeg};
use fieldfit_durable::Disk;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn options() -> CollectorOptions {
    CollectorOptions::default().with_session(Some("drive".into())).with_limits(Limits::NONE)
}

fn collector(folder: &Path, options: CollectorOptions) -> Collector {
    Collector::open_on(Arc::new(Disk), &folder.join("collection"), options, Box::new(TestClock::at(NOW))).unwrap()
}

fn observe(collector: &Collector, bytes: &[u8], seconds: f32) -> bool {
    let at = Duration::from_secs_f32(seconds);
    collector.observe(&Frame::Encoded(bytes), at, ModelOutput::default()).unwrap().is_some()
}

fn label(collector: &Collector, class: &str, seconds: u64) -> Kept {
    collector.label(Span::Last(Duration::from_secs(seconds)), &Label::new(class, Origin::Operator)).unwrap()
}

fn contents(folder: &Path) -> Contents {
    Contents::read(&folder.join("collection")).unwrap()
}

fn open(folder: &Path, purpose: Purpose) -> Dataset {
    contents(folder).dataset(&FolderOptions::new(purpose), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Catches: frames before the trigger that are lost, frames outside the span that are taken, bytes of the camera that are encoded
/// anew.
#[test]
fn a_label_reaches_back_before_its_trigger() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path(), options());
    for second in 0..8 {
        assert!(observe(&collector, &jpeg(second), second as f32));
    }
    let kept = label(&collector, "mud", 3);
    assert_eq!((kept.images.len(), kept.left_out.total()), (4, 0), "seconds 4, 5, 6 and 7");
    let contents = contents(folder.path());
    for ((image, label), second) in contents.images().zip(4..) {
        assert_eq!(std::fs::read(contents.file(image)).unwrap(), jpeg(second), "verbatim");
        assert_eq!((label.class.as_str(), image.at), ("mud", Some(1000 * u64::from(second))));
        assert_eq!(image.group.as_deref(), Some("drive/0"), "one group for the span");
    }
    let error = collector.label(Span::Between(100 * SECOND, 200 * SECOND), &Label::new("mud", Origin::Operator));
    assert!(matches!(error, Err(CollectError::NoFrames { buffered: 8, .. })), "{error:?}");
}

/// Catches: a rate that drifts, and a camera clock that goes back and blocks every frame from then on.
#[test]
fn the_rate_is_kept_by_the_cameras_clock() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path(), options());
    let bytes = jpeg(1);
    let taken = (0..300).filter(|frame| observe(&collector, &bytes, *frame as f32 / 30.0)).count();
    assert_eq!(taken, 20, "2 a second");
    assert!(observe(&collector, &bytes, 1.0), "a clock that went back");
    assert!(!observe(&collector, &bytes, 1.1));
}

/// Catches: dark, blurred and repeated frames that fill a collection, a count of repetitions that is lost, and a frame that is
/// left out because another class has one like it.
#[test]
fn only_frames_that_are_worth_it_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path(), options());
    let encode = |image: &RgbImage| encode_jpeg(image, 90).unwrap();
    let brighter = RgbImage::from_fn(48, 36, |x, y| image::Rgb(scene(1).get_pixel(x, y).0.map(|value| value + 4)));
    let blurred = image::imageops::blur(&scene(3), 30.0);
    let frames = [
        encode(&scene(1)),
        encode(&brighter),
        encode(&RgbImage::new(48, 36)),
        encode(&RgbImage::from_pixel(48, 36, image::Rgb([255; 3]))),
        encode(&blurred),
        jpeg(2)[..jpeg(2).len() / 2].to_vec(),
        jpeg(2),
    ];
    for (second, frame) in frames.iter().enumerate() {
        observe(&collector, frame, second as f32);
    }
    let kept = label(&collector, "mud", 10);
    let left_out = kept.left_out;
    assert_eq!(kept.images.len(), 2);
    assert_eq!((left_out.similar, left_out.dark, left_out.bright), (1, 1, 1));
    assert_eq!((left_out.blurred, left_out.unreadable, left_out.full), (1, 1, 0));
    observe(&collector, &encode(&brighter), 8.0);
    assert_eq!(label(&collector, "mud", 0).left_out.similar, 1, "also of an earlier label");
    assert_eq!(contents(folder.path()).images().map(|(image, _)| image.seen).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(label(&collector, "grass", 0).images.len(), 1, "another class");
    let kept = label(&collector, "sand", 10);
    assert_eq!((kept.relabelled, kept.images.len()), (2, 2), "the latest label counts: scene 2 and one of scene 1");
}

/// Catches: similar frames by features that are stored, and uncertain ones that go before certain ones.
#[test]
fn features_and_margins_of_the_model_count() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path(), options());
    let features = [[1.0, 0.0], [1.0, 0.05], [0.0, 1.0]];
    for (second, features) in features.into_iter().enumerate() {
        let output = ModelOutput::new(None, Some(features.into()));
        collector.observe(&Frame::Encoded(&jpeg(second as u32)), second as u32 * SECOND, output).unwrap();
    }
    let kept = label(&collector, "mud", 10);
    assert_eq!((kept.images.len(), kept.left_out.similar), (2, 1));
}

/// Catches: pixels that a mask or a size was to keep away and that reach the buffer or the disk, with the camera's metadata.
#[test]
fn privacy_applies_before_anything_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let half = vec![(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)];
    let privacy = Privacy::default().with_mask(half).with_max_side(Some(24));
    let collector = collector(folder.path(), options().with_privacy(privacy).with_selection(Selection::default()));
    let with_exif = [&jpeg(1)[..2], &[0xff, 0xe1, 0, 12], b"Exif\0\0GPS!", &jpeg(1)[2..]].concat();
    observe(&collector, &with_exif, 0.0);
    let raw = scene(2);
    let pixels = Pixels::packed(raw.as_raw(), PixelFormat::Rgb8, 48, 36);
    collector.observe(&Frame::Pixels(pixels), SECOND, ModelOutput::default()).unwrap();
    assert_eq!(label(&collector, "mud", 10).images.len(), 2);
    let contents = contents(folder.path());
    for (image, _) in contents.images() {
        let bytes = std::fs::read(contents.file(image)).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"Exif"));
        let decoded = Frame::Encoded(&bytes).to_rgb().unwrap();
        assert_eq!(decoded.dimensions(), (24, 18));
        for (x, _, pixel) in decoded.enumerate_pixels() {
            assert!(x >= 10 || pixel.0.iter().all(|value| *value < 40), "{x}: {pixel:?}");
        }
    }
}

/// A collection of two classes over ten minutes, with pseudo-labels among them.
fn long_drive(folder: &Path) -> Collector {
    let collector = collector(folder, options());
    for seed in 0..120_u32 {
        observe(&collector, &jpeg(seed), 5.0 * seed as f32);
        let class = if seed % 2 == 0 { "grass" } else { "mud" };
        let origin = if seed % 5 == 0 { Origin::Teacher { name: "large".into() } } else { Origin::Operator };
        collector.label(Span::Last(Duration::ZERO), &Label::new(class, origin)).unwrap();
    }
    collector
}

/// Catches: neighbouring frames on two sides of a split, pseudo-labels in the gate or in an evaluation, a data set that needs a
/// copy of the images.
#[test]
fn a_collection_is_a_data_set_whose_groups_and_origins_count() {
    let folder = tempfile::tempdir().unwrap();
    drop(long_drive(folder.path()));
    assert!(is_collection(&folder.path().join("collection")));
    let dataset = open(folder.path(), Purpose::Adapt);
    assert_eq!(dataset.classes, ["grass", "mud"]);
    assert_eq!(dataset.samples.len(), 120);
    let split = dataset.split(&Fractions::new(0.2, 0.2)).unwrap();
    let mut slices: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (slice, indices) in [&split.train, &split.validation, &split.gate].into_iter().enumerate() {
        for index in indices {
            slices.entry(dataset.samples[*index].group_name.as_deref().unwrap()).or_default().insert(slice);
        }
    }
    assert!(slices.len() > 50 && slices.values().all(|slices| slices.len() == 1), "{slices:?}");
    assert!(split.gate.iter().all(|index| !dataset.samples[*index].is_pseudo_labelled));
    assert_eq!(open(folder.path(), Purpose::Evaluate).samples.len(), 96, "pseudo-labels evaluate nothing");
}

/// Catches: an export that other readers see differently: classes, groups, descriptions, bytes; one that is left half-written;
/// one that overwrites.
#[test]
fn exports_hold_what_the_collection_holds() {
    let folder = tempfile::tempdir().unwrap();
    drop(long_drive(folder.path()));
    let contents = contents(folder.path());
    let path = |name: &str| folder.path().join(name);
    for export in Export::ALL {
        let exported = contents.export(&path(export.name()), export).unwrap();
        assert_eq!((exported.images, exported.classes), (120, 2));
        let again = contents.export(&path(export.name()), export);
        assert!(matches!(again, Err(CollectError::ExportExists { .. })), "{again:?}");
    }
    let options = FolderOptions::default().with_group(Some("^([0-9a-f]+)_".into()));
    let images = Dataset::open(&path("image-folder"), &options).unwrap();
    let groups = |dataset: &Dataset| dataset.samples.iter().map(|sample| sample.group).collect::<BTreeSet<_>>().len();
    assert_eq!((images.samples.len(), groups(&images)), (120, groups(&open(folder.path(), Purpose::Adapt))));

    let lines = std::fs::read_to_string(path("jsonl/metadata.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 120);
    for (line, seed) in lines.iter().zip(0..) {
        let file = path("jsonl").join(line["file_name"].as_str().unwrap());
        assert_eq!(std::fs::read(file).unwrap(), jpeg(seed));
        assert_eq!(line["label"], ["grass", "mud"][seed as usize % 2]);
        assert_eq!(line["origin"], if seed % 5 == 0 { "teacher:large" } else { "operator" });
    }

    let mut archive = tar::Archive::new(std::fs::File::open(path("webdataset")).unwrap());
    let mut samples: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let name = entry.unwrap().path().unwrap().to_string_lossy().into_owned();
        let (key, extension) = name.split_once('.').unwrap();
        samples.entry(key.into()).or_default().insert(extension.into());
    }
    let expected: BTreeSet<String> = ["cls", "jpg", "json"].map(String::from).into();
    assert!(samples.len() == 120 && samples.values().all(|extensions| *extensions == expected));

    let (image, _) = contents.images().nth(60).unwrap();
    std::fs::write(contents.file(image), b"damaged").unwrap();
    for export in Export::ALL {
        let to = path(&format!("broken-{}", export.name()));
        assert!(matches!(contents.export(&to, export), Err(CollectError::DamagedImage { .. })));
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

/// Catches: options that make a collector which never takes a frame, or panics at the first.
#[test]
fn options_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |options: CollectorOptions| {
        let opened = Collector::open(&folder.path().join("collection"), options);
        assert!(matches!(opened, Err(CollectError::Option { .. })), "{opened:?}");
    };
    for rate in [0.0, -1.0, f32::NAN] {
        refused(options().with_selection(Selection::default().with_rate(rate)));
    }
    refused(options().with_session(Some("a\nb".into())));
    refused(options().with_privacy(Privacy::default().with_mask(vec![(0.0, 0.0)])));
    assert!(!folder.path().join("collection").exists());
}
