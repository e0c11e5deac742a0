//! Checkpoint validation: checks the parts of a restored state before any of them is used.
//!
//! A seal shows damage, not intent: whoever can write the file can seal it. What passes here fits the network, the options and
//! the plan, and is finite; going on from it is a run that might have come about. Each method validates its own state.

use crate::checkpoint::check::{each, params, same, values, within};
use crate::checkpoint::progress::{Later, Progress};
use crate::error::CheckpointDamage;
use crate::options::OptimiserOptions;
use crate::plan::run::Run;
use crate::train::branches::{BranchSum, Lengths};
use crate::train::divergence_detector::{DivergenceDetector, PATIENCE};
use crate::train::early_stopping::EarlyStopping;
use crate::train::optimiser::{Optimiser, is_decayed};
use crate::train::probe::Probe;
use fieldfit_nets::Network;
use fieldfit_tensor::{Task, TensorId};
use std::ops::RangeInclusive;

const FINITE: RangeInclusive<f64> = f64::MIN..=f64::MAX;
/// Range of finite values.
pub(super) const FINITE_F32: RangeInclusive<f32> = f32::MIN..=f32::MAX;

/// Validates progress.
pub(super) fn progress(found: &Progress, run: Run<'_>) -> Result<(), CheckpointDamage> {
    let Progress { step, drawn: _, epoch_loss, divergence, later, branches: _ } = found;
    let Later { early_stopping, skipped_steps } = later;
    let DivergenceDetector { chance, first, smoothed, above } = divergence;
    let EarlyStopping { best, stale } = early_stopping;
    within("steps done", 0..=run.plan.steps, step)?;
    within("steps without images", 0..=*step, skipped_steps)?;
    within("the epoch's loss", FINITE, epoch_loss)?;
    match run.plan.task {
        Task::Classification | Task::Segmentation => {
            same("the loss of guessing", &(run.plan.network.head.classes as f64).ln(), chance)?;
        }
        Task::Regression | Task::MultiLabel => within("the loss of guessing", f64::MIN_POSITIVE..=f64::MAX, chance)?,
    }
    same("whether there was a first loss", &(found.taken() > 0), &first.is_some())?;
    within("the first loss", FINITE, &first.unwrap_or_default())?;
    within("the smoothed loss", FINITE, smoothed)?;
    within("steps in a row with too high a loss", 0..=PATIENCE - 1, above)?;
    let may_be_recorded = run.request.options.early_stop.is_some();
    same("whether an accuracy is recorded for early stopping", &(may_be_recorded && best.is_some()), &best.is_some())?;
    within("the best accuracy", 0.0..=1.0, &best.unwrap_or_default())?;
    within("epochs since the best", 0..=run.request.options.epochs, stale)
}

/// Validates branches of a run that has come that far.
pub(super) fn branches(found: &BranchSum, progress: &Progress, run: Run<'_>) -> Result<(), CheckpointDamage> {
    let (plan, BranchSum { fork, sum, lengths, step, taken }) = (run.plan, found);
    let order = plan.order;
    // The end at which the checkpoint lies may be still to come.
    let ends = [progress.step, progress.step.saturating_sub(1)].map(|done| order.last_end(done));
    same("whether the branch began where one ends", &true, &ends.contains(step))?;
    let (complete, has_parted) = (order.complete(*step), order.has_parted(*step));
    let kept = |holds: bool| if holds { plan.network.tensors.len() } else { 0 };
    same("tensors where the branches part", &kept(has_parted), &fork.buffers().len())?;
    same("tensors in the sum of the branches", &kept(complete > 0), &sum.buffers().len())?;
    let stages = if complete > 0 { plan.network.graph.sections.len() + 1 } else { 0 };
    same("stages with lengths of branches", &stages, &lengths.len())?;
    let trains = |id: TensorId| plan.trained[id.index()];
    if has_parted {
        params("the difference where the branches part", fork, &plan.network, FINITE_F32, trains)?;
    }
    if complete > 0 {
        params("the sum of the branches", sum, &plan.network, FINITE_F32, trains)?;
        let unsound = lengths
            .iter()
            .any(|Lengths { sum, squares }| !(0.0..=f64::MAX).contains(sum) || !(0.0..=f64::MAX).contains(squares));
        same("whether a length of the branches is out of range", &false, &unsound)?;
    }
    within("optimiser steps before the branch", 0..=progress.taken().min(*step), taken)
}

/// Validates a linear probe.
pub(super) fn probe(found: &Probe, network: &Network) -> Result<(), CheckpointDamage> {
    let Probe { head, penalty, loss, accuracy } = found;
    for (id, found) in [(network.head.weight, &head.weight), (network.head.bias, &head.bias)] {
        let spec = network.tensor(id);
        values(format_args!("the probe's `{}`", spec.name), spec.len(), FINITE_F32, found)?;
    }
    within("the probe's penalty", 0.0..=f64::MAX, penalty)?;
    within("the probe's loss", FINITE, loss)?;
    within("the probe's accuracy", 0.0..=1.0, accuracy)
}

/// Validates an optimiser that has taken so many steps.
pub(super) fn optimiser(found: &Optimiser<f32>, step: u64, run: Run<'_>) -> Result<(), CheckpointDamage> {
    let (plan, options) = (run.plan, run.request.options.optimiser);
    let Optimiser { options: found_options, steps, decayed, first, second } = found;
    same("the optimiser", &options, found_options)?;
    same("the optimiser's steps", &step, steps)?;
    for (_, spec, decayed) in each("tensors that decay or do not", &plan.network, decayed)? {
        same(format_args!("whether `{}` decays", spec.name), &is_decayed(spec), decayed)?;
    }
    let is_adam = matches!(options, OptimiserOptions::AdamW { .. });
    let trains = |id: TensorId| plan.trained[id.index()];
    params("the first moment", first, &plan.network, FINITE_F32, trains)?;
    params("the second moment", second, &plan.network, 0.0..=f32::MAX, |id| is_adam && trains(id))
}
