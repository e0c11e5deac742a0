//! Class weights: the factor of each class in the losses over labels, so that rare classes count as much as frequent ones.

use crate::error::AdaptError;
use crate::options::ClassWeights;
use crate::train::batch_source::BatchSource;
use fieldfit_data::{Dataset, Masks, Targets};
use fieldfit_exec::{ExecError, Objective, cross_entropy};
use fieldfit_tensor::{Real, Task};
use std::sync::Arc;

/// Factor of each class in a loss over labels. Clones share it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassWeighting {
    /// Factors by class; empty where every factor is 1.
    factors: Arc<[f64]>,
}

impl ClassWeighting {
    /// Weights of the classes of a data set, by how many images of the slice each has, or how many pixels of their masks.
    ///
    /// # Errors
    /// If the masks cannot be loaded.
    pub(crate) fn new(
        weights: ClassWeights,
        dataset: &Dataset,
        slice: &[usize],
        source: &BatchSource<'_>,
    ) -> Result<Self, AdaptError> {
        let mut counts = vec![0; dataset.classes.len()];
        match (weights, dataset.task()) {
            (ClassWeights::Uniform, _) => {}
            (ClassWeights::Balanced, Task::Classification) => {
                let classes = slice.iter().filter_map(|&index| dataset.samples[index].target.class());
                classes.for_each(|class| counts[class as usize] += 1);
            }
            (ClassWeights::Balanced, Task::Segmentation) => {
                for batch in source.in_order(slice)? {
                    let Targets::Masks(masks) = batch?.targets else { continue };
                    let counted = masks.values.iter().filter(|class| **class != Masks::IGNORED);
                    counted.for_each(|class| counts[usize::from(*class)] += 1);
                }
            }
        }
        Ok(Self::of_counts(weights, &counts))
    }

    /// Weights of classes by how many images or pixels each has.
    pub(crate) fn of_counts(weights: ClassWeights, counts: &[u64]) -> Self {
        match weights {
            ClassWeights::Uniform => Self::default(),
            ClassWeights::Balanced => Self::balanced(counts),
        }
    }

    /// n / (classes · n_class), as scikit-learn's `class_weight='balanced'`: the mean over the labels is 1. A class
    /// without images has the factor 1.
    fn balanced(counts: &[u64]) -> Self {
        let (total, classes) = (counts.iter().sum::<u64>() as f64, counts.len() as f64);
        let factor = |count: &u64| if *count == 0 { 1.0 } else { total / (classes * *count as f64) };
        Self { factors: counts.iter().map(factor).collect() }
    }

    /// Returns the factor of a class.
    pub fn of(&self, class: u32) -> f64 {
        self.factors.get(class as usize).copied().unwrap_or(1.0)
    }

    /// Cross-entropy of these labels, each times the factor of its class.
    pub const fn of_labels<'a>(&'a self, labels: &'a [u32]) -> WeightedLabels<'a> {
        WeightedLabels { labels, weights: self }
    }
}

/// Weighted cross-entropy: that of each image's label in nats, times the factor of its class.
#[derive(Debug, Clone, Copy)]
pub struct WeightedLabels<'a> {
    labels: &'a [u32],
    weights: &'a ClassWeighting,
}

impl<T: Real> Objective<T> for WeightedLabels<'_> {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        Objective::<T>::check(&self.labels, images, columns)
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        let label = self.labels[image];
        let (loss, factor) = (cross_entropy(logits, label), self.weights.of(label));
        if factor == 1.0 {
            return loss;
        }
        logits.iter_mut().for_each(|slope| *slope *= T::of(factor));
        factor * loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a factor that grows with the class instead of shrinking, or that scales the whole loss and with it the
    /// learning rate.
    #[test]
    fn a_rare_class_counts_as_much_as_a_frequent_one() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1];
        let weights = ClassWeighting::balanced(&[6, 2]);
        assert_eq!([0, 1].map(|class| weights.of(class)), [8.0 / 12.0, 2.0]);
        let mean = labels.iter().map(|&label| weights.of(label)).sum::<f64>() / labels.len() as f64;
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(ClassWeighting::default().of(7), 1.0);
    }

    /// Catches: a slope that is not that of the weighted loss.
    #[test]
    fn slopes_are_those_of_the_weighted_loss() {
        let weights = ClassWeighting { factors: [0.5, 3.0].into() };
        let descend = |logits: [f64; 2]| {
            let mut slopes = logits;
            (weights.of_labels(&[1]).loss_and_gradient(0, &mut slopes), slopes)
        };
        let (at, (_, slopes)) = ([0.3, -0.4], descend([0.3, -0.4]));
        for (index, slope) in slopes.into_iter().enumerate() {
            let moved = |step: f64| {
                let mut logits = at;
                logits[index] += step;
                descend(logits).0
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - expected).abs() < 1e-8, "{slope}, not {expected}");
        }
    }
}
