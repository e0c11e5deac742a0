//! Metrics of answers: accuracy, confusion, intersection over union, cross-entropy, calibration error and agreement of a classifier
//! of images or pixels, errors of values, and average precision of labels, from a network's outputs and targets.

mod label_metrics;
mod value_metrics;

pub use label_metrics::{LabelAnswers, LabelMetrics};
pub use value_metrics::{TargetErrors, ValueMetrics};

use fieldfit_data::{Batch, Masks, Targets};
use fieldfit_exec::{logistic, softmax};
use fieldfit_model::{HeadOutputs, LabelThresholds};
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

/// Score of one image: how many of its answers are right, or how wrong its values are. An image has one answer, or one for each
/// pixel that counts or each label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Index of the sample in the data set.
    pub sample: usize,
    /// Number of right answers.
    pub right: usize,
    /// Number of answers; 0 of values.
    pub of: usize,
    /// Mean over targets of the error of their values, in their standard deviations; 0 of other answers.
    pub error: f64,
}

/// Counts over the images that two networks were both measured on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairedCounts {
    /// Number of images.
    pub images: usize,
    /// Number of their answers: of images, or of pixels that count.
    pub answers: usize,
    /// Number of answers of the first network that are right.
    pub first: usize,
    /// Number of answers of the second network that are right.
    pub second: usize,
    /// Sums over the images of each network's [errors](Score::error).
    pub errors: [f64; 2],
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
    /// Score of each image, in the order of the batches.
    pub scores: Vec<Score>,
    /// Confusion matrix of all answers, `confusion[truth][predicted]`.
    pub confusion: Vec<Vec<usize>>,
    /// Misclassified images, in the order of the batches; none of images without one class.
    pub misclassified: Vec<Misclassified>,
    /// Errors of values, of a network that answers with values.
    pub values: Option<ValueMetrics>,
    /// Answers of labels, of a network that predicts any number of labels.
    pub labels: Option<LabelMetrics>,
    /// Sum of the answers' cross-entropies, in nats, or of the images' Huber losses.
    loss: f64,
    bins: [Bin; BINS],
}

impl Metrics {
    /// Creates the metrics of no image, of a classifier of that many classes.
    pub fn new(classes: usize) -> Self {
        let (scores, misclassified) = (Vec::new(), Vec::new());
        let confusion = vec![vec![0; classes]; classes];
        Self { scores, confusion, misclassified, values: None, labels: None, loss: 0.0, bins: [Bin::default(); BINS] }
    }

    /// Creates the metrics of no image, of a network with these outputs, whose errors of values are put on one scale by their
    /// deviations.
    pub fn of(outputs: &HeadOutputs, count: usize) -> Self {
        match outputs {
            HeadOutputs::Classes => Self::new(count),
            HeadOutputs::Values(scales) => Self { values: Some(ValueMetrics::new(scales)), ..Self::new(0) },
            HeadOutputs::Labels(thresholds) => Self { labels: Some(LabelMetrics::new(thresholds)), ..Self::new(0) },
        }
    }

    /// Counts a batch by the outputs of its images, or of its images' pixels; those of the own head are the first columns. Masks are
    /// as large as the network's output.
    pub fn add(&mut self, batch: &Batch, logits: &Matrix<f32>) {
        self.add_answers(&batch.targets, &batch.samples, logits);
    }

    /// Counts images as [`add`](Self::add) does. Targets of another task than the outputs' do not count.
    pub(crate) fn add_answers(&mut self, targets: &Targets, samples: &[usize], logits: &Matrix<f32>) {
        let mut probabilities = Vec::new();
        match targets {
            Targets::Classes(_) | Targets::Masks(_) if self.values.is_some() || self.labels.is_some() => {}
            Targets::Classes(classes) => {
                for (row, (&truth, &sample)) in classes.iter().zip(samples).enumerate() {
                    self.probabilities(logits, row, &mut probabilities);
                    let truth = truth as usize;
                    let answer = self.add_answer(truth, &probabilities);
                    self.scores.push(Score { sample, right: usize::from(answer.is_right(truth)), of: 1, error: 0.0 });
                    if !answer.is_right(truth) {
                        let Answer { predicted, own, confidence } = answer;
                        self.misclassified.push(Misclassified { sample, truth, predicted, own, confidence });
                    }
                }
            }
            Targets::Masks(masks) => {
                for (image, &sample) in samples.iter().enumerate() {
                    let mut score = Score { sample, right: 0, of: 0, error: 0.0 };
                    for (pixel, &truth) in
                        masks.image(image).iter().enumerate().filter(|(_, truth)| is_counted(**truth))
                    {
                        self.probabilities(logits, image * masks.area() + pixel, &mut probabilities);
                        let answer = self.add_answer(truth.into(), &probabilities);
                        score.right += usize::from(answer.is_right(truth.into()));
                        score.of += 1;
                    }
                    self.scores.push(score);
                }
            }
            Targets::Values(values) => {
                let Some(metrics) = &mut self.values else { return };
                for (image, &sample) in samples.iter().enumerate() {
                    let (error, loss) = metrics.add(values.image(image), &logits.row(image)[..values.targets]);
                    self.loss += loss;
                    self.scores.push(Score { sample, right: 0, of: 0, error });
                }
            }
            Targets::Labels(sets) => {
                for (image, &sample) in samples.iter().enumerate() {
                    self.add_labels(sample, sets.image(image), &logits.row(image)[..sets.labels]);
                }
            }
        }
    }

    fn add_labels(&mut self, sample: usize, truth: &[u8], logits: &[f32]) {
        let Some(metrics) = &mut self.labels else { return };
        let probabilities: Vec<f32> = logits.iter().map(|logit| logistic(f64::from(*logit)) as f32).collect();
        let right = metrics.add(truth, &probabilities);
        self.scores.push(Score { sample, right, of: truth.len(), error: 0.0 });
        for (has, probability) in truth.iter().zip(probabilities) {
            let (is_predicted, probability) = (probability >= 0.5, f64::from(probability));
            let own = if *has > 0 { probability } else { 1.0 - probability };
            self.add_confidence(probability.max(1.0 - probability), is_predicted == (*has > 0), own);
        }
    }

    /// Counts an answer by its confidence, and by the probability of what is true.
    fn add_confidence(&mut self, confidence: f64, is_right: bool, own: f64) {
        // The least positive f32: a probability that rounds to 0 is no infinite loss.
        self.loss -= own.max(f64::from(f32::MIN_POSITIVE)).ln();
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.correct += usize::from(is_right);
        bin.confidence += confidence;
    }

    /// Writes the probabilities of a row's classes.
    fn probabilities(&self, logits: &Matrix<f32>, row: usize, out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(&logits.row(row)[..self.confusion.len()]);
        softmax(out);
    }

    fn add_answer(&mut self, truth: usize, probabilities: &[f32]) -> Answer {
        let predicted = prediction(probabilities);
        let [own, confidence] = [truth, predicted].map(|class| f64::from(probabilities[class]));
        self.confusion[truth][predicted] += 1;
        self.add_confidence(confidence, truth == predicted, own);
        Answer { predicted, own, confidence }
    }

    /// Returns the number of images.
    pub const fn images(&self) -> usize {
        self.scores.len()
    }

    /// Returns the number of answers: of images, of pixels that count, or of labels.
    pub fn answers(&self) -> usize {
        self.scores.iter().map(|score| score.of).sum()
    }

    /// Returns the number of right answers.
    pub fn correct(&self) -> usize {
        self.scores.iter().map(|score| score.right).sum()
    }

    /// Returns the share of right answers, 0..1; 0 without any. Of values, 1 / (1 + [mean error](Self::mean_error)).
    pub fn accuracy(&self) -> f64 {
        match self.values {
            Some(_) if self.scores.is_empty() => 0.0,
            Some(_) => 1.0 / (1.0 + self.mean_error()),
            None => self.correct() as f64 / self.answers().max(1) as f64,
        }
    }

    /// Returns the mean over images and targets of the errors of values, in the targets' standard deviations; 0 of other answers.
    pub fn mean_error(&self) -> f64 {
        self.scores.iter().map(|score| score.error).sum::<f64>() / self.images().max(1) as f64
    }

    /// Returns the threshold of each label at which F1 is highest on the images counted; `None` where labels exclude each other.
    pub(crate) fn best_thresholds(&self) -> Option<LabelThresholds> {
        self.labels.as_ref().map(LabelMetrics::best_thresholds)
    }

    /// Returns the mean over the classes with answers of the share of theirs that are right, 0..1.
    pub fn macro_accuracy(&self) -> f64 {
        let of_class = |(class, row): (usize, &Vec<usize>)| {
            let answers: usize = row.iter().sum();
            (answers > 0).then(|| row[class] as f64 / answers as f64)
        };
        let shares: Vec<f64> = self.confusion.iter().enumerate().filter_map(of_class).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }

    /// Returns the intersection over union of each class, 0..1: right answers over those of the class and those that name it
    /// (Everingham et al., IJCV 2010). `None` of a class that neither the truth nor an answer has.
    pub fn intersections_over_unions(&self) -> Vec<Option<f64>> {
        let of_class = |class: usize| {
            let truth: usize = self.confusion[class].iter().sum();
            let named: usize = self.confusion.iter().map(|row| row[class]).sum();
            let right = self.confusion[class][class];
            let union = truth + named - right;
            (union > 0).then(|| right as f64 / union as f64)
        };
        (0..self.confusion.len()).map(of_class).collect()
    }

    /// Returns the mean intersection over union, 0..1, over the classes that have one.
    pub fn mean_intersection_over_union(&self) -> f64 {
        let classes: Vec<f64> = self.intersections_over_unions().into_iter().flatten().collect();
        classes.iter().sum::<f64>() / classes.len().max(1) as f64
    }

    /// Counts the images that this network and a second one were both measured on: an image may have become unreadable in
    /// between.
    pub fn common(&self, second: &Self) -> PairedCounts {
        let second: BTreeMap<usize, &Score> = second.scores.iter().map(|score| (score.sample, score)).collect();
        let mut counts = PairedCounts::default();
        for first in &self.scores {
            let Some(second) = second.get(&first.sample) else { continue };
            counts.images += 1;
            counts.answers += first.of;
            counts.first += first.right;
            counts.second += second.right;
            counts.errors[0] += first.error;
            counts.errors[1] += second.error;
        }
        counts
    }

    /// Returns whether images or pixels of several classes all got the same prediction.
    pub fn is_constant(&self) -> bool {
        let present = self.confusion.iter().filter(|row| row.iter().sum::<usize>() > 0).count();
        let is_predicted = |class: usize| self.confusion.iter().any(|row| row[class] > 0);
        present > 1 && (0..self.confusion.len()).filter(|&class| is_predicted(class)).count() == 1
    }

    /// Returns the mean cross-entropy of the answers, in nats, or the mean Huber loss of the images' values; 0 without images.
    pub fn mean_loss(&self) -> f64 {
        let of = if self.values.is_some() { self.images() } else { self.answers() };
        self.loss / of.max(1) as f64
    }

    /// Computes the expected calibration error, 0..1: the mean gap between confidence and accuracy over the answers
    /// (Guo et al., ICML
    /// 2017, eq. 3).
    pub fn calibration_error(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs());
        gaps.sum::<f64>() / self.answers().max(1) as f64
    }
}

/// One answer, of an image or a pixel.
struct Answer {
    predicted: usize,
    own: f64,
    confidence: f64,
}

impl Answer {
    const fn is_right(&self, truth: usize) -> bool {
        self.predicted == truth
    }
}

/// Whether a pixel of that class counts.
const fn is_counted(class: u8) -> bool {
    class != Masks::IGNORED
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
        let targets = Targets::Classes(labels.to_vec());
        let batch = Batch { images: Images::zeros(5, 1, 1), targets, samples: vec![0, 1, 2, 3, 4] };
        metrics.add(&batch, &Matrix { rows: 5, columns: 3, values: logits });
        // Four at 0.9 of which two are right, one at 0.6 that is: (|2 − 3.6| + |1 − 0.6|) / 5.
        assert!((metrics.calibration_error() - 0.4).abs() < 1e-6, "{}", metrics.calibration_error());
        assert_eq!(metrics.confusion, [[2, 1], [1, 1]]);
        let scores: Vec<_> = metrics.scores.iter().map(|score| (score.sample, score.right, score.of)).collect();
        assert_eq!(scores, [(0, 1, 1), (1, 1, 1), (2, 0, 1), (3, 0, 1), (4, 1, 1)]);
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
            let targets = Targets::Classes(pairs.iter().map(|&(label, _)| label).collect());
            let logits = pairs.iter().flat_map(|&(_, second)| [0.5, second]).collect();
            let batch =
                Batch { images: Images::zeros(pairs.len(), 1, 1), targets, samples: (0..pairs.len()).collect() };
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
        let of = |scores: &[(usize, usize)]| {
            let scores = scores.iter().map(|&(sample, right)| Score { sample, right, of: 10, error: 0.0 }).collect();
            Metrics { scores, ..Metrics::new(2) }
        };
        let (one, other) = (of(&[(3, 9), (5, 8), (9, 0)]), of(&[(5, 3), (9, 4), (11, 9)]));
        assert_eq!(one.common(&other), PairedCounts { images: 2, answers: 20, first: 8, second: 7, errors: [0.0; 2] });
    }

    /// Catches: pixels that are ignored and count, a pixel taken from another image, a union that counts right answers twice.
    #[test]
    fn pixels_count_by_their_masks() {
        let masks = Masks { height: 1, width: 3, values: vec![0, 1, Masks::IGNORED, 1, 1, 0] };
        let (images, samples) = (Images::zeros(2, 1, 3), vec![4, 7]);
        let batch = Batch { images, targets: Targets::Masks(masks), samples };
        let answers = [0, 0, 1, 1, 0, 0];
        let values = answers.iter().flat_map(|answer| if *answer == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        let mut metrics = Metrics::new(3);
        // The third class is in neither.
        let values: Vec<f32> = values;
        let values = values.chunks(2).flat_map(|pixel| [pixel[0], pixel[1], -9.0]).collect();
        metrics.add(&batch, &Matrix { rows: 6, columns: 3, values });
        let scores: Vec<_> = metrics.scores.iter().map(|score| (score.sample, score.right, score.of)).collect();
        assert_eq!(scores, [(4, 1, 2), (7, 2, 3)]);
        assert_eq!((metrics.images(), metrics.answers(), metrics.correct()), (2, 5, 3));
        assert_eq!(metrics.accuracy(), 0.6);
        assert_eq!(metrics.intersections_over_unions(), [Some(2.0 / 4.0), Some(1.0 / 3.0), None]);
        assert!((metrics.mean_intersection_over_union() - 5.0 / 12.0).abs() < 1e-12);
        assert!(metrics.misclassified.is_empty());
    }

    /// Catches: a prediction counted from the matrix's first column instead of the head's, or an agreement over all rows.
    #[test]
    fn predictions_are_those_of_one_heads_columns() {
        let logits = Matrix { rows: 2, columns: 4, values: vec![9.0, 0.0, 1.0, 2.0, 9.0, 0.0, 2.0, 1.0] };
        assert_eq!(predictions(&logits, 2..4).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(agreeing(predictions(&logits, 2..4), [1, 1]), 1);
    }
}
