//! Target scaling: what puts the targets of a loss on one scale: the factor of each class, so that rare ones count as much as
//! frequent ones, and mean and deviation of each value, so that units do not count.

use crate::error::AdaptError;
use crate::options::ClassWeights;
use crate::train::batch_source::BatchSource;
use fieldfit_data::{Dataset, Masks, Target, Targets};
use fieldfit_exec::{ExecError, Objective, cross_entropy, huber};
use fieldfit_model::TargetScales;
use fieldfit_tensor::{Real, Task};
use std::sync::Arc;

/// Factor of each class in a loss over labels, and mean and deviation of each target in a loss over values. Clones share it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TargetScaling {
    /// Factors by class; empty where every factor is 1.
    factors: Arc<[f64]>,
    /// Means and deviations by target; `None` where targets are no values.
    scales: Option<Arc<TargetScales>>,
}

impl TargetScaling {
    /// Scaling of a data set's targets: weights of its classes by how many images of the slice each has, or how many pixels of
    /// their masks; or these scales of its values.
    ///
    /// # Errors
    /// If the masks cannot be loaded.
    pub(crate) fn new(
        weights: ClassWeights,
        scales: Option<TargetScales>,
        (dataset, slice): (&Dataset, &[usize]),
        source: &BatchSource<'_>,
    ) -> Result<Self, AdaptError> {
        let scales = scales.map(Arc::new);
        let mut counts = vec![0; dataset.classes.len()];
        match (weights, dataset.task()) {
            (ClassWeights::Uniform, _) | (ClassWeights::Balanced, Task::Regression) => {}
            (ClassWeights::Balanced, Task::MultiLabel) => {
                return Ok(Self { factors: label_factors(dataset, slice), scales });
            }
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
        Ok(Self { scales, ..Self::of_counts(weights, &counts) })
    }

    /// Scaling of values.
    #[cfg(test)]
    pub(crate) fn of_scales(scales: TargetScales) -> Self {
        Self { scales: Some(scales.into()), ..Self::default() }
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
        Self { factors: counts.iter().map(factor).collect(), scales: None }
    }

    /// Returns the factor of a class; of labels that do not exclude each other, that of images with the label.
    pub fn of(&self, class: u32) -> f64 {
        self.factors.get(class as usize).copied().unwrap_or(1.0)
    }

    /// Returns a target's value, given in its unit, in standard deviations from its mean.
    pub(crate) fn standardised(&self, target: usize, value: f32) -> f64 {
        self.scales.as_ref().map_or_else(|| value.into(), |scales| scales.standardised(target, value))
    }

    /// Changes outputs of a head in training, `[N, outputs]`, into the targets' units, if targets are values.
    pub(crate) fn to_units(&self, outputs: &mut [f32]) {
        self.scales.iter().for_each(|scales| scales.to_units(outputs));
    }

    /// Returns the loss of the best answer that looks at no image, over a slice: that of uniform guesses among `classes`, of
    /// each target's mean, or of each label's frequency.
    pub(crate) fn chance(&self, classes: usize, dataset: &Dataset, slice: &[usize]) -> f64 {
        match dataset.task() {
            Task::Classification | Task::Segmentation => (classes as f64).ln(),
            Task::Regression => {
                let of_image = |&index: &usize| match &dataset.samples[index].target {
                    Target::Values(values) => {
                        huber(&mut vec![0.0_f64; values.len()], |target| self.standardised(target, values[target]))
                    }
                    Target::Class(_) | Target::Mask(_) | Target::Labels(_) => 0.0,
                };
                slice.iter().map(of_image).sum::<f64>() / slice.len().max(1) as f64
            }
            Task::MultiLabel => {
                let counts = dataset.label_counts(slice);
                let of_label = |(label, &count): (usize, &usize)| {
                    let share = count as f64 / slice.len().max(1) as f64;
                    let with = self.of(label as u32) * share;
                    // The frequency as the weighted loss sees it.
                    let answer = with / (with + 1.0 - share);
                    -with * answer.ln() - (1.0 - share) * (1.0 - answer).ln()
                };
                counts.iter().enumerate().map(of_label).sum::<f64>() / counts.len().max(1) as f64
            }
        }
    }

    /// Cross-entropy of these labels, each times the factor of its class.
    pub const fn of_labels<'a>(&'a self, labels: &'a [u32]) -> WeightedLabels<'a> {
        WeightedLabels { labels, weights: self }
    }
}

/// Mean and standard deviation of each target's values over a slice; `None` where targets are no values.
///
/// # Errors
/// [`AdaptError::ConstantTarget`] if a target has one value on all of the slice.
pub(crate) fn target_scales(dataset: &Dataset, slice: &[usize]) -> Result<Option<TargetScales>, AdaptError> {
    let values = |target: usize| {
        slice.iter().filter_map(move |&index| match &dataset.samples[index].target {
            Target::Values(values) => Some(f64::from(values[target])),
            Target::Class(_) | Target::Mask(_) | Target::Labels(_) => None,
        })
    };
    match dataset.task() {
        Task::Regression => {}
        Task::Classification | Task::Segmentation | Task::MultiLabel => return Ok(None),
    }
    let mut scales = TargetScales { means: Vec::new(), deviations: Vec::new() };
    for (target, name) in dataset.classes.iter().enumerate() {
        let images = slice.len().max(1) as f64;
        let mean = values(target).sum::<f64>() / images;
        let deviation = (values(target).map(|value| (value - mean).powi(2)).sum::<f64>() / images).sqrt() as f32;
        if !deviation.is_normal() {
            return Err(AdaptError::ConstantTarget { target: name.clone(), value: mean, images: slice.len() });
        }
        scales.means.push(mean as f32);
        scales.deviations.push(deviation);
    }
    Ok(Some(scales))
}

/// Images of a slice that lack each label over those that have it: the factor of the latter.
fn label_factors(dataset: &Dataset, slice: &[usize]) -> Arc<[f64]> {
    let factor = |count: usize| (slice.len() - count) as f64 / count.max(1) as f64;
    dataset.label_counts(slice).into_iter().map(factor).collect()
}

/// Weighted cross-entropy: that of each image's label in nats, times the factor of its class.
#[derive(Debug, Clone, Copy)]
pub struct WeightedLabels<'a> {
    labels: &'a [u32],
    weights: &'a TargetScaling,
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
    use fieldfit_data::{DatasetBuilder, Frame, PixelFormat, Pixels};
    use fieldfit_exec::binary_cross_entropy;

    /// Catches: a factor that grows with the class instead of shrinking, or that scales the whole loss and with it the
    /// learning rate.
    #[test]
    fn a_rare_class_counts_as_much_as_a_frequent_one() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1];
        let weights = TargetScaling::balanced(&[6, 2]);
        assert_eq!([0, 1].map(|class| weights.of(class)), [8.0 / 12.0, 2.0]);
        let mean = labels.iter().map(|&label| weights.of(label)).sum::<f64>() / labels.len() as f64;
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(TargetScaling::default().of(7), 1.0);
    }

    /// Catches: a slope that is not that of the weighted loss.
    #[test]
    fn slopes_are_those_of_the_weighted_loss() {
        let weights = TargetScaling { factors: [0.5, 3.0].into(), scales: None };
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

    const PIXEL: Frame<'_> = Frame::Pixels(Pixels::packed(&[0, 0, 0], PixelFormat::Rgb8, 1, 1));

    fn names() -> Vec<String> {
        vec!["one".into(), "other".into()]
    }

    /// Catches: a mean or a deviation of another target, one of all images instead of the slice's, a constant target whose
    /// deviation of 0 would make every value infinite.
    #[test]
    fn values_are_scaled_by_their_slice() {
        let mut images = DatasetBuilder::of_values(names());
        for values in [[1.0, 10.0], [3.0, 30.0], [5.0, 50.0], [900.0, 50.0]] {
            images.push_values(&PIXEL, &values, None).unwrap();
        }
        let dataset = images.build().unwrap();
        let scales = target_scales(&dataset, &[0, 1, 2]).unwrap().unwrap();
        assert_eq!(scales.means, [3.0, 30.0]);
        let expected = (8.0_f32 / 3.0).sqrt();
        assert!(
            scales.deviations.iter().zip([expected, 10.0 * expected]).all(|(one, other)| (one - other).abs() < 1e-5)
        );
        let error = target_scales(&dataset, &[2, 3]).unwrap_err();
        assert!(
            matches!(error, AdaptError::ConstantTarget { ref target, images: 2, .. } if target == "other"),
            "{error}"
        );
        let scaling = TargetScaling { scales: Some(scales.into()), ..TargetScaling::default() };
        // Huber's loss of 0 and ±√1.5: the mean of 0 and two of √1.5 − ½.
        let chance = scaling.chance(2, &dataset, &[0, 1, 2]);
        assert!((chance - 2.0 / 3.0 * (1.5_f64.sqrt() - 0.5)).abs() < 1e-6, "{chance}");
    }

    /// Catches: a factor of images without the label, a chance that is not the least loss of an answer without images.
    #[test]
    fn labels_are_weighted_by_those_that_lack_them() {
        let mut images = DatasetBuilder::of_labels(names());
        for labels in [&["one"][..], &[], &["other"], &["other", "one"]] {
            images.push_labels(&PIXEL, labels, None).unwrap();
        }
        let dataset = images.build().unwrap();
        assert_eq!(dataset.label_counts(&[0, 1, 2, 3]), [2, 2]);
        assert_eq!(dataset.label_counts(&[0, 1]), [1, 0]);
        // One of three images has the first label, two have the second.
        let slice = [1, 2, 3];
        let balanced = TargetScaling { factors: label_factors(&dataset, &slice), scales: None };
        assert_eq!([0, 1].map(|label| balanced.of(label)), [2.0, 0.5]);
        for scaling in [TargetScaling::default(), balanced] {
            let loss = |logit: f64, label: usize, count: f64| {
                let with = binary_cross_entropy(&mut [logit], &[1], |_| scaling.of(label as u32));
                let without = binary_cross_entropy(&mut [logit], &[0], |_| 1.0);
                (count * with + (3.0 - count) * without) / 3.0
            };
            let least =
                |label, count| (-300..300).map(|at| loss(f64::from(at) / 100.0, label, count)).fold(9.0, f64::min);
            let expected = (least(0, 1.0) + least(1, 2.0)) / 2.0;
            let chance = scaling.chance(2, &dataset, &slice);
            assert!((chance - expected).abs() < 1e-5, "{chance}, not {expected}");
        }
    }
}
