//! SPD: selective projection decay towards the base, only for tensors whose loss decreases towards the base.

use crate::rescale;
use crate::sum::{dot, sum};
use fieldfit_tensor::Real;
use pulp::{Arch, Simd, WithSimd};

/// Returns a tensor's distance from its base, `‖δ‖₂`, if selective projection decay applies to the coming step, else
/// `None`: Tian et al., *Rethinking Weight Decay for Robust Fine-Tuning of Foundation Models*, NeurIPS 2024 (SPD). A
/// tensor is selected iff `−⟨g, δ⟩ < 0`: descending the loss leads back towards the base.
///
/// Must be called before the optimiser's step. `gradient` is the training loss's at θ0 + δ; only its direction counts.
///
/// # Panics
/// If `gradient` and `delta` differ in length.
pub fn selected_distance<T: Real>(gradient: &[T], delta: &[T]) -> Option<T> {
    assert_eq!(gradient.len(), delta.len(), "a gradient for another tensor");
    Arch::new().dispatch(Selection { gradient, delta })
}

/// Decays a selected tensor after the optimiser's step: `δ ← (1 − λ·r)·δ` with
/// `r = clamp((‖δ‖ − before) / ‖δ‖, 0, 1)`, where `before` is what [`selected_distance`] gave.
///
/// `strength` is λ: 0 leaves δ unchanged, to the bit; 1 restores the distance before the step. A δ of 0 is unchanged.
pub fn selective_decay<T: Real>(delta: &mut [T], before: T, strength: f64) {
    let distance = Arch::new().dispatch(Length { delta });
    if distance > 0.0 {
        let grown = ((distance - before.wide()) / distance).clamp(0.0, 1.0);
        rescale(delta, &[T::of(1.0 - strength * grown)]);
    }
}

/// SIMD kernel of [`selected_distance`].
struct Selection<'a, T> {
    gradient: &'a [T],
    delta: &'a [T],
}

impl<T: Real> WithSimd for Selection<'_, T> {
    type Output = Option<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<T> {
        let Self { gradient, delta } = self;
        (dot(gradient, delta) > 0.0).then(|| T::of(Length { delta }.with_simd(simd)))
    }
}

/// SIMD kernel of `‖δ‖₂`.
struct Length<'a, T> {
    delta: &'a [T],
}

impl<T: Real> WithSimd for Length<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        sum(self.delta, |value| value * value).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: the opposite choice: a tensor held back where the loss leads it away from the base, or at the base
    /// itself.
    #[test]
    fn only_what_the_loss_calls_back_is_selected() {
        let delta = [3.0_f32, -4.0];
        assert_eq!(selected_distance(&[1.0, 0.0], &delta), Some(5.0));
        assert_eq!(selected_distance(&[-1.0, 0.0], &delta), None);
        assert_eq!(selected_distance(&[4.0, 3.0], &delta), None);
        assert_eq!(selected_distance(&[1.0, 1.0], &[0.0_f32; 2]), None);
    }

    /// Catches: a decay of what came nearer by itself, 0/0 at the base, and λ = 0 that rounds.
    #[test]
    fn only_the_growth_is_taken_back() {
        let decayed = |start: [f64; 2], before: f64, strength: f64| {
            let mut delta = start;
            selective_decay(&mut delta, before, strength);
            delta
        };
        assert_eq!(decayed([3.0, -4.0], 2.5, 1.0), [1.5, -2.0]);
        assert_eq!(decayed([3.0, -4.0], 2.5, 0.5), [2.25, -3.0]);
        assert_eq!(decayed([3.0, -4.0], 6.0, 1.0), [3.0, -4.0]);
        assert_eq!(decayed([0.1, -0.7], 0.3, 0.0), [0.1, -0.7]);
        assert_eq!(decayed([0.0, 0.0], 0.0, 1.0), [0.0, 0.0]);
    }
}
