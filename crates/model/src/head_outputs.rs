//! Head outputs: what the values of a version's head mean, by its task, and what a delta records to read them.

use crate::error::ModelError;
use crate::statistics::matrix;
use fieldfit_delta::{Codec, Delta, TensorData, TensorKind};
use fieldfit_nets::Network;
use fieldfit_tensor::{Params, Task};

/// Name of the record of the targets' means, `[targets]`, in their units.
const MEANS: &str = "targets.mean";
/// Name of the record of the targets' standard deviations, `[targets]`, in their units.
const DEVIATIONS: &str = "targets.deviation";
/// Name of the record of the labels' thresholds, `[labels]`.
const THRESHOLDS: &str = "labels.threshold";

/// Outputs of a head: what its values mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum HeadOutputs {
    /// Logits of classes that exclude each other, of an image or of each pixel: softmax makes them probabilities.
    #[default]
    Classes,
    /// A number for each target, in its unit.
    Values(TargetScales),
    /// Logits of labels that do not exclude each other: the logistic function makes each a probability.
    Labels(LabelThresholds),
}

/// Mean and standard deviation of each target over the images that a version was trained on, in the target's unit.
///
/// A head is trained and stored in standard deviations from the mean, and answers in units.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetScales {
    /// Means.
    pub means: Vec<f32>,
    /// Standard deviations, above 0.
    pub deviations: Vec<f32>,
}

/// Probability of each label, 0..1, from which on an image is said to have it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelThresholds(pub Vec<f32>);

impl TargetScales {
    /// Changes a head whose outputs are in standard deviations from the mean into one whose outputs are in units.
    fn fold_into(&self, network: &Network, params: &mut Params<f32>) {
        let head = network.head;
        let scales = self.means.iter().zip(&self.deviations);
        let rows = params[head.weight].chunks_exact_mut(head.features.max(1));
        for (row, deviation) in rows.zip(&self.deviations) {
            row.iter_mut().for_each(|weight| *weight *= deviation);
        }
        for (bias, (mean, deviation)) in params[head.bias].iter_mut().zip(scales) {
            *bias = *bias * deviation + mean;
        }
    }

    /// Returns the scales of the targets at these positions, in that order.
    ///
    /// # Panics
    /// If there is no such target.
    #[must_use]
    pub fn in_order(&self, positions: impl Iterator<Item = usize>) -> Self {
        let (means, deviations) = positions.map(|target| (self.means[target], self.deviations[target])).unzip();
        Self { means, deviations }
    }

    /// Returns a target's value, given in its unit, in standard deviations from its mean.
    pub fn standardised(&self, target: usize, value: f32) -> f64 {
        (f64::from(value) - f64::from(self.means[target])) / f64::from(self.deviations[target])
    }

    /// Changes outputs, `[N, targets]`, from standard deviations into units.
    pub fn to_units(&self, outputs: &mut [f32]) {
        for row in outputs.chunks_exact_mut(self.means.len().max(1)) {
            for (output, (mean, deviation)) in row.iter_mut().zip(self.means.iter().zip(&self.deviations)) {
                *output = *output * deviation + mean;
            }
        }
    }
}

impl HeadOutputs {
    /// Reads what a delta records of its head's outputs.
    ///
    /// # Errors
    /// If a record is missing or has another shape, a deviation is not above 0, or a threshold not between 0 and 1.
    pub fn of_delta(delta: &Delta<'_>) -> Result<Self, ModelError> {
        let outputs = delta.header().classes as usize;
        let record = |name: &'static str, expected: &'static str, holds: fn(f32) -> bool| {
            let is_wanted =
                |record: &fieldfit_delta::Record<'_>| record.kind == TensorKind::Statistic && record.name == name;
            let record = delta.records().find(is_wanted).ok_or(ModelError::DeltaOutputs { name })?;
            let values = matrix(&record, &[outputs])?.values;
            match values.iter().find(|value| !holds(**value)) {
                Some(&found) => Err(ModelError::DeltaOutput { name, expected, found }),
                None => Ok(values),
            }
        };
        Ok(match delta.header().task {
            Task::Classification | Task::Segmentation => Self::Classes,
            Task::Regression => Self::Values(TargetScales {
                means: record(MEANS, "finite", f32::is_finite)?,
                deviations: record(DEVIATIONS, "finite and above 0", |value| value > 0.0 && value.is_finite())?,
            }),
            Task::MultiLabel => {
                let thresholds = record(THRESHOLDS, "between 0 and 1", |value| (0.0..=1.0).contains(&value))?;
                Self::Labels(LabelThresholds(thresholds))
            }
        })
    }

    /// Changes a head in training into one whose outputs are in units, if they are values.
    pub fn fold_into(&self, network: &Network, params: &mut Params<f32>) {
        match self {
            Self::Classes | Self::Labels(_) => {}
            Self::Values(scales) => scales.fold_into(network, params),
        }
    }

    /// Returns the task of a version with such outputs on that network.
    pub fn task(&self, network: &Network) -> Task {
        match self {
            Self::Classes => network.task(),
            Self::Values(_) => Task::Regression,
            Self::Labels(_) => Task::MultiLabel,
        }
    }

    /// Calls `encode` with what a delta records of them, as tensors.
    pub fn with_tensors<R>(&self, encode: impl FnOnce(&[TensorData<'_>]) -> R) -> R {
        let records: Vec<(&'static str, &[f32])> = match self {
            Self::Classes => Vec::new(),
            Self::Values(TargetScales { means, deviations }) => vec![(MEANS, means), (DEVIATIONS, deviations)],
            Self::Labels(LabelThresholds(thresholds)) => vec![(THRESHOLDS, thresholds)],
        };
        let shapes: Vec<[usize; 1]> = records.iter().map(|(_, values)| [values.len()]).collect();
        let tensors: Vec<TensorData<'_>> =
            records.iter().zip(&shapes).map(|((name, values), shape)| record(name, shape, values)).collect();
        encode(&tensors)
    }
}

/// A record of one value an output, exact.
const fn record<'a>(name: &'a str, shape: &'a [usize], values: &'a [f32]) -> TensorData<'a> {
    TensorData { name, shape, kind: TensorKind::Statistic, constraint: None, codec: Codec::F32, values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_nets::by_name;

    /// Catches: a head whose answers in units are not those in standard deviations, scaled: a mean that is scaled too, a
    /// deviation of another target.
    #[test]
    fn a_folded_head_answers_in_units() {
        let network = by_name("efficientnet-tiny").unwrap().with_classes(2);
        let scales = TargetScales { means: vec![10.0, -1.0], deviations: vec![0.5, 4.0] };
        let mut params = Params::zeros_where(&network, |id| network.tensor(id).role.is_head());
        let rows = params[network.head.weight].iter_mut().enumerate();
        rows.for_each(|(index, weight)| *weight = (index as f32).sin());
        params[network.head.bias].copy_from_slice(&[0.25, -0.5]);
        let answer = |params: &Params<f32>| -> Vec<f32> {
            let rows = params[network.head.weight].chunks_exact(network.head.features);
            rows.zip(&params[network.head.bias]).map(|(row, bias)| row.iter().sum::<f32>() + bias).collect()
        };
        let mut expected = answer(&params);
        scales.to_units(&mut expected);
        scales.fold_into(&network, &mut params);
        let found = answer(&params);
        found.iter().zip(&expected).for_each(|(found, expected)| assert!((found - expected).abs() < 1e-4));
        assert!((scales.standardised(1, 7.0) - 2.0).abs() < 1e-12);
        let swapped = TargetScales { means: vec![-1.0, 10.0], deviations: vec![4.0, 0.5] };
        assert_eq!(scales.in_order([1, 0].into_iter()), swapped);
    }
}
