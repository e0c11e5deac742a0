//! Delta encoder: makes a delta file of a training run's result.

use crate::base::Base;
use crate::constraint;
use crate::error::ModelError;
use crate::head_outputs::HeadOutputs;
use fieldfit_delta::{
    Codec, Constraint, DeltaError, HeadDescription, HeadOrigin, Header, Provenance, TensorData, TensorKind,
};
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Norm, Params, TensorId};

/// Result of a training run: δ, radii, the new head and how each tensor is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct TrainingResult<'a> {
    /// δ = θ − θ0 of the backbone, already projected. A tensor that is empty or all zeros did not move. The head's are
    /// only looked at where it is kept.
    pub delta: &'a Params<f32>,
    /// γ of every constrained tensor, in the network's order; `None` for one that may go anywhere.
    pub radii: &'a [Option<f32>],
    /// Norm of the distances.
    pub norm: Norm,
    /// The new head's weight, `[classes, features]`; not looked at where the base's is kept.
    pub head_weight: &'a [f32],
    /// The new head's bias, `[classes]`; not looked at where the base's is kept.
    pub head_bias: &'a [f32],
    /// One name a class, in the order of the logits.
    pub labels: &'a [String],
    /// Rows of the image that the run was trained for, in pixels: the side of a square.
    pub input_size: u32,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: f32,
    /// Codec of each tensor, in the network's order. A new head is few values that matter much: it is stored as f16.
    pub codecs: &'a [Codec],
}

/// Encodes a training result as a delta file for `base`, whose `parent` is the hash of the delta that the run started from.
///
/// Tensors that did not move are left out. What decodes to something outside its ball is scaled back until it is inside,
/// up to [`CONSTRAINT_TOLERANCE`](crate::CONSTRAINT_TOLERANCE), so that the file passes
/// [`Weights::adapted`](crate::Weights::adapted).
///
/// # Errors
/// If δ lies outside its ball before encoding, is not finite, or exceeds a limit of the file format or the codec.
///
/// # Panics
/// If `delta`, `radii`, `codecs` or the head don't have the lengths of the base's network under a head for `labels`.
pub fn encode_delta(
    base: &Base,
    change: &TrainingResult<'_>,
    provenance: Provenance,
    parent: Option<[u8; 32]>,
) -> Result<Vec<u8>, ModelError> {
    encode_delta_with(base, change, &DeltaHead::default(), provenance, parent)
}

/// What a delta says of its head.
#[derive(Debug, Clone, Copy)]
pub struct DeltaHead<'a> {
    /// Origin, taught classes and threshold of novelty.
    pub description: HeadDescription,
    /// What its values mean.
    pub outputs: &'a HeadOutputs,
    /// Statistics of the features, which follow the network's tensors.
    pub statistics: &'a [TensorData<'a>],
}

impl Default for DeltaHead<'_> {
    /// A new head for classes, without statistics.
    fn default() -> Self {
        Self { description: HeadDescription::default(), outputs: &HeadOutputs::Classes, statistics: &[] }
    }
}

/// Encodes a training result as [`encode_delta`] does, with a head of that description: of a head that is kept, the
/// differences from the base's.
///
/// # Errors
/// As [`encode_delta`].
///
/// # Panics
/// As [`encode_delta`].
pub fn encode_delta_with(
    base: &Base,
    change: &TrainingResult<'_>,
    head: &DeltaHead<'_>,
    provenance: Provenance,
    parent: Option<[u8; 32]>,
) -> Result<Vec<u8>, ModelError> {
    let network = base.network().with_classes(change.labels.len());
    let is_kept = head.description.origin == HeadOrigin::Kept;
    let differences = network
        .tensors()
        .filter(|(id, spec)| (is_kept || !spec.role.is_head()) && change.delta.has_moved(*id))
        .filter_map(|(id, spec)| Difference::of(change, id, spec).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let mut tensors: Vec<TensorData<'_>> = differences.iter().map(Difference::tensor).collect();
    if !is_kept {
        tensors.extend(new_head(&network, change.head_weight, change.head_bias));
    }
    tensors.extend(head.statistics);
    let labels: Vec<&str> = change.labels.iter().map(String::as_str).collect();
    let header = Header {
        base: base.id().0,
        parent,
        task: head.outputs.task(&network),
        input_size: change.input_size,
        crop: change.crop,
        classes: labels.len() as u32,
        tensors: 0,
        provenance,
        head: head.description,
    };
    head.outputs.with_tensors(|outputs| {
        let tensors: Vec<TensorData<'_>> = tensors.iter().chain(outputs).copied().collect();
        Ok(fieldfit_delta::encode(&header, &labels, &tensors)?)
    })
}

/// Stored form of a tensor that moved.
struct Difference<'a> {
    spec: &'a TensorSpec,
    constraint: Option<Constraint>,
    codec: Codec,
    values: Vec<f32>,
}

impl<'a> Difference<'a> {
    /// `None` if nothing is left of it once it is encoded.
    fn of(change: &TrainingResult<'_>, id: TensorId, spec: &'a TensorSpec) -> Result<Option<Self>, ModelError> {
        let (radius, rows) = (change.radii[id.index()], spec.rows());
        let codec = change.codecs[id.index()];
        let payload = |source| DeltaError::Payload { name: spec.name.as_str().into(), source };
        let mut values = change.delta[id].to_vec();
        assert_eq!(values.len(), spec.len(), "δ of `{}` has the shape of its tensor", spec.name);
        if let Some(radius) = radius {
            constraint::check(&spec.name, &values, rows, change.norm, radius)?;
            constraint::project_decoded(&mut values, rows, change.norm, radius, codec).map_err(payload)?;
        }
        let decoded = codec.decoded(&values, rows).map_err(payload)?;
        if decoded.iter().all(|&value| value == 0.0) {
            return Ok(None);
        }
        let constraint = match radius {
            Some(radius) => {
                let distance = constraint::check(&spec.name, &decoded, rows, change.norm, radius)?;
                Some(Constraint { norm: change.norm, radius, distance })
            }
            None => None,
        };
        Ok(Some(Self { spec, constraint, codec, values }))
    }

    fn tensor(&self) -> TensorData<'_> {
        let Self { spec, constraint, codec, values } = self;
        TensorData {
            name: &spec.name,
            shape: &spec.shape,
            kind: TensorKind::Difference,
            constraint: *constraint,
            codec: *codec,
            values,
        }
    }
}

/// Returns the tensors of a head that replaces the base's: its weight, `[classes, features]`, and its bias, `[classes]`.
///
/// # Panics
/// If one has another number of values than the network's head.
pub fn new_head<'a>(network: &'a Network, weight: &'a [f32], bias: &'a [f32]) -> [TensorData<'a>; 2] {
    [(network.head.weight, weight), (network.head.bias, bias)].map(|(id, values)| {
        let spec = network.tensor(id);
        assert_eq!(values.len(), spec.len(), "`{}` has one row a label", spec.name);
        let (name, shape, kind) = (spec.name.as_str(), spec.shape.as_slice(), TensorKind::Replacement);
        TensorData { name, shape, kind, constraint: None, codec: Codec::F16, values }
    })
}
