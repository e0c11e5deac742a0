//! Run record: the method, metrics, cost and training curve of one adaptation, as one line of a run log.

use std::collections::BTreeSet;

use fieldfit_tensor::Task;
use serde::{Deserialize, Serialize};

/// Record of one adaptation: one method with one seed on one source.
///
/// Serialised as a JSON object, one line of a comparison's run log. Field names are part of the format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Hash of everything that the result depends on (base, images, options), in hexadecimal. Two records with the same
    /// identity describe the same run.
    pub identity: String,
    /// Name of the method with the hyper-parameters that were set, e.g. `wise-ft alpha=0.5`.
    pub method: String,
    /// Seed of all random choices.
    pub seed: u64,
    /// Name of the training data set.
    pub source: String,
    /// Options as one line of `name=value`.
    pub options: String,
    /// Class names, in the order of the head's outputs.
    pub classes: Vec<String>,
    /// Colour of each class in the pictures of [`Scores::frames`], as `#rrggbb`; empty where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub colours: Vec<String>,
    /// Mean cross-entropy on the validation slice, in nats; hyper-parameters are selected by it.
    pub validation_loss: f64,
    /// Metrics on held-out images of the source (the gate slice).
    pub in_distribution: Scores,
    /// Metrics on the shifted data sets, in the order in which they were given.
    pub shifts: Vec<Scores>,
    /// Accuracy of the adapted backbone under the base's own head on labelled images of the base's classes, 0..1; `None` where
    /// none were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_task: Option<f64>,
    /// Whether the gate accepted the result.
    pub accepted: bool,
    /// Wall time of the adaptation, in seconds.
    pub seconds: f64,
    /// Peak resident memory of the process during the adaptation, in bytes; `None` where the system does not report it. In
    /// a process with several runs, the figures of later runs include memory that the allocator kept from earlier ones.
    pub peak_bytes: Option<u64>,
    /// Size of the delta file, in bytes.
    pub delta_bytes: u64,
    /// Radius of each constrained tensor; empty for a method without radii.
    pub radii: Vec<RadiusRecord>,
    /// Training loss by step.
    pub losses: Vec<LossRecord>,
}

/// Metrics of a classifier on one labelled data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Name of the data set.
    pub name: String,
    /// Task of what was measured.
    #[serde(default, skip_serializing_if = "is_classification")]
    pub task: Task,
    /// Of several labels an image, the mean average precision, 0..1; of values, 1 / (1 + mean error), 0..1. `None` of classes, whose figures follow from the confusion matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_score: Option<f64>,
    /// Confusion matrix, `confusion[truth][predicted]`: number of images, or pixels, by true and predicted class; empty where
    /// answers are no classes.
    pub confusion: Vec<Vec<usize>>,
    /// Expected calibration error, 0..1, over 15 equal-width bins of confidence (Guo et al., ICML 2017).
    pub calibration_error: f64,
    /// Mean cross-entropy, in nats; of values the mean Huber loss.
    pub loss: f64,
    /// Agreement with the base, 0..1: fraction of images, or pixels, for which the adapted backbone under the base's own head predicts
    /// the same class as the base.
    pub agreement: f64,
    /// Misclassified images with the lowest probability of the true class, lowest first.
    #[serde(rename = "worst")]
    pub hardest: Vec<HardestImage>,
    /// Frames with the smallest share of right pixels, smallest first; empty of other tasks than segmentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<SegmentedFrame>,
}

/// Misclassified image with a low probability of its true class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HardestImage {
    /// Path of the file, relative to its data set.
    pub file: String,
    /// Name of the true class.
    pub truth: String,
    /// Name of the predicted class.
    pub predicted: String,
    /// Probability of the predicted class, 0..1.
    pub confidence: f64,
    /// Thumbnail as a data URI; empty if there is none.
    pub thumbnail: String,
}

/// Pictures of a frame, of the true class of each of its pixels, and of the predicted one, as data URIs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentedFrame {
    /// Path of the frame's file, relative to its data set.
    pub file: String,
    /// Share of the pixels that count whose class is right, 0..1.
    pub accuracy: f64,
    /// The frame as the network sees it.
    pub frame: String,
    /// True classes, in the [colours](RunRecord::colours) of classes.
    pub truth: String,
    /// Predicted classes.
    pub answer: String,
}

/// Radius of one constrained tensor, relative to its unconstrained distance from the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RadiusRecord {
    /// Name of the tensor.
    pub tensor: String,
    /// Stage of the network that the tensor belongs to, counted from the input.
    pub stage: usize,
    /// γ divided by the distance ‖θ−θ0‖ of the tensor without a constraint (or when its radius was initialised): 0 keeps the
    /// base, 1 is unconstrained.
    pub share: f64,
}

/// Training loss of one optimiser step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossRecord {
    /// Number of completed optimiser steps.
    pub step: u64,
    /// Mean cross-entropy of the batch, in nats.
    pub loss: f64,
}

/// Whether records have the layout of the first release.
fn is_classification(task: &Task) -> bool {
    *task == Task::Classification
}

impl Scores {
    /// Returns the figure that methods are compared by, 0..1: the accuracy, of pixels the mean intersection over union, or the
    /// [task's own](Self::task_score).
    pub fn quality(&self) -> f64 {
        match self.task {
            Task::Classification => self.accuracy(),
            Task::Segmentation => self.mean_intersection_over_union(),
            Task::Regression | Task::MultiLabel => self.task_score.unwrap_or_default(),
        }
    }

    /// Returns the mean over classes of the intersection over union, 0..1: right answers over those of the class and those that
    /// name it. Classes that neither the truth nor an answer has do not count.
    pub fn mean_intersection_over_union(&self) -> f64 {
        let of_class = |(class, row): (usize, &Vec<usize>)| {
            let named: usize = self.confusion.iter().filter_map(|row| row.get(class)).sum();
            let union = row.iter().sum::<usize>() + named - self.correct(class);
            (union > 0).then(|| self.correct(class) as f64 / union as f64)
        };
        let ious: Vec<f64> = self.confusion.iter().enumerate().filter_map(of_class).collect();
        mean(ious.into_iter()).unwrap_or_default()
    }

    /// Returns the number of images, or pixels.
    pub fn images(&self) -> usize {
        self.confusion.iter().flatten().sum()
    }

    /// Returns the accuracy, 0..1; 0 without images.
    pub fn accuracy(&self) -> f64 {
        let correct: usize = (0..self.confusion.len()).map(|class| self.correct(class)).sum();
        correct as f64 / self.images().max(1) as f64
    }

    /// Returns the mean per-class accuracy (recall) over the classes that have images, 0..1.
    pub fn macro_accuracy(&self) -> f64 {
        let recalls = self.confusion.iter().enumerate().filter_map(|(class, row)| {
            let images: usize = row.iter().sum();
            (images > 0).then(|| self.correct(class) as f64 / images as f64)
        });
        let (sum, classes) = recalls.fold((0.0, 0_usize), |(sum, classes), recall| (sum + recall, classes + 1));
        sum / classes.max(1) as f64
    }

    /// Returns the number of correct images of a class; 0 if a record from a file lacks the column.
    fn correct(&self, class: usize) -> usize {
        self.confusion.get(class).and_then(|row| row.get(class)).copied().unwrap_or(0)
    }
}

impl RunRecord {
    /// Returns the unweighted mean [quality](Scores::quality) over the shifts, 0..1; `None` without shifts.
    pub fn mean_shift_accuracy(&self) -> Option<f64> {
        mean(self.shifts.iter().map(Scores::quality))
    }

    /// Returns the mean agreement with the base over the shifts, 0..1; without shifts, the agreement in distribution.
    pub fn retention(&self) -> f64 {
        mean(self.shifts.iter().map(|shift| shift.agreement)).unwrap_or(self.in_distribution.agreement)
    }

    /// Returns the mean calibration error over the shifts, 0..1; without shifts, the one in distribution.
    pub fn calibration_error(&self) -> f64 {
        mean(self.shifts.iter().map(|shift| shift.calibration_error)).unwrap_or(self.in_distribution.calibration_error)
    }
}

/// Returns the records without duplicates of one identity, such as those of two joined run logs.
pub(crate) fn distinct(runs: &[RunRecord]) -> Vec<&RunRecord> {
    let mut seen = BTreeSet::new();
    runs.iter().filter(|run| seen.insert(&run.identity)).collect()
}

/// Returns each value once, in the order of first appearance.
pub(crate) fn unique<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    values.filter(|value| seen.insert(*value)).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a JSON field that is renamed, dropped or added, with which run logs of released versions no longer load.
    #[test]
    fn json_field_names_are_stable() {
        let lines = include_str!("../examples/made-up.jsonl");
        for line in lines.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let record: RunRecord = serde_json::from_str(line).unwrap();
            let mut written = serde_json::to_value(&record).unwrap();
            // Integers and floats of the same value are different JSON numbers.
            let mut read = value;
            for value in [&mut written, &mut read] {
                as_floats(value);
            }
            assert_eq!(written, read);
        }
        assert_eq!(lines.lines().count(), 9);
    }

    fn as_floats(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Number(number) => *value = number.as_f64().unwrap().into(),
            serde_json::Value::Array(values) => values.iter_mut().for_each(as_floats),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(as_floats),
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => {}
        }
    }
}
