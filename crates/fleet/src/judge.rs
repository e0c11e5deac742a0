//! Judge: measures candidates on the robot's own gate images.

use fieldfit::{
    Device, Error, Evaluation, Runtime,
    data::{Dataset, Fractions, ImageSet},
    delta::merge,
    train::MEAN_ERROR_RESOLUTION,
};
use std::path::{Path, PathBuf};

/// Measures deltas on images of the robot that trained none of them.
pub trait Judge {
    /// Measures a delta file; `None` is the base.
    ///
    /// # Errors
    /// If nothing can be measured now: an image that cannot be read, a device that fails. It says nothing of the delta.
    fn measure(&self, delta: Option<&Path>) -> Result<Measurement, Error>;

    /// Returns the score that a constant answer has: what a delta must exceed if nothing that runs answers about these images.
    fn floor(&self) -> Score;

    /// Writes the mean of deltas to `out`.
    ///
    /// # Errors
    /// If they have no mean, or the file cannot be written.
    fn merge(&self, deltas: &[PathBuf], out: &Path) -> Result<(), Error>;
}

/// Result of a measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Measurement {
    /// The score on all images.
    Scored(Score),
    /// It cannot answer about these images, or cannot run, and why.
    Unfit(String),
}

/// Score on the gate's images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Number of images.
    pub images: usize,
    /// Share of right answers, 0..1; of values 1 / (1 + mean error).
    pub accuracy: f64,
    /// Loss of accuracy that is none.
    pub resolution: f64,
}

impl Score {
    /// Returns whether this score is no worse than that one.
    pub fn is_no_worse_than(&self, other: &Self) -> bool {
        self.accuracy + self.resolution >= other.accuracy
    }
}

impl From<&Evaluation> for Score {
    fn from(evaluation: &Evaluation) -> Self {
        let resolution = if evaluation.regression.is_some() { MEAN_ERROR_RESOLUTION } else { 0.0 };
        Self { images: evaluation.images, accuracy: evaluation.accuracy, resolution }
    }
}

/// Gate of a robot: the gate slice of its labelled images, as adaptations of the same images have it.
#[derive(Debug, Clone)]
pub struct LocalGate {
    model: PathBuf,
    device: Device,
    images: ImageSet,
    floor: Score,
}

impl LocalGate {
    /// Returns the gate of a robot on that base and those images. They are split as an adaptation splits them, so that what was
    /// learned here from the same images has not trained on the gate's.
    ///
    /// # Errors
    /// If the images are too few to be split.
    pub fn new(model: &Path, images: Dataset, fractions: &Fractions, device: Device) -> Result<Self, Error> {
        let split = images.split(fractions)?;
        let floor = floor(&images, &split.gate);
        let mut images = ImageSet::of("gate", images);
        images.order = split.gate;
        Ok(Self { model: model.to_owned(), device, images, floor })
    }

    /// Returns the classes of the images.
    pub fn classes(&self) -> &[String] {
        &self.images.images.classes
    }

    fn evaluate(&self, delta: Option<&Path>) -> Result<Evaluation, Error> {
        let builder = Runtime::builder(&self.model).device(self.device);
        let runtime = delta.map_or(builder.clone(), |delta| builder.delta(delta)).open()?;
        runtime.evaluate(&self.images, &mut |_, _| ())
    }
}

impl Judge for LocalGate {
    fn measure(&self, delta: Option<&Path>) -> Result<Measurement, Error> {
        match self.evaluate(delta) {
            Ok(evaluation) => Ok(Measurement::Scored((&evaluation).into())),
            Err(error) if is_of_version(&error, delta.is_some()) => Ok(Measurement::Unfit(error_text(&error))),
            Err(error) => Err(error),
        }
    }

    fn floor(&self) -> Score {
        self.floor
    }

    fn merge(&self, deltas: &[PathBuf], out: &Path) -> Result<(), Error> {
        merge(deltas, &self.model, None, out).map(drop)
    }
}

/// The score of always answering the most frequent class of those images; 0 of images without one class.
fn floor(images: &Dataset, gate: &[usize]) -> Score {
    let mut counts = vec![0_usize; images.classes.len()];
    for class in gate.iter().filter_map(|sample| images.samples[*sample].target.class()) {
        counts[class as usize] += 1;
    }
    let most = counts.into_iter().max().unwrap_or(0);
    Score { images: gate.len(), accuracy: most as f64 / gate.len().max(1) as f64, resolution: 0.0 }
}

/// Returns whether an error is the version's: it will always answer these images so. `is_delta` tells a delta from the base,
/// which then is unusable by itself.
fn is_of_version(error: &Error, is_delta: bool) -> bool {
    match error {
        Error::Classes { .. } | Error::ImagesOfTask { .. } | Error::OtherTask { .. } | Error::Headless { .. } => true,
        Error::Delta { .. } | Error::Model(_) | Error::Logit { .. } | Error::Feature { .. } => is_delta,
        Error::TooLong { .. } | Error::Transport { .. } | Error::MemoryBudget { .. } => is_delta,
        _ => false,
    }
}

fn error_text(error: &Error) -> String {
    fieldfit::error_messages(error).join(": ")
}
