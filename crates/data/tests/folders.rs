//! Opening folders: what they hold, what is wrong with them, and what the messages say.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "helpers of tests")]

mod common;

use common::write_images;
use fieldfit_data::{DataError, Dataset, FolderError, FolderOptions, Part, Progress, Purpose};
use std::path::Path;
use tempfile::tempdir;

fn open(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions::default())
}

fn evaluate(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions { purpose: Purpose::Evaluate, group: None })
}

fn grouped(folder: &Path, pattern: &str) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions { group: Some(pattern.into()), ..FolderOptions::default() })
}

fn folder_error(result: Result<Dataset, DataError>) -> FolderError {
    match result {
        Err(DataError::Folder(error)) => error,
        other => panic!("expected a folder error, found {other:?}"),
    }
}

/// Catches classes out of order, missed extensions, and hidden or foreign files taken for images.
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
    assert_eq!(dataset.samples.iter().map(|sample| sample.class).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1]);
    assert!(dataset.skipped.is_empty() && dataset.notes.is_empty());
}

/// Catches progress that skips files, goes backwards or does not reach the end.
#[test]
fn progress_counts_every_file() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 3);
    write_images(&folder.path().join("b"), "", 10, 4);
    let mut seen = Vec::new();
    Dataset::open_with_progress(folder.path(), &FolderOptions::default(), &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(seen, (1..=7).map(|done| Progress { done, total: 7 }).collect::<Vec<_>>());
}

/// Catches an adaptation that sees test images, and an evaluation that sees training images.
#[test]
fn adapting_reads_train_and_val_and_evaluating_reads_test() {
    let folder = tempdir().unwrap();
    for (part, seed, count) in [("train", 0, 3), ("val", 20, 2), ("test", 40, 4)] {
        for (class, offset) in [("a", 0), ("b", 10)] {
            write_images(&folder.path().join(part).join(class), "", seed + offset, count);
        }
    }
    let count = |dataset: &Dataset, part| dataset.samples.iter().filter(|sample| sample.part == Some(part)).count();
    let adapt = open(folder.path()).unwrap();
    assert_eq!([Part::Train, Part::Val, Part::Test].map(|part| count(&adapt, part)), [6, 4, 0]);
    let test = evaluate(folder.path()).unwrap();
    assert_eq!([Part::Train, Part::Val, Part::Test].map(|part| count(&test, part)), [0, 0, 8]);
    assert_eq!((adapt.classes, test.classes), (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()]));
}

/// Catches a class called `train` taken for a part of the data set.
#[test]
fn a_class_may_be_called_train() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("train"), "", 0, 2);
    write_images(&folder.path().join("car"), "", 10, 2);
    assert_eq!(open(folder.path()).unwrap().classes, ["car", "train"]);
}

/// Catches a missing part that is silently replaced by another.
#[test]
fn a_missing_part_is_named() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("val/a"), "", 0, 1);
    write_images(&folder.path().join("val/b"), "", 10, 1);
    let adapt = folder_error(open(folder.path()));
    assert!(matches!(adapt, FolderError::NoPart { part: Part::Train, .. }));
    assert!(adapt.to_string().ends_with("holds parts of a data set but not `train`, which this needs"));
    assert!(matches!(folder_error(evaluate(folder.path())), FolderError::NoPart { part: Part::Test, .. }));
}

/// Catches images beside the parts that nobody would ever see.
#[test]
fn parts_and_classes_side_by_side_are_refused() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("train/a"), "", 0, 1);
    write_images(&folder.path().join("cat"), "", 10, 1);
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.contains("holds `train` and `cat`: expected either one folder a class"), "{error}");
}

/// Catches a missing folder, an empty one and a file reported as something else.
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

/// Catches learning from one class, which nothing can be told apart from; measuring on one is fine.
#[test]
fn one_class_is_refused_to_learn_from() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("cat"), "", 0, 3);
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.ends_with("holds one class, `cat`: at least two are needed to learn to tell them apart"), "{error}");
    assert_eq!(evaluate(folder.path()).unwrap().samples.len(), 3);
}

/// Catches a class that silently has no image.
#[test]
fn a_class_without_images_is_named() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("cat"), "", 0, 1);
    std::fs::create_dir(folder.path().join("dog")).unwrap();
    std::fs::write(folder.path().join("dog/list.txt"), "").unwrap();
    let error = folder_error(open(folder.path())).to_string();
    assert!(error.starts_with("class `dog` has no image: ") && error.contains(".webp"), "{error}");
}

/// Catches a folder of broken files that opens as an empty data set.
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

/// Catches unreadable images that are dropped without a word, or that stop a run they need not stop.
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
    assert!(dataset.skipped[0].reason.starts_with("not a readable JPEG, PNG or WebP image: "));
}

/// Catches a limit that is off: one in twenty passes (above), two in twenty do not.
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

/// Catches a pattern that is ignored, uses the whole match where it has a capture, or separates one group.
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

/// Catches grouping by path: a copied image must stay with its original.
#[test]
fn without_a_pattern_the_same_content_is_one_group() {
    let folder = tempdir().unwrap();
    let paths = write_images(&folder.path().join("a"), "", 0, 2);
    write_images(&folder.path().join("b"), "", 10, 1);
    std::fs::copy(&paths[0], folder.path().join("a/copy.png")).unwrap();
    let groups: Vec<_> = open(folder.path()).unwrap().samples.iter().map(|sample| sample.group).collect();
    assert!(groups[0] == groups[2] && groups[0] != groups[1] && groups[0] != groups[3]);
}

/// Catches bad patterns that silently fall back to the images' content.
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

/// Catches predictions compared with another class's number, and folders that are no label of the model.
#[test]
fn classes_take_the_numbers_of_the_models_labels() {
    let dataset = common::imagined(&[("cat", &[1]), ("dog", &[1])]);
    let labels = ["dog", "bird", "cat"].map(String::from);
    let relabelled = dataset.clone().with_labels(&labels).unwrap();
    assert_eq!(relabelled.samples.iter().map(|sample| sample.class).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(relabelled.classes, labels);
    let error = dataset.with_labels(&labels[..2]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the classes cat are not among the model's labels: classes and labels must have the same names. \
         Classes: cat, dog. Labels: dog, bird"
    );
}

/// Catches images that are missed because of where they lie, a link that leads in a circle, and a folder without images
/// that passes for one.
#[test]
fn unlabelled_images_are_found_at_any_depth() {
    let open = |folder: &Path| Dataset::open(folder, &FolderOptions { purpose: Purpose::Unlabelled, group: None });
    let folder = tempdir().unwrap();
    assert!(matches!(folder_error(open(folder.path())), FolderError::NoImage { path } if path == folder.path()));
    write_images(folder.path(), "", 0, 1);
    write_images(&folder.path().join("a/b/train"), "", 10, 2);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!((dataset.classes.len(), dataset.samples.len()), (1, 3));
    assert!(dataset.samples.iter().all(|sample| sample.class == 0));
}

/// Catches a draw that differs from one time to the next, takes the first images instead of any, or loses a class.
#[test]
fn a_limit_draws_as_many_of_each_class_and_the_same_each_time() {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("few"), "", 0, 2);
    write_images(&folder.path().join("many"), "", 10, 12);
    let dataset = open(folder.path()).unwrap();
    let drawn = |seed: u64| dataset.clone().limited(4, seed);
    let of = |dataset: &Dataset, class: u32| dataset.samples.iter().filter(|sample| sample.class == class).count();
    assert_eq!((of(&drawn(1), 0), of(&drawn(1), 1)), (2, 4));
    assert_eq!(drawn(1), drawn(1));
    assert!((1..9).any(|seed| drawn(seed).samples[2..] != dataset.samples[2..6]), "always the first ones");
    assert!((2..9).any(|seed| drawn(seed) != drawn(1)), "whatever the seed");
}

/// Catches groups whose names are lost between the pattern and the sample.
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
