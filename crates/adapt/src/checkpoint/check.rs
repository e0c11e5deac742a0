//! Checks of restored values: decoding, ranges and list lengths, with errors that name what differs.

use crate::error::CheckpointDamage;
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Params, TensorId};
use fieldfit_tpgm::Radius;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

/// Decodes the value that these bytes are, with nothing behind it.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, CheckpointDamage> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    same(format_args!("bytes behind {what}"), &0, &rest.len())?;
    Ok(value)
}

/// Checks a radius and its moments, which have seen so many steps.
pub(crate) fn radius(
    spec: &TensorSpec,
    found: &Radius<f32>,
    steps: RangeInclusive<u64>,
) -> Result<(), CheckpointDamage> {
    same(format_args!("whether the radius of `{}` and its moments are sound", spec.name), &true, &found.is_sound())?;
    within(format_args!("radius steps of `{}`", spec.name), steps, &found.step())
}

/// Checks the values of the tensors that are kept, all in that range, and that there are none of the others.
pub(crate) fn params(
    what: &str,
    found: &Params<f32>,
    network: &Network,
    range: RangeInclusive<f32>,
    keeps: impl Fn(TensorId) -> bool,
) -> Result<(), CheckpointDamage> {
    for (id, spec, found) in each(what, network, found.buffers())? {
        let count = if keeps(id) { spec.len() } else { 0 };
        values(format_args!("{what} of `{}`", spec.name), count, range.clone(), found)?;
    }
    Ok(())
}

/// Iterates over a list that has one value for each tensor.
pub(crate) fn each<'a, T>(
    what: &str,
    network: &'a Network,
    found: &'a [T],
) -> Result<impl Iterator<Item = (TensorId, &'a TensorSpec, &'a T)>, CheckpointDamage> {
    same(format_args!("how many tensors there are in the list of {what}"), &network.tensors.len(), &found.len())?;
    Ok(network.tensors().zip(found).map(|((id, spec), found)| (id, spec, found)))
}

/// Checks that there are so many values, all in that range.
pub(crate) fn values<T: PartialOrd + Debug>(
    what: impl Display,
    count: usize,
    range: RangeInclusive<T>,
    found: &[T],
) -> Result<(), CheckpointDamage> {
    same(format_args!("how many values there are in {what}"), &count, &found.len())?;
    let outside = found.iter().position(|found| !range.contains(found));
    outside.map_or(Ok(()), |index| within(format_args!("{what}, value {index}"), range, &found[index]))
}

/// Checks that a value is in that range; NaN is in none.
pub(crate) fn within<T: PartialOrd + Debug>(
    what: impl Display,
    range: RangeInclusive<T>,
    found: &T,
) -> Result<(), CheckpointDamage> {
    if range.contains(found) { Ok(()) } else { Err(contents(what, range, found)) }
}

/// Checks that a value is the expected one.
pub(crate) fn same<T: PartialEq + Debug>(what: impl Display, expected: &T, found: &T) -> Result<(), CheckpointDamage> {
    if expected == found { Ok(()) } else { Err(contents(what, expected, found)) }
}

fn contents(what: impl Display, expected: impl Debug, found: impl Debug) -> CheckpointDamage {
    CheckpointDamage::Contents {
        what: what.to_string(),
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
    }
}
