//! Property tests of TPGM: the radius gradient is the derivative of the loss; a projection ends in the ball, leaves
//! values inside it unchanged and creates no NaN from finite values. Guards against a γ that silently does not learn,
//! the most common bug of ports.

use fieldfit_tensor::{Norm, Real};
use fieldfit_tpgm::{EPSILON, distances, project, radius_gradient, ratios};
use proptest::prelude::*;

/// A smooth loss with another slope at every weight: `Σ exp(a·w / 4)`, a = 1 … n.
fn loss(weights: &[f64]) -> f64 {
    weights.iter().zip(1..).map(|(weight, a)| (f64::from(a) / 4.0 * weight).exp()).sum()
}

fn loss_gradient(weights: &[f64]) -> Vec<f64> {
    let slope = |(weight, a): (&f64, i32)| f64::from(a) / 4.0 * (f64::from(a) / 4.0 * weight).exp();
    weights.iter().zip(1..).map(slope).collect()
}

fn projected(norm: Norm, delta: &[f64], rows: usize, radius: f64) -> Vec<f64> {
    let mut projected = delta.to_vec();
    project(norm, &mut projected, rows, radius);
    projected
}

fn norms() -> impl Strategy<Value = Norm> {
    prop_oneof![Just(Norm::L2), Just(Norm::Mars)]
}

fn norms_of<T: Real>(norm: Norm, delta: &[T], rows: usize) -> Vec<T> {
    let mut norms = Vec::new();
    distances(norm, delta, rows, &mut norms);
    norms
}

/// Catches: a dead γ, a row that is active when it should not be, and a wrong factor, in f64 against differences of the
/// loss itself. Rows have norms 0.7, 0.3 and 0, so that γ = 0.4 leaves one active under MARS.
#[test]
fn the_radius_gradient_is_the_slope_of_the_loss() {
    let delta = [0.3, -0.4, 0.0, 0.0, -0.2, 0.1, 0.0, 0.0, 0.0];
    let rows = 3;
    for (norm, radius) in [(Norm::L2, 0.1), (Norm::L2, 0.4), (Norm::Mars, 0.2), (Norm::Mars, 0.4)] {
        let gradient = loss_gradient(&projected(norm, &delta, rows, radius));
        let slope = radius_gradient(&gradient, &delta, &norms_of(norm, &delta, rows), radius);

        let step = 1e-5;
        let ahead = loss(&projected(norm, &delta, rows, radius + step));
        let behind = loss(&projected(norm, &delta, rows, radius - step));
        let difference = (ahead - behind) / (2.0 * step);
        assert!(
            difference.abs() > 0.1,
            "{norm:?} at {radius}: the loss must depend on γ for this test to mean anything"
        );
        assert!((slope - difference).abs() < 1e-7, "{norm:?} at {radius}: {slope}, not {difference}");
    }
}

proptest! {
    /// Catches: a projection that leaves a row outside, moves one that was inside, or divides nothing by nothing.
    #[test]
    fn a_projection_ends_in_the_ball(
        norm in norms(),
        rows in 1_usize..6,
        row in prop::collection::vec(prop_oneof![Just(0.0_f32), -1.0_f32..1.0, -1e-20_f32..1e-20], 1..40),
        radius in prop_oneof![Just(0.0_f32), Just(1e-8_f32), 0.0_f32..20.0],
    ) {
        let delta: Vec<f32> = (0..rows).flat_map(|scale| row.iter().map(move |value| value * scale as f32)).collect();
        let before = norms_of(norm, &delta, rows);
        let mut after = delta.clone();
        project(norm, &mut after, rows, radius);
        let span = delta.len() / before.len();

        prop_assert!(after.iter().all(|value| value.is_finite()));
        for (found, &was) in norms_of(norm, &after, rows).iter().zip(&before) {
            prop_assert!(*found <= radius * 1.000_001, "{found} is outside {radius}");
            prop_assert!(*found <= was);
        }
        for (index, &was) in before.iter().enumerate().filter(|&(_, &was)| was + EPSILON as f32 <= radius) {
            let values = index * span..(index + 1) * span;
            prop_assert_eq!(&after[values.clone()], &delta[values], "a norm of {} inside {} was touched", was, radius);
        }
    }

    /// Catches: a merge by ratios that would not be the projection that training saw.
    #[test]
    fn ratios_and_projection_agree_to_the_bit(
        norm in norms(),
        delta in prop::collection::vec(-1.0_f32..1.0, 12),
        radius in 0.0_f32..4.0,
    ) {
        let before = norms_of(norm, &delta, 3);
        let mut factors = Vec::new();
        ratios(&before, radius, &mut factors);
        prop_assert_eq!(factors.len(), before.len());
        let span = delta.len() / factors.len();
        let merged: Vec<f32> = delta.iter().enumerate().map(|(index, value)| factors[index / span] * value).collect();
        let mut in_place = delta;
        project(norm, &mut in_place, 3, radius);
        prop_assert_eq!(in_place, merged);
    }
}
