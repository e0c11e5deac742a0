//! Metrics of a classifier: accuracy, confusion, cross-entropy, calibration error and agreement, from logits and labels.

use fieldfit_adapt::largest;
use fieldfit_data::Batch;
use fieldfit_exec::softmax;
use fieldfit_tensor::Matrix;
use std::ops::Range;

/// Bins of confidence in which calibration is measured.
const BINS: usize = 15;

/// Returns the predicted class of each row: the position of the largest logit among those columns, counted from the
/// first of them.
pub(crate) fn predictions(logits: &Matrix<f32>, columns: Range<usize>) -> impl Iterator<Item = usize> {
    (0..logits.rows).map(move |row| largest(&logits.row(row)[columns.clone()]))
}

/// Returns how many predictions are the same.
pub(crate) fn agreeing(one: impl IntoIterator<Item = usize>, other: impl IntoIterator<Item = usize>) -> usize {
    one.into_iter().zip(other).filter(|(one, other)| one == other).count()
}

/// A misclassified image.
pub(crate) struct Misclassified {
    /// Its position in the data set.
    pub sample: usize,
    /// Its true class.
    pub truth: usize,
    /// Its predicted class.
    pub predicted: usize,
    /// The probability of its true class, 0..1.
    pub own: f64,
    /// The probability of its predicted class, 0..1.
    pub confidence: f64,
}

/// One bin of confidence.
#[derive(Clone, Copy, Default)]
struct Bin {
    correct: usize,
    confidence: f64,
}

/// Metrics of the images seen so far.
pub(crate) struct Metrics {
    /// Whether each image was classified correctly, in the set's order.
    pub outcomes: Vec<bool>,
    /// Confusion matrix, `confusion[truth][predicted]`.
    pub confusion: Vec<Vec<usize>>,
    /// Every misclassified image.
    pub misclassified: Vec<Misclassified>,
    /// Sum of the images' cross-entropies, in nats.
    loss: f64,
    bins: [Bin; BINS],
}

impl Metrics {
    /// No images yet.
    pub fn new(classes: usize) -> Self {
        let confusion = vec![vec![0; classes]; classes];
        Self { outcomes: Vec::new(), confusion, misclassified: Vec::new(), loss: 0.0, bins: [Bin::default(); BINS] }
    }

    /// Counts a batch by the logits of its images; the classes are the first columns.
    pub fn add(&mut self, batch: &Batch, logits: &Matrix<f32>) {
        let classes = self.confusion.len();
        let mut probabilities = Vec::new();
        for (row, (&truth, &sample)) in batch.labels.iter().zip(&batch.samples).enumerate() {
            probabilities.clear();
            probabilities.extend_from_slice(&logits.row(row)[..classes]);
            softmax(&mut probabilities);
            self.add_one(sample, truth as usize, &probabilities);
        }
    }

    fn add_one(&mut self, sample: usize, truth: usize, probabilities: &[f32]) {
        let predicted = largest(probabilities);
        let [own, confidence] = [truth, predicted].map(|class| f64::from(probabilities[class]));
        self.outcomes.push(truth == predicted);
        self.confusion[truth][predicted] += 1;
        // The least positive f32: a probability that rounds to 0 is no infinite loss.
        self.loss -= own.max(f64::from(f32::MIN_POSITIVE)).ln();
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.correct += usize::from(truth == predicted);
        bin.confidence += confidence;
        if truth != predicted {
            self.misclassified.push(Misclassified { sample, truth, predicted, own, confidence });
        }
    }

    /// Images seen.
    pub const fn images(&self) -> usize {
        self.outcomes.len()
    }

    /// Images classified correctly.
    pub fn correct(&self) -> usize {
        self.outcomes.iter().filter(|is_correct| **is_correct).count()
    }

    /// Mean cross-entropy in nats; 0 without images.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images().max(1) as f64
    }

    /// Expected calibration error, 0..1: the mean gap between confidence and accuracy over the images (Guo et al., ICML
    /// 2017, eq. 3).
    pub fn calibration_error(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs());
        gaps.sum::<f64>() / self.images().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_tensor::Images;

    /// Catches: a gap weighted by bins instead of images, or one between the wrong two; columns of another head that count.
    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let mut metrics = Metrics::new(2);
        let probabilities: [[f32; 2]; 5] = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.4, 0.6]];
        let labels = [0, 0, 0, 1, 1];
        // A third column, of another head, that would be the largest.
        let logits = probabilities.iter().flat_map(|[one, other]| [one.ln(), other.ln(), 9.0]).collect();
        let batch = Batch { images: Images::zeros(5, 1, 1), labels: labels.to_vec(), samples: vec![0, 1, 2, 3, 4] };
        metrics.add(&batch, &Matrix { rows: 5, columns: 3, values: logits });
        // Four at 0.9 of which two are right, one at 0.6 that is: (|2 − 3.6| + |1 − 0.6|) / 5.
        assert!((metrics.calibration_error() - 0.4).abs() < 1e-6, "{}", metrics.calibration_error());
        assert_eq!(metrics.confusion, [[2, 1], [1, 1]]);
        assert_eq!(metrics.outcomes, [true, true, false, false, true]);
        assert_eq!((metrics.images(), metrics.correct()), (5, 3));
        let expected = -(2.0 * 0.9_f64.ln() + 2.0 * 0.1_f64.ln() + 0.6_f64.ln()) / 5.0;
        assert!((metrics.mean_loss() - expected).abs() < 1e-6);
    }

    /// Catches: a prediction counted from the matrix's first column instead of the head's, or an agreement over all rows.
    #[test]
    fn predictions_are_those_of_one_heads_columns() {
        let logits = Matrix { rows: 2, columns: 4, values: vec![9.0, 0.0, 1.0, 2.0, 9.0, 0.0, 2.0, 1.0] };
        assert_eq!(predictions(&logits, 2..4).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(agreeing(predictions(&logits, 2..4), [1, 1]), 1);
    }
}
