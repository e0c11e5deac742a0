//! Weights: the merged f32 parameters that an executor runs, of a base alone or of a base and a delta.

use crate::activation_ranges;
use crate::base::{Base, BaseId};
use crate::constraint;
use crate::error::ModelError;
use crate::head_outputs::HeadOutputs;
use crate::statistics::FeatureStatistics;
use fieldfit_delta::{Constraint, Delta, HeadOrigin, Record, TensorKind};
use fieldfit_nets::Network;
use fieldfit_tensor::{ActivationRanges, Params, Task, TensorId};

/// Parameters of a network, with its labels and input: those of a base, or of a base and a delta.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The architecture, under the head that these weights have.
    pub network: Network,
    /// One name an output of the head, in their order: of a class, a label or a target.
    pub labels: Vec<String>,
    /// What the head's values mean.
    pub outputs: HeadOutputs,
    /// Every tensor's values, merged, f32: rounding them to f16 would cost as much as a delta changes.
    pub params: Params<f32>,
    /// Ranges of the activations, for int8 inference; `None` if the delta records none.
    pub ranges: Option<ActivationRanges>,
    /// Rows of the image that they were made for, in pixels: the side of a square.
    pub input_size: u32,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: f32,
}

impl Weights {
    /// Returns the base's own weights, under its own head.
    pub fn of_base(base: &Base) -> Self {
        Self {
            network: base.network().clone(),
            labels: base.labels().to_vec(),
            outputs: HeadOutputs::Classes,
            params: base.params(),
            ranges: None,
            input_size: base.preprocessing().size,
            crop: base.preprocessing().crop,
        }
    }

    /// Returns the base with a delta added, θ0 + δ, under the delta's head.
    ///
    /// # Errors
    /// As [`check_delta`]; if the delta leaves a ball by more than [`CONSTRAINT_TOLERANCE`](crate::CONSTRAINT_TOLERANCE) or
    /// makes a weight infinite. The error names the tensor.
    pub fn adapted(base: &Base, delta: &Delta<'_>) -> Result<Self, ModelError> {
        let network = check_delta(base, delta)?;
        let header = delta.header();
        let origin = header.head.origin;
        let mut params = match origin {
            HeadOrigin::Replaced => backbone(base),
            HeadOrigin::Kept => base.params(),
        };
        for record in delta.records().filter(is_of_network) {
            let id = changed_tensor(&network, origin, &record)?;
            params.replace(id, changed_values(base, id, &record)?);
        }
        let outputs = HeadOutputs::of_delta(delta)?;
        if let HeadOutputs::Values(_) = outputs {
            outputs.fold_into(&network, &mut params);
            for id in [network.head.weight, network.head.bias] {
                if let Some(index) = params[id].iter().position(|value| !value.is_finite()) {
                    return Err(ModelError::DeltaNotFinite { name: network.tensor(id).name.clone(), index });
                }
            }
        }
        let labels = delta.labels().map(str::to_owned).collect();
        let ranges = activation_ranges::of_delta(delta, network.graph.values())?;
        Ok(Self { network, labels, outputs, params, ranges, input_size: header.input_size, crop: header.crop })
    }

    /// Returns what the network answers about an image.
    pub fn task(&self) -> Task {
        self.outputs.task(&self.network)
    }
}

/// Checks a delta against its base without decoding a tensor of the network: a few bytes of a file can stand for gigabytes. Returns the
/// network under the delta's head.
///
/// # Errors
/// If the delta is for another base, [longer](most_delta_bytes) or of [more values](most_delta_values) than any for it,
/// changes a tensor that the network does not have, in another shape or in a way that it may not be changed, brings no
/// head, or keeps the base's under other labels. The error names the tensor.
pub fn check_delta(base: &Base, delta: &Delta<'_>) -> Result<Network, ModelError> {
    let header = delta.header();
    let (expected, found) = (base.id(), BaseId(header.base));
    if found != expected {
        return Err(ModelError::DeltaBase { name: base.manifest().name.clone(), expected, found });
    }
    let (expected, found) = (base.network().task(), header.task);
    if found.is_dense() != expected.is_dense() {
        return Err(ModelError::DeltaTask { expected, found });
    }
    let (limit, found) = (most_delta_bytes(base), delta.file_bytes());
    if found > limit {
        return Err(ModelError::DeltaLength { limit, found });
    }
    let (network, origin) = (base.network().with_classes(header.classes as usize), header.head.origin);
    let changed = (delta.records().filter(is_of_network))
        .map(|record| changed_tensor(&network, origin, &record))
        .collect::<Result<Vec<TensorId>, _>>()?;
    let (limit, found) = (most_delta_values(base), delta.records().map(|record| record.len()).sum());
    if found > limit {
        return Err(ModelError::DeltaValues { limit, found });
    }
    FeatureStatistics::of_delta(delta, network.head.features)?;
    activation_ranges::of_delta(delta, network.graph.values())?;
    let is_ranked = HeadOutputs::of_delta(delta)? == HeadOutputs::Classes;
    if origin == HeadOrigin::Kept {
        let (expected, found) = (base.labels().len(), header.classes as usize);
        let is_base = is_ranked && delta.labels().eq(base.labels().iter().map(String::as_str));
        return if is_base { Ok(network) } else { Err(ModelError::DeltaKeptHead { expected, found }) };
    }
    match [network.head.weight, network.head.bias].into_iter().find(|id| !changed.contains(id)) {
        Some(id) => Err(ModelError::DeltaHead { name: network.tensor(id).name.clone() }),
        None => Ok(network),
    }
}

/// Returns the most values that a delta for that base decodes to: as many as its [bytes](most_delta_bytes) have room for as f16, in
/// which heads are stored.
pub fn most_delta_values(base: &Base) -> usize {
    most_delta_bytes(base) / size_of::<u16>()
}

/// Returns the most bytes of a delta for that base: a quarter more than all its tensors take as f32, and 64 KiB, so that names and
/// labels find room beside a tiny network.
pub fn most_delta_bytes(base: &Base) -> usize {
    let values: usize = base.network().tensors().map(|(_, spec)| spec.len()).sum();
    values * size_of::<f32>() / 4 * 5 + (64 << 10)
}

/// Returns the base's tensors but those of its head.
fn backbone(base: &Base) -> Params<f32> {
    let network = base.network();
    let mut params = Params::zeros_where(network, |id| !network.tensor(id).role.is_head());
    for (id, _) in network.tensors().filter(|(_, spec)| !spec.role.is_head()) {
        base.tensor(id).copy_into(&mut params[id]);
    }
    params
}

/// Whether a record is of a tensor of the network.
fn is_of_network(record: &Record<'_>) -> bool {
    match record.kind {
        TensorKind::Difference | TensorKind::Replacement => true,
        TensorKind::Statistic => false,
    }
}

/// Returns the tensor that a record changes, if it can be changed so under a head of that origin.
fn changed_tensor(network: &Network, origin: HeadOrigin, record: &Record<'_>) -> Result<TensorId, ModelError> {
    let name = || record.name.to_owned();
    let Some(id) = network.find(record.name) else {
        return Err(ModelError::DeltaTensor { name: name(), architecture: network.architecture });
    };
    let spec = network.tensor(id);
    let is_new = spec.role.is_head() && origin == HeadOrigin::Replaced;
    let expected = match (is_new, record.kind) {
        (true, TensorKind::Difference) => Some("the head can only be replaced"),
        (_, TensorKind::Statistic) => Some("the network has no statistics"),
        (false, TensorKind::Replacement) => Some("only a head that is not the base's can be replaced"),
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

/// Returns a record's values; those of a difference are added to the base's.
fn changed_values(base: &Base, id: TensorId, record: &Record<'_>) -> Result<Vec<f32>, ModelError> {
    let mut values = vec![0.0; record.len()];
    record.decode_into(&mut values)?;
    if record.kind == TensorKind::Replacement {
        return Ok(values);
    }
    if let Some(Constraint { norm, radius, .. }) = record.constraint {
        constraint::check(record.name, &values, record.rows(), norm, radius)?;
    }
    let mut merged = vec![0.0; values.len()];
    base.tensor(id).merge_into(&values, &[1.0], &mut merged);
    match merged.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::DeltaNotFinite { name: record.name.to_owned(), index }),
        None => Ok(merged),
    }
}
