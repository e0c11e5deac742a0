//! How good weights are on a set of labelled images, and what they have kept of the base, in one pass.

use crate::Error;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fieldfit_adapt::{largest, under_both_heads};
use fieldfit_data::{Batch, Corruption, Dataset, Loader, LoaderOptions, Preprocessor, Severity, thumbnail};
use fieldfit_exec::{Device, Prepared, prepare, softmax};
use fieldfit_model::{Base, Weights};
use fieldfit_report::{Scores, Worst};

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

    fn batches(&self, preprocessor: &Preprocessor) -> Result<Loader, Error> {
        let options = LoaderOptions { corruption: self.corruption, ..LoaderOptions::default() };
        Ok(Loader::new(&self.images, &self.order, preprocessor, &options)?)
    }
}

/// The base's own classes for a set's images, in the set's order.
///
/// # Errors
/// If an image can't be read any more, or the device fails.
pub fn answers(base: &Base, set: &Set, size: u32, device: Device) -> Result<Vec<usize>, Error> {
    let weights = Weights::of_base(base);
    let prepared = prepare(device, &weights.network, &weights.params)?;
    let preprocessor = Preprocessor::new(base.preprocessing(), size, weights.crop)?;
    let mut answers = Vec::with_capacity(set.order.len());
    for batch in set.batches(&preprocessor)? {
        let logits = prepared.logits(&batch?.images)?;
        answers.extend((0..logits.rows).map(|row| largest(logits.row(row))));
    }
    Ok(answers)
}

/// Adapted weights, ready to answer under their own head and under the base's.
pub struct Subject {
    prepared: Box<dyn Prepared>,
    labels: Vec<String>,
    preprocessor: Preprocessor,
}

impl Subject {
    /// Puts both heads on the adapted backbone.
    ///
    /// # Errors
    /// If the device isn't there, or the weights have no size that images can have.
    pub fn new(base: &Base, weights: Weights, device: Device) -> Result<Self, Error> {
        let preprocessor = Preprocessor::new(base.preprocessing(), weights.input_size, weights.crop)?;
        let weights = under_both_heads(weights, base);
        let prepared = prepare(device, &weights.network, &weights.params)?;
        Ok(Self { prepared, labels: weights.labels, preprocessor })
    }

    /// What it makes of a set. `answers` is what the base made of the same; `progress` hears how many images are done.
    ///
    /// # Errors
    /// If the set has a class that it doesn't know, an image can't be read any more, or the device fails.
    pub fn measure(&self, set: &Set, answers: &[usize], progress: &mut dyn FnMut(usize)) -> Result<Scores, Error> {
        let images = set.images.clone().with_labels(&self.labels)?;
        let set = Set { images, ..set.clone() };
        let mut tally = Tally::new(self.labels.len());
        for batch in set.batches(&self.preprocessor)? {
            let batch = batch?;
            let mut logits = self.prepared.logits(&batch.images)?;
            for (row, values) in logits.values.chunks_exact_mut(logits.columns).enumerate() {
                let (own, base) = values.split_at_mut(self.labels.len());
                softmax(own);
                tally.add(&batch, row, own);
                tally.agreeing += usize::from(answers.get(tally.images - 1) == Some(&largest(base)));
            }
            progress(tally.images);
        }
        self.scores(&set, tally)
    }

    fn scores(&self, set: &Set, mut tally: Tally) -> Result<Scores, Error> {
        tally.wrong.sort_by(|one, other| one.own.total_cmp(&other.own).then(one.sample.cmp(&other.sample)));
        let worst = tally.wrong.iter().take(SHOWN).map(|wrong| {
            let path = &set.images.samples[wrong.sample].path;
            let picture = BASE64_STANDARD.encode(thumbnail(path, THUMBNAIL)?);
            Ok(Worst {
                file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                truth: self.labels[wrong.truth].clone(),
                predicted: self.labels[wrong.predicted].clone(),
                confidence: wrong.confidence,
                thumbnail: format!("data:image/jpeg;base64,{picture}"),
            })
        });
        let images = tally.images.max(1) as f64;
        Ok(Scores {
            name: set.name.clone(),
            worst: worst.collect::<Result<_, Error>>()?,
            calibration_error: tally.calibration_error(),
            loss: tally.loss / images,
            agreement: tally.agreeing as f64 / images,
            confusion: tally.confusion,
        })
    }
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
    images: usize,
    correct: usize,
    confidence: f64,
}

struct Tally {
    images: usize,
    confusion: Vec<Vec<usize>>,
    loss: f64,
    agreeing: usize,
    bins: [Bin; BINS],
    wrong: Vec<Wrong>,
}

impl Tally {
    fn new(classes: usize) -> Self {
        let confusion = vec![vec![0; classes]; classes];
        Self { images: 0, confusion, loss: 0.0, agreeing: 0, bins: [Bin::default(); BINS], wrong: Vec::new() }
    }

    /// Counts one image of a batch by the probabilities that its classes got.
    fn add(&mut self, batch: &Batch, row: usize, probabilities: &[f32]) {
        let (truth, predicted) = (batch.labels[row] as usize, largest(probabilities));
        let [own, confidence] = [truth, predicted].map(|class| f64::from(probabilities[class]));
        self.images += 1;
        self.confusion[truth][predicted] += 1;
        // The least positive f32: a probability that rounds to 0 is no infinite loss.
        self.loss -= own.max(f64::from(f32::MIN_POSITIVE)).ln();
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.images += 1;
        bin.correct += usize::from(truth == predicted);
        bin.confidence += confidence;
        if truth != predicted {
            self.wrong.push(Wrong { sample: batch.samples[row], truth, predicted, own, confidence });
        }
    }

    /// The mean gap between confidence and accuracy over the images (Guo et al., ICML 2017, eq. 3).
    fn calibration_error(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs());
        gaps.sum::<f64>() / self.images.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_model::Images;

    /// A gap weighted by bins instead of images, or one between the wrong two.
    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let mut tally = Tally::new(2);
        let images = Images::zeros(5, 1, 1);
        let batch = Batch { images, labels: vec![0, 0, 0, 1, 1], samples: vec![0, 1, 2, 3, 4] };
        for (row, probabilities) in [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.4, 0.6]].iter().enumerate() {
            tally.add(&batch, row, probabilities);
        }
        // Four at 0.9 of which two are right, one at 0.6 that is: (|2 − 3.6| + |1 − 0.6|) / 5.
        assert!((tally.calibration_error() - 0.4).abs() < 1e-6, "{}", tally.calibration_error());
        assert_eq!(tally.confusion, [[2, 1], [1, 1]]);
        assert_eq!(tally.wrong.len(), 2);
        let expected = -(2.0 * 0.9_f64.ln() + 2.0 * 0.1_f64.ln() + 0.6_f64.ln());
        assert!((tally.loss - expected).abs() < 1e-6);
    }
}
