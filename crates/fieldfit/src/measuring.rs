//! How good weights are on a set of labelled images, and what they have kept of the base, in one pass.

use crate::Error;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fieldfit_adapt::{largest, under_both_heads};
use fieldfit_data::{Batch, Corruption, DataError, Dataset, Loader, LoaderOptions, Preprocessor, Severity, thumbnail};
use fieldfit_exec::{Device, Prepared, prepare, softmax};
use fieldfit_model::{Base, Weights};
use fieldfit_report::{HardestImage, Scores};
use fieldfit_tensor::Matrix;

/// Bins of confidence in which calibration is measured.
const BINS: usize = 15;
/// Images that are shown of those that went wrong.
const SHOWN: usize = 6;
/// The longer side of a picture in a report, in pixels.
const THUMBNAIL: u32 = 96;

/// Labelled images to measure on.
#[derive(Debug, Clone)]
pub struct Set {
    /// What reports call it.
    pub name: String,
    /// The images.
    pub images: Dataset,
    /// Those of them that count, as positions in [`Dataset::samples`].
    pub order: Vec<usize>,
    /// What is done to them first.
    pub corruption: Option<(Corruption, Severity)>,
}

impl Set {
    /// All images of a folder.
    pub fn of(name: impl Into<String>, images: Dataset) -> Self {
        let order = (0..images.samples.len()).collect();
        Self { name: name.into(), images, order, corruption: None }
    }

    /// Those images under each corruption in turn, at that severity.
    pub fn corrupted(&self, severity: Severity) -> impl Iterator<Item = Self> {
        let set = move |corruption: Corruption| Self {
            name: format!("{corruption} {severity}"),
            corruption: Some((corruption, severity)),
            ..self.clone()
        };
        Corruption::ALL.into_iter().map(set)
    }

    /// The same with a model's labels as classes.
    pub(crate) fn with_labels(&self, labels: &[String]) -> Result<Self, DataError> {
        let images = self.images.clone().with_labels(labels)?;
        Ok(Self { images, ..self.clone() })
    }

    /// The images in order, as at inference.
    pub(crate) fn batches(&self, preprocessor: &Preprocessor) -> Result<Loader, DataError> {
        let options = LoaderOptions { corruption: self.corruption, ..LoaderOptions::default() };
        Loader::new(&self.images, &self.order, preprocessor, &options)
    }
}

/// The base's own classes for a set's images at that size, in the set's order. Nobody asks for the images' own.
///
/// # Errors
/// If an image can't be read any more, or the device fails.
pub(crate) fn answers(base: &Base, set: &Set, size: u32, device: Device) -> Result<Vec<usize>, Error> {
    let weights = Weights::of_base(base);
    let preprocessor = Preprocessor::new(base.preprocessing(), size, weights.crop)?;
    let prepared = prepare(device, &weights.network, &weights.params)?;
    drop(weights);
    let mut answers = Vec::with_capacity(set.order.len());
    for batch in set.batches(&preprocessor)? {
        let logits = prepared.logits(&batch?.images)?;
        answers.extend((0..logits.rows).map(|row| largest(logits.row(row))));
    }
    Ok(answers)
}

/// Adapted weights, ready to answer under their own head and under the base's in one pass.
pub(crate) struct Subject {
    prepared: Box<dyn Prepared>,
    labels: Vec<String>,
    preprocessor: Preprocessor,
}

impl Subject {
    /// Puts both heads on the adapted backbone.
    pub fn new(base: &Base, weights: Weights, device: Device) -> Result<Self, Error> {
        let preprocessor = Preprocessor::new(base.preprocessing(), weights.input_size, weights.crop)?;
        let weights = under_both_heads(weights, base);
        let prepared = prepare(device, &weights.network, &weights.params)?;
        Ok(Self { prepared, labels: weights.labels, preprocessor })
    }

    /// What it makes of a set. `answers` is what the base made of the same.
    pub fn measure(&self, set: &Set, answers: &[usize]) -> Result<Scores, Error> {
        let set = set.with_labels(&self.labels)?;
        let classes = self.labels.len();
        let mut tally = Tally::new(classes);
        let mut agreeing = 0;
        for batch in set.batches(&self.preprocessor)? {
            let batch = batch?;
            let both = self.prepared.logits(&batch.images)?;
            let answers = &answers[tally.outcomes.len()..];
            agreeing += (0..both.rows).filter(|&row| largest(&both.row(row)[classes..]) == answers[row]).count();
            tally.add(&batch, &first_columns(&both, classes));
        }
        let images = tally.outcomes.len().max(1) as f64;
        Ok(Scores {
            name: set.name.clone(),
            calibration_error: tally.calibration_error(),
            loss: tally.loss / images,
            agreement: agreeing as f64 / images,
            hardest: self.worst(&set, &mut tally.wrong)?,
            confusion: tally.confusion,
        })
    }

    /// The images whose own class was the least likely, with small pictures.
    fn worst(&self, set: &Set, wrong: &mut [Wrong]) -> Result<Vec<HardestImage>, Error> {
        wrong.sort_by(|one, other| one.own.total_cmp(&other.own).then(one.sample.cmp(&other.sample)));
        let worst = wrong.iter().take(SHOWN).map(|wrong| {
            let path = &set.images.samples[wrong.sample].path;
            let picture = BASE64_STANDARD.encode(thumbnail(path, THUMBNAIL)?);
            Ok(HardestImage {
                file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                truth: self.labels[wrong.truth].clone(),
                predicted: self.labels[wrong.predicted].clone(),
                confidence: wrong.confidence,
                thumbnail: format!("data:image/jpeg;base64,{picture}"),
            })
        });
        worst.collect()
    }
}

fn first_columns(matrix: &Matrix<f32>, columns: usize) -> Matrix<f32> {
    let values = (0..matrix.rows).flat_map(|row| &matrix.row(row)[..columns]).copied().collect();
    Matrix { rows: matrix.rows, columns, values }
}

/// An image that got another class than its own.
struct Wrong {
    sample: usize,
    truth: usize,
    predicted: usize,
    /// The probability of its own class.
    own: f64,
    /// That of the class that it got.
    confidence: f64,
}

/// One bin of confidence.
#[derive(Clone, Copy, Default)]
struct Bin {
    correct: usize,
    confidence: f64,
}

/// What labelled images were taken for.
pub(crate) struct Tally {
    /// Whether each image was recognised, in the set's order.
    pub outcomes: Vec<bool>,
    /// Images by their own class and by the likeliest one.
    pub confusion: Vec<Vec<usize>>,
    /// Sum of the images' cross-entropies.
    pub loss: f64,
    bins: [Bin; BINS],
    wrong: Vec<Wrong>,
}

impl Tally {
    pub fn new(classes: usize) -> Self {
        let confusion = vec![vec![0; classes]; classes];
        Self { outcomes: Vec::new(), confusion, loss: 0.0, bins: [Bin::default(); BINS], wrong: Vec::new() }
    }

    /// Counts a batch by the logits of its images.
    pub fn add(&mut self, batch: &Batch, logits: &Matrix<f32>) {
        let mut probabilities = Vec::new();
        for (row, (&truth, &sample)) in batch.labels.iter().zip(&batch.samples).enumerate() {
            probabilities.clear();
            probabilities.extend_from_slice(logits.row(row));
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
            self.wrong.push(Wrong { sample, truth, predicted, own, confidence });
        }
    }

    /// The mean gap between confidence and accuracy over the images (Guo et al., ICML 2017, eq. 3).
    pub fn calibration_error(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs());
        gaps.sum::<f64>() / self.outcomes.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_tensor::Images;

    /// A gap weighted by bins instead of images, or one between the wrong two.
    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let mut tally = Tally::new(2);
        let probabilities = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.4, 0.6]];
        let labels = [0, 0, 0, 1, 1];
        let logits = probabilities.as_flattened().iter().map(|probability: &f32| probability.ln()).collect();
        let batch = Batch { images: Images::zeros(5, 1, 1), labels: labels.to_vec(), samples: vec![0, 1, 2, 3, 4] };
        tally.add(&batch, &Matrix { rows: 5, columns: 2, values: logits });
        // Four at 0.9 of which two are right, one at 0.6 that is: (|2 − 3.6| + |1 − 0.6|) / 5.
        assert!((tally.calibration_error() - 0.4).abs() < 1e-6, "{}", tally.calibration_error());
        assert_eq!(tally.confusion, [[2, 1], [1, 1]]);
        assert_eq!(tally.outcomes, [true, true, false, false, true]);
        let expected = -(2.0 * 0.9_f64.ln() + 2.0 * 0.1_f64.ln() + 0.6_f64.ln());
        assert!((tally.loss - expected).abs() < 1e-6);
    }
}
