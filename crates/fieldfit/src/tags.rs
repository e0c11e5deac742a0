//! Tags: the labels that a version predicts for a frame, any number of them.

use crate::{Error, Version};
use fieldfit_exec::logistic;
use std::sync::Arc;

/// Labels of one frame, each with its probability, and the version that answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Tags {
    version: Version,
    labels: Arc<[String]>,
    thresholds: Arc<[f32]>,
    probabilities: Vec<f32>,
}

/// Label with its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Tag<'a> {
    /// Index of the label.
    pub index: u32,
    /// The label.
    pub label: &'a str,
    /// Its probability, 0..1. Those of several labels do not add up to 1.
    pub probability: f32,
    /// Probability from which on the label is predicted.
    pub threshold: f32,
}

impl Tag<'_> {
    /// Returns whether the label is predicted.
    pub fn is_present(&self) -> bool {
        self.probability >= self.threshold
    }
}

impl Tags {
    /// Takes the labels' probabilities from the logits of one image.
    pub(crate) fn new(
        version: Version,
        labels: &Arc<[String]>,
        thresholds: &Arc<[f32]>,
        logits: &[f32],
    ) -> Result<Self, Error> {
        if let Some(class) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(Error::Logit { version, class, value: logits[class] });
        }
        let probabilities = logits.iter().map(|logit| logistic(f64::from(*logit)) as f32).collect();
        Ok(Self { version, labels: labels.clone(), thresholds: thresholds.clone(), probabilities })
    }

    /// Returns the version that answered.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Iterates over all labels, in their order.
    pub fn all(&self) -> impl Iterator<Item = Tag<'_>> {
        let labels = self.labels.iter().zip(&self.probabilities).zip(self.thresholds.iter()).zip(0..);
        labels.map(|(((label, &probability), &threshold), index)| Tag { index, label, probability, threshold })
    }

    /// Iterates over the labels that are predicted, in their order.
    pub fn present(&self) -> impl Iterator<Item = Tag<'_>> {
        self.all().filter(Tag::is_present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: probabilities that exclude each other, a threshold of another label.
    #[test]
    fn each_label_has_a_threshold_of_its_own() {
        let labels: Arc<[String]> = ["person", "car", "dog"].map(str::to_owned).into();
        let thresholds: Arc<[f32]> = [0.5, 0.9, 0.1].into();
        let tags = Tags::new(Version::Base, &labels, &thresholds, &[1.0, 1.0, -2.0]).unwrap();
        assert_eq!(tags.present().map(|tag| tag.label).collect::<Vec<_>>(), ["person", "dog"]);
        assert!(tags.all().take(2).all(|tag| (tag.probability - 0.731_058_6).abs() < 1e-6));
        assert!(Tags::new(Version::Base, &labels, &thresholds, &[1.0, f32::NAN, 0.0]).is_err());
    }
}
