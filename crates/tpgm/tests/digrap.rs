//! Reference vectors of DiGraP behind Adam, in `tests/data/digrap_vectors.json`, computed by an independent implementation. Guards
//! against a cosine with another step's correction, a bias correction by another count, and a projection of what leads back.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors has failed")]

use fieldfit_tpgm::DirectionalProjection;
use serde::Deserialize;
use std::fs::File;
use std::path::Path;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    mu: f64,
    learning_rate: f64,
    initial: Vec<Vec<f64>>,
    steps: Vec<Step>,
}

/// One step: a list has an entry for each tensor.
#[derive(Deserialize)]
struct Step {
    gradients: Vec<Vec<f64>>,
    after: Vec<After>,
}

#[derive(Deserialize)]
struct After {
    omega: f64,
    weight: Vec<f64>,
}

/// Adam (Kingma & Ba, ICLR 2015) of one tensor.
struct Adam {
    means: Vec<f64>,
    squares: Vec<f64>,
    step: i32,
}

impl Adam {
    fn step(&mut self, delta: &mut [f64], gradient: &[f64], rate: f64) {
        self.step += 1;
        let states = self.means.iter_mut().zip(&mut self.squares);
        for ((delta, gradient), (mean, square)) in delta.iter_mut().zip(gradient).zip(states) {
            *mean = 0.9 * *mean + 0.1 * gradient;
            *square = 0.999 * *square + 0.001 * gradient * gradient;
            let (mean, square) = (*mean / (1.0 - 0.9_f64.powi(self.step)), *square / (1.0 - 0.999_f64.powi(self.step)));
            *delta -= rate * mean / (square.sqrt() + 1e-8);
        }
    }
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 + 1e-10 * expected.abs(), "{what}: {found}, not {expected}");
    }
}

fn check(case: &Case, tensor: usize) {
    let Case { name, mu, learning_rate, initial, steps } = case;
    let start = &initial[tensor];
    let mut projection = DirectionalProjection::new();
    let mut delta = vec![0.0; start.len()];
    let mut adam = Adam { means: delta.clone(), squares: delta.clone(), step: 0 };
    for (number, step) in steps.iter().enumerate() {
        let (after, what) = (&step.after[tensor], format!("{name}, tensor {tensor}, step {}", number + 1));
        let mut gradient = step.gradients[tensor].clone();
        projection.project(&mut gradient, &delta, *mu);
        assert_near(&[projection.share()], &[after.omega], &format!("ω of {what}"));
        adam.step(&mut delta, &gradient, *learning_rate);
        let weights: Vec<_> = start.iter().zip(&delta).map(|(start, delta)| start + delta).collect();
        assert_near(&weights, &after.weight, &format!("weights of {what}"));
        assert!(projection.is_sound());
    }
}

#[test]
fn steps_are_those_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/digrap_vectors.json");
    let vectors: Vectors = serde_json::from_reader(File::open(path).unwrap()).unwrap();
    assert_eq!(vectors.cases.len(), 9);
    let cases = vectors.cases.iter().flat_map(|case| (0..case.initial.len()).map(move |tensor| (case, tensor)));
    cases.for_each(|(case, tensor)| check(case, tensor));
    let shares =
        vectors.cases.iter().flat_map(|case| &case.steps).flat_map(|step| &step.after).map(|after| after.omega);
    assert_eq!(shares.fold(0.0, f64::max), 1.0, "a case must reach the largest share");
}
