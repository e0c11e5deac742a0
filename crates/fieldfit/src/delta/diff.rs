//! Delta diff: compares two delta files tensor by tensor.

use super::file::{decoded, parse_to_decode, read};
use crate::Error;
use fieldfit_delta::{Codec, Delta, Record, TensorKind};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Difference between two deltas.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeltaDiff {
    /// Whether both are made for one base.
    pub same_base: bool,
    /// Whether both name the same classes in the same order.
    pub same_labels: bool,
    /// Every tensor that either has, in the first one's order, then those of the second alone.
    pub tensors: Vec<TensorDiff>,
}

/// Difference between one tensor of two deltas. Norms are `√Σv²` of the decoded values; a tensor that a delta leaves out
/// has moved by 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorDiff {
    /// The tensor's name.
    pub name: String,
    /// The first delta's codec, if it has the tensor.
    pub left_codec: Option<Codec>,
    /// The second delta's codec, if it has the tensor.
    pub right_codec: Option<Codec>,
    /// Norm in the first delta.
    pub left: f64,
    /// Norm in the second delta.
    pub right: f64,
    /// Norm of first minus second; `None` if their shapes or kinds differ.
    pub difference: Option<f64>,
    /// Cosine of the angle between them; `None` if either is zero, or they cannot be compared.
    pub cosine: Option<f64>,
}

/// Compares two delta files tensor by tensor.
///
/// # Errors
/// If either cannot be read or is not a delta.
pub fn diff(left: impl AsRef<Path>, right: impl AsRef<Path>) -> Result<DeltaDiff, Error> {
    let (left, right) = (left.as_ref(), right.as_ref());
    let files = (read(left)?, read(right)?);
    let (a, b) = (parse_to_decode(left, &files.0)?, parse_to_decode(right, &files.1)?);
    let mut tensors = Vec::new();
    for name in names(&a, &b) {
        tensors.push(tensor_diff(name, Side::of(left, &a, name)?, Side::of(right, &b, name)?));
    }
    Ok(DeltaDiff { same_base: a.header().base == b.header().base, same_labels: a.labels().eq(b.labels()), tensors })
}

/// One delta's tensor; without values if it is left out.
struct Side<'a> {
    record: Option<Record<'a>>,
    values: Vec<f32>,
}

impl<'a> Side<'a> {
    fn of(path: &Path, delta: &Delta<'a>, name: &str) -> Result<Self, Error> {
        let record = delta.records().find(|record| record.name == name);
        let values = record.as_ref().map_or(Ok(Vec::new()), |record| decoded(path, record))?;
        Ok(Self { record, values })
    }
}

fn names<'a>(left: &Delta<'a>, right: &Delta<'a>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    left.records().chain(right.records()).map(|record| record.name).filter(|name| seen.insert(*name)).collect()
}

fn tensor_diff(name: &str, left: Side<'_>, right: Side<'_>) -> TensorDiff {
    let comparable = match (&left.record, &right.record) {
        (Some(left), Some(right)) => left.shape == right.shape && left.kind == right.kind,
        (left, right) => left.iter().chain(right).all(|one| one.kind == TensorKind::Difference),
    };
    let product = |a: &Side<'_>, b: &Side<'_>| -> f64 {
        a.values.iter().zip(&b.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let (squares, both) = ((product(&left, &left), product(&right, &right)), product(&left, &right));
    // ‖a − b‖² term by term: near twins would lose it in ‖a‖² + ‖b‖² − 2ab.
    let apart = || match (left.values.is_empty(), right.values.is_empty()) {
        (false, false) => left.values.iter().zip(&right.values).map(|(a, b)| f64::from(a - b).powi(2)).sum(),
        _ => squares.0 + squares.1,
    };
    TensorDiff {
        name: name.to_owned(),
        left: squares.0.sqrt(),
        right: squares.1.sqrt(),
        difference: comparable.then(|| f64::sqrt(apart())),
        cosine: (comparable && squares.0 > 0.0 && squares.1 > 0.0).then(|| both / (squares.0 * squares.1).sqrt()),
        left_codec: left.record.map(|record| record.codec),
        right_codec: right.record.map(|record| record.codec),
    }
}
