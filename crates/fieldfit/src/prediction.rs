//! Prediction: the top classes of a frame with their probabilities, the version that gave them, and the base's answer.

use crate::{Error, Version};
use fieldfit_delta::NoveltyThreshold;
use std::sync::Arc;

/// Maximum number of classes that a prediction ranks.
pub const MAX_TOP: usize = 16;

/// Ranked class of a prediction, by index.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Index of the class in the head's outputs.
    pub index: u32,
    /// Its softmax probability, 0..1.
    pub probability: f32,
}

/// Ranked class of a prediction, by name.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Ranked<'a> {
    /// Index of the class in the head's outputs.
    pub index: u32,
    /// Name of the class.
    pub label: &'a str,
    /// Its softmax probability, 0..1.
    pub probability: f32,
}

/// Prediction for one frame: the top classes, and the version that answered.
///
/// Of fixed capacity; it shares the labels of the version that answered, so they stay right after a swap.
#[derive(Debug, Clone)]
pub struct Prediction {
    version: Version,
    own: Ranking,
    /// Ranking of the base's own classes, if it was asked for.
    base: Option<Ranking>,
    novelty: Option<Novelty>,
}

/// Novelty of a frame: how far its features are from all that the version was trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Novelty {
    /// Mahalanobis distance from the nearest class mean.
    pub distance: f32,
    /// Distance above which a frame counts as unknown.
    pub threshold: f32,
    /// Share of known images, 0..1, that the threshold was chosen to call unknown.
    pub false_alarm_rate: f32,
}

impl Novelty {
    pub(crate) const fn new(distance: f32, threshold: NoveltyThreshold) -> Self {
        let NoveltyThreshold { distance: threshold, false_alarm_rate } = threshold;
        Self { distance, threshold, false_alarm_rate }
    }

    /// Returns whether the frame counts as unknown: as none of the version's classes.
    pub fn is_unknown(self) -> bool {
        self.distance > self.threshold
    }
}

/// Top classes of one head.
#[derive(Debug, Clone)]
struct Ranking {
    labels: Arc<[String]>,
    top: heapless::Vec<Candidate, MAX_TOP>,
}

impl Ranking {
    /// Ranks the logits of one image under one head, one a label.
    fn new(version: Version, labels: &Arc<[String]>, logits: &[f32]) -> Result<Self, Error> {
        match logits.iter().position(|logit| !logit.is_finite()) {
            Some(class) => Err(Error::Logit { version, class, value: logits[class] }),
            None => Ok(Self { labels: labels.clone(), top: rank(logits) }),
        }
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = Ranked<'_>> {
        self.top.iter().map(|&Candidate { index, probability }| Ranked {
            index,
            label: &self.labels[index as usize],
            probability,
        })
    }
}

impl Prediction {
    /// Ranks the logits of one image, one a label.
    pub(crate) fn new(version: Version, labels: &Arc<[String]>, logits: &[f32]) -> Result<Self, Error> {
        Ok(Self { version, own: Ranking::new(version, labels, logits)?, base: None, novelty: None })
    }

    /// Adds the ranking of the base's own classes by the logits under its head, one a label.
    pub(crate) fn with_base(self, labels: &Arc<[String]>, logits: &[f32]) -> Result<Self, Error> {
        Ok(Self { base: Some(Ranking::new(self.version, labels, logits)?), ..self })
    }

    /// Adds the novelty, if the version tells it.
    pub(crate) fn with_novelty(self, novelty: Option<Novelty>) -> Self {
        Self { novelty, ..self }
    }

    /// Returns how far the frame is from all that the version was trained on. `None` unless the runtime was opened with
    /// [`Builder::novelty`](crate::Builder::novelty) and the version records a threshold
    /// ([`Options::novelty`](crate::train::Options::novelty)).
    pub const fn novelty(&self) -> Option<Novelty> {
        self.novelty
    }

    /// Returns the version that answered.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the class names of the version that answered, in the order of the head's outputs.
    pub const fn labels(&self) -> &Arc<[String]> {
        &self.own.labels
    }

    /// Returns the class names of the base, in the order of its head's outputs, if [`base`](Self::base) ranks them.
    pub fn base_labels(&self) -> Option<&Arc<[String]>> {
        self.base.as_ref().map(|ranking| &ranking.labels)
    }

    /// Returns the classes by descending probability: [`MAX_TOP`] of them, or all if there are fewer.
    pub fn top(&self) -> impl ExactSizeIterator<Item = Ranked<'_>> {
        self.own.iter()
    }

    /// Returns the base's own classes by descending probability, [`MAX_TOP`] of them at most: what the version's backbone
    /// answers under the base's head, in the same pass. The probabilities are shares of the base's classes alone. `None`
    /// unless the runtime was opened with [`Builder::base_answers`](crate::Builder::base_answers).
    ///
    /// While the base itself runs, they are those of [`top`](Self::top).
    pub fn base(&self) -> Option<impl ExactSizeIterator<Item = Ranked<'_>>> {
        self.base.as_ref().map(Ranking::iter)
    }

    /// Returns the top class. `None` only for a head without outputs, which no model folder has.
    pub fn best(&self) -> Option<Ranked<'_>> {
        self.top().next()
    }
}

/// The largest logits as shares of the softmax, by descending share, then by ascending index.
fn rank(logits: &[f32]) -> heapless::Vec<Candidate, MAX_TOP> {
    let mut top = heapless::Vec::<usize, MAX_TOP>::new();
    for (class, &logit) in logits.iter().enumerate() {
        let place = top.iter().position(|&ranked| logit > logits[ranked]).unwrap_or(top.len());
        if place < MAX_TOP {
            top.truncate(MAX_TOP - 1);
            // There is room for one: the line above made it.
            let _ = top.insert(place, class);
        }
    }
    let softmax = Softmax::of(logits);
    top.iter()
        .map(|&class| Candidate { index: class as u32, probability: softmax.probability(logits[class]) })
        .collect()
}

/// Writes the probability of each class, in the order of the logits: those of [`rank`], to the bit.
pub(crate) fn write_probabilities(logits: &[f32], probabilities: &mut [f32]) {
    let softmax = Softmax::of(logits);
    probabilities.iter_mut().zip(logits).for_each(|(probability, &logit)| *probability = softmax.probability(logit));
}

/// Softmax over the logits of one image.
struct Softmax {
    largest: f64,
    total: f64,
}

impl Softmax {
    fn of(logits: &[f32]) -> Self {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        Self { largest, total }
    }

    fn probability(&self, logit: f32) -> f32 {
        ((f64::from(logit) - self.largest).exp() / self.total) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize) -> Arc<[String]> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    /// Catches: a ranking that loses a class at the edge of its capacity, or keeps a smaller one.
    #[test]
    fn the_largest_logits_are_ranked_in_order() {
        let logits: Vec<f32> = (0..40).map(|class| ((class * 17) % 40) as f32 * 0.25).collect();
        let prediction = Prediction::new(Version::Base, &labels(40), &logits).unwrap();
        let mut expected: Vec<usize> = (0..40).collect();
        expected.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let found: Vec<usize> = prediction.top().map(|ranked| ranked.index as usize).collect();
        assert_eq!(found, expected[..MAX_TOP]);
        assert_eq!(prediction.best().unwrap().label, format!("class {}", expected[0]));
    }

    /// Catches: a softmax over the ranked classes only, or one that overflows.
    #[test]
    fn probabilities_are_shares_of_all_classes() {
        let prediction = Prediction::new(Version::Base, &labels(20), &[500.0; 20]).unwrap();
        assert_eq!(prediction.top().len(), MAX_TOP);
        assert!(prediction.top().all(|ranked| (ranked.probability - 0.05).abs() < 1e-7));
        assert!(prediction.top().map(|ranked| ranked.index).eq(0..MAX_TOP as u32), "equals keep the head's order");
    }

    /// Catches: a model with logits that are not finite, and that still names a class.
    #[test]
    fn logits_that_are_no_numbers_are_refused() {
        for value in [f32::NAN, f32::INFINITY] {
            let error = Prediction::new(Version::Stored(3), &labels(3), &[0.0, value, 1.0]).unwrap_err();
            assert!(error.to_string().contains("version 3"), "{error}");
        }
    }
}
