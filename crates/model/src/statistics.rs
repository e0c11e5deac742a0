//! Feature statistics: class means, and the covariance within classes, of an adapted backbone's features.

use crate::error::ModelError;
use fieldfit_delta::{Codec, Delta, Record, TensorData, TensorKind};
use fieldfit_tensor::Matrix;

/// Name of the class means' record, `[classes, features]`.
const MEANS: &str = "features.means";
/// Name of the covariance's factors' record, `[factors, features]`.
const FACTORS: &str = "features.factors";
/// Name of the residual variance's record, `[1]`.
const VARIANCE: &str = "features.variance";

/// Statistics of the features that a version's backbone computes of its training images.
///
/// The covariance within classes is Σ with Σ⁻¹ = (I − FᵀF) / σ²: σ² in every direction but those of the rows of F, in which
/// it is larger (probabilistic PCA, Tipping and Bishop, 1999).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureStatistics {
    /// Mean of each class, `[classes, features]`, in the order of the labels.
    pub means: Matrix<f32>,
    /// F, `[factors, features]`: orthogonal directions, each of length √(1 − σ²/λ) with λ the variance along it. Without
    /// rows, all directions are alike, or the covariance is unknown.
    pub factors: Matrix<f32>,
    /// σ²; `None` if the covariance is unknown.
    pub variance: Option<f32>,
}

impl FeatureStatistics {
    /// Reads the statistics that a delta records for features of that number; `None` if it records none.
    ///
    /// # Errors
    /// If a record has another shape, or the variance is not above 0.
    pub fn of_delta(delta: &Delta<'_>, features: usize) -> Result<Option<Self>, ModelError> {
        let classes = delta.header().classes as usize;
        let mut found = Self::default();
        for record in delta.records().filter(|record| record.kind == TensorKind::Statistic) {
            let rows = record.shape.first().map_or(0, |&rows| rows as usize);
            match record.name {
                MEANS => found.means = matrix(&record, &[classes, features])?,
                FACTORS => found.factors = matrix(&record, &[rows.min(features), features])?,
                VARIANCE => found.variance = matrix(&record, &[1])?.values.first().copied(),
                // Statistics of a later version say nothing to this one.
                _ => {}
            }
        }
        if found.variance.is_some_and(|variance| !(variance > 0.0 && variance.is_finite())) {
            return Err(ModelError::DeltaNotFinite { name: VARIANCE.into(), index: 0 });
        }
        Ok((found.means.rows > 0).then_some(found))
    }

    /// Calls `encode` with the statistics as tensors of a delta.
    pub fn with_tensors<R>(&self, encode: impl FnOnce(&[TensorData<'_>]) -> R) -> R {
        let shape = |matrix: &Matrix<f32>| [matrix.rows, matrix.columns];
        let (means, factors) = (shape(&self.means), shape(&self.factors));
        let variance: Vec<f32> = self.variance.into_iter().collect();
        let tensor = |name, shape, codec, values| TensorData {
            name,
            shape,
            kind: TensorKind::Statistic,
            constraint: None,
            codec,
            values,
        };
        let tensors: Vec<TensorData<'_>> = [
            tensor(MEANS, &means[..], Codec::F16, &self.means.values[..]),
            tensor(FACTORS, &factors, Codec::F16, &self.factors.values),
            tensor(VARIANCE, &[1], Codec::F32, &variance),
        ]
        .into_iter()
        .filter(|tensor| !tensor.values.is_empty())
        .collect();
        encode(&tensors)
    }
}

/// Decodes a record of that shape.
pub(crate) fn matrix(record: &Record<'_>, expected: &[usize]) -> Result<Matrix<f32>, ModelError> {
    let found: Vec<usize> = record.shape.iter().map(|&size| size as usize).collect();
    if found != expected {
        return Err(ModelError::DeltaShape { name: record.name.to_owned(), expected: expected.to_vec(), found });
    }
    let mut values = vec![0.0; record.len()];
    record.decode_into(&mut values)?;
    Ok(Matrix { rows: expected[0], columns: values.len() / expected[0].max(1), values })
}
