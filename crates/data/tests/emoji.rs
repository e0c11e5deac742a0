//! Test of the demo's data as shipped: opened, split, and without images of the test folders in training.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use fieldfit_data::{Dataset, FolderOptions, Fractions, MIN_IMAGES_PER_SLICE, Purpose, Target};
use std::collections::BTreeSet;
use std::path::Path;

/// The concept is what precedes the code points.
const CONCEPT: &str = "^([^_]+)_";

fn open(style: &str, purpose: Purpose) -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/emoji").join(style);
    let dataset = Dataset::open(&folder, &FolderOptions::new(purpose).with_group(Some(CONCEPT.into()))).unwrap();
    assert!(dataset.skipped.is_empty() && dataset.notes.is_empty());
    dataset
}

fn concepts(dataset: &Dataset) -> BTreeSet<String> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().split('_').next().unwrap().to_owned();
    dataset.samples.iter().map(|sample| name(&sample.path)).collect()
}

/// Catches: a style that is scored on concepts that were trained on, on other classes, or on too few images to tell.
#[test]
fn unseen_styles_hold_the_same_unseen_concepts() {
    let train = open("google", Purpose::Adapt);
    let held_out = open("google", Purpose::Evaluate);
    assert!((10..=15).contains(&train.classes.len()));
    assert!(concepts(&train).is_disjoint(&concepts(&held_out)));
    for style in ["twitter", "fluent"] {
        let unseen = open(style, Purpose::Evaluate);
        assert_eq!(unseen.classes, train.classes);
        assert_eq!(concepts(&unseen), concepts(&held_out));
        assert!(unseen.samples.len() >= 100);
    }
}

/// Catches: skin tones and variants of a concept on two sides of the split, and a class that starves.
#[test]
fn a_concept_stays_on_one_side() {
    let dataset = open("google", Purpose::Adapt);
    let split = dataset.split(&Fractions::default()).unwrap();
    let slices = [&split.train, &split.validation, &split.gate];
    let groups = slices.map(|slice| slice.iter().map(|index| dataset.samples[*index].group).collect::<BTreeSet<_>>());
    assert!(
        groups[0].is_disjoint(&groups[1]) && groups[0].is_disjoint(&groups[2]) && groups[1].is_disjoint(&groups[2])
    );
    for slice in slices {
        for class in 0..dataset.classes.len() as u32 {
            assert!(
                slice.iter().filter(|index| dataset.samples[**index].target == Target::Class(class)).count()
                    >= MIN_IMAGES_PER_SLICE
            );
        }
    }
}
