//! Linear probe: a linear head on the base's features of images, or of some of their pixels: softmax regression of classes,
//! logistic regression of labels, robust linear regression of values.

use crate::error::AdaptError;
use crate::event::Event;
use crate::kept_head;
use crate::metrics::{Metrics, agreeing, prediction};
use crate::options::{OptimiserOptions, ScheduleOptions};
use crate::plan::run::Run;
use crate::start::StartWeights;
use crate::train::batch_source::BatchSource;
use crate::train::labelled_features::LabelledFeatures;
use crate::train::lr_schedule::LrSchedule;
use crate::train::optimiser::Optimiser;
use crate::train::reporter::Reporter;
use crate::train::slice_features::{FeatureReader, SliceFeatures};
use crate::train::target_scaling::TargetScaling;
use crate::train::training_state::HeadParams;
use fieldfit_data::{Split, Targets};
use fieldfit_exec::Objective;
use fieldfit_model::HeadOutputs;
use fieldfit_nets::Network;
use fieldfit_tensor::{Matrix, Params};
use serde::{Deserialize, Serialize};

/// L2 penalties that are tried, relative to the mean squared length of a centred feature vector.
const PENALTIES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-5];
/// Full-batch steps for each.
const STEPS: u64 = 200;

/// Trained linear probe, and its scores; or the base's own head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub head: HeadParams,
    pub penalty: f64,
    /// Mean loss on the training slice.
    pub loss: f64,
    /// Accuracy on the validation slice, 0..1.
    pub accuracy: f64,
}

impl Probe {
    /// The base's own head in place of a probe, where it is kept: nothing is trained or scored.
    pub fn kept(run: Run<'_>) -> Self {
        Self { head: kept_head::of_base(run.request.base), penalty: 0.0, loss: 0.0, accuracy: 0.0 }
    }

    /// Trains a new head on the features of the weights that training starts at. It goes on from the head of these weights, if
    /// they have one. Returns the features of the training slice, too.
    pub fn train(
        run: Run<'_>,
        source: &BatchSource<'_>,
        target_scaling: &TargetScaling,
        reporter: &mut Reporter<'_>,
    ) -> Result<(Self, SliceFeatures), AdaptError> {
        let Run { request, plan } = run;
        let StartWeights { params, head } = StartWeights::of(request, &plan.network)?;
        let Split { train, validation, .. } = &plan.split;
        let mut reader = FeatureReader::new(run, source, params, train.len() + validation.len())?;
        let (train, validation) = (reader.read(train, reporter)?, reader.read(validation, reporter)?);
        let task = ProbeTask { outputs: &plan.outputs(), scaling: target_scaling };
        let probe = fit(&plan.network, &train.labelled, &validation.labelled, task, head.as_ref());
        reporter.report(Event::Probe { penalty: probe.penalty, loss: probe.loss, accuracy: probe.accuracy });
        Ok((probe, train))
    }
}

/// Trains a head for `network` on the features of the training slice, from `head` on, or from 0, from where the penalty is counted. Of several L2 penalties, takes the one with the
/// lowest loss on the validation slice. Deterministic: the whole slice is every step.
///
/// Features are centred and scaled by one common factor, so that rarely active ones are not blown up; both are folded
/// into the head.
pub(crate) fn fit(
    network: &Network,
    train: &LabelledFeatures,
    validation: &LabelledFeatures,
    task: ProbeTask<'_>,
    head: Option<&HeadParams>,
) -> Probe {
    let scaling = Scaling::of(&train.matrix);
    let (train, validation) = (scaling.apply(train), scaling.apply(validation));
    let mut weights = Params::zeros_where(network, |id| network.tensor(id).role.is_head());
    if let Some(head) = head {
        let HeadParams { weight, bias } = scaling.unfold(head);
        weights.replace(network.head.weight, weight);
        weights.replace(network.head.bias, bias);
    }
    let origin = weights[network.head.weight].to_vec();
    let mut candidate = |penalty: f64| {
        descend(network, &mut weights, (&train, task), &Penalty { strength: penalty as f32, origin: &origin });
        let (loss, _) = score(network, &weights, (&train, task));
        let (validation_loss, accuracy) = score(network, &weights, (&validation, task));
        let head = scaling.fold(&weights[network.head.weight], &weights[network.head.bias]);
        (validation_loss, Probe { head, penalty, loss, accuracy })
    };
    let [first, rest @ ..] = PENALTIES.map(|penalty| penalty * network.head.features as f64);
    let mut best = candidate(first);
    for penalty in rest {
        let next = candidate(penalty);
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// Task of a probe: what its outputs mean, in units, and what scales its targets.
#[derive(Clone, Copy)]
pub(crate) struct ProbeTask<'a> {
    pub outputs: &'a HeadOutputs,
    pub scaling: &'a TargetScaling,
}

/// Features, and the task.
type Scaled<'a> = (&'a LabelledFeatures, ProbeTask<'a>);

/// L2 penalty, `strength/2 · ‖weight − origin‖²`.
struct Penalty<'a> {
    strength: f32,
    origin: &'a [f32],
}

/// Adam on the whole slice, from where the weights are.
fn descend(network: &Network, weights: &mut Params<f32>, features: Scaled<'_>, penalty: &Penalty<'_>) {
    let rate = 0.1 / (network.head.features as f64).sqrt();
    let schedule = LrSchedule::new(&ScheduleOptions { warm_up: 0 }, rate, STEPS);
    let mut optimiser = Optimiser::new(OptimiserOptions::adamw(), network, weights);
    let mut gradients = weights.clone();
    for step in 0..STEPS {
        gradient(network, weights, features, penalty, &mut gradients);
        let fixed = weights.clone();
        optimiser.step(weights, &fixed, &gradients, schedule.rate(step));
    }
}

/// The gradient of the mean loss of the targets and of the penalty.
fn gradient(
    network: &Network,
    weights: &Params<f32>,
    (features, task): Scaled<'_>,
    penalty: &Penalty<'_>,
    out: &mut Params<f32>,
) {
    let head = network.head;
    for ((out, weight), origin) in out[head.weight].iter_mut().zip(&weights[head.weight]).zip(penalty.origin) {
        *out = penalty.strength * (weight - origin);
    }
    out[head.bias].fill(0.0);
    let share = 1.0 / features.matrix.rows.max(1) as f32;
    let mut residual = vec![0.0; head.classes];
    for row in 0..features.matrix.rows {
        let values = features.matrix.row(row);
        logits(network, weights, values, &mut residual);
        slope(&features.targets, row, task.scaling, &mut residual);
        for (class, &residual) in residual.iter().enumerate() {
            let scale = share * residual;
            let out_row = &mut out[head.weight][class * head.features..][..head.features];
            out_row.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value);
        }
        out[head.bias].iter_mut().zip(&residual).for_each(|(out, residual)| *out += share * residual);
    }
}

/// Replaces a row's outputs by the gradient of its target's loss.
fn slope(targets: &Targets, row: usize, target_scaling: &TargetScaling, outputs: &mut [f32]) {
    match targets {
        Targets::Classes(labels) => {
            softmax(outputs);
            outputs[labels[row] as usize] -= 1.0;
            let factor = target_scaling.of(labels[row]) as f32;
            outputs.iter_mut().for_each(|output| *output *= factor);
        }
        Targets::Masks(_) | Targets::Values(_) | Targets::Labels(_) => {
            target_scaling.objective(targets).loss_and_gradient(row, outputs);
        }
    }
}

/// Mean loss, and accuracy.
fn score(network: &Network, weights: &Params<f32>, (features, task): Scaled<'_>) -> (f64, f64) {
    let (rows, columns) = (features.matrix.rows, network.head.classes);
    let mut outputs = Matrix { rows, columns, values: vec![0.0; rows * columns] };
    for (row, outputs) in outputs.values.chunks_exact_mut(columns).enumerate() {
        logits(network, weights, features.matrix.row(row), outputs);
    }
    match &features.targets {
        Targets::Classes(labels) => score_of_classes(&mut outputs, labels, task.scaling),
        targets @ (Targets::Masks(_) | Targets::Values(_) | Targets::Labels(_)) => {
            let objective = task.scaling.objective(targets);
            let of_row = |(row, outputs): (usize, &[f32])| objective.loss_and_gradient(row, &mut outputs.to_vec());
            let loss: f64 = outputs.values.chunks_exact(columns).enumerate().map(of_row).sum();
            task.scaling.to_units(&mut outputs.values);
            let mut metrics = Metrics::of(task.outputs, columns);
            metrics.add_answers(targets, &Vec::from_iter(0..rows), &outputs);
            (loss / rows.max(1) as f64, metrics.accuracy())
        }
    }
}

/// Mean cross-entropy, weighted by class, and accuracy.
fn score_of_classes(outputs: &mut Matrix<f32>, labels: &[u32], target_scaling: &TargetScaling) -> (f64, f64) {
    let (mut loss, mut predictions) = (0.0, Vec::with_capacity(labels.len()));
    for (outputs, &label) in outputs.values.chunks_exact_mut(outputs.columns).zip(labels) {
        predictions.push(prediction(outputs));
        softmax(outputs);
        loss -= target_scaling.of(label) * f64::from(outputs[label as usize].max(f32::MIN_POSITIVE)).ln();
    }
    let correct = agreeing(predictions, labels.iter().map(|&label| label as usize));
    let images = labels.len().max(1) as f64;
    (loss / images, correct as f64 / images)
}

fn logits(network: &Network, weights: &Params<f32>, values: &[f32], out: &mut [f32]) {
    let rows = weights[network.head.weight].chunks_exact(network.head.features);
    for ((out, row), bias) in out.iter_mut().zip(rows).zip(&weights[network.head.bias]) {
        *out = dot(row, values) + bias;
    }
}

fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}

/// Sixteen running sums, so that the compiler may vectorise them.
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (ones, one_rest) = one.as_chunks::<LANES>();
    let (others, other_rest) = other.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (one, other) in ones.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

/// `z = (x − mean) · factor`.
struct Scaling {
    mean: Vec<f32>,
    factor: f32,
}

impl Scaling {
    fn of(matrix: &Matrix<f32>) -> Self {
        let rows = matrix.rows.max(1) as f64;
        let mut sums = vec![0.0_f64; matrix.columns];
        for row in 0..matrix.rows {
            sums.iter_mut().zip(matrix.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / rows) as f32).collect();
        let square = |(value, mean): (&f32, &f32)| f64::from(value - mean).powi(2);
        let total: f64 = (0..matrix.rows).map(|row| matrix.row(row).iter().zip(&mean).map(square).sum::<f64>()).sum();
        let spread = (total / (rows * matrix.columns.max(1) as f64)).sqrt();
        Self { mean, factor: if spread > 0.0 { (1.0 / spread) as f32 } else { 1.0 } }
    }

    fn apply(&self, features: &LabelledFeatures) -> LabelledFeatures {
        let mut scaled = features.clone();
        if self.mean.is_empty() {
            return scaled;
        }
        for row in scaled.matrix.values.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value = (*value - mean) * self.factor);
        }
        scaled
    }

    /// The head on `x` that does what `weight` and `bias` do on `z`.
    fn fold(&self, weight: &[f32], bias: &[f32]) -> HeadParams {
        let weight: Vec<f32> = weight.iter().map(|value| value * self.factor).collect();
        let rows = weight.chunks_exact(self.mean.len().max(1));
        let bias = bias.iter().zip(rows).map(|(bias, row)| bias - dot(row, &self.mean)).collect();
        HeadParams { weight, bias }
    }

    /// The head on `z` that does what `head` does on `x`.
    fn unfold(&self, HeadParams { weight, bias }: &HeadParams) -> HeadParams {
        let rows = weight.chunks_exact(self.mean.len().max(1));
        let bias = bias.iter().zip(rows).map(|(bias, row)| bias + dot(row, &self.mean)).collect();
        HeadParams { weight: weight.iter().map(|value| value / self.factor).collect(), bias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_data::{LabelSets, TargetValues};
    use fieldfit_model::{LabelThresholds, TargetScales};
    use fieldfit_nets::by_name;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Ten noisy clusters around random centres, offset far from 0 as features after a ReLU are.
    fn clusters(seed: u64, images: usize, network: &Network) -> LabelledFeatures {
        let mut centres = ChaCha8Rng::seed_from_u64(7);
        let mut uniform = |_| centres.next_u32() as f32 / u32::MAX as f32;
        let centres: Vec<f32> = (0..network.head.classes * network.head.features).map(&mut uniform).collect();
        let mut noise = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<u32> = (0..images).map(|image| (image % network.head.classes) as u32).collect();
        let value = |label: u32, feature: usize, noise: &mut ChaCha8Rng| {
            let wobble = noise.next_u32() as f32 / u32::MAX as f32 - 0.5;
            20.0 + centres[label as usize * network.head.features + feature] + wobble
        };
        let row = |&label: &u32| (0..network.head.features).map(|f| value(label, f, &mut noise)).collect::<Vec<_>>();
        let values = labels.iter().flat_map(row).collect();
        let matrix = Matrix { rows: images, columns: network.head.features, values };
        LabelledFeatures { matrix, targets: Targets::Classes(labels) }
    }

    /// Catches: scaling that is not folded back into the head: it would be right on scaled features only.
    #[test]
    fn the_head_separates_clusters_in_the_features_own_units() {
        let network = by_name("efficientnet-tiny").unwrap();
        let (train, validation) = (clusters(1, 200, &network), clusters(2, 100, &network));
        let scaling = TargetScaling::default();
        let even = ProbeTask { outputs: &HeadOutputs::Classes, scaling: &scaling };
        let probe = fit(&network, &train, &validation, even, None);
        assert!(probe.accuracy > 0.9, "{}", probe.accuracy);

        let mut weights = Params::zeros_where(&network, |_| false);
        weights.replace(network.head.weight, probe.head.weight.clone());
        weights.replace(network.head.bias, probe.head.bias.clone());
        let (loss, _) = score(&network, &weights, (&train, even));
        assert!((loss - probe.loss).abs() < 1e-3, "{loss}, not {}", probe.loss);
        let (_, accuracy) = score(&network, &weights, (&validation, even));
        assert_eq!(accuracy, probe.accuracy);
    }

    /// Catches: a slope that is not the loss's: checked against differences of the loss itself.
    #[test]
    fn the_gradient_is_the_losses() {
        let network = by_name("efficientnet-tiny").unwrap().with_classes(3);
        let mut features = clusters(3, 12, &network.with_classes(3));
        features = Scaling::of(&features.matrix).apply(&features);
        let mut weights = Params::zeros_where(&network, |id| network.tensor(id).role.is_head());
        for (index, value) in weights.buffers_mut().iter_mut().flatten().enumerate() {
            *value = (index as f32 * 0.7).sin() * 0.2;
        }
        let mut gradients = weights.clone();
        let scaling = TargetScaling::default();
        let even = ProbeTask { outputs: &HeadOutputs::Classes, scaling: &scaling };
        let origin: Vec<f32> = weights[network.head.weight].iter().map(|weight| 0.1 - weight).collect();
        gradient(&network, &weights, (&features, even), &Penalty { strength: 0.3, origin: &origin }, &mut gradients);
        let objective = |weights: &Params<f32>| {
            let pairs = weights[network.head.weight].iter().zip(&origin);
            let squares: f64 = pairs.map(|(value, origin)| f64::from(value - origin).powi(2)).sum();
            score(&network, weights, (&features, even)).0 + 0.15 * squares
        };
        for (id, index) in [(network.head.weight, 5), (network.head.weight, 60), (network.head.bias, 1)] {
            let shifted = |by: f32| {
                let mut weights = weights.clone();
                weights[id][index] += by;
                objective(&weights)
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((slope - f64::from(gradients[id][index])).abs() < 1e-3, "{slope}, not {}", gradients[id][index]);
        }
    }

    /// Catches: anything random or dependent on threads in the probe.
    #[test]
    fn the_same_features_give_the_same_bits() {
        let network = by_name("efficientnet-tiny").unwrap();
        let (train, validation) = (clusters(1, 60, &network), clusters(2, 40, &network));
        let scaling = TargetScaling::default();
        let even = ProbeTask { outputs: &HeadOutputs::Classes, scaling: &scaling };
        let fit = || fit(&network, &train, &validation, even, None);
        assert_eq!(fit(), fit());
    }

    /// Catches: a probe of values or labels that does not find what is linear in the features, or whose slopes are not its
    /// loss's.
    #[test]
    fn values_and_labels_are_found_where_they_are_linear() {
        let network = by_name("efficientnet-tiny").unwrap().with_classes(2);
        let features = |seed| clusters(seed, 200, &network.with_classes(2));
        let value = |features: &LabelledFeatures, row: usize| 40.0 * features.matrix.row(row)[0] - 800.0;
        let with_values = |mut features: LabelledFeatures| {
            let values = (0..200).flat_map(|row| [value(&features, row), -value(&features, row)]).collect();
            features.targets = Targets::Values(TargetValues { targets: 2, values });
            features
        };
        let scales = TargetScales { means: vec![20.0, -20.0], deviations: vec![15.0; 2] };
        let scaling = TargetScaling::of_scales(scales.clone());
        let task = ProbeTask { outputs: &HeadOutputs::Values(scales), scaling: &scaling };
        let probe = fit(&network, &with_values(features(1)), &with_values(features(2)), task, None);
        assert!(probe.accuracy > 0.8, "{}", probe.accuracy);

        let with_labels = |mut features: LabelledFeatures| {
            let has = |row: usize| u8::from(value(&features, row) > 20.0);
            let values = (0..200).flat_map(|row| [has(row), 1 - has(row)]).collect();
            features.targets = Targets::Labels(LabelSets { labels: 2, values });
            features
        };
        let scaling = TargetScaling::default();
        let outputs = HeadOutputs::Labels(LabelThresholds(vec![0.5; 2]));
        let task = ProbeTask { outputs: &outputs, scaling: &scaling };
        let probe = fit(&network, &with_labels(features(1)), &with_labels(features(2)), task, None);
        assert!(probe.accuracy > 0.85, "{}", probe.accuracy);
    }
}
