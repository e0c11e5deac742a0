//! Reference vectors of FTP and SPD on quadratic losses, in `tests/data/tpgm_vectors.json`, computed by the authors'
//! code and by an independent one. Guards against a rule that is applied at the wrong point of a step, or to the wrong
//! δ.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors has failed")]

use fieldfit_tensor::{Norm, Real};
use fieldfit_tpgm::{FastRadius, RadiusAdam, distances, selected_distance, selective_decay};
use serde::Deserialize;
use std::fs::File;
use std::path::Path;

#[derive(Deserialize)]
struct Vectors {
    ftp_sgd_mars: Runs<Ftp>,
    adam_spd: Runs<Spd>,
}

#[derive(Deserialize)]
struct Runs<R> {
    runs: Vec<R>,
}

#[derive(Deserialize)]
struct Ftp {
    k: f64,
    gamma_after_each_step: Vec<f64>,
    #[serde(rename = "final_W")]
    final_weight: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Spd {
    lambda: f64,
    distance_after_each_step: Vec<f64>,
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tpgm_vectors.json");
    serde_json::from_reader(File::open(path).unwrap()).unwrap()
}

/// The gradient of `½‖θ0 + δ − target‖²`.
fn slope<T: Real>(base: &[f64], delta: &[T], target: &[f64]) -> Vec<T> {
    let values = base.iter().zip(delta).zip(target);
    values.map(|((&base, &delta), &target)| T::of(base - target) + delta).collect()
}

#[track_caller]
fn assert_near<T: Real>(found: T, expected: f64, tolerance: f64, what: &str) {
    assert!((found.wide() - expected).abs() <= tolerance, "{what}: {found:?}, not {expected} within {tolerance}");
}

fn check_ftp<T: Real>(tolerance: f64) {
    let base = [1.0, -1.0, 0.0, 2.0];
    let (near, back) = ([2.0, -1.5, 0.5, 2.0], [0.5, -0.75, -0.25, 2.0]);
    let runs = vectors().ftp_sgd_mars.runs;
    assert_eq!(runs.iter().map(|run| run.k).collect::<Vec<_>>(), [1.0, 0.5, 0.0]);
    for run in runs {
        let mut radius = FastRadius::<T>::new();
        let mut delta = [T::zero(); 4];
        assert_eq!(run.gamma_after_each_step.len(), 10);
        for (step, &expected) in run.gamma_after_each_step.iter().enumerate() {
            let gradient = slope(&base, &delta, if step < 6 { &near } else { &back });
            radius.learn(&gradient, &delta, run.k, &RadiusAdam::default());
            delta.iter_mut().zip(&gradient).for_each(|(delta, &slope)| *delta -= T::of(0.2) * slope);
            radius.project(&mut delta, 2);
            assert_near(radius.value(), expected, tolerance, &format!("γ after step {}, k = {}", step + 1, run.k));
        }
        for ((&base, &delta), &expected) in base.iter().zip(&delta).zip(run.final_weight.iter().flatten()) {
            assert_near(T::of(base) + delta, expected, tolerance, &format!("final weight, k = {}", run.k));
        }
    }
}

/// Adam (Kingma & Ba, ICLR 2015) on two values.
struct Adam<T> {
    means: [T; 2],
    squares: [T; 2],
    step: i32,
}

impl<T: Real> Adam<T> {
    fn loss_and_gradient(&mut self, delta: &mut [T; 2], gradient: &[T], rate: f64) {
        let (beta1, beta2) = (T::of(0.9), T::of(0.999));
        self.step += 1;
        for (index, &slope) in gradient.iter().enumerate() {
            self.means[index] = beta1 * self.means[index] + (T::one() - beta1) * slope;
            self.squares[index] = beta2 * self.squares[index] + (T::one() - beta2) * slope * slope;
            let mean = self.means[index] / (T::one() - beta1.powi(self.step));
            let square = self.squares[index] / (T::one() - beta2.powi(self.step));
            delta[index] -= T::of(rate) * mean / (square.sqrt() + T::of(1e-8));
        }
    }
}

fn check_spd<T: Real>(tolerance: f64) {
    let (base, target) = ([1.0, 2.0], [1.4, 1.8]);
    let runs = vectors().adam_spd.runs;
    assert_eq!(runs.iter().map(|run| run.lambda).collect::<Vec<_>>(), [0.0, 1.0]);
    for run in runs {
        let mut adam = Adam { means: [T::zero(); 2], squares: [T::zero(); 2], step: 0 };
        let mut delta = [T::zero(); 2];
        let mut norms = Vec::new();
        assert_eq!(run.distance_after_each_step.len(), 5);
        for (step, &expected) in run.distance_after_each_step.iter().enumerate() {
            let gradient = slope(&base, &delta, &target);
            let before = selected_distance(&gradient, &delta);
            adam.loss_and_gradient(&mut delta, &gradient, 0.3);
            if let Some(before) = before {
                selective_decay(&mut delta, before, run.lambda);
            }
            distances(Norm::L2, &delta, 1, &mut norms);
            assert_near(norms[0], expected, tolerance, &format!("‖δ‖ after step {}, λ = {}", step + 1, run.lambda));
        }
    }
}

/// Tolerance in f64: the file's numbers are rounded to 9 decimals.
const F64: f64 = 1e-8;
/// Tolerance in f32.
const F32: f64 = 1e-5;

/// Catches: a radius that learns from this step's δ instead of the last one's, or from δ where it should be c; an Adam
/// that starts to count at the first radius; a k that scales the wrong sign.
#[test]
fn ftp() {
    check_ftp::<f64>(F64);
    check_ftp::<f32>(F32);
}

/// Catches: a condition with the wrong sign, one that looks at the step instead of the gradient, and a decay that
/// overshoots.
#[test]
fn spd() {
    check_spd::<f64>(F64);
    check_spd::<f32>(F32);
}
