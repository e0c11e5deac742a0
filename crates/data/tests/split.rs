//! Tests of the three-way split: no image changes its slice, no group is in two, no class is missing from one.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use common::imagined;
use fieldfit_data::{DataError, Dataset, Fractions, Group, MIN_IMAGES_PER_SLICE, Split, SplitError, Subset, Target};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;

fn split(dataset: &Dataset) -> Split {
    dataset.split(&Fractions::default()).unwrap()
}

fn slices(split: &Split) -> [&Vec<usize>; 3] {
    [&split.train, &split.validation, &split.gate]
}

/// Which slice each file is in.
fn places(dataset: &Dataset, split: &Split) -> HashMap<PathBuf, usize> {
    let mut places = HashMap::new();
    for (slice, samples) in slices(split).into_iter().enumerate() {
        for index in samples {
            assert!(
                places.insert(dataset.samples[*index].image.path().unwrap().to_path_buf(), slice).is_none(),
                "in two slices"
            );
        }
    }
    places
}

fn count(dataset: &Dataset, samples: &[usize], class: u32) -> usize {
    samples.iter().filter(|index| dataset.samples[**index].target == Target::Class(class)).count()
}

fn ones(count: usize) -> Vec<usize> {
    vec![1; count]
}

/// Catches: fractions that are ignored or swapped.
#[test]
fn slices_have_about_the_sizes_asked_for() {
    let (a, b) = (ones(2000), ones(2000));
    let dataset = imagined(&[("a", &a), ("b", &b)]);
    let split = dataset.split(&Fractions::new(0.2, 0.05)).unwrap();
    assert!(split.validation.len().abs_diff(800) < 80, "{}", split.validation.len());
    assert!(split.gate.len().abs_diff(200) < 45, "{}", split.gate.len());
    assert_eq!(split.train.len() + split.validation.len() + split.gate.len(), 4000);
    assert!(split.notes.is_empty());
}

/// Catches: a hash that changes: images on robots in the field must not change slice with a new version of Fieldfit.
#[test]
fn the_hash_of_a_group_is_what_it_has_always_been() {
    let hex: String = Group::named("cup").0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "fd97cac88a826371072d6626e21c51b1ce7281e6b0453af9eb32399b4def1cda");
}

/// Catches: a class that is missing from a slice although it has enough images, and a move that nobody is told of.
#[test]
fn every_small_class_is_in_every_slice() {
    let sizes: Vec<(String, Vec<usize>)> = (0..40).map(|class| (format!("c{class:02}"), ones(6 + class / 4))).collect();
    let classes: Vec<(&str, &[usize])> = sizes.iter().map(|(name, groups)| (name.as_str(), &groups[..])).collect();
    let dataset = imagined(&classes);
    let split = split(&dataset);
    for class in 0..40 {
        for samples in slices(&split) {
            assert!(count(&dataset, samples, class) >= MIN_IMAGES_PER_SLICE, "class {class}");
        }
    }
    assert!(
        split.notes.iter().any(|note| note.starts_with("moved ") && note.contains(" from train to gate, which had "))
    );
    assert_eq!(places(&dataset, &split).len(), dataset.samples.len());
}

/// Catches: a model that is judged by its own answers: an image with a pseudo-label in the gate, by the hash or because a
/// class lacked images there; a group that is in the gate and elsewhere.
#[test]
fn pseudo_labels_never_judge() {
    let groups: Vec<usize> = (0..300).map(|number| 1 + number % 4).collect();
    let mut dataset = imagined(&[("a", &groups), ("b", &groups), ("few", &ones(12))]);
    for (index, sample) in dataset.samples.iter_mut().enumerate() {
        sample.is_pseudo_labelled = index % 3 == 0;
    }
    let split = split(&dataset);
    assert!(split.gate.iter().all(|index| !dataset.samples[*index].is_pseudo_labelled));
    assert!(split.train.iter().any(|index| dataset.samples[*index].is_pseudo_labelled), "they may train");
    for class in 0..3 {
        assert!(count(&dataset, &split.gate, class) >= MIN_IMAGES_PER_SLICE, "class {class}");
    }
    let mut places: HashMap<Group, usize> = HashMap::new();
    for (slice, samples) in slices(&split).into_iter().enumerate() {
        for index in samples {
            assert_eq!(*places.entry(dataset.samples[*index].group).or_insert(slice), slice, "a group in two slices");
        }
    }
    dataset.samples.iter_mut().for_each(|sample| sample.is_pseudo_labelled = true);
    let refused = dataset.split(&Fractions::default());
    assert!(matches!(refused, Err(DataError::Split(SplitError::ClassTooSmall { gate: 0, .. }))), "{refused:?}");
}

/// Catches: top-up that takes any group instead of those next to the slice's border.
#[test]
fn the_groups_nearest_to_the_border_are_moved() {
    let groups = ones(30);
    let dataset = imagined(&[("a", &groups), ("b", &groups)]);
    let tiny = Fractions::new(1e-12, 1e-12);
    let split = dataset.split(&tiny).unwrap();
    let mut positions: Vec<usize> = (0..30).collect();
    positions.sort_by_key(|index| dataset.samples[*index].group);
    let moved = |samples: &[usize]| samples.iter().copied().filter(|index| *index < 30).collect::<Vec<_>>();
    let sorted = |indices: &[usize]| {
        let mut indices = indices.to_vec();
        indices.sort_unstable();
        indices
    };
    assert_eq!(moved(&split.gate), sorted(&positions[..2]));
    assert_eq!(moved(&split.validation), sorted(&positions[2..4]));
}

/// Catches: a class that can't be in all slices but is split all the same, and a message that does not help.
#[test]
fn a_class_too_small_to_split_is_refused_with_its_counts() {
    let enough = ones(20);
    let five = imagined(&[("big", &enough), ("small", &[1, 1, 1, 1, 1])]).split(&Fractions::default());
    match five {
        Err(DataError::Split(SplitError::ClassTooSmall { class, images: 5, groups: 5, .. })) => {
            assert_eq!(class, "small")
        }
        other => panic!("{other:?}"),
    }
    let two_groups = imagined(&[("big", &enough), ("small", &[50, 50])]).split(&Fractions::default());
    let message = two_groups.unwrap_err().to_string();
    assert!(message.starts_with("class `small` is too small to split: its 100 images in 2 groups give "), "{message}");
    assert!(message.ends_with("Add images of it, or choose a group pattern that makes smaller groups"), "{message}");
}

/// Catches: fractions that leave nothing to train on, and a data set of one class that reaches the trainer.
#[test]
fn splits_that_can_not_be_are_refused() {
    let groups = ones(20);
    let dataset = imagined(&[("a", &groups), ("b", &groups)]);
    for (validation, gate) in [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (f64::NAN, 0.1), (-0.1, 0.1)] {
        let result = dataset.split(&Fractions::new(validation, gate));
        assert!(matches!(result, Err(DataError::Split(SplitError::Fractions { .. }))), "{validation} {gate}");
    }
    let one = imagined(&[("a", &groups)]).split(&Fractions::default());
    assert!(matches!(one, Err(DataError::Split(SplitError::Classes { classes: 1 }))));
}

/// Catches: training on images that somebody set apart for validation, or the reverse.
#[test]
fn a_val_part_is_divided_between_validation_and_gate() {
    let groups = ones(60);
    let mut dataset = imagined(&[("a", &groups), ("b", &groups)]);
    for (index, sample) in dataset.samples.iter_mut().enumerate() {
        sample.subset = Some(if index % 3 == 0 { Subset::Val } else { Subset::Train });
    }
    let split = split(&dataset);
    assert_eq!(split.train.len(), 80);
    assert!(split.train.iter().all(|index| dataset.samples[*index].subset == Some(Subset::Train)));
    assert_eq!(split.validation.len() + split.gate.len(), 40);
    assert!(split.validation.len().abs_diff(split.gate.len()) < 20);
    assert!(split.notes.is_empty());
}

/// Catches: a group that somebody's folders put on both sides: its training images must not be trained on.
#[test]
fn training_images_of_a_group_in_val_are_left_out_and_said_so() {
    let groups = [2; 30];
    let mut dataset = imagined(&[("a", &groups), ("b", &groups)]);
    for (index, sample) in dataset.samples.iter_mut().enumerate() {
        // Both of the first 20 groups in train, both of the next in val, the last group of class `a` in both parts.
        let group = index / 2 % 30;
        let is_straddling = index == 59;
        sample.subset = Some(if group < 20 || is_straddling { Subset::Train } else { Subset::Val });
    }
    let split = split(&dataset);
    assert!(slices(&split).into_iter().all(|samples| !samples.contains(&59)));
    assert_eq!(split.notes, ["left 1 images of train out: val has images of the same groups"]);
}

/// Catches: advice about groups where a class has too few images in `val`, or none.
#[test]
fn a_class_missing_in_val_is_told_so() {
    let groups = ones(30);
    for (val, expected) in
        [(0, "has 30 images in `train` and 0 in `val`"), (3, "has 27 images in `train` and 3 in `val`")]
    {
        let mut dataset = imagined(&[("a", &groups), ("b", &groups)]);
        for (index, sample) in dataset.samples.iter_mut().enumerate() {
            let in_val = if sample.target == Target::Class(0) { index < 10 } else { index < 30 + val };
            sample.subset = Some(if in_val { Subset::Val } else { Subset::Train });
        }
        let error = dataset.split(&Fractions::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("class `b` {expected}: ")) && !error.contains("group"), "{error}");
    }
}

proptest! {
    /// Catches: a split that depends on anything but the group: adding images must move none.
    #[test]
    fn adding_images_moves_none(
        first in prop::collection::vec(1..4usize, 60..120),
        more in prop::collection::vec(1..4usize, 0..60),
        other in prop::collection::vec(1..4usize, 60..90),
    ) {
        let small = imagined(&[("a", &first), ("b", &other)]);
        let all: Vec<usize> = first.iter().chain(&more).copied().collect();
        let large = imagined(&[("a", &all), ("aa", &other), ("b", &other)]);
        let (before, after) = (split(&small), split(&large));
        prop_assume!(before.notes.is_empty() && after.notes.is_empty());
        let after = places(&large, &after);
        for (path, slice) in places(&small, &before) {
            prop_assert_eq!(after[&path], slice, "{:?}", path);
        }
    }

    /// Catches: a group on two sides, an image in two slices or in none, and a split that differs from run to run,
    /// also where groups had to be moved.
    #[test]
    fn groups_stay_together(a in prop::collection::vec(1..6usize, 8..40), b in prop::collection::vec(1..6usize, 8..40)) {
        let dataset = imagined(&[("a", &a), ("b", &b)]);
        let Ok(first) = dataset.split(&Fractions::default()) else { return Ok(()) };
        prop_assert_eq!(&first, &split(&dataset));
        let places = places(&dataset, &first);
        prop_assert_eq!(places.len(), dataset.samples.len());
        let mut of_group = HashMap::new();
        for sample in &dataset.samples {
            let slice = places[sample.image.path().unwrap()];
            prop_assert_eq!(*of_group.entry(sample.group).or_insert(slice), slice);
        }
    }
}
