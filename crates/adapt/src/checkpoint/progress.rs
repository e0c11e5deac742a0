//! Progress: how far a run has come, as its checkpoint holds it.

use crate::plan::run::Run;
use crate::train::branches::BranchSum;
use crate::train::divergence_detector::DivergenceDetector;
use crate::train::early_stopping::EarlyStopping;
use serde::{Deserialize, Serialize};

/// Progress of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Number of training batches done or passed over.
    pub step: u64,
    /// Number of validation batches that radius steps have drawn.
    pub drawn: u64,
    /// Sum of the losses of this epoch's steps.
    pub epoch_loss: f64,
    pub divergence: DivergenceDetector,
    /// Follows all other fields of a checkpoint: see [`Snapshot`](crate::checkpoint::snapshot::Snapshot).
    #[serde(skip)]
    pub later: Later,
    /// Branches so far, where there is more than one. It follows all else.
    #[serde(skip)]
    pub branches: BranchSum,
}

/// Fields that came after the first release, which a checkpoint only has where one of them is not at its default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Later {
    pub early_stopping: EarlyStopping,
    /// Number of training batches passed over: none of their images could be read any more.
    pub skipped_steps: u64,
}

impl Progress {
    /// Number of optimiser steps taken.
    pub const fn taken(&self) -> u64 {
        self.step.saturating_sub(self.later.skipped_steps)
    }

    /// Whether the last step is done.
    pub fn is_trained(&self, run: Run<'_>) -> bool {
        self.step == run.plan.steps
            || self.step.is_multiple_of(run.plan.steps_per_epoch)
                && self.later.early_stopping.is_over(run.request.options.early_stop)
    }
}
