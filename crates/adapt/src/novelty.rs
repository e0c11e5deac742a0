//! Novelty: the Mahalanobis distance of an image's features from the nearest class mean, and how well it tells unknown images.
//!
//! The covariance is shared by the classes (Lee et al., NeurIPS 2018, arXiv 1807.03888).

use fieldfit_delta::{Delta, NoveltyThreshold};
use fieldfit_model::{FeatureStatistics, ModelError};

/// Share of known images that [`NoveltyScores::fpr_at_95_tpr`] lets pass.
const TRUE_POSITIVES: f64 = 0.95;

/// Novelty model of a version: class means and the covariance within classes.
#[derive(Debug, Clone, PartialEq)]
pub struct NoveltyModel {
    statistics: FeatureStatistics,
    /// 1/σ².
    precision: f32,
    threshold: Option<NoveltyThreshold>,
}

impl NoveltyModel {
    /// Model of these statistics, without a threshold; `None` without a covariance.
    pub fn new(statistics: FeatureStatistics) -> Option<Self> {
        let precision = 1.0 / statistics.variance?;
        Some(Self { statistics, precision, threshold: None })
    }

    /// Model that a delta records for features of that number; `None` if it records no threshold.
    ///
    /// # Errors
    /// As [`FeatureStatistics::of_delta`].
    pub fn of_delta(delta: &Delta<'_>, features: usize) -> Result<Option<Self>, ModelError> {
        let Some(threshold) = delta.header().head.novelty else { return Ok(None) };
        let model = FeatureStatistics::of_delta(delta, features)?.and_then(Self::new);
        Ok(model.map(|model| Self { threshold: Some(threshold), ..model }))
    }

    /// Returns the threshold above which an image counts as unknown.
    pub const fn threshold(&self) -> Option<NoveltyThreshold> {
        self.threshold
    }

    /// Returns the number of features.
    pub const fn features(&self) -> usize {
        self.statistics.means.columns
    }

    /// Computes the distance of features from the nearest class mean, `min_c √((x − μ_c)ᵀ Σ⁻¹ (x − μ_c))`. Allocates nothing.
    pub fn distance(&self, features: &[f32]) -> f32 {
        let FeatureStatistics { means, factors, .. } = &self.statistics;
        let squared = |class: usize| {
            let mean = means.row(class);
            let length: f32 = features.iter().zip(mean).map(|(value, mean)| (value - mean).powi(2)).sum();
            let along = |factor: usize| {
                let differences = features.iter().zip(mean).zip(factors.row(factor));
                differences.map(|((value, mean), axis)| (value - mean) * axis).sum::<f32>().powi(2)
            };
            // Rounding may take a little more than there is.
            ((length - (0..factors.rows).map(along).sum::<f32>()) * self.precision).max(0.0)
        };
        (0..means.rows).map(squared).fold(f32::INFINITY, f32::min).sqrt()
    }
}

/// Distance above which a share of `rate` of these known images lies, or the next smaller one.
pub(crate) fn threshold(mut distances: Vec<f32>, rate: f64) -> Option<NoveltyThreshold> {
    distances.sort_by(f32::total_cmp);
    let alarms = (rate * distances.len() as f64).floor() as usize;
    let distance = *distances.get(distances.len().checked_sub(1 + alarms)?)?;
    Some(NoveltyThreshold { distance, false_alarm_rate: rate as f32 })
}

/// Novelty of known and of unknown images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NoveltyScores {
    /// Distances of images of known classes.
    pub known: Vec<f32>,
    /// Distances of images of none of them.
    pub unknown: Vec<f32>,
}

impl NoveltyScores {
    /// Returns the probability that an unknown image is further away than a known one, 0..1; equal distances count a half
    /// (AUROC). 0.5 where there are none of either.
    pub fn auroc(&self) -> f64 {
        let mut all: Vec<(f32, bool)> = self.known.iter().map(|&distance| (distance, false)).collect();
        all.extend(self.unknown.iter().map(|&distance| (distance, true)));
        all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mut below, mut sum) = (0.0, 0.0);
        for equal in all.chunk_by(|(one, _), (other, _)| one == other) {
            let unknown = equal.iter().filter(|(_, is_unknown)| *is_unknown).count() as f64;
            let known = equal.len() as f64 - unknown;
            sum += unknown * (below + known / 2.0);
            below += known;
        }
        let pairs = self.known.len() as f64 * self.unknown.len() as f64;
        if pairs > 0.0 { sum / pairs } else { 0.5 }
    }

    /// Returns the share of unknown images, 0..1, that pass for known at the distance at which 95 % of the known ones do (FPR at
    /// 95 % TPR).
    pub fn fpr_at_95_tpr(&self) -> f64 {
        let mut known = self.known.clone();
        known.sort_by(f32::total_cmp);
        let passing = (TRUE_POSITIVES * known.len() as f64).ceil() as usize;
        let Some(&limit) = known.get(passing.saturating_sub(1)) else { return 0.0 };
        share(&self.unknown, |distance| distance <= limit)
    }

    /// Returns the shares of known and of unknown images above a threshold, 0..1.
    pub fn flagged(&self, threshold: f32) -> [f64; 2] {
        [&self.known, &self.unknown].map(|distances| share(distances, |distance| distance > threshold))
    }
}

fn share(distances: &[f32], holds: impl Fn(f32) -> bool) -> f64 {
    distances.iter().filter(|&&distance| holds(distance)).count() as f64 / distances.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: an AUROC of the wrong side, ties that count whole, and a false-positive rate at another share than 95 %.
    #[test]
    fn scores_are_those_of_the_definition() {
        let known: Vec<f32> = (0..20).map(|index| index as f32).collect();
        let scores = NoveltyScores { known: known.clone(), unknown: vec![18.0, 30.0, 3.0, 40.0] };
        // Of 80 pairs: 18 has 18 below and a tie, 3 has 3 and a tie.
        assert!((scores.auroc() - (18.5 + 20.0 + 3.5 + 20.0) / 80.0).abs() < 1e-12, "{}", scores.auroc());
        // 95 % of 20 are 19: the limit is 18.
        assert_eq!(scores.fpr_at_95_tpr(), 0.5);
        assert_eq!(scores.flagged(17.0), [0.1, 0.75]);
        assert_eq!(NoveltyScores { known, unknown: Vec::new() }.auroc(), 0.5);
    }

    /// Catches: a threshold that raises more false alarms than stated, or one at the wrong end.
    #[test]
    fn a_threshold_keeps_to_its_rate_of_false_alarms() {
        let distances: Vec<f32> = (1..=40).rev().map(|index| index as f32).collect();
        for (rate, expected) in [(0.05, 38.0), (0.01, 40.0), (0.5, 20.0)] {
            let found = threshold(distances.clone(), rate).unwrap();
            assert_eq!(found.distance, expected, "at {rate}");
            assert!(share(&distances, |distance| distance > found.distance) <= rate);
        }
        assert_eq!(threshold(Vec::new(), 0.5), None);
    }
}
