//! Trainable radius: its initial value, its gradient, and its Adam update.

use crate::EPSILON;
use crate::sum::dot;
use fieldfit_tensor::Real;
use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// Lower bound of [`Radius::clip`]: a radius of zero would have no gradient and stay zero.
pub const MINIMUM_RADIUS: f64 = 1e-8;

/// Computes ∂L/∂γ at the projected weights in closed form: `Σ_{i active} ⟨G_i, δ_i⟩ / (n_i + ε)`, active iff `0 < γ ≤
/// n_i`.
///
/// `gradient` is G, the gradient of the validation loss with respect to this tensor at θ0 + r·δ; `delta` is the
/// *unprojected* δ, and `distances` its norms as [`distances`](crate::distances) gives them, one for the tensor or one
/// a row. Rows that are not active are not read.
///
/// # Panics
/// If `gradient` and `delta` differ in length, or the number of norms does not divide it.
pub fn radius_gradient<T: Real>(gradient: &[T], delta: &[T], distances: &[T], radius: T) -> T {
    assert_eq!(gradient.len(), delta.len(), "a gradient for another tensor");
    assert!(delta.len().is_multiple_of(distances.len().max(1)), "distances of another tensor");
    Arch::new().dispatch(RadiusGradient { gradient, delta, distances, radius })
}

/// Computes [`radius_gradient`] from the products `⟨G_i, δ_i⟩`; `product` is called for active rows only, one per
/// distance.
#[inline(always)]
pub fn radius_gradient_from_products<T: Real>(product: impl Fn(usize) -> f64, distances: &[T], radius: T) -> T {
    let active = |distance: T| radius > T::zero() && radius <= distance;
    let rows = distances.iter().enumerate().filter(|&(_, &distance)| active(distance));
    T::of(rows.map(|(row, distance)| product(row) / (distance.wide() + EPSILON)).sum())
}

/// SIMD kernel of [`radius_gradient`].
struct RadiusGradient<'a, T> {
    gradient: &'a [T],
    delta: &'a [T],
    distances: &'a [T],
    radius: T,
}

impl<T: Real> WithSimd for RadiusGradient<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> T {
        let Self { gradient, delta, distances, radius } = self;
        let span = delta.len() / distances.len().max(1);
        let row = |row: usize| row * span..(row + 1) * span;
        radius_gradient_from_products(|index| dot(&gradient[row(index)], &delta[row(index)]), distances, radius)
    }
}

/// Returns the initial radius: half of the smallest distance among the rows that moved; `None` if none moved.
///
/// A row that has not moved (a dead channel has no gradient) would set the radius to zero and reset the whole tensor to
/// its base. Under [`Norm::L2`](fieldfit_tensor::Norm::L2) this keeps exactly half of every tensor's δ.
pub fn initial_radius<T: Real>(distances: &[T]) -> Option<T> {
    let moved = distances.iter().copied().filter(|&distance| distance > T::zero());
    moved.reduce(T::min).map(|least| least / T::of(2.0))
}

/// Hyper-parameters of the radii's optimiser: Adam (Kingma & Ba, ICLR 2015), without weight decay.
///
/// A radius changes by about `learning_rate` per step, whatever the size of its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RadiusAdam {
    /// Step length, in the radius's unit.
    pub learning_rate: f64,
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of their squares.
    pub beta2: f64,
    /// Keeps a step finite where gradients vanish.
    pub epsilon: f64,
}

impl Default for RadiusAdam {
    /// The authors' settings.
    fn default() -> Self {
        Self { learning_rate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// Trainable radius of one tensor with its Adam state, which is kept for the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Radius<T> {
    /// γ, in the unit of the distances.
    pub value: T,
    mean: T,
    square: T,
    step: u64,
}

impl<T: Real> Radius<T> {
    /// Creates a radius without updates.
    pub fn new(value: T) -> Self {
        Self { value, mean: T::zero(), square: T::zero(), step: 0 }
    }

    /// Number of updates.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Whether value and moments are valid: finite, and a mean square of at least 0.
    pub fn is_sound(&self) -> bool {
        [self.value, self.mean, self.square].iter().all(|value| value.is_finite()) && self.square >= T::zero()
    }

    /// Updates the radius by one step of Adam against ∂L/∂γ. Must be followed by [`Radius::clip`].
    pub fn update(&mut self, gradient: T, adam: &RadiusAdam) {
        self.step += 1;
        let gradient = gradient.wide();
        let mean = adam.beta1 * self.mean.wide() + (1.0 - adam.beta1) * gradient;
        let square = adam.beta2 * self.square.wide() + (1.0 - adam.beta2) * gradient * gradient;

        let step = self.step as f64;
        let unbiased_mean = mean / (1.0 - adam.beta1.powf(step));
        let unbiased_square = square / (1.0 - adam.beta2.powf(step));
        let change = adam.learning_rate * unbiased_mean / (unbiased_square.sqrt() + adam.epsilon);

        self.value = T::of(self.value.wide() - change);
        self.mean = T::of(mean);
        self.square = T::of(square);
    }

    /// Clips the radius to the range from [`MINIMUM_RADIUS`] to the tensor's largest distance.
    ///
    /// The minimum wins if nothing moved. A NaN is propagated.
    pub fn clip(&mut self, furthest: T) {
        let least = T::of(MINIMUM_RADIUS);
        self.value = self.value.clamp(least, furthest.max(least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::norm_of;
    use fieldfit_tensor::Norm;

    /// Catches: the collapse of a whole tensor because one row has not moved, and a crash where none has.
    #[test]
    fn the_initial_radius_looks_at_rows_that_moved() {
        assert_eq!(initial_radius(&[0.0, 0.6, 0.4]), Some(0.2_f32));
        assert_eq!(initial_radius(&[0.0_f32, 0.0]), None);
        assert_eq!(initial_radius::<f32>(&[]), None);
    }

    /// Catches: the dead zone: a radius clipped to its norm that has lost its gradient, in f32 above all.
    #[test]
    fn a_radius_clipped_to_its_norm_stays_alive() {
        fn check<T: Real>() {
            let delta = [T::of(0.3), T::of(-0.4)];
            let gradient = [T::of(0.5), T::of(0.25)];
            for norm in [Norm::L2, Norm::Mars] {
                let mut radius = Radius::new(T::of(9.0));
                radius.clip(norm_of(norm, &delta));
                let slope = radius_gradient(&gradient, &delta, &[norm_of(norm, &delta)], radius.value).wide();
                let expected = 0.05 / norm_of(norm, &delta).wide();
                assert!((slope - expected).abs() < 1e-6, "{norm:?}: {slope}, not {expected}");
            }
        }
        check::<f32>();
        check::<f64>();
    }

    /// Catches: a gradient from rows inside the ball, where the projection does not depend on γ, and at γ = 0.
    #[test]
    fn a_slack_or_closed_ball_has_no_gradient() {
        let (delta, gradient) = ([0.3_f32, -0.4], [0.5_f32, 0.25]);
        assert_eq!(radius_gradient(&gradient, &delta, &[0.7], 0.71), 0.0);
        assert_eq!(radius_gradient(&gradient, &delta, &[0.7], 0.0), 0.0);
    }

    /// Catches: a clip that panics where nothing moved, or that turns a NaN into a plausible radius.
    #[test]
    fn clipping_survives_a_tensor_that_did_not_move() {
        let mut radius = Radius::new(-0.5_f32);
        radius.clip(0.0);
        assert_eq!(radius.value, 1e-8);
        radius.update(f32::NAN, &RadiusAdam::default());
        radius.clip(1.0);
        assert!(radius.value.is_nan());
    }

    /// Catches: state that a checkpoint would lose.
    #[test]
    fn a_radius_resumes_where_it_was_saved() {
        let mut radius = Radius::new(0.5_f32);
        radius.update(0.3, &RadiusAdam::default());
        let saved = serde_json::to_string(&radius).unwrap();
        let mut resumed: Radius<f32> = serde_json::from_str(&saved).unwrap();
        assert_eq!(resumed, radius);
        radius.update(-0.1, &RadiusAdam::default());
        resumed.update(-0.1, &RadiusAdam::default());
        assert_eq!(resumed, radius);
        assert_eq!(resumed.step(), 2);
    }
}
