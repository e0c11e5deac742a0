//! Metrics of a classifier: accuracy, confusion, cross-entropy, calibration error and agreement, from logits and labels.

use fieldfit_data::Batch;
use fieldfit_exec::softmax;
use fieldfit_tensor::Matrix;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bins of confidence in which calibration is measured.
const BINS: usize = 15;

/// Returns the predicted class of these logits: the position of the largest, the first among equals.
pub fn prediction(logits: &[f32]) -> usize {
    let first_larger = |best: usize, position: usize| if logits[position] > logits[best] { position } else { best };
    (0..logits.len()).fold(0, first_larger)
}

/// Returns the predicted class of each row: the position of the largest logit among those columns, counted from the
/// first of them.
pub fn predictions(logits: &Matrix<f32>, columns: Range<usize>) -> impl Iterator<Item = usize> {
    (0..logits.rows).map(move |row| prediction(&logits.row(row)[columns.clone()]))
}

/// Returns the number of images with the same class in two lists: of two networks' predictions, or of predictions and
/// labels.
pub fn agreeing(one: impl IntoIterator<Item = usize>, other: impl IntoIterator<Item = usize>) -> usize {
    one.into_iter().zip(other).filter(|(one, other)| one == other).count()
}

/// Misclassified image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misclassified {
    /// Index of the sample in the data set.
    pub sample: usize,
    /// True class.
    pub truth: usize,
    /// Predicted class.
    pub predicted: usize,
    /// Probability of the true class, 0..1.
    pub own: f64,
    /// Probability of the predicted class, 0..1.
    pub confidence: f64,
}

/// Counts over the images that two networks were both measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairedCounts {
    /// Number of images.
    pub images: usize,
    /// Number of them that the first network classifies correctly.
    pub first: usize,
    /// Number of them that the second network classifies correctly.
    pub second: usize,
}

/// Bin of confidence.
#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    correct: usize,
    confidence: f64,
}

/// Metrics of a network on labelled images, of those added so far.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Index of each sample in the data set, and whether it was classified correctly, in the order of the batches.
    pub outcomes: Vec<(usize, bool)>,
    /// Confusion matrix, `confusion[truth][predicted]`.
    pub confusion: Vec<Vec<usize>>,
    /// Misclassified images, in the order of the batches.
    pub misclassified: Vec<Misclassified>,
    /// Sum of the images' cross-entropies, in nats.
    loss: f64,
    bins: [Bin; BINS],
}

impl Metrics {
    /// Creates the metrics of no image.
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
        let predicted = prediction(probabilities);
        let [own, confidence] = [truth, predicted].map(|class| f64::from(probabilities[class]));
        self.outcomes.push((sample, truth == predicted));
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

    /// Returns the number of images.
    pub const fn images(&self) -> usize {
        self.outcomes.len()
    }

    /// Returns the number of images that were classified correctly.
    pub fn correct(&self) -> usize {
        (0..self.confusion.len()).map(|class| self.confusion[class][class]).sum()
    }

    /// Returns the share of images that were classified correctly, 0..1; 0 without images.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.images().max(1) as f64
    }

    /// Counts the images that this network and a second one were both measured on: an image may have become unreadable in
    /// between.
    pub fn common(&self, second: &Self) -> PairedCounts {
        let second: BTreeMap<usize, bool> = second.outcomes.iter().copied().collect();
        let mut counts = PairedCounts { images: 0, first: 0, second: 0 };
        for (sample, is_correct) in &self.outcomes {
            let Some(second) = second.get(sample) else { continue };
            counts.images += 1;
            counts.first += usize::from(*is_correct);
            counts.second += usize::from(*second);
        }
        counts
    }

    /// Returns whether images of several classes all got the same prediction.
    pub fn is_constant(&self) -> bool {
        let present = self.confusion.iter().filter(|row| row.iter().sum::<usize>() > 0).count();
        let is_predicted = |class: usize| self.confusion.iter().any(|row| row[class] > 0);
        present > 1 && (0..self.confusion.len()).filter(|&class| is_predicted(class)).count() == 1
    }

    /// Returns the mean cross-entropy, in nats; 0 without images.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images().max(1) as f64
    }

    /// Computes the expected calibration error, 0..1: the mean gap between confidence and accuracy over the images
    /// (Guo et al., ICML
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

    /// Catches: a gap weighted by bins instead of images, or one between the wrong two; columns of another head that
    /// count.
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
        assert_eq!(metrics.outcomes, [(0, true), (1, true), (2, false), (3, false), (4, true)]);
        assert_eq!((metrics.images(), metrics.correct()), (5, 3));
        let expected = -(2.0 * 0.9_f64.ln() + 2.0 * 0.1_f64.ln() + 0.6_f64.ln()) / 5.0;
        assert!((metrics.mean_loss() - expected).abs() < 1e-6);
    }

    /// Catches: a largest logit that is not the first among equals; a network called constant whose images have one
    /// class, or whose predictions have two.
    #[test]
    fn a_constant_network_predicts_one_class_for_several() {
        assert_eq!([prediction(&[0.5, 0.1, 0.5]), prediction(&[0.1, 0.7, 0.2])], [0, 1]);
        let of = |pairs: &[(u32, f32)]| {
            let labels = pairs.iter().map(|&(label, _)| label).collect();
            let logits = pairs.iter().flat_map(|&(_, second)| [0.5, second]).collect();
            let batch = Batch { images: Images::zeros(pairs.len(), 1, 1), labels, samples: (0..pairs.len()).collect() };
            let mut metrics = Metrics::new(2);
            metrics.add(&batch, &Matrix { rows: pairs.len(), columns: 2, values: logits });
            (metrics.is_constant(), metrics.accuracy())
        };
        assert_eq!(of(&[(0, 0.0), (1, 0.0), (1, 0.0), (1, 0.0)]), (true, 0.25));
        assert_eq!(of(&[(0, 0.0), (0, 0.0)]), (false, 1.0));
        assert_eq!(of(&[(0, 0.0), (1, 1.0)]), (false, 1.0));
        assert_eq!(of(&[]), (false, 0.0));
    }

    /// Catches: an image that only one of two networks could be shown and that counts for or against the other.
    #[test]
    fn images_that_both_were_measured_on_count() {
        let of = |outcomes: &[(usize, bool)]| Metrics { outcomes: outcomes.to_vec(), ..Metrics::new(2) };
        let (one, other) = (of(&[(3, true), (5, true), (9, false)]), of(&[(5, false), (9, true), (11, true)]));
        assert_eq!(one.common(&other), PairedCounts { images: 2, first: 1, second: 1 });
    }

    /// Catches: a prediction counted from the matrix's first column instead of the head's, or an agreement over all rows.
    #[test]
    fn predictions_are_those_of_one_heads_columns() {
        let logits = Matrix { rows: 2, columns: 4, values: vec![9.0, 0.0, 1.0, 2.0, 9.0, 0.0, 2.0, 1.0] };
        assert_eq!(predictions(&logits, 2..4).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(agreeing(predictions(&logits, 2..4), [1, 1]), 1);
    }
}
