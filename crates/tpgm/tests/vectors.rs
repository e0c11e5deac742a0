//! Reference vectors of TPGM on a linear classifier, in `tests/data/tpgm_vectors.json`, computed by the authors' code
//! and by an independent one. Guards against a radius gradient, a clip or an order of steps that is plausible and
//! wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors has failed")]

use fieldfit_tensor::{Norm, Real};
use fieldfit_tpgm::{Radius, RadiusAdam, distances, initial_radius, project, radius_gradient, ratios};
use serde::Deserialize;
use std::fs::File;
use std::path::Path;

/// Weights are `[2, 3]` throughout.
const ROWS: usize = 2;

/// The rows of the file that concern TPGM.
#[derive(Deserialize)]
struct Vectors {
    #[serde(rename = "W0")]
    base: Vec<Vec<f64>>,
    #[serde(rename = "Wt")]
    tuned: Vec<Vec<f64>>,
    #[serde(rename = "X_val")]
    validation_inputs: Vec<Vec<f64>>,
    #[serde(rename = "y_val")]
    validation_labels: Vec<usize>,
    #[serde(rename = "X_train")]
    train_inputs: Vec<Vec<f64>>,
    #[serde(rename = "y_train")]
    train_labels: Vec<usize>,
    projection: Vec<Projection>,
    bias_1d_mars: Bias,
    gamma_trajectory: Trajectories,
    full_tpgm_mars: Full,
}

#[derive(Deserialize)]
struct Projection {
    norm: Norm,
    gamma: f64,
    norms: Vec<f64>,
    projected: Vec<Vec<f64>>,
    val_loss: f64,
    dloss_dgamma: f64,
}

#[derive(Deserialize)]
struct Bias {
    bt: Vec<f64>,
    gamma_w: f64,
    gamma_b: f64,
    val_loss: f64,
    dgamma_w: f64,
    dgamma_b: f64,
    projected_b: Vec<f64>,
}

#[derive(Deserialize)]
struct Trajectories {
    l2: Trajectory,
    mars: Trajectory,
}

#[derive(Deserialize)]
struct Trajectory {
    init_gamma_min_norm_over_2: f64,
    after_each_step: Vec<f64>,
}

#[derive(Deserialize)]
struct Full {
    iterations: Vec<Iteration>,
    #[serde(rename = "final_W")]
    final_weight: Vec<Vec<f64>>,
    final_b: Vec<f64>,
}

#[derive(Deserialize)]
struct Iteration {
    train_loss: f64,
    val_loss: f64,
    gamma_w: f64,
    gamma_b: f64,
}

impl Vectors {
    fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tpgm_vectors.json");
        serde_json::from_reader(File::open(path).unwrap()).unwrap()
    }

    fn base<T: Real>(&self) -> Vec<T> {
        flat(&self.base)
    }

    fn delta<T: Real>(&self) -> Vec<T> {
        let tuned: Vec<f64> = flat(&self.tuned);
        tuned.iter().zip(self.base::<f64>()).map(|(tuned, base)| T::of(tuned - base)).collect()
    }

    fn validation<T: Real>(&self) -> Slice<T> {
        Slice { inputs: flat(&self.validation_inputs), labels: self.validation_labels.clone() }
    }

    fn train<T: Real>(&self) -> Slice<T> {
        Slice { inputs: flat(&self.train_inputs), labels: self.train_labels.clone() }
    }
}

fn flat<T: Real>(rows: &[Vec<f64>]) -> Vec<T> {
    rows.iter().flatten().map(|&value| T::of(value)).collect()
}

fn plus<T: Real>(base: &[T], delta: &[T]) -> Vec<T> {
    base.iter().zip(delta).map(|(&base, &delta)| base + delta).collect()
}

/// Samples of three values, two classes.
struct Slice<T> {
    inputs: Vec<T>,
    labels: Vec<usize>,
}

/// Mean cross-entropy and its gradients.
struct Evaluation<T> {
    loss: T,
    weight: Vec<T>,
    bias: Vec<T>,
}

impl<T: Real> Slice<T> {
    /// `logits = X · Wᵀ + b`.
    fn evaluate(&self, weight: &[T], bias: &[T]) -> Evaluation<T> {
        let mut out = Evaluation { loss: T::zero(), weight: vec![T::zero(); 6], bias: vec![T::zero(); 2] };
        let share = T::one() / T::of(self.labels.len() as f64);
        for (input, &label) in self.inputs.chunks(3).zip(&self.labels) {
            let logit = |class: usize| bias[class] + (0..3).map(|i| input[i] * weight[3 * class + i]).sum();
            let powers = [logit(0).exp(), logit(1).exp()];
            let total = powers[0] + powers[1];
            out.loss -= share * (powers[label] / total).ln();
            for (class, power) in powers.into_iter().enumerate() {
                let target = if class == label { T::one() } else { T::zero() };
                let slope = share * (power / total - target);
                out.bias[class] += slope;
                (0..3).for_each(|i| out.weight[3 * class + i] += slope * input[i]);
            }
        }
        out
    }
}

#[track_caller]
fn assert_near<T: Real>(found: T, expected: f64, tolerance: f64, what: &str) {
    assert!((found.wide() - expected).abs() <= tolerance, "{what}: {found:?}, not {expected} within {tolerance}");
}

#[track_caller]
fn assert_all_near<T: Real>(found: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    found.iter().zip(expected).for_each(|(&found, &expected)| assert_near(found, expected, tolerance, what));
}

fn norms_of<T: Real>(norm: Norm, delta: &[T], rows: usize) -> Vec<T> {
    let mut norms = Vec::new();
    distances(norm, delta, rows, &mut norms);
    norms
}

/// The radius, clipped as every call clips it, and δ projected with it.
fn clipped_and_projected<T: Real>(norm: Norm, delta: &[T], rows: usize, radius: f64) -> (T, Vec<T>) {
    let norms = norms_of(norm, delta, rows);
    let mut radius = Radius::new(T::of(radius));
    radius.clip(norms.into_iter().fold(T::zero(), T::max));
    let mut projected = delta.to_vec();
    project(norm, &mut projected, rows, radius.value);
    (radius.value, projected)
}

fn check_projection<T: Real>(tolerance: f64) {
    let vectors = Vectors::load();
    let (base, delta, validation) = (vectors.base::<T>(), vectors.delta::<T>(), vectors.validation::<T>());
    assert_eq!(vectors.projection.len(), 6);
    for case in &vectors.projection {
        let what = format!("{:?} at {}", case.norm, case.gamma);
        let norms = norms_of(case.norm, &delta, ROWS);
        assert_all_near(&norms, &case.norms, tolerance, &what);

        let (radius, projected) = clipped_and_projected(case.norm, &delta, ROWS, case.gamma);
        let weight = plus(&base, &projected);
        assert_all_near(&weight, &flat(&case.projected), tolerance, &what);

        let evaluation = validation.evaluate(&weight, &[T::zero(); 2]);
        assert_near(evaluation.loss, case.val_loss, tolerance, &what);
        let slope = radius_gradient(&evaluation.weight, &delta, &norms, radius);
        assert_near(slope, case.dloss_dgamma, tolerance, &what);
    }
}

fn check_bias<T: Real>(tolerance: f64) {
    let vectors = Vectors::load();
    let case = &vectors.bias_1d_mars;
    let (delta, bias): (Vec<T>, Vec<T>) = (vectors.delta(), case.bt.iter().map(|&value| T::of(value)).collect());
    let (weight_radius, projected) = clipped_and_projected(Norm::Mars, &delta, ROWS, case.gamma_w);
    let (bias_radius, projected_bias) = clipped_and_projected(Norm::Mars, &bias, 1, case.gamma_b);
    assert_all_near(&projected_bias, &case.projected_b, tolerance, "bias");

    let evaluation = vectors.validation().evaluate(&plus(&vectors.base(), &projected), &projected_bias);
    assert_near(evaluation.loss, case.val_loss, tolerance, "loss");
    let slope = radius_gradient(&evaluation.weight, &delta, &norms_of(Norm::Mars, &delta, ROWS), weight_radius);
    assert_near(slope, case.dgamma_w, tolerance, "∂L/∂γ of the weight");
    let slope = radius_gradient(&evaluation.bias, &bias, &norms_of(Norm::Mars, &bias, 1), bias_radius);
    assert_near(slope, case.dgamma_b, tolerance, "∂L/∂γ of the bias");
}

fn check_trajectory<T: Real>(norm: Norm, expected: &Trajectory, tolerance: f64) {
    let vectors = Vectors::load();
    let (base, delta) = (vectors.base::<T>(), vectors.delta::<T>());
    let mut tensor = Constrained::new(delta.clone(), norm, ROWS);
    tensor.start();
    assert_near(tensor.radius(), expected.init_gamma_min_norm_over_2, tolerance, "start");
    for &radius in &expected.after_each_step {
        let weight = plus(&base, &tensor.projected());
        tensor.learn(&vectors.validation().evaluate(&weight, &[T::zero(); 2]).weight);
        assert_near(tensor.radius(), radius, tolerance, "step");
    }
}

/// Constrained tensor: δ and radius, as a trainer keeps them.
struct Constrained<T> {
    delta: Vec<T>,
    norm: Norm,
    rows: usize,
    radius: Option<Radius<T>>,
}

impl<T: Real> Constrained<T> {
    fn new(delta: Vec<T>, norm: Norm, rows: usize) -> Self {
        Self { delta, norm, rows, radius: None }
    }

    fn distances(&self) -> Vec<T> {
        norms_of(self.norm, &self.delta, self.rows)
    }

    fn radius(&self) -> T {
        self.radius.unwrap().value
    }

    /// Initialises the radius if it has no value, and clips it.
    fn start(&mut self) {
        let norms = self.distances();
        let mut radius = self.radius.unwrap_or_else(|| Radius::new(initial_radius(&norms).unwrap()));
        radius.clip(norms.into_iter().fold(T::zero(), T::max));
        self.radius = Some(radius);
    }

    fn projected(&self) -> Vec<T> {
        let mut factors = Vec::new();
        ratios(&self.distances(), self.radius(), &mut factors);
        let span = self.delta.len() / factors.len();
        self.delta.iter().enumerate().map(|(index, &delta)| factors[index / span] * delta).collect()
    }

    fn learn(&mut self, gradient: &[T]) {
        let slope = radius_gradient(gradient, &self.delta, &self.distances(), self.radius());
        let mut radius = self.radius.unwrap();
        radius.update(slope, &RadiusAdam::default());
        self.radius = Some(radius);
    }

    fn loss_and_gradient(&mut self, gradient: &[T], learning_rate: f64) {
        self.delta.iter_mut().zip(gradient).for_each(|(delta, &slope)| *delta -= T::of(learning_rate) * slope);
    }

    fn project(&mut self) {
        let radius = self.radius();
        project(self.norm, &mut self.delta, self.rows, radius);
    }
}

fn check_full<T: Real>(tolerance: f64) {
    let vectors = Vectors::load();
    let (base, train, validation) = (vectors.base::<T>(), vectors.train::<T>(), vectors.validation::<T>());
    let mut weight = Constrained::new(vec![T::zero(); 6], Norm::Mars, ROWS);
    let mut bias = Constrained::new(vec![T::zero(); 2], Norm::Mars, 1);
    for expected in &vectors.full_tpgm_mars.iterations {
        let trained = train.evaluate(&plus(&base, &weight.delta), &bias.delta);
        assert_near(trained.loss, expected.train_loss, tolerance, "training loss");
        weight.loss_and_gradient(&trained.weight, 0.5);
        bias.loss_and_gradient(&trained.bias, 0.5);

        weight.start();
        bias.start();
        let validated = validation.evaluate(&plus(&base, &weight.projected()), &bias.projected());
        assert_near(validated.loss, expected.val_loss, tolerance, "validation loss");
        weight.learn(&validated.weight);
        bias.learn(&validated.bias);
        weight.start();
        bias.start();
        assert_near(weight.radius(), expected.gamma_w, tolerance, "γ of the weight");
        assert_near(bias.radius(), expected.gamma_b, tolerance, "γ of the bias");

        weight.project();
        bias.project();
    }
    let full = &vectors.full_tpgm_mars;
    assert_all_near(&plus(&base, &weight.delta), &flat(&full.final_weight), tolerance, "final weight");
    assert_all_near(&bias.delta, &full.final_b, tolerance, "final bias");
}

/// Tolerance in f64: the file's numbers are rounded to 9 decimals.
const F64: f64 = 1e-8;
/// Tolerance in f32.
const F32: f64 = 1e-5;

/// Catches: a wrong norm, ratio or radius gradient.
#[test]
fn projection() {
    check_projection::<f64>(F64);
    check_projection::<f32>(F32);
}

/// Catches: a 1-D tensor under MARS that is taken for rows of one value.
#[test]
fn a_bias_has_one_mars_norm() {
    check_bias::<f64>(F64);
    check_bias::<f32>(F32);
}

/// Catches: a wrong start of γ, or an Adam that forgets its bias correction or its state.
#[test]
fn radius_trajectory() {
    let trajectories = Vectors::load().gamma_trajectory;
    for (norm, expected) in [(Norm::L2, &trajectories.l2), (Norm::Mars, &trajectories.mars)] {
        assert_eq!(expected.after_each_step.len(), 6);
        check_trajectory::<f64>(norm, expected, F64);
        check_trajectory::<f32>(norm, expected, F32);
    }
}

/// Catches: a wrong order of descent, radius step and projection.
#[test]
fn full_run() {
    check_full::<f64>(F64);
    check_full::<f32>(F32);
}
