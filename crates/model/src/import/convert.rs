//! Conversion of a checkpoint's tensors to those of a weights file: stacked, checked and in their stored type.

use super::storage::StateDict;
use crate::error::ModelError;
use crate::weights_type::WeightsType;
use fieldfit_nets::{Role, TensorSpec};
use fieldfit_tensor::{Dtype, QuantisedRows};
use std::path::Path;

/// A tensor as it goes to the weights file.
pub(super) struct Stored<'a> {
    pub spec: &'a TensorSpec,
    pub values: StoredValues,
}

/// Values in their stored type.
pub(super) enum StoredValues {
    Float { dtype: Dtype, bytes: Vec<u8> },
    Int8(QuantisedRows),
}

/// A tensor of the network, made of the checkpoint's `parts` of it.
///
/// # Errors
/// If a part is not floating point, or a value is not finite, a negative variance or too large for the stored type.
pub(super) fn convert<'n>(
    state: &StateDict<'_>,
    spec: &'n TensorSpec,
    parts: &[String],
    requested: WeightsType,
    path: &Path,
) -> Result<Stored<'n>, ModelError> {
    let mut values = Vec::with_capacity(spec.len());
    for entry in parts.iter().filter_map(|part| state.get(part)) {
        let Some(part) = state.values(entry) else {
            let (expected, found) = ("float16, bfloat16, float32 or float64", entry.element.name().to_owned());
            return Err(ModelError::TensorDtype { path: path.to_owned(), name: spec.name.clone(), expected, found });
        };
        values.extend(part);
    }
    store(&values, spec, requested, path)
}

/// A tensor of the network with these values.
///
/// # Errors
/// If a value is not finite, a negative variance or too large for the stored type.
pub(super) fn store<'n>(
    values: &[f32],
    spec: &'n TensorSpec,
    requested: WeightsType,
    path: &Path,
) -> Result<Stored<'n>, ModelError> {
    let (path, name) = (|| path.to_owned(), || spec.name.clone());
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(ModelError::NotFinite { path: path(), name: name(), index });
    }
    if spec.role == Role::RunningVariance
        && let Some(index) = values.iter().position(|&value| value < 0.0)
    {
        return Err(ModelError::NegativeVariance { path: path(), name: name(), index, value: values[index] });
    }
    let dtype = match weights_type(spec, requested) {
        WeightsType::Float(dtype) => dtype,
        WeightsType::Int8 => {
            return Ok(Stored { spec, values: StoredValues::Int8(QuantisedRows::of(values, spec.shape[0])) });
        }
    };
    match dtype.encode(values) {
        Ok(bytes) => Ok(Stored { spec, values: StoredValues::Float { dtype, bytes } }),
        Err(index) => Err(ModelError::Overflow { path: path(), name: name(), index, value: values[index], dtype }),
    }
}

/// Vectors and running statistics stay f32.
fn weights_type(spec: &TensorSpec, requested: WeightsType) -> WeightsType {
    // Tables and masks of a network are exact; they are small.
    if spec.shape.len() < 2 || spec.role == Role::Constant { Dtype::F32.into() } else { requested }
}
