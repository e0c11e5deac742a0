//! Duplicate images: warnings about identical images with different labels, and about data sets that consist of copies.

use crate::dataset::{Dataset, Sample};
use crate::target::Target;
use std::collections::BTreeMap;

/// Share of files that are copies of another one from which on they are worth a warning.
const MANY: f64 = 0.05;
/// Number of copies from which on they are worth a warning.
const SOME: usize = 2;

/// Warnings about samples with the same content. `hashes` holds the SHA-256 hash of each sample's file.
pub(crate) fn notes(dataset: &Dataset, hashes: &[[u8; 32]]) -> Vec<String> {
    let mut by_content: BTreeMap<&[u8; 32], Vec<&Sample>> = BTreeMap::new();
    for (hash, sample) in hashes.iter().zip(&dataset.samples) {
        by_content.entry(hash).or_default().push(sample);
    }
    let mut copies: Vec<&[&Sample]> = by_content.values().map(Vec::as_slice).filter(|files| files.len() > 1).collect();
    copies.sort_by_cached_key(|files| files[0].image.to_string());
    let different_labels = different_labels(dataset, &copies);
    different_labels.into_iter().chain(many(dataset, &copies)).collect()
}

fn different_labels(dataset: &Dataset, copies: &[&[&Sample]]) -> Option<String> {
    let pairs: Vec<(&Sample, &Sample)> = copies.iter().filter_map(|files| differing(files)).collect();
    let (one, other) = pairs.first()?;
    let label = |sample: &Sample| match &sample.target {
        Target::Class(class) => dataset.classes[*class as usize].clone(),
        Target::Mask(mask) => mask.path.display().to_string(),
        Target::Values(values) => format!("{values:?}"),
        Target::Labels(labels) => {
            let names: Vec<&str> = labels.iter().map(|label| dataset.classes[*label as usize].as_str()).collect();
            names.join(", ")
        }
    };
    Some(format!(
        "{} images lie under different labels, byte by byte the same: for example {} is `{}` and {} is `{}`; remove the \
         wrong ones",
        pairs.len(),
        one.image,
        label(one),
        other.image,
        label(other),
    ))
}

/// The first file, and the first one with another label.
fn differing<'a>(files: &[&'a Sample]) -> Option<(&'a Sample, &'a Sample)> {
    let (one, rest) = files.split_first()?;
    let differs = |other: &Sample| match (&one.target, &other.target) {
        (Target::Mask(one), Target::Mask(other)) => one.sha256 != other.sha256,
        (one, other) => one != other,
    };
    let other = rest.iter().find(|other| differs(other))?;
    Some((one, other))
}

fn many(dataset: &Dataset, copies: &[&[&Sample]]) -> Option<String> {
    let count: usize = copies.iter().map(|files| files.len() - 1).sum();
    let is_many = count >= SOME && count as f64 > MANY * dataset.samples.len() as f64;
    let [one, other, ..] = copies.first()? else { return None };
    is_many.then(|| {
        format!(
            "{count} of {} images are copies of another one, byte by byte: for example {} and {}; they add nothing to learn \
             from, and each counts as an image",
            dataset.samples.len(),
            one.image,
            other.image,
        )
    })
}
