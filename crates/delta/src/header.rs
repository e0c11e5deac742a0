//! Delta header: base, task, input, classes and provenance.

use crate::DeltaError;
use crate::limits::{MAX_CLASSES, MAX_INPUT_SIZE, MAX_TENSORS};
use fieldfit_tensor::Task;
use fieldfit_tensor::text::find_unprintable;
use heapless::String;
use serde::{Deserialize, Serialize};

/// Delta header: the base model, how to run the network, and the provenance.
///
/// The order of the fields, here and in [`Provenance`], is part of the file format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The identity of the base: a SHA-256 over architecture, preprocessing and weights.
    pub base: [u8; 32],
    /// The [hash](crate::Delta::hash) of the delta that training started from.
    pub parent: Option<[u8; 32]>,
    /// Task of the network.
    pub task: Task,
    /// Rows of the input, in pixels: the side of a square.
    pub input_size: u32,
    /// Centre crop, as a fraction of the image's shorter side, above 0 and up to 1. Of a whole frame 1.
    pub crop: f32,
    /// Number of classes of the head; each has one label.
    pub classes: u32,
    /// Number of records in the file. [`encode`](crate::encode) sets it.
    pub tensors: u32,
    /// Provenance: how the delta was created.
    pub provenance: Provenance,
    /// Head of the network. It follows all other fields, since format version 3; in earlier ones it is the default.
    #[serde(skip)]
    pub head: HeadDescription,
}

/// Description of a delta's head: where it comes from, and what it tells unknown images by.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct HeadDescription {
    /// Origin of the head.
    pub origin: HeadOrigin,
    /// Number of classes whose weights are class means, not trained ones: the last labels.
    pub taught: u32,
    /// Threshold of novelty; `None` if unknown images are not told.
    pub novelty: Option<NoveltyThreshold>,
}

/// Origin of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadOrigin {
    /// A head for the delta's own classes: its tensors are replacements.
    #[default]
    Replaced,
    /// The base's head: its tensors are differences, and the labels are the base's.
    Kept,
}

/// Threshold of novelty: above it, an image counts as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NoveltyThreshold {
    /// Mahalanobis distance from the nearest class mean.
    pub distance: f32,
    /// Share of known images that it was chosen to call unknown, above 0 and below 1.
    pub false_alarm_rate: f32,
}

/// Provenance of a delta, for reports; nothing is computed from it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The fieldfit version that created it.
    pub fieldfit: String<32>,
    /// The method's name on the command line: `tpgm`, `lp-ft`, ….
    pub method: String<32>,
    /// Options that differ from the defaults.
    pub options: String<1024>,
    /// Random seed.
    pub seed: u64,
    /// Number of images that trained weights.
    pub train: u32,
    /// Number of images that learned radii.
    pub validation: u32,
    /// Number of images of the gate.
    pub gate: u32,
    /// Accuracy on the gate before, 0 to 1.
    pub before: f32,
    /// Accuracy on the gate after, 0 to 1.
    pub after: f32,
    /// Loss of fidelity by encoding, if measured. It follows all other fields, since format version 2.
    #[serde(skip)]
    pub fidelity: Option<Fidelity>,
}

/// Fidelity of encoding: agreement of the decoded network with the trained one, on images that trained neither.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Number of answers compared: of images, or of pixels.
    pub images: u32,
    /// Number of answers with another prediction.
    pub changed: u32,
    /// Mean KL(exact ‖ decoded) per answer, in nats.
    pub divergence: f32,
}

impl Header {
    /// Checks that every field is in its range.
    pub(crate) fn check(&self) -> Result<(), DeltaError> {
        let share = |field, found: f32| within(field, "between 0 and 1", found, (0.0..=1.0).contains(&found));
        if !(1..=MAX_INPUT_SIZE).contains(&self.input_size) {
            return Err(DeltaError::InputSize { found: self.input_size });
        }
        let Provenance { fieldfit, method, options, .. } = &self.provenance;
        for (field, text) in [("the version", fieldfit.as_str()), ("the method", method), ("the options", options)] {
            if let Some(found) = find_unprintable(text) {
                return Err(DeltaError::HeaderText { field, found });
            }
        }
        within("crop", "above 0 and up to 1", self.crop, self.crop > 0.0 && self.crop <= 1.0)?;
        share("accuracy before", self.provenance.before)?;
        share("accuracy after", self.provenance.after)?;
        if let Some(Fidelity { images, changed, divergence }) = self.provenance.fidelity {
            within("changed answers", "at most the images", changed as f32, changed <= images)?;
            within("divergence", "finite and at least 0", divergence, divergence.is_finite() && divergence >= 0.0)?;
        }
        if !(1..=MAX_CLASSES).contains(&(self.classes as usize)) {
            return Err(DeltaError::Classes { found: self.classes as usize });
        }
        if self.tensors as usize > MAX_TENSORS {
            return Err(DeltaError::TensorCount { found: self.tensors as usize });
        }
        self.head.check(self.classes)
    }
}

impl HeadDescription {
    /// Checks that the fields are in their range, and that a kept head has no taught class.
    fn check(&self, classes: u32) -> Result<(), DeltaError> {
        let most = if self.origin == HeadOrigin::Kept { 0 } else { classes };
        within("taught classes", "at most the classes of a new head", self.taught as f32, self.taught <= most)?;
        let Some(NoveltyThreshold { distance, false_alarm_rate: rate }) = self.novelty else { return Ok(()) };
        within("novelty threshold", "finite and at least 0", distance, distance.is_finite() && distance >= 0.0)?;
        within("false-alarm rate", "above 0 and below 1", rate, rate > 0.0 && rate < 1.0)
    }
}

fn within(field: &'static str, expected: &'static str, found: f32, holds: bool) -> Result<(), DeltaError> {
    if holds { Ok(()) } else { Err(DeltaError::HeaderValue { field, expected, found: f64::from(found) }) }
}
