//! What a checkpoint must hold to be of the run at hand: all of it is looked at here before any of it is used.
//!
//! A seal shows damage, not intent: whoever can write the file can seal it. What passes here fits the network, the options and
//! the plan, and is finite; going on from it is a run that might have come about.

use crate::checkpoint::{Progress, Snapshot};
use crate::optimiser::is_decayed;
use crate::plan::Plan;
use crate::probe::Probe;
use crate::watch::{PATIENCE, Watch};
use crate::{Balls, Damage, Ftp, Method, Optimiser, OptimiserOptions, Options, Shares};
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Params, TensorId};
use fieldfit_tpgm::{MINIMUM_RADIUS, Radius};
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

const FINITE: RangeInclusive<f64> = f64::MIN..=f64::MAX;
const FINITE_F32: RangeInclusive<f32> = f32::MIN..=f32::MAX;

/// How far the run had come whose state [`Method::restore`] is given.
#[derive(Debug, Clone, Copy)]
pub struct Reached<'a> {
    /// The network, under the new head.
    pub network: &'a Network,
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps of the whole run.
    pub steps: u64,
}

impl Reached<'_> {
    /// What a count of something that comes after training may be: 0 before the last step.
    pub(crate) fn after_training(&self, most: u64) -> RangeInclusive<u64> {
        0..=if self.step == self.steps { most } else { 0 }
    }
}

/// The value that these bytes are, with nothing behind it.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Damage> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    same(format_args!("bytes behind {what}"), &0, &rest.len())?;
    Ok(value)
}

/// All of a snapshot but its identity; the method takes its own state back.
pub(crate) fn snapshot(
    found: &Snapshot<'_>,
    plan: &Plan,
    options: &Options,
    method: &mut dyn Method,
) -> Result<(), Damage> {
    let Snapshot { identity: _, progress: reached, probe: found_probe, delta, optimiser: moments, method: state } =
        found;
    progress(reached, plan)?;
    probe(found_probe, &plan.network)?;
    params("the difference", delta, &plan.network, FINITE_F32, |id| plan.trained[id.index()])?;
    optimiser(moments, reached.step, plan, options)?;
    method.restore(state, &Reached { network: &plan.network, step: reached.step, steps: plan.steps })?;
    same("validation batches drawn", &method.drawn(reached.step), &reached.drawn)
}

fn progress(found: &Progress, plan: &Plan) -> Result<(), Damage> {
    let Progress { step, drawn: _, epoch_loss, watch: Watch { chance, first, smoothed, above } } = found;
    within("steps done", 0..=plan.steps, step)?;
    within("the epoch's loss", FINITE, epoch_loss)?;
    same("the loss of guessing", &Watch::new(plan.network.head.classes).chance, chance)?;
    same("whether there was a first loss", &(*step > 0), &first.is_some())?;
    within("the first loss", FINITE, &first.unwrap_or_default())?;
    within("the smoothed loss", FINITE, smoothed)?;
    within("steps in a row with too high a loss", 0..=PATIENCE - 1, above)
}

fn probe(found: &Probe, network: &Network) -> Result<(), Damage> {
    let Probe { head, penalty, loss, accuracy } = found;
    for (id, found) in [(network.head.weight, &head.weight), (network.head.bias, &head.bias)] {
        let spec = network.tensor(id);
        values(format_args!("the probe's `{}`", spec.name), spec.len(), FINITE_F32, found)?;
    }
    within("the probe's penalty", 0.0..=f64::MAX, penalty)?;
    within("the probe's loss", FINITE, loss)?;
    within("the probe's accuracy", 0.0..=1.0, accuracy)
}

fn optimiser(found: &Optimiser<f32>, step: u64, plan: &Plan, options: &Options) -> Result<(), Damage> {
    let Optimiser { options: found_options, steps, decayed, first, second } = found;
    same("the optimiser", &options.optimiser, found_options)?;
    same("the optimiser's steps", &step, steps)?;
    for (_, spec, decayed) in each("tensors that decay or don't", &plan.network, decayed)? {
        same(format_args!("whether `{}` decays", spec.name), &is_decayed(spec), decayed)?;
    }
    let is_adam = matches!(options.optimiser, OptimiserOptions::AdamW { .. });
    let trains = |id: TensorId| plan.trained[id.index()];
    params("the first moment", first, &plan.network, FINITE_F32, trains)?;
    params("the second moment", second, &plan.network, 0.0..=f32::MAX, |id| is_adam && trains(id))
}

/// Balls, beside those of a run at its start, that have seen no more than that many radius steps.
pub(crate) fn balls(found: &Balls<f32>, start: &Balls<f32>, network: &Network, most: u64) -> Result<(), Damage> {
    let Balls { norm, adam, constrained, radii, distances: _ } = found;
    same("the radii's norm", &start.norm, norm)?;
    same("the radii's optimiser", &start.adam, adam)?;
    for (id, spec, constrained) in each("tensors that are constrained or aren't", network, constrained)? {
        same(format_args!("whether `{}` is constrained", spec.name), &start.constrained[id.index()], constrained)?;
    }
    for (id, spec, found) in each("radii", network, radii)? {
        let Some(found) = found else { continue };
        same(format_args!("whether `{}` may have a radius", spec.name), &start.constrained[id.index()], &true)?;
        radius(spec, found, 0..=most)?;
    }
    Ok(())
}

/// FTP's radii, beside those of a run at its start, that have seen so many steps.
pub(crate) fn ftp(found: &Ftp<f32>, start: &Ftp<f32>, network: &Network, steps: u64) -> Result<(), Damage> {
    let Ftp { strength, adam, radii } = found;
    same("FTP's strength", &start.strength, strength)?;
    same("the radii's optimiser", &start.adam, adam)?;
    for (id, spec, found) in each("radii", network, radii)? {
        let is_held = start.radii[id.index()].is_some();
        same(format_args!("whether `{}` has a radius", spec.name), &is_held, &found.is_some())?;
        let Some(found) = found else { continue };
        radius(spec, found.radius(), steps..=steps)?;
        let rows = if found.distances().is_empty() { 0 } else { spec.rows() };
        values(format_args!("distances of the rows of `{}`", spec.name), rows, 0.0..=f32::MAX, found.distances())?;
    }
    Ok(())
}

/// Shares, beside those of a run at its start, that have been remembered at most that many times.
pub(crate) fn shares(found: &Shares, start: &Shares, network: &Network, most: u64) -> Result<(), Damage> {
    let Shares { groups, shares, sums, remembered } = found;
    for (id, spec, group) in each("shares by tensor", network, groups)? {
        same(format_args!("which share is that of `{}`", spec.name), &start.groups[id.index()], group)?;
    }
    within("shares remembered", 0..=most, remembered)?;
    values("shares", start.shares.len(), MINIMUM_RADIUS..=1.0, shares)?;
    values("sums of shares", start.shares.len(), 0.0..=*remembered as f64, sums)
}

fn radius(spec: &TensorSpec, found: &Radius<f32>, steps: RangeInclusive<u64>) -> Result<(), Damage> {
    same(format_args!("whether the radius of `{}` and its moments are sound", spec.name), &true, &found.is_sound())?;
    within(format_args!("radius steps of `{}`", spec.name), steps, &found.step())
}

/// Values of the tensors that are kept, all in that range, and none of the others.
fn params(
    what: &str,
    found: &Params<f32>,
    network: &Network,
    range: RangeInclusive<f32>,
    keeps: impl Fn(TensorId) -> bool,
) -> Result<(), Damage> {
    for (id, spec, found) in each(what, network, found.buffers())? {
        let count = if keeps(id) { spec.len() } else { 0 };
        values(format_args!("{what} of `{}`", spec.name), count, range.clone(), found)?;
    }
    Ok(())
}

/// The values of a list that has one a tensor.
fn each<'a, T>(
    what: &str,
    network: &'a Network,
    found: &'a [T],
) -> Result<impl Iterator<Item = (TensorId, &'a TensorSpec, &'a T)>, Damage> {
    same(format_args!("how many tensors there are in the list of {what}"), &network.tensors.len(), &found.len())?;
    Ok(network.tensors().zip(found).map(|((id, spec), found)| (id, spec, found)))
}

/// So many values, all in that range.
pub(crate) fn values<T: PartialOrd + Debug>(
    what: impl Display,
    count: usize,
    range: RangeInclusive<T>,
    found: &[T],
) -> Result<(), Damage> {
    same(format_args!("how many values there are in {what}"), &count, &found.len())?;
    let outside = found.iter().position(|found| !range.contains(found));
    outside.map_or(Ok(()), |index| within(format_args!("{what}, value {index}"), range, &found[index]))
}

/// A value in that range; NaN is in none.
pub(crate) fn within<T: PartialOrd + Debug>(
    what: impl Display,
    range: RangeInclusive<T>,
    found: &T,
) -> Result<(), Damage> {
    if range.contains(found) { Ok(()) } else { Err(contents(what, range, found)) }
}

fn same<T: PartialEq + Debug>(what: impl Display, expected: &T, found: &T) -> Result<(), Damage> {
    if expected == found { Ok(()) } else { Err(contents(what, expected, found)) }
}

fn contents(what: impl Display, expected: impl Debug, found: impl Debug) -> Damage {
    Damage::Contents { what: what.to_string(), expected: format!("{expected:?}"), found: format!("{found:?}") }
}

#[cfg(test)]
mod tests;
