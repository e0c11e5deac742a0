//! L2-SP: quadratic penalty on the distance from the base.

use fieldfit_tensor::Real;
use pulp::{Arch, Simd, WithSimd};

/// Adds the gradient of `λ/2 · ‖δ‖²` to a loss's, `g ← g + λ·δ`: Li et al., *Explicit Inductive Bias for Transfer
/// Learning with Convolutional Networks*, ICML 2018, arXiv 1802.01483 (L2-SP). `strength` is λ.
///
/// # Panics
/// If `gradient` and `delta` differ in length.
pub fn pull_to_base<T: Real>(gradient: &mut [T], delta: &[T], strength: f64) {
    assert_eq!(gradient.len(), delta.len(), "a gradient for another tensor");
    Arch::new().dispatch(PullToBase { gradient, delta, strength: T::of(strength) });
}

/// SIMD kernel of [`pull_to_base`].
struct PullToBase<'a, T> {
    gradient: &'a mut [T],
    delta: &'a [T],
    strength: T,
}

impl<T: Real> WithSimd for PullToBase<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { gradient, delta, strength } = self;
        gradient.iter_mut().zip(delta).for_each(|(gradient, &delta)| *gradient += strength * delta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a push away from the base, half the strength, and a penalty that replaces the loss's gradient: the
    /// slope is held against differences of the penalised loss.
    #[test]
    fn the_pull_is_the_slope_of_the_penalty() {
        let (delta, strength) = ([0.5, -0.25, 0.0], 0.3);
        let loss = |delta: [f64; 3]| {
            let penalty: f64 = delta.iter().map(|value| value * value).sum();
            2.0 * delta[0] + delta[1] + strength / 2.0 * penalty
        };
        let mut gradient = [2.0, 1.0, 0.0];
        pull_to_base(&mut gradient, &delta, strength);
        for (position, found) in gradient.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = delta;
                moved[position] += by;
                loss(moved)
            };
            let expected = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        }
    }
}
