//! Tests of data sets with a table: their rows, their defects, and batches whose values follow their images.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "helpers of tests")]

use fieldfit_data::{
    Augmentation, DataError, Dataset, DatasetBuilder, FolderError, FolderOptions, Fractions, Frame, LabelSets, Loader,
    LoaderOptions, PixelFormat, Pixels, Preprocessor, Purpose, SkipKind, Subset, Target, TargetValues, Targets,
};
use fieldfit_tensor::{Filter, Fit, Preprocessing, Task};
use image::{Rgb, RgbImage};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

const RECIPE: Preprocessing =
    Preprocessing { size: 8, fit: Fit::Crop, crop: 1.0, mean: [0.0; 3], std: [1.0; 3], filter: Filter::Bilinear };

/// Writes images that are dark on the left and bright on the right, each a little brighter than the one before.
fn write(folder: &Path, names: &[&str]) {
    for (index, name) in names.iter().enumerate() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let grey = |x: u32| (10 * x + index as u32) as u8;
        RgbImage::from_fn(16, 16, |x, _| Rgb([grey(x); 3])).save(path).unwrap();
    }
}

fn with_table(name: &str, text: &str, images: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    write(folder.path(), images);
    fs::write(folder.path().join(name), text).unwrap();
    folder
}

fn open(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &FolderOptions::default())
}

fn targets(dataset: &Dataset) -> Vec<Target> {
    dataset.samples.iter().map(|sample| sample.target.clone()).collect()
}

fn values(values: &[f32]) -> Target {
    Target::Values(values.to_vec())
}

/// Catches: columns that are taken for another's, rows that lose their group or subset, images without a row that count or vanish
/// without a word, a byte order mark that becomes part of a name.
#[test]
fn a_table_of_values_is_a_data_set() {
    let text = "\u{feff}path, tilt [deg],group,\"fill, left\"\nb.png,1.5,one,-2\nimages/a.png,3e1,,0.25\n";
    let folder = with_table("targets.csv", text, &["b.png", "images/a.png", "c.png"]);
    let dataset = open(folder.path()).unwrap();
    assert_eq!((dataset.task(), dataset.classes.join("|")), (Task::Regression, "tilt [deg]|fill, left".to_owned()));
    assert_eq!(targets(&dataset), [values(&[1.5, -2.0]), values(&[30.0, 0.25])]);
    assert_eq!(dataset.samples[0].group_name.as_deref(), Some("one"));
    assert_eq!(dataset.skipped.iter().map(|skipped| skipped.kind).collect::<Vec<_>>(), [SkipKind::NoRow]);

    let lines = "{\"path\":\"b.png\",\"tilt\":1.5,\"fill\":2,\"subset\":\"train\"}\n\n\
                 {\"path\":\"c.png\",\"fill\":4,\"tilt\":-1,\"subset\":\"val\"}\n\
                 {\"path\":\"d.png\",\"fill\":5,\"tilt\":-1,\"subset\":\"test\"}\n";
    let folder = with_table("targets.jsonl", lines, &["b.png", "c.png", "d.png"]);
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.classes, ["fill", "tilt"], "JSON has no order of names");
    assert_eq!(targets(&dataset), [values(&[2.0, 1.5]), values(&[4.0, -1.0])]);
    let subsets: Vec<_> = dataset.samples.iter().map(|sample| sample.subset).collect();
    assert_eq!(subsets, [Some(Subset::Train), Some(Subset::Val)]);
    let test = Dataset::open(folder.path(), &FolderOptions::new(Purpose::Evaluate)).unwrap();
    assert_eq!(targets(&test), [values(&[5.0, -1.0])]);
}

/// Catches: labels of other images, a label that only later lines list, an image without labels that is left out.
#[test]
fn a_table_of_labels_is_a_data_set() {
    let text = "path,person,car\na.png,1,0\nb.png,0,0\nc.png,true,1\n";
    let dataset = open(with_table("labels.csv", text, &["a.png", "b.png", "c.png"]).path()).unwrap();
    assert_eq!((dataset.task(), dataset.classes.join(" ")), (Task::MultiLabel, "person car".to_owned()));
    assert_eq!(targets(&dataset), [vec![0], vec![], vec![0, 1]].map(Target::Labels));

    let lines = "{\"path\":\"a.png\",\"labels\":[\"person\"]}\n{\"path\":\"b.png\",\"labels\":[]}\n\
                 {\"path\":\"c.png\",\"labels\":[\"car\",\"person\"]}\n";
    let dataset = open(with_table("labels.jsonl", lines, &["a.png", "b.png", "c.png"]).path()).unwrap();
    assert_eq!(dataset.classes, ["car", "person"]);
    assert_eq!(targets(&dataset), [vec![1], vec![], vec![0, 1]].map(Target::Labels));
}

/// Catches: a defect of a table that is passed over, or reported without its line, its column or what is expected there.
#[test]
fn defects_of_tables_are_named() {
    let images = ["a.png", "b.png"];
    let cases = [
        (
            "targets.csv",
            "path,tilt\na.png,1\nb.png,steep\n",
            "line 3: column \"tilt\": expected a finite number, found \"steep\"",
        ),
        ("targets.csv", "path,tilt\na.png,NaN\n", "expected a finite number, found \"NaN\""),
        ("targets.csv", "path,tilt\na.png,1,2\n", "line 2: it is no row of the table"),
        ("targets.csv", "file,tilt\na.png,1\n", "expected a column `path` in its first line"),
        (
            "targets.csv",
            "path,tilt,subset\na.png,1,test\nb.png,1,\n",
            "line 3: it has no subset, which other rows have",
        ),
        ("targets.csv", "path,tilt,tilt\na.png,1,2\n", "two columns are called \"tilt\""),
        ("targets.csv", "path,group\na.png,1\n", "no column beside"),
        ("targets.csv", "path,tilt\n", "it has no row"),
        ("targets.csv", "path,tilt\na.png,1\na.png,2\n", "line 3: \"a.png\" is on line 2 already"),
        (
            "targets.csv",
            "path,tilt,subset\na.png,1,some\n",
            "line 2: subset \"some\": expected `train`, `val` or `test`",
        ),
        ("targets.csv", "path,t\u{1b}[2J\na.png,1\n", "\"t\\u{1b}[2J\" becomes a label"),
        ("labels.csv", "path,person\na.png,2\n", "column \"person\": expected 1 or 0, found \"2\""),
        ("labels.jsonl", "{\"path\":\"a.png\",\"labels\":[1,[]]}\n", "line 1: `labels` lists 1, which is no text"),
        ("labels.jsonl", "{\"path\":\"a.png\",\"person\":1}\n", "line 1: expected a list `labels` of texts"),
        ("labels.jsonl", "{\"path\":\"a.png\",\"labels\":[],\"car\":1}\n", "line 1: found \"car\""),
        (
            "targets.jsonl",
            "{\"path\":\"a.png\",\"labels\":[\"person\"]}\n",
            "line 1: \"labels\": expected a finite number",
        ),
        (
            "targets.jsonl",
            "{\"path\":\"a.png\",\"t\":1,\"subset\":[\"test\"]}\n",
            "line 1: \"subset\": expected a text, found",
        ),
        (
            "targets.jsonl",
            "{\"path\":\"a.png\"}\n{\"path\":\"b.png\",\"t\":1}\n",
            "line 2: it has \"t\", which other lines",
        ),
        ("targets.jsonl", "{\"path\":\"a.png\",\"tilt\":1}\n{\"path\":\"b.png\"}\n", "line 2: it has no \"tilt\""),
        (
            "targets.jsonl",
            "{\"path\":\"a.png\",\"tilt\":null}\n",
            "line 1: \"tilt\": expected a finite number, found null",
        ),
        ("targets.jsonl", "[1]\n", "line 1: it is no JSON object"),
        ("targets.jsonl", "{\"tilt\":1}\n", "line 1: expected a text `path`"),
        (
            "targets.jsonl",
            "{\"path\":\"a.png\",\"tilt\":1,\"tilt\":2}\n",
            "line 1: it is no JSON object (the field `tilt` is there twice",
        ),
    ];
    for (name, text, expected) in cases {
        let folder = with_table(name, text, &images);
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::Folder(FolderError::Table { .. })), "{text}: {error:?}");
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
    let folder = with_table("targets.csv", "path,tilt\na.png,1\n", &images);
    fs::write(folder.path().join("labels.csv"), "path,person\na.png,1\n").unwrap();
    assert!(matches!(open(folder.path()), Err(DataError::Folder(FolderError::TwoTables { .. }))));
    // A byte order mark is read over, whatever the syntax.
    let folder = with_table("targets.jsonl", "\u{feff}{\"path\":\"a.png\",\"tilt\":1}\n", &["a.png"]);
    assert_eq!(targets(&open(folder.path()).unwrap()), [values(&[1.0])]);
    // A table of values without paths, beside the folder of its images, is not taken for that of something else.
    let folder = with_table("targets.csv", "file,tilt\nimages/a.png,1\n", &["images/a.png"]);
    assert!(open(folder.path()).unwrap_err().to_string().contains("expected a column `path`"));
    // A table of something else beside folders of classes, as some data sets have it.
    let folder = with_table("labels.csv", "id,breed\n1,collie\n", &["cat/a.png", "dog/b.png"]);
    assert_eq!(open(folder.path()).unwrap().classes, ["cat", "dog"]);
    // What no row names cannot make a data set unreadable.
    let folder = with_table("targets.csv", "path,tilt\na.png,1\nb.png,2\n", &images);
    fs::write(folder.path().join("c.heic"), b"").unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.skipped.iter().map(|skipped| skipped.kind).collect::<Vec<_>>(), [SkipKind::NoRow]);
    // A missing file is an unreadable image.
    let folder = with_table("targets.csv", "path,tilt\na.png,1\nmissing.png,1\n", &images);
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("1 of 2 images") && error.contains("missing.png"), "{error}");
}

/// Catches: values that a flip leaves as they are or that change without one, images with values that are cropped at random, a
/// target that another's flip negates.
#[test]
fn values_follow_flips() {
    let text: String = (0..16).map(|row| format!("{row}.png,{},{}\n", row + 1, row + 1)).collect();
    let names: Vec<String> = (0..16).map(|row| format!("{row}.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let folder = with_table("targets.csv", &format!("path,steering,fill\n{text}"), &names);
    let dataset = open(folder.path()).unwrap();
    let order: Vec<usize> = (0..16).collect();
    let preprocessor = Preprocessor::new(&RECIPE, RECIPE.size, RECIPE.crop).unwrap();
    let batch = |negated: Option<Vec<usize>>, augmentation| {
        let options = LoaderOptions { negated_by_flips: negated, augmentation, ..LoaderOptions::default() };
        Loader::new(&dataset, &order, &preprocessor, &options).unwrap().next().unwrap().unwrap()
    };
    let values = |targets: &Targets| match targets {
        Targets::Values(TargetValues { values, targets: 2 }) => values.clone(),
        other => panic!("expected two values an image, found {other:?}"),
    };
    let plain = batch(None, Augmentation::None);
    let is_flipped = |image: &[f32]| image[0] > image[3 * 7];
    let kept = batch(None, Augmentation::Basic);
    assert_eq!(values(&kept.targets), values(&plain.targets));
    assert!(kept.images.values.chunks(kept.images.stride()).all(|image| !is_flipped(image)));
    let flipped = batch(Some(vec![0]), Augmentation::Basic);
    let mut seen = BTreeSet::new();
    for (image, (found, before)) in flipped
        .images
        .values
        .chunks(flipped.images.stride())
        .zip(values(&flipped.targets).chunks(2).zip(values(&plain.targets).chunks(2)))
    {
        let sign = if is_flipped(image) { -1.0 } else { 1.0 };
        assert_eq!(found, [sign * before[0], before[1]]);
        seen.insert(is_flipped(image));
    }
    assert_eq!(seen.len(), 2, "some are flipped and some are not");
}

/// Catches: labels of a batch in the places of others, a data set that is divided although a label cannot be learned, labels and
/// targets that change their places under a model's names.
#[test]
fn labels_come_in_batches_and_slices() {
    let mut images = DatasetBuilder::of_labels(vec!["car".into(), "person".into()]);
    for image in 0..30_u8 {
        let data = [image, 3 * image, 7];
        let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 1, 1));
        let labels: &[&str] = if image % 2 == 0 { &["person"] } else { &[] };
        images.push_labels(&frame, labels, None).unwrap();
    }
    let dataset = images.build().unwrap();
    let preprocessor = Preprocessor::new(&RECIPE, RECIPE.size, RECIPE.crop).unwrap();
    let mut loader = Loader::new(&dataset, &[0, 1, 2], &preprocessor, &LoaderOptions::default()).unwrap();
    let expected = Targets::Labels(LabelSets { labels: 2, values: vec![0, 1, 0, 0, 0, 1] });
    assert_eq!(loader.next().unwrap().unwrap().targets, expected);
    let error = dataset.split(&Fractions::default()).unwrap_err().to_string();
    assert!(error.contains("label `car`: 0 of"), "{error}");
    let moved = dataset.clone().with_labels(&["person".into(), "car".into()]).unwrap();
    assert_eq!(moved.samples[0].target, Target::Labels(vec![0]));
    // A label that nobody has looked for is not absent; one that no list names is.
    let missing = dataset.with_labels(&["dog".into(), "person".into(), "car".into()]).unwrap_err();
    assert!(matches!(missing, DataError::MissingTargets { .. }), "{missing}");
    let lists = with_table("labels.jsonl", "{\"path\":\"a.png\",\"labels\":[\"car\"]}\n", &["a.png"]);
    let moved = open(lists.path()).unwrap().with_labels(&["dog".into(), "car".into()]).unwrap();
    assert_eq!(moved.samples[0].target, Target::Labels(vec![1]));

    let mut images = DatasetBuilder::of_values(vec!["x".into(), "y".into()]);
    let frame = Frame::Pixels(Pixels::packed(&[1, 2, 3], PixelFormat::Rgb8, 1, 1));
    images.push_values(&frame, &[1.0, 2.0], None).unwrap();
    for refused in [images.push_values(&frame, &[1.0], None), images.push_values(&frame, &[1.0, f32::NAN], None)] {
        assert!(matches!(refused, Err(DataError::SampleTarget { number: 1, task: Task::Regression, .. })));
    }
    assert!(images.push(&frame, "class", None).is_err() && images.push_labels(&frame, &[], None).is_err());
    for names in [vec![], vec!["x".to_owned(), "x".to_owned()]] {
        let mut images = DatasetBuilder::of_values(names.clone());
        images.push_values(&frame, &vec![1.0; names.len()], None).unwrap();
        assert!(matches!(images.build(), Err(DataError::NoTargets | DataError::TargetName { .. })));
    }
    let dataset = images.build().unwrap();
    let moved = dataset.clone().with_labels(&["y".into(), "x".into()]).unwrap();
    assert_eq!(moved.samples[0].target, values(&[2.0, 1.0]));
    let missing = dataset.with_labels(&["y".into(), "x".into(), "z".into()]).unwrap_err();
    assert!(matches!(missing, DataError::MissingTargets { .. }), "{missing}");
}
