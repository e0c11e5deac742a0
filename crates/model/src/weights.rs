//! What an executor runs.

use crate::ball;
use crate::base::{Base, BaseId};
use crate::error::ModelError;
use fieldfit_delta::{Constraint, Delta, Record, TensorKind};
use fieldfit_nets::Network;
use fieldfit_tensor::{Params, TensorId};

/// What runs: a base, or a base and a delta.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The architecture, under the head that these weights have.
    pub network: Network,
    /// One name a class, in the order of the logits.
    pub labels: Vec<String>,
    /// Every tensor's values, merged, f32: rounding them to f16 would cost as much as a delta changes.
    pub params: Params<f32>,
    /// Side of the square image that they were made for, in pixels.
    pub input_size: u32,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: f32,
}

impl Weights {
    /// The base as it is.
    pub fn of_base(base: &Base) -> Self {
        Self {
            network: base.network().clone(),
            labels: base.labels().to_vec(),
            params: base.params(),
            input_size: base.preprocessing().size,
            crop: base.preprocessing().crop,
        }
    }

    /// The base with a delta added: θ0 + δ, under the delta's head.
    ///
    /// # Errors
    /// If the delta is for another base, [longer](most_delta_bytes) than any delta for it, changes a tensor that the network doesn't have, in another shape or in a way
    /// that it may not be changed, leaves a ball by more than [`CONSTRAINT_TOLERANCE`](crate::CONSTRAINT_TOLERANCE), makes a weight
    /// infinite, or brings no head. The error names the tensor.
    pub fn adapted(base: &Base, delta: &Delta<'_>) -> Result<Self, ModelError> {
        let header = delta.header();
        let (expected, found) = (base.id(), BaseId(header.base));
        if found != expected {
            return Err(ModelError::DeltaBase { name: base.manifest().name.clone(), expected, found });
        }
        let (limit, found) = (most_delta_bytes(base), delta.file_bytes());
        if found > limit {
            return Err(ModelError::DeltaLength { limit, found });
        }
        let network = base.network().with_classes(header.classes as usize);
        let mut params = backbone(base);
        for record in delta.records() {
            let id = changed_tensor(&network, &record)?;
            params.replace(id, changed_values(base, id, &record)?);
        }
        for id in [network.head.weight, network.head.bias] {
            if !params.contains(id) {
                return Err(ModelError::DeltaHead { name: network.tensor(id).name.clone() });
            }
        }
        let labels = delta.labels().map(str::to_owned).collect();
        Ok(Self { network, labels, params, input_size: header.input_size, crop: header.crop })
    }
}

/// The most bytes of a delta for that base: a quarter more than all its tensors take as f32, and 64 KiB, so that names and
/// labels find room beside a tiny network.
pub fn most_delta_bytes(base: &Base) -> usize {
    let values: usize = base.network().tensors().map(|(_, spec)| spec.len()).sum();
    values * size_of::<f32>() / 4 * 5 + (64 << 10)
}

/// The base's tensors but those of its head.
fn backbone(base: &Base) -> Params<f32> {
    let network = base.network();
    let mut params = Params::zeros_where(network, |id| !network.tensor(id).role.is_head());
    for (id, _) in network.tensors().filter(|(_, spec)| !spec.role.is_head()) {
        base.tensor(id).copy_into(&mut params[id]);
    }
    params
}

/// The tensor that a record changes, if it is one that can be changed so.
fn changed_tensor(network: &Network, record: &Record<'_>) -> Result<TensorId, ModelError> {
    let name = || record.name.to_owned();
    let Some(id) = network.find(record.name) else {
        return Err(ModelError::DeltaTensor { name: name(), architecture: network.architecture });
    };
    let spec = network.tensor(id);
    let expected = match (spec.role.is_head(), record.kind) {
        (true, TensorKind::Difference) => Some("the head can only be replaced"),
        (false, TensorKind::Replacement) => Some("only the head can be replaced"),
        (false, TensorKind::Difference) if !spec.role.is_trainable() => Some("running statistics stay the base's"),
        _ => None,
    };
    if let Some(expected) = expected {
        return Err(ModelError::DeltaKind { name: name(), expected, found: record.kind });
    }
    let found: Vec<usize> = record.shape.iter().map(|&size| size as usize).collect();
    if found != spec.shape {
        return Err(ModelError::DeltaShape { name: name(), expected: spec.shape.clone(), found });
    }
    Ok(id)
}

/// A record's values; those of a difference added to the base's.
fn changed_values(base: &Base, id: TensorId, record: &Record<'_>) -> Result<Vec<f32>, ModelError> {
    let mut values = vec![0.0; record.len()];
    record.decode_into(&mut values)?;
    if record.kind == TensorKind::Replacement {
        return Ok(values);
    }
    if let Some(Constraint { norm, radius, .. }) = record.constraint {
        ball::check(record.name, &values, record.rows(), norm, radius)?;
    }
    let mut merged = vec![0.0; values.len()];
    base.tensor(id).merge_into(&values, &[1.0], &mut merged);
    match merged.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::DeltaNotFinite { name: record.name.to_owned(), index }),
        None => Ok(merged),
    }
}
