//! Progress: how far a run has come, as its checkpoint holds it.

use crate::plan::run::Run;
use crate::train::divergence_detector::DivergenceDetector;
use crate::train::early_stopping::EarlyStopping;
use serde::{Deserialize, Serialize};

/// Progress of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Number of optimiser steps done.
    pub step: u64,
    /// Number of validation batches that radius steps have drawn.
    pub drawn: u64,
    /// Sum of the losses of this epoch's steps.
    pub epoch_loss: f64,
    pub divergence: DivergenceDetector,
    /// Follows all other fields of a checkpoint, and only where it has a value: see
    /// [`Snapshot`](crate::checkpoint::snapshot::Snapshot).
    #[serde(skip)]
    pub early_stopping: EarlyStopping,
}

impl Progress {
    /// Whether the last step is done.
    pub fn is_trained(&self, run: Run<'_>) -> bool {
        self.step == run.plan.steps
            || self.step.is_multiple_of(run.plan.steps_per_epoch)
                && self.early_stopping.is_over(run.request.options.early_stop)
    }
}
