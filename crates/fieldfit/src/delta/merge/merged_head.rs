//! Merged head: the weighted mean of the heads of several deltas, over the union of their classes.

use super::{MergeError, MergedClass, check_size};
use fieldfit_model::{Base, Weights};
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
        for (label, (row, bias)) in adapted.labels.iter().zip(rows(adapted)) {
            let class = self.class(label, row.len());
            class.row.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * f64::from(*value));
            class.bias += share * f64::from(bias);
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
            self.classes.push(ClassSum { label, row, bias: 0.0, weight: 0.0, deltas: 0 });
        }
        &mut self.classes[position]
    }

    /// Returns the classes, in their order.
    pub fn classes(&self) -> Vec<MergedClass> {
        self.classes.iter().map(|class| MergedClass { label: class.label.clone(), deltas: class.deltas }).collect()
    }

    /// Returns the mean of each class over the deltas that know it.
    pub fn mean(&self) -> HeadMean {
        let mean = |sum: f64, class: &ClassSum| (sum / class.weight) as f32;
        HeadMean {
            weight: self.classes.iter().flat_map(|class| class.row.iter().map(|sum| mean(*sum, class))).collect(),
            bias: self.classes.iter().map(|class| mean(class.bias, class)).collect(),
            labels: self.classes.iter().map(|class| class.label.clone()).collect(),
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
