//! Adaptation request: the base, the images, the options, the active version and the checkpoint of a run.

use crate::methods::entry::MethodEntry;
use crate::options::Options;
use fieldfit_data::Dataset;
use fieldfit_delta::Delta;
use fieldfit_model::Base;
use std::path::Path;

/// Request for [`adapt`](crate::adapt): what to adapt, to which images, and how.
#[derive(Clone, Copy)]
pub struct AdaptRequest<'a> {
    /// The base, θ0. It is only read.
    pub base: &'a Base,
    /// The labelled images.
    pub dataset: &'a Dataset,
    /// Every choice that the result depends on.
    pub options: &'a Options,
    /// Custom methods, which [`Options::method`] may name beside [`METHODS`](crate::METHODS).
    pub methods: &'a [MethodEntry],
    /// The active version, which the gate compares with and the delta names as its parent.
    pub active: Option<&'a Delta<'a>>,
    /// The version that training starts at, where [`Options::start`] is [`StartPoint::Active`](crate::StartPoint::Active): the one
    /// that was active when the run began.
    pub start: Option<&'a Delta<'a>>,
    /// Checkpoint of the run; `None` to keep none.
    pub checkpoint: Option<Checkpointing<'a>>,
}

/// Location of a run's checkpoint, and whether to resume from it.
#[derive(Debug, Clone, Copy)]
pub struct Checkpointing<'a> {
    /// The file; the checkpoint before the last is beside it, `.before` to its name. The caller
    /// [removes](crate::remove_checkpoint) them once the outcome is stored.
    pub path: &'a Path,
    /// Whether to go on from the state in it; without one there, that is an error.
    pub resume: bool,
}
