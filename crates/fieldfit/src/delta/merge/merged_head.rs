//! Merged head: the weighted mean of the heads of several deltas, over the union of their classes, targets or labels.

use super::{MergeError, MergedClass, check_size};
use fieldfit_model::{Base, HeadOutputs, LabelThresholds, TargetScales, Weights};
use fieldfit_tensor::Task;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Sums of the heads' rows, class by class, in the order in which the deltas name the classes.
#[derive(Debug, Default)]
pub(super) struct MergedHead {
    classes: Vec<ClassSum>,
    /// Position of each class in `classes`.
    positions: BTreeMap<String, usize>,
}

/// Weighted sums of one class over the deltas that know it.
#[derive(Debug)]
struct ClassSum {
    label: String,
    /// Σ w·row, `[features]`.
    row: Vec<f64>,
    /// Σ w·bias.
    bias: f64,
    /// Σ w·(mean, deviation) of a target, in its unit.
    scale: [f64; 2],
    /// Σ w·threshold of a label.
    threshold: f64,
    /// Σ w.
    weight: f64,
    deltas: usize,
}

/// Merged head as a delta stores it.
pub(super) struct HeadMean {
    /// Mean rows, `[classes, features]`.
    pub weight: Vec<f32>,
    /// Mean biases, `[classes]`.
    pub bias: Vec<f32>,
    pub labels: Vec<String>,
    pub outputs: HeadOutputs,
}

impl MergedHead {
    /// Adds the head of the delta in that file, with its share of the mean.
    ///
    /// # Errors
    /// If the delta names a class twice, or the union has more classes than a delta of the base has room for.
    pub fn add(&mut self, path: &Path, adapted: &Weights, share: f64, base: &Base) -> Result<(), MergeError> {
        if let Some(label) = find_duplicate(&adapted.labels) {
            return Err(MergeError::DuplicateClass { path: path.to_owned(), label: label.to_owned() });
        }
        for (index, (label, (row, bias))) in adapted.labels.iter().zip(rows(adapted)).enumerate() {
            let class = self.class(label, row.len());
            class.row.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * f64::from(*value));
            class.bias += share * f64::from(bias);
            match &adapted.outputs {
                HeadOutputs::Classes => {}
                HeadOutputs::Values(TargetScales { means, deviations }) => {
                    let scale = [means[index], deviations[index]];
                    class.scale.iter_mut().zip(scale).for_each(|(sum, value)| *sum += share * f64::from(value));
                }
                HeadOutputs::Labels(LabelThresholds(thresholds)) => {
                    class.threshold += share * f64::from(thresholds[index]);
                }
            }
            class.weight += share;
            class.deltas += 1;
            // A new head is stored as f16.
            check_size(self.classes.len() * (row.len() + 1) * size_of::<u16>(), base)?;
        }
        Ok(())
    }

    /// The sums of a class, which is new behind all others if no delta so far knows it.
    fn class(&mut self, label: &str, features: usize) -> &mut ClassSum {
        let position = *self.positions.entry(label.to_owned()).or_insert(self.classes.len());
        if position == self.classes.len() {
            let (label, row) = (label.to_owned(), vec![0.0; features]);
            self.classes.push(ClassSum {
                label,
                row,
                bias: 0.0,
                scale: [0.0; 2],
                threshold: 0.0,
                weight: 0.0,
                deltas: 0,
            });
        }
        &mut self.classes[position]
    }

    /// Returns the classes, in their order.
    pub fn classes(&self) -> Vec<MergedClass> {
        self.classes.iter().map(|class| MergedClass { label: class.label.clone(), deltas: class.deltas }).collect()
    }

    /// Returns the mean of each class, target or label over the deltas that know it. Rows of targets, which were added in units, are
    /// in standard deviations again: the mean ones.
    pub fn mean(&self, task: Task) -> HeadMean {
        let is_value = task == Task::Regression;
        let scale = |class: &ClassSum| class.scale.map(|sum| sum / class.weight);
        let row = |class: &ClassSum| {
            let deviation = if is_value { scale(class)[1] } else { 1.0 };
            class.row.iter().map(|sum| (sum / class.weight / deviation) as f32).collect::<Vec<_>>()
        };
        let bias = |class: &ClassSum| {
            let [mean, deviation] = if is_value { scale(class) } else { [0.0, 1.0] };
            ((class.bias / class.weight - mean) / deviation) as f32
        };
        HeadMean {
            weight: self.classes.iter().flat_map(row).collect(),
            bias: self.classes.iter().map(bias).collect(),
            labels: self.classes.iter().map(|class| class.label.clone()).collect(),
            outputs: match task {
                Task::Classification | Task::Segmentation => HeadOutputs::Classes,
                Task::Regression => HeadOutputs::Values(TargetScales {
                    means: self.classes.iter().map(|class| scale(class)[0] as f32).collect(),
                    deviations: self.classes.iter().map(|class| scale(class)[1] as f32).collect(),
                }),
                Task::MultiLabel => {
                    let threshold = |class: &ClassSum| (class.threshold / class.weight) as f32;
                    HeadOutputs::Labels(LabelThresholds(self.classes.iter().map(threshold).collect()))
                }
            },
        }
    }
}

/// Returns the mean L2 norm of the rows of a head.
pub(super) fn mean_row_norm(adapted: &Weights) -> f64 {
    let norm = |row: &[f32]| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    rows(adapted).map(|(row, _)| norm(row)).sum::<f64>() / adapted.labels.len().max(1) as f64
}

/// Iterates over the row, `[features]`, and the bias of each class.
fn rows(adapted: &Weights) -> impl Iterator<Item = (&[f32], f32)> {
    let head = adapted.network.head;
    adapted.params[head.weight].chunks_exact(head.features).zip(adapted.params[head.bias].iter().copied())
}

fn find_duplicate(labels: &[String]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    labels.iter().map(String::as_str).find(|label| !seen.insert(*label))
}
