//! What an adaptation leaves for a reader.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One adaptation: a method, under a seed, on a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What the run's outcome depends on (base, images, options), as a hash in hexadecimal: two runs of the same
    /// identity are the same run.
    pub identity: String,
    /// The method's name, with the settings that it was given, such as `wise-ft alpha=0.5`.
    pub method: String,
    /// What every random choice followed from.
    pub seed: u64,
    /// The name of the images that it learned from.
    pub source: String,
    /// The options, as one line of `name=value`.
    pub options: String,
    /// The classes, in the order of the head's outputs.
    pub classes: Vec<String>,
    /// Mean cross-entropy on the validation slice, of what the method came to: what hyper-parameters are chosen by.
    pub validation_loss: f64,
    /// On held-out images of the source (the gate slice).
    pub in_distribution: Scores,
    /// On shifted images, in the order in which they were asked for.
    pub shifts: Vec<Scores>,
    /// Whether the gate accepted it.
    pub accepted: bool,
    /// Wall time of the adaptation.
    pub seconds: f64,
    /// The most memory that the process had resident during the adaptation, in bytes, where the system tells. Of several
    /// runs in one process, the later ones have in it what their allocator kept of the earlier.
    pub peak_bytes: Option<u64>,
    /// Size of the delta file.
    pub delta_bytes: u64,
    /// How far each constrained tensor was allowed to move; empty where the method has no radii.
    pub radii: Vec<Radius>,
    /// The training loss as it went.
    pub losses: Vec<Loss>,
}

/// What a network made of a set of labelled images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The set's name.
    pub name: String,
    /// `confusion[truth][predicted]`: images by their own class and by the likeliest one.
    pub confusion: Vec<Vec<usize>>,
    /// Expected calibration error, 0..1, over 15 equal bins of confidence (Guo et al., ICML 2017).
    pub calibration_error: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// The share of images, 0..1, to which the adapted backbone gives the base's class under the base's own head: what
    /// has not been forgotten.
    pub agreement: f64,
    /// The images whose own class was found least likely, the worst first.
    pub worst: Vec<Worst>,
}

/// An image that a network got wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Its file, relative to its set.
    pub file: String,
    /// Its own class, by name.
    pub truth: String,
    /// The likeliest class, by name.
    pub predicted: String,
    /// That class' probability, 0..1.
    pub confidence: f64,
    /// A small picture as a data URI; empty where there is none.
    pub thumbnail: String,
}

/// How far a tensor was allowed to move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Radius {
    /// The tensor's name.
    pub tensor: String,
    /// The stage of the network that it belongs to, counted from the input.
    pub stage: usize,
    /// γ over the distance that the tensor would have without a ball (or had when its ball was laid): 0 is the base, 1 is free.
    pub share: f64,
}

/// Training loss at a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Optimiser steps done.
    pub step: u64,
    /// Mean cross-entropy of the step's batch.
    pub loss: f64,
}

impl Scores {
    /// Images in the set.
    pub fn images(&self) -> usize {
        self.confusion.iter().flatten().sum()
    }

    /// The share of images that are right, 0..1; 0 without images.
    pub fn accuracy(&self) -> f64 {
        let correct: usize = (0..self.confusion.len()).map(|class| self.correct(class)).sum();
        correct as f64 / self.images().max(1) as f64
    }

    /// The mean over classes that have images of the share of theirs that are right, 0..1.
    pub fn macro_accuracy(&self) -> f64 {
        let shares = self.confusion.iter().enumerate().filter_map(|(class, row)| {
            let images: usize = row.iter().sum();
            (images > 0).then(|| self.correct(class) as f64 / images as f64)
        });
        let (sum, classes) = shares.fold((0.0, 0_usize), |(sum, classes), share| (sum + share, classes + 1));
        sum / classes.max(1) as f64
    }

    /// Images of a class that are right; a record from a file may lack the column.
    fn correct(&self, class: usize) -> usize {
        self.confusion.get(class).and_then(|row| row.get(class)).copied().unwrap_or(0)
    }
}

impl Run {
    /// Mean accuracy over the shifts, each counting the same, 0..1; nothing without shifts.
    pub fn shifted(&self) -> Option<f64> {
        mean(self.shifts.iter().map(Scores::accuracy))
    }

    /// Mean agreement with the base over the shifts, 0..1; on held-out images of the source where there are no shifts.
    pub fn retention(&self) -> f64 {
        mean(self.shifts.iter().map(|shift| shift.agreement)).unwrap_or(self.in_distribution.agreement)
    }

    /// Mean calibration error over the shifts, 0..1; on held-out images of the source where there are no shifts.
    pub fn calibration_error(&self) -> f64 {
        mean(self.shifts.iter().map(|shift| shift.calibration_error)).unwrap_or(self.in_distribution.calibration_error)
    }
}

/// The runs without those that are there twice, such as when two files of a resumed comparison were joined.
pub(crate) fn distinct(runs: &[Run]) -> Vec<&Run> {
    let mut seen = BTreeSet::new();
    runs.iter().filter(|run| seen.insert(&run.identity)).collect()
}

/// Each value once, in the order of its first appearance.
pub(crate) fn unique<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    values.filter(|value| seen.insert(*value)).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}
