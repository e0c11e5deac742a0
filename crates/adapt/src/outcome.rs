//! Outcome: the delta that an adaptation ends with, and the verdict on it.

use crate::event::Gate;
use crate::train::training_state::HeadParams;

/// Outcome of an adaptation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The delta file.
    pub delta: Vec<u8>,
    /// The verdict on it, decoded.
    pub gate: Gate,
    /// Wall time in seconds, without what ran before a resumed checkpoint.
    pub seconds: f64,
    /// Head of the linear probe or of the base, which [`gate_again`](crate::gate_again) compares with where no version is active.
    pub(crate) probe: HeadParams,
}
