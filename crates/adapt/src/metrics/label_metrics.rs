//! Metrics of multi-label classification: average precision, F1 and thresholds of each label.

use fieldfit_model::LabelThresholds;

/// Counts of labels over the images counted so far.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelMetrics {
    thresholds: Vec<f32>,
    /// Answers of each label.
    pub labels: Vec<LabelAnswers>,
}

/// Answers of one label: its probability on each image, and whether the image has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LabelAnswers {
    answers: Vec<(f32, bool)>,
    /// Images that have the label and are predicted to.
    pub true_positives: usize,
    /// Images that do not have it and are predicted to.
    pub false_positives: usize,
    /// Images that have it and are not predicted to.
    pub false_negatives: usize,
}

impl LabelMetrics {
    /// Creates the metrics of no image.
    pub(super) fn new(LabelThresholds(thresholds): &LabelThresholds) -> Self {
        Self { thresholds: thresholds.clone(), labels: vec![LabelAnswers::default(); thresholds.len()] }
    }

    /// Counts one image by the probabilities of its labels; returns the number of labels that are predicted right.
    pub(super) fn add(&mut self, truth: &[u8], probabilities: &[f32]) -> usize {
        let mut right = 0;
        for (label, (has, &probability)) in truth.iter().zip(probabilities).enumerate() {
            let (has, is_predicted) = (*has > 0, probability >= self.thresholds[label]);
            let answers = &mut self.labels[label];
            answers.answers.push((probability, has));
            answers.true_positives += usize::from(has && is_predicted);
            answers.false_positives += usize::from(!has && is_predicted);
            answers.false_negatives += usize::from(has && !is_predicted);
            right += usize::from(has == is_predicted);
        }
        right
    }

    /// Returns the mean over the labels that images have of the average precision, 0..1.
    pub fn mean_average_precision(&self) -> f64 {
        mean(self.labels.iter().filter_map(LabelAnswers::average_precision))
    }

    /// Returns the mean over the labels that images have of F1, 0..1.
    pub fn macro_f1(&self) -> f64 {
        mean(self.labels.iter().filter(|label| label.positives() > 0).map(LabelAnswers::f1))
    }

    /// Returns F1 of all labels' answers together, 0..1.
    pub fn micro_f1(&self) -> f64 {
        let sum = |count: fn(&LabelAnswers) -> usize| self.labels.iter().map(count).sum();
        f1([sum(|label| label.true_positives), sum(|label| label.false_positives), sum(|label| label.false_negatives)])
    }

    /// Returns the threshold of each label at which F1 is highest on the images counted; the one nearest to ½ of equal ones, and ½
    /// of a label that no image has.
    pub(crate) fn best_thresholds(&self) -> LabelThresholds {
        LabelThresholds(self.labels.iter().map(LabelAnswers::best_threshold).collect())
    }
}

impl LabelAnswers {
    /// Returns the number of images that have the label.
    pub const fn positives(&self) -> usize {
        self.true_positives + self.false_negatives
    }

    /// Returns F1 at the threshold, 0..1: the harmonic mean of precision and recall; 0 without right answers.
    pub fn f1(&self) -> f64 {
        f1([self.true_positives, self.false_positives, self.false_negatives])
    }

    /// Returns the average precision, 0..1: Σ (Rₙ − Rₙ₋₁)·Pₙ over the probabilities in descending order, as scikit-learn's
    /// `average_precision_score`. `None` of a label that no image has.
    pub fn average_precision(&self) -> Option<f64> {
        let positives = self.positives();
        let gain = |cut: &Cut| cut.newly_right as f64 / positives as f64 * (cut.right as f64 / cut.predicted as f64);
        let sum = self.cuts().iter().map(gain).sum();
        (positives > 0).then_some(sum)
    }

    fn best_threshold(&self) -> f32 {
        let (mut best, mut highest, positives) = (0.5_f32, 0.0, self.positives());
        for Cut { threshold, right, predicted, .. } in self.cuts() {
            let score = f1([right, predicted - right, positives - right]);
            let is_nearer = (threshold - 0.5).abs() < (best - 0.5).abs();
            if score > highest || score == highest && score > 0.0 && is_nearer {
                (best, highest) = (threshold, score);
            }
        }
        best
    }

    /// Cuts between answers of different probability, the highest first.
    fn cuts(&self) -> Vec<Cut> {
        let mut answers = self.answers.clone();
        answers.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut cuts: Vec<Cut> = Vec::new();
        let (mut right, mut predicted) = (0, 0);
        for equal in answers.chunk_by(|(one, _), (other, _)| one == other) {
            let newly_right = equal.iter().filter(|(_, has)| *has).count();
            (right, predicted) = (right + newly_right, predicted + equal.len());
            let next = answers.get(predicted).map_or(0.0, |(next, _)| *next);
            // Halfway to the next probability: rounding on another machine is no other answer.
            cuts.push(Cut { threshold: equal[0].0.midpoint(next), right, newly_right, predicted });
        }
        cuts
    }
}

/// Cut between answers: those above it are predicted to have the label.
struct Cut {
    threshold: f32,
    /// Images above it that have the label.
    right: usize,
    /// Those of them that are not above the cut before.
    newly_right: usize,
    /// Images above it.
    predicted: usize,
}

/// F1 of true positives, false positives and false negatives.
fn f1([right, wrong, missed]: [usize; 3]) -> f64 {
    match right {
        0 => 0.0,
        _ => 2.0 * right as f64 / (2 * right + wrong + missed) as f64,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(thresholds: &[f32], images: &[(&[u8], &[f32])]) -> LabelMetrics {
        let mut metrics = LabelMetrics::new(&LabelThresholds(thresholds.to_vec()));
        images.iter().for_each(|(truth, probabilities)| _ = metrics.add(truth, probabilities));
        metrics
    }

    /// Catches: another average precision than scikit-learn's of the same answers, one that depends on the order of equal
    /// probabilities, a label without images that counts.
    #[test]
    fn average_precision_is_scikit_learns() {
        let images: [(&[u8], &[f32]); 5] = [
            (&[1, 0], &[0.9, 0.1]),
            (&[0, 0], &[0.8, 0.1]),
            (&[1, 0], &[0.6, 0.2]),
            (&[0, 0], &[0.6, 0.3]),
            (&[1, 0], &[0.2, 0.4]),
        ];
        let counted = metrics(&[0.5, 0.5], &images);
        let precision = counted.labels[0].average_precision().unwrap();
        assert!((precision - AVERAGE_PRECISION).abs() < 1e-12, "{precision}");
        assert_eq!(counted.labels[1].average_precision(), None);
        assert_eq!(counted.mean_average_precision(), precision);
        let mut reversed = images;
        reversed.reverse();
        assert_eq!(metrics(&[0.5, 0.5], &reversed).labels[0].average_precision(), Some(precision));
    }

    /// `average_precision_score([1, 0, 1, 0, 1], [0.9, 0.8, 0.6, 0.6, 0.2])`.
    const AVERAGE_PRECISION: f64 = 1.0 / 3.0 * (1.0 + 2.0 / 4.0 + 3.0 / 5.0);

    /// Catches: a threshold that is not the best on the slice, one on an answer itself, which rounding would flip, and one of a
    /// label that nobody has.
    #[test]
    fn thresholds_lie_between_the_answers_that_they_part() {
        let images: [(&[u8], &[f32]); 4] =
            [(&[1, 0], &[0.4, 0.9]), (&[1, 0], &[0.3, 0.8]), (&[0, 0], &[0.1, 0.7]), (&[0, 0], &[0.05, 0.6])];
        let LabelThresholds(found) = metrics(&[0.5, 0.5], &images).best_thresholds();
        assert!((found[0] - 0.2).abs() < 1e-6, "{found:?}");
        assert_eq!(found[1], 0.5);
        let tuned = metrics(&found, &images);
        assert_eq!((tuned.labels[0].f1(), tuned.macro_f1()), (1.0, 1.0));
        assert!((tuned.micro_f1() - 2.0 * 2.0 / (4.0 + 4.0)).abs() < 1e-12);
    }
}
