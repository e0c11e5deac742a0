//! What a delta says about itself.

use crate::DeltaError;
use crate::limits::{MAX_CLASSES, MAX_INPUT_SIZE, MAX_TENSORS};
use fieldfit_tensor::text::find_unprintable;
use heapless::String;
use serde::{Deserialize, Serialize};

/// The base that a delta is for, how to run it, and where it comes from.
///
/// The order of the fields, here and in [`Provenance`], is the file format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The identity of the base: a SHA-256 over architecture, preprocessing and weights.
    pub base: [u8; 32],
    /// The [hash](crate::Delta::hash) of the delta that this one went on from.
    pub parent: Option<[u8; 32]>,
    /// What the network does.
    pub task: Task,
    /// Pixels of the input's side.
    pub input_size: u32,
    /// Share of the image's shorter side that becomes the input, above 0 and up to 1.
    pub crop: f32,
    /// Classes of the head; there is one label for each.
    pub classes: u32,
    /// Records in the file. [`encode`](crate::encode) counts them itself.
    pub tensors: u32,
    /// How it was made.
    pub provenance: Provenance,
}

/// What a network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// One class an image.
    Classification,
}

/// How a delta was made, for people and for reports; nothing is computed from it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The version that made it.
    pub fieldfit: String<32>,
    /// The method, as the command has it: `tpgm`, `lp-ft`, ….
    pub method: String<32>,
    /// The options that differ from the defaults.
    pub options: String<1024>,
    /// The seed of everything random.
    pub seed: u64,
    /// Images that trained weights.
    pub train: u32,
    /// Images that learned radii.
    pub validation: u32,
    /// Images that judged the result.
    pub gate: u32,
    /// Accuracy on them before, 0 to 1.
    pub before: f32,
    /// Accuracy on them after, 0 to 1.
    pub after: f32,
    /// What storing cost, where it was measured. It follows all other fields, since format version 2.
    #[serde(skip)]
    pub fidelity: Option<Fidelity>,
}

/// How far a network decoded from its file is from the one that training left, on images that trained neither.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Images that both answered.
    pub images: u32,
    /// Images whose answer is another one.
    pub changed: u32,
    /// Mean KL(exact ‖ decoded) of an image, in nats.
    pub divergence: f32,
}

impl Header {
    /// Every number in its range.
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
        Ok(())
    }
}

fn within(field: &'static str, expected: &'static str, found: f32, holds: bool) -> Result<(), DeltaError> {
    if holds { Ok(()) } else { Err(DeltaError::HeaderValue { field, expected, found: f64::from(found) }) }
}
