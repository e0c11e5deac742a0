//! From a base and a folder of images to a delta and a verdict.

use crate::{AdaptError, Control, Event, Gate, Options};
use fieldfit_data::Dataset;
use fieldfit_delta::Delta;
use fieldfit_model::Base;
use std::path::Path;

/// What to adapt, to what, and how.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The base, θ0. It is only read.
    pub base: &'a Base,
    /// The labelled images.
    pub dataset: &'a Dataset,
    /// Every choice that the result depends on.
    pub options: &'a Options,
    /// The version that runs now, which the gate compares with and the delta names as its parent.
    pub active: Option<&'a Delta<'a>>,
    /// Where to keep the run's state; nothing to keep none.
    pub checkpoint: Option<Checkpointing<'a>>,
}

/// Where a run's state is kept, and whether to start from it.
#[derive(Debug, Clone, Copy)]
pub struct Checkpointing<'a> {
    /// The file. The caller removes it once the outcome is stored.
    pub path: &'a Path,
    /// Whether to go on from the state in it; without one there, that is an error.
    pub resume: bool,
}

/// What an adaptation ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The delta file.
    pub delta: Vec<u8>,
    /// The verdict on it, decoded.
    pub gate: Gate,
    /// Wall time in seconds, without what ran before a resumed checkpoint.
    pub seconds: f64,
}

/// Adapts a base to a folder of images, and judges the result as it will run.
///
/// # Errors
/// If options, images or checkpoint can't be used; if the run diverges, collapses or is stopped. Nothing is stored then
/// but the checkpoint.
pub fn adapt(
    request: &Request<'_>,
    control: &Control,
    events: &mut dyn FnMut(Event),
) -> Result<Outcome, AdaptError> {
    let _ = (request, control, events);
    Err(AdaptError::Interrupted { checkpoint: None })
}
