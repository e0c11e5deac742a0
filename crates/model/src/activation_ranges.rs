//! Activation ranges on disk: a record of a delta, or a file beside a base's weights.

use crate::base::Base;
use crate::error::ModelError;
use crate::file::{LONGEST_TEXT, read};
use crate::statistics::matrix;
use fieldfit_delta::{Codec, Delta, TensorData, TensorKind};
use fieldfit_durable::{Disk, commit};
use fieldfit_tensor::ActivationRanges;
use serde::{Deserialize, Serialize};
use std::io;

/// Name of the file in a model's folder.
pub const ACTIVATION_RANGES_FILE: &str = "activation-ranges.json";

/// Name of the record, `[values, 2]`.
const RECORD: &str = "activations.ranges";
/// Version of the file.
const FORMAT: u32 = 1;

/// The file: ranges of a base's activations, on the images that it was calibrated on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RangesFile {
    format: u32,
    /// The base, as hexadecimal text.
    base: String,
    /// Images that it was calibrated on.
    images: usize,
    /// `[least, greatest]` of the image and of each node's output.
    ranges: Vec<[f32; 2]>,
}

/// Reads the ranges that a delta records for a graph of that many values; `None` if it records none.
///
/// # Errors
/// If the record has another shape, or a range is none.
pub(crate) fn of_delta(delta: &Delta<'_>, values: usize) -> Result<Option<ActivationRanges>, ModelError> {
    let mut records = delta.records();
    let Some(record) = records.find(|record| record.kind == TensorKind::Statistic && record.name == RECORD) else {
        return Ok(None);
    };
    let matrix = matrix(&record, &[values, 2])?;
    let ranges = matrix.values.as_chunks::<2>().0.to_vec();
    let invalid =
        |error: fieldfit_tensor::InvalidRange| ModelError::DeltaRange { value: error.value, found: error.found };
    ActivationRanges::new(ranges).map(Some).map_err(invalid)
}

/// Calls `encode` with ranges as a tensor of a delta, or with none.
pub fn with_range_tensors<R>(ranges: Option<&ActivationRanges>, encode: impl FnOnce(&[TensorData<'_>]) -> R) -> R {
    let values = ranges.map(|ranges| ranges.as_slice().as_flattened()).unwrap_or_default();
    let shape = [values.len() / 2, 2];
    let tensor = TensorData {
        name: RECORD,
        shape: &shape,
        kind: TensorKind::Statistic,
        constraint: None,
        codec: Codec::F32,
        values,
    };
    encode(if values.is_empty() { &[] } else { std::slice::from_ref(&tensor) })
}

impl Base {
    /// Reads the activation ranges beside the weights; `None` if the base has not been calibrated.
    ///
    /// # Errors
    /// If the file cannot be read, is malformed, or is another base's.
    pub fn activation_ranges(&self) -> Result<Option<ActivationRanges>, ModelError> {
        let path = self.path().join(ACTIVATION_RANGES_FILE);
        let bytes = match read(&path, LONGEST_TEXT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ModelError::read(&path, source)),
        };
        let invalid = |problem: String| ModelError::ActivationRanges { path: path.clone(), problem };
        let file: RangesFile = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if file.format != FORMAT {
            return Err(invalid(format!("expected format {FORMAT}, found {}", file.format)));
        }
        let (expected, found) = (self.id().to_string(), file.base);
        if found != expected {
            return Err(invalid(format!("expected the base {expected}, found {found}")));
        }
        let (expected, found) = (self.network().graph.values(), file.ranges.len());
        if found != expected {
            return Err(invalid(format!("expected {expected} values, found {found}")));
        }
        let ranges = ActivationRanges::new(file.ranges);
        ranges.map(Some).map_err(|error| invalid(format!("value {} has the range {:?}", error.value, error.found)))
    }

    /// Writes activation ranges beside the weights, which `images` images gave.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write_activation_ranges(&self, ranges: &ActivationRanges, images: usize) -> Result<(), ModelError> {
        let path = self.path().join(ACTIVATION_RANGES_FILE);
        let (base, ranges) = (self.id().to_string(), ranges.as_slice().to_vec());
        let file = RangesFile { format: FORMAT, base, images, ranges };
        let unwritable = |source: io::Error| ModelError::Write { path: path.clone(), source };
        let bytes = serde_json::to_vec(&file).map_err(|error| unwritable(error.into()))?;
        commit(&Disk, &path, &bytes).map_err(|error| unwritable(io::Error::other(error)))
    }
}
