//! Tests of image folders: their layouts, their defects, and the messages about them.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "helpers of tests")]

mod common;

use common::write_images;
use fieldfit_data::{DataError, Dataset, FolderError, FolderOptions, Purpose, SkipKind, Subset, Target};
use std::path::Path;
use tempfile::tempdir;

fn open(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions::default())
}

fn evaluate(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions::new(Purpose::Evaluate))
}

fn grouped(folder: &Path, pattern: &str) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions::default().with_group(Some(pattern.into())))
}

fn folder_error(result: Result<Dataset, DataError>) -> FolderError {
    match result {
        Err(DataError::Folder(error)) => error,
        other => panic!("expected a folder error, found {other:?}"),
    }
}

/// Catches: classes out of order, missed extensions, and hidden or foreign files taken for images.
#[test]
fn classes_are_sorted_folders_and_images_are_known_by_extension() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("zebra"), "", 0, 2);
    write_images(&folder.path().join("ant"), "", 10, 1);
    common::image(20).save(folder.path().join("ant/photo.JPG")).unwrap();
    common::image(21).save(folder.path().join("ant/photo.jpeg")).unwrap();
    common::image(22).save(folder.path().join("ant/photo.webp")).unwrap();
    std::fs::write(folder.path().join("ant/notes.txt"), "no image").unwrap();
    std::fs::write(folder.path().join("ant/._photo.jpg"), "a resource fork").unwrap();
    std::fs::create_dir(folder.path().join(".thumbnails")).unwrap();
    std::fs::write(folder.path().join("README.md"), "no class").unwrap();

    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.classes, ["ant", "zebra"]);
    assert_eq!(
        dataset.samples.iter().filter_map(|sample| sample.target.class()).collect::<Vec<_>>(),
        [0, 0, 0, 0, 1, 1]
    );
    assert!(dataset.skipped.is_empty() && dataset.notes.is_empty());
}

/// Catches: progress that skips files, goes backwards or does not reach the end.
#[test]
fn progress_counts_every_file() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 3);
    write_images(&folder.path().join("b"), "", 10, 4);
    let mut seen = Vec::new();
    Dataset::open_with_progress(folder.path(), &FolderOptions::default(), &mut |progress| {
        seen.push((progress.done, progress.total))
    })
    .unwrap();
    assert_eq!(seen, (1..=7).map(|done| (done, 7)).collect::<Vec<_>>());
}

/// Catches: an adaptation that sees test images, and an evaluation that sees training images.
#[test]
fn adapting_reads_train_and_val_and_evaluating_reads_test() {
    let folder = tempdir().unwrap();
    for (subset, seed, count) in [("train", 0, 3), ("val", 20, 2), ("test", 40, 4)] {
        for (class, offset) in [("a", 0), ("b", 10)] {
            write_images(&folder.path().join(subset).join(class), "", seed + offset, count);
        }
    }
    let count =
        |dataset: &Dataset, subset| dataset.samples.iter().filter(|sample| sample.subset == Some(subset)).count();
    let adapt = open(folder.path()).unwrap();
    assert_eq!([Subset::Train, Subset::Val, Subset::Test].map(|subset| count(&adapt, subset)), [6, 4, 0]);
    let test = evaluate(folder.path()).unwrap();
    assert_eq!([Subset::Train, Subset::Val, Subset::Test].map(|subset| count(&test, subset)), [0, 0, 8]);
    assert_eq!((adapt.classes, test.classes), (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()]));
}

/// Catches: a class called `train` taken for a part of the data set.
#[test]
fn a_class_may_be_called_train() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("train"), "", 0, 2);
    write_images(&folder.path().join("car"), "", 10, 2);
    assert_eq!(open(folder.path()).unwrap().classes, ["car", "train"]);
}

/// Catches: a missing part that is silently replaced by another.
#[test]
fn a_missing_subset_is_named() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("val/a"), "", 0, 1);
    write_images(&folder.path().join("val/b"), "", 10, 1);
    let adapt = folder_error(open(folder.path()));
    assert!(matches!(adapt, FolderError::MissingSubset { subset: Subset::Train, .. }));
    assert!(adapt.to_string().ends_with("holds subsets of a data set but not `train`, which is needed here"));
    assert!(matches!(folder_error(evaluate(folder.path())), FolderError::MissingSubset { subset: Subset::Test, .. }));
}

/// Catches: images beside the parts that nobody would ever see.
#[test]
fn subsets_and_classes_side_by_side_are_refused() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("train/a"), "", 0, 1);
    write_images(&folder.path().join("cat"), "", 10, 1);
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.contains("holds `train` and `cat`: expected either one folder a class"), "{error}");
}

/// Catches: a missing folder, an empty one and a file reported as something else.
#[test]
fn a_folder_without_classes_is_refused() {
    let folder = tempdir().unwrap();
    let missing = folder_error(open(&folder.path().join("nowhere"))).to_string();
    assert!(missing.contains("nowhere is not a folder: expected one folder a class"), "{missing}");
    let empty = folder_error(open(folder.path())).to_string();
    assert!(empty.ends_with("holds no class: expected one folder a class with its images inside"), "{empty}");
    let file = write_images(folder.path(), "", 0, 1).remove(0);
    assert!(matches!(folder_error(open(&file)), FolderError::NotAFolder { .. }));
    assert!(matches!(folder_error(open(folder.path())), FolderError::NoClasses { .. }));
}

/// Catches: learning from one class, which nothing can be told apart from; measuring on one is fine.
#[test]
fn one_class_is_refused_to_learn_from() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("cat"), "", 0, 3);
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.ends_with("holds one class, `cat`: at least two are needed to learn to tell them apart"), "{error}");
    assert_eq!(evaluate(folder.path()).unwrap().samples.len(), 3);
}

/// Catches: a class that silently has no image.
#[test]
fn a_class_without_images_is_named() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("cat"), "", 0, 1);
    std::fs::create_dir(folder.path().join("dog")).unwrap();
    std::fs::write(folder.path().join("dog/list.txt"), "").unwrap();
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.starts_with("class `dog` has no image: ") && error.contains("WebP"), "{error}");
}

/// Catches: a folder of broken files that opens as an empty data set.
#[test]
fn no_readable_image_is_an_error_of_its_own() {
    let folder = tempdir().unwrap();
    for class in ["a", "b"] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        std::fs::write(folder.path().join(class).join("0.png"), "not an image").unwrap();
    }
    let error = folder_error(open(folder.path()));
    assert!(matches!(&error, FolderError::NoReadableImage { found: 2, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("none of the 2 images in ") && text.contains("0.png (not a readable"), "{text}");
}

/// Catches: unreadable images that are dropped without a word, or that stop a run they need not stop.
#[test]
fn a_few_unreadable_images_are_skipped_and_named() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 10);
    let paths = write_images(&folder.path().join("b"), "", 20, 10);
    let whole = std::fs::read(&paths[3]).unwrap();
    std::fs::write(&paths[3], &whole[..whole.len() / 2]).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.samples.len(), 19);
    assert_eq!(dataset.skipped.len(), 1);
    assert_eq!(dataset.skipped[0].path, paths[3]);
    assert!(dataset.skipped[0].reason.starts_with("not a readable JPEG, PNG, WebP, BMP, TIFF or GIF image: "));
}

/// Catches: a limit that is off: one in twenty passes (above), two in twenty do not.
#[test]
fn more_than_one_in_twenty_unreadable_images_are_an_error() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 10);
    let paths = write_images(&folder.path().join("b"), "", 20, 10);
    std::fs::write(&paths[0], "").unwrap();
    std::fs::write(&paths[1], [0; 64]).unwrap();
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.starts_with("2 of 20 images in ") && error.contains("more than 5 %"), "{error}");
    assert!(error.contains("000.png (") && error.contains("001.png ("), "{error}");
}

/// Catches: a pattern that is ignored, uses the whole match where it has a capture, or separates one group.
#[test]
fn the_pattern_names_groups() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "cup_", 0, 2);
    write_images(&folder.path().join("a"), "mug_", 5, 1);
    write_images(&folder.path().join("b"), "cup_", 10, 1);
    let by_capture: Vec<_> = grouped(folder.path(), "^([^_]+)_").unwrap().samples.iter().map(|s| s.group).collect();
    assert!(by_capture[0] == by_capture[1] && by_capture[0] == by_capture[3] && by_capture[0] != by_capture[2]);
    let by_match: Vec<_> = grouped(folder.path(), "^[a-z]+").unwrap().samples.iter().map(|s| s.group).collect();
    assert_eq!(by_match, by_capture);
}

/// Catches: grouping by path: a copied image must stay with its original.
#[test]
fn without_a_pattern_the_same_content_is_one_group() {
    let folder = tempdir().unwrap();
    let paths = write_images(&folder.path().join("a"), "", 0, 2);
    write_images(&folder.path().join("b"), "", 10, 1);
    std::fs::copy(&paths[0], folder.path().join("a/copy.png")).unwrap();
    let groups: Vec<_> = open(folder.path()).unwrap().samples.iter().map(|sample| sample.group).collect();
    assert!(groups[0] == groups[2] && groups[0] != groups[1] && groups[0] != groups[3]);
}

/// Catches: bad patterns that silently fall back to the images' content.
#[test]
fn patterns_that_are_wrong_or_match_nothing_are_refused() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "x", 0, 2);
    write_images(&folder.path().join("b"), "y", 10, 2);
    let wrong = folder_error(grouped(folder.path(), "([")).to_string();
    assert!(wrong.starts_with("the group pattern `([` is not a regular expression: "), "{wrong}");
    let nothing = folder_error(grouped(folder.path(), "^sequence")).to_string();
    assert!(nothing.contains("matches no file name in") && nothing.contains("x000.png"), "{nothing}");
    let some = grouped(folder.path(), "^x").unwrap();
    assert!(some.notes[0].contains("does not match 2 file names, for example `y000.png`"), "{:?}", some.notes);
}

/// Catches: predictions compared with another class's number, and folders that are no label of the model.
#[test]
fn classes_take_the_numbers_of_the_models_labels() {
    let dataset = common::imagined(&[("cat", &[1]), ("dog", &[1])]);
    let labels = ["dog", "bird", "cat"].map(String::from);
    let relabelled = dataset.clone().with_labels(&labels).unwrap();
    assert_eq!(relabelled.samples.iter().filter_map(|sample| sample.target.class()).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(relabelled.classes, labels);
    let error = dataset.with_labels(&labels[..2]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the classes cat are not among the model's labels: classes and labels must have the same names. \
         Classes: cat, dog. Labels: dog, bird"
    );
}

/// Catches: images that are missed because of where they lie, a link that leads in a circle, and a folder without images
/// that passes for one.
#[test]
fn unlabelled_images_are_found_at_any_depth() {
    let open = |folder: &Path| Dataset::open(folder, &FolderOptions::new(Purpose::Unlabelled));
    let folder = tempdir().unwrap();
    assert!(
        matches!(folder_error(open(folder.path())), FolderError::NoImage { path, foreign: None } if path == folder.path())
    );
    write_images(folder.path(), "", 0, 1);
    write_images(&folder.path().join("a/b/train"), "", 10, 2);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!((dataset.classes.len(), dataset.samples.len()), (1, 3));
    assert!(dataset.samples.iter().all(|sample| sample.target == Target::Class(0)));
}

/// Catches: a draw that differs from one time to the next, takes the first images instead of any, or loses a class.
#[test]
fn a_limit_draws_as_many_of_each_class_and_the_same_each_time() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("few"), "", 0, 2);
    write_images(&folder.path().join("many"), "", 10, 12);
    let dataset = open(folder.path()).unwrap();
    let drawn = |seed: u64| dataset.clone().limited(4, seed);
    let of = |dataset: &Dataset, class: u32| {
        dataset.samples.iter().filter(|sample| sample.target == Target::Class(class)).count()
    };
    assert_eq!((of(&drawn(1), 0), of(&drawn(1), 1)), (2, 4));
    assert_eq!(drawn(1), drawn(1));
    assert!((1..9).any(|seed| drawn(seed).samples[2..] != dataset.samples[2..6]), "always the first ones");
    assert!((2..9).any(|seed| drawn(seed) != drawn(1)), "whatever the seed");
}

/// Catches: groups whose names are lost between the pattern and the sample.
#[test]
fn a_sample_knows_the_name_of_its_group() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "day1_", 0, 1);
    write_images(&folder.path().join("b"), "day2_", 10, 1);
    let dataset = grouped(folder.path(), "^(day[0-9])_").unwrap();
    let names: Vec<_> = dataset.samples.iter().map(|sample| sample.group_name.as_deref()).collect();
    assert_eq!(names, [Some("day1"), Some("day2")]);
    assert!(open(folder.path()).unwrap().samples.iter().all(|sample| sample.group_name.is_none()));
}

fn kinds(dataset: &Dataset) -> Vec<(String, SkipKind)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    dataset.skipped.iter().map(|skipped| (name(&skipped.path), skipped.kind)).collect()
}

/// Two classes of 30 images each.
fn two_classes(folder: &Path) {
    write_images(&folder.join("a"), "", 0, 30);
    write_images(&folder.join("b"), "", 40, 30);
}

/// Catches: files that are left out without a word, whatever the reason, and a summary that names or counts them wrongly.
#[test]
fn everything_that_is_left_out_is_named() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a/photo.HEIC"), b"anything").unwrap();
    std::fs::write(path("a/001.cr2"), b"the raw file of 001.png").unwrap();
    std::fs::write(path("a/README.txt"), b"no image").unwrap();
    write_images(&path("b/more/deeper"), "nested", 90, 1);
    write_images(folder.path(), "beside", 95, 1);
    std::os::unix::fs::symlink("/nowhere/else", path("c")).unwrap();
    std::fs::write(path("b/broken.png"), b"no image").unwrap();
    let dataset = open(folder.path()).unwrap();
    let expected = [
        ("001.cr2", SkipKind::SecondFormat),
        ("photo.HEIC", SkipKind::UnsupportedFormat),
        ("broken.png", SkipKind::Unreadable),
        ("nested000.png", SkipKind::InSubfolder),
        ("beside000.png", SkipKind::OutsideClasses),
        ("c", SkipKind::DanglingLink),
    ];
    assert_eq!(kinds(&dataset), expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!((dataset.samples.len(), dataset.unreadable()), (60, 2));
    let summary = dataset.skip_summary().unwrap();
    assert_eq!((summary.counts.len(), summary.examples.len()), (6, 5));
    let text = summary.to_string();
    assert!(text.starts_with("skipped 6 files: 1 unreadable, 1 in an unsupported format, "), "{text}");
    assert!(text.contains("photo.HEIC (HEIC is not decoded: convert it to JPEG or PNG"), "{text}");
    assert!(text.ends_with(" and 1 more"), "{text}");
}

/// Catches: training on the third of the images that happens to be decodable.
#[test]
fn too_many_images_of_an_unsupported_format_are_refused() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    for number in 0..4 {
        std::fs::write(folder.path().join(format!("b/{number}.heic")), b"anything").unwrap();
    }
    let error = folder_error(open(folder.path()));
    assert!(matches!(error, FolderError::TooManyUnreadable { unreadable: 4, found: 64, .. }));
    assert!(error.to_string().contains("0.heic (HEIC is not decoded: convert it"), "{error}");
    write_images(&folder.path().join("more/a"), "", 80, 1);
    std::fs::create_dir(folder.path().join("raw")).unwrap();
    std::fs::write(folder.path().join("raw/1.avif"), b"anything").unwrap();
    std::fs::remove_dir_all(folder.path().join("more")).unwrap();
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.starts_with("class `raw` has no image: ") && error.contains("avifdec"), "{error}");
}

/// Catches: a class that is lost because the few images that it has are all unreadable.
#[test]
fn a_class_without_a_readable_image_is_refused() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    std::fs::create_dir(folder.path().join("c")).unwrap();
    std::fs::write(folder.path().join("c/1.png"), b"no image").unwrap();
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.starts_with("class `c` has no readable image in "), "{error}");
}

/// Catches: images of a pipe or device that are waited on or read without an end.
#[test]
fn pipes_and_devices_among_images_are_unreadable() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    let pipe = folder.path().join("a/pipe.jpg");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("a/zero.png")).unwrap();
    let dataset = open(folder.path()).unwrap();
    let reasons: Vec<&str> = dataset.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(reasons, ["expected a regular file, found a named pipe", "expected a regular file, found a device"]);
}

/// Catches: BMP, TIFF and GIF files that are passed over.
#[test]
fn bmp_tiff_and_gif_are_images() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    for name in ["a/1.bmp", "a/2.TIFF", "a/3.tif", "a/4.gif", "b/5.jfif"] {
        let format = if name.ends_with("jfif") { Some(image::ImageFormat::Jpeg) } else { None };
        let path = folder.path().join(name);
        let image = common::image(99);
        format.map_or_else(|| image.save(&path), |format| image.save_with_format(&path, format)).unwrap();
    }
    let dataset = open(folder.path()).unwrap();
    assert_eq!((dataset.samples.len(), dataset.skipped.len()), (65, 0));
}

/// Catches: folders of systems and tools that become classes, and their thumbnails images.
#[test]
fn system_folders_are_no_classes() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    for name in [
        "__MACOSX",
        "@eaDir",
        "lost+found",
        "LOST.DIR",
        "FOUND.000",
        "found.012",
        ".Trash-1000",
        "$RECYCLE.BIN",
        "RECYCLED",
        "System Volume Information",
        "Temporary Items",
    ] {
        write_images(&folder.path().join(name), "", 90, 1);
        write_images(&folder.path().join("a").join(name), "", 90, 1);
    }
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.classes, ["a", "b"]);
    assert!(dataset.skipped.is_empty(), "{:?}", dataset.skipped);
    let options = FolderOptions::new(Purpose::Unlabelled);
    assert_eq!(Dataset::open(folder.path(), &options).unwrap().samples.len(), 60);
}

/// Catches: a class whose name no delta can hold as a label, which is only told after training.
#[test]
fn a_class_that_can_be_no_label_is_refused_when_it_is_opened() {
    for (name, problem) in [("a\u{1b}[2Jb", "not printable"), ("b\u{202e}a", "not printable"), (" ", "blank")] {
        let folder = tempdir().unwrap();
        two_classes(folder.path());
        write_images(&folder.path().join(name), "", 90, 20);
        let Err(DataError::Folder(FolderError::Name { problem: found, .. })) = open(folder.path()) else {
            panic!("{name}")
        };
        assert_eq!(found, problem);
    }
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    write_images(&folder.path().join("found.items"), "", 90, 20);
    assert_eq!(open(folder.path()).unwrap().classes, ["a", "b", "found.items"]);
}

/// Catches: subsets under their other usual names that are taken for classes.
#[test]
fn subsets_have_several_names() {
    for (train, val, test) in [("Train", "valid", "TEST"), ("training", "Validation", "testing")] {
        let folder = tempdir().unwrap();
        for (subset, seed) in [(train, 0), (val, 20), (test, 40)] {
            write_images(&folder.path().join(subset).join("a"), "", seed, 2);
            write_images(&folder.path().join(subset).join("b"), "", seed + 10, 2);
        }
        let adapt = open(folder.path()).unwrap();
        let subsets: Vec<_> = adapt.samples.iter().filter_map(|sample| sample.subset).collect();
        assert_eq!((subsets.len(), adapt.classes.len()), (8, 2));
        assert_eq!(subsets.iter().filter(|subset| **subset == Subset::Val).count(), 4);
        assert_eq!(evaluate(folder.path()).unwrap().samples.len(), 4);
    }
    let folder = tempdir().unwrap();
    for subset in ["train", "val", "valid"] {
        write_images(&folder.path().join(subset).join("a"), "", 0, 1);
    }
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.ends_with("holds `val` and `valid`, which both mean `val`: merge them or remove one"), "{error}");
}

/// Catches: a data set in a folder of its own that is opened from one level too high, and refused without a hint.
#[test]
fn classes_two_levels_deep_get_a_hint() {
    let folder = tempdir().unwrap();
    two_classes(&folder.path().join("images"));
    let error = folder_error(open(folder.path()));
    assert!(matches!(&error, FolderError::NestedClasses { path, .. } if *path == folder.path().join("images")));
    let hint = format!("Open {} instead", folder.path().join("images").display());
    assert!(error.to_string().contains(&hint), "{error}");
}

/// Catches: labels that contradict each other, and a data set that consists of copies, of which nobody is told.
#[test]
fn identical_files_are_noted() {
    let folder = tempdir().unwrap();
    two_classes(folder.path());
    assert!(open(folder.path()).unwrap().notes.is_empty());
    let copy = |from: &str, to: &str| std::fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
    copy("a/003.png", "b/copy.png");
    let notes = open(folder.path()).unwrap().notes;
    assert_eq!(notes.len(), 1);
    assert!(notes[0].starts_with("1 images lie under different labels, byte by byte the same: "), "{notes:?}");
    assert!(notes[0].contains("a/003.png is `a` and ") && notes[0].contains("b/copy.png is `b`"), "{notes:?}");
    std::fs::remove_file(folder.path().join("b/copy.png")).unwrap();
    for number in 0..4 {
        copy("a/003.png", &format!("a/copy{number}.png"));
    }
    let notes = open(folder.path()).unwrap().notes;
    assert!(notes[0].starts_with("4 of 64 images are copies of another one, byte by byte: "), "{notes:?}");
}
