//! FTP: radii learned from the training gradient (Fast Trainable Projection).

use crate::sum::dot;
use crate::{EPSILON, MINIMUM_RADIUS, Radius, RadiusAdam, distances, ratios, rescale};
use fieldfit_tensor::{Norm, Real};
use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// FTP radius of one tensor, learned without validation images: Tian et al., *Fast Trainable Projection*, NeurIPS 2023,
/// arXiv 2310.19182. Distances are [`Norm::Mars`]'s.
///
/// With `c` the tensor's δ as the optimiser's step leaves it and `n = ‖c‖ + ε`, a row each, step `t` is
///
/// 1. [`FastRadius::learn`], before the optimiser: `h = Σ_rows ⟨g_t, c_{t−1}⟩ / n_{t−1}`, over every row, active or
///    not; times `k` if it is above 0, which would shrink the radius; one step of Adam on γ. The first step has no `c`
///    to learn from and only counts the step.
/// 2. the optimiser's own step, which makes `c_t` of `δ_{t−1}`;
/// 3. [`FastRadius::project`]: γ is clipped to `[1e-8, max n_t]`, and `δ_t = clamp(γ / n_t, 0, 1) · c_t`.
///
/// `c` is not kept: `⟨g, c⟩ / n = ⟨g, δ⟩ / min(γ, n)`, so that a norm a row is enough. That holds in f32 from the first
/// radius of 1e-8 on because δ is the trainer's state; recovered from rounded weights, it would have drowned there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FastRadius<T> {
    radius: Radius<T>,
    /// The row norms of the last `c`, without ε; none before the first step.
    distances: Vec<T>,
}

impl<T: Real> FastRadius<T> {
    /// Creates the radius of a tensor that has not moved: [`MINIMUM_RADIUS`].
    pub fn new() -> Self {
        Self { radius: Radius::new(T::of(MINIMUM_RADIUS)), distances: Vec::new() }
    }

    /// γ, in the unit of the distances.
    pub const fn value(&self) -> T {
        self.radius.value
    }

    /// γ with its Adam state.
    pub const fn radius(&self) -> &Radius<T> {
        &self.radius
    }

    /// Distance of each row before the last projection; empty before the first step.
    pub fn distances(&self) -> &[T] {
        &self.distances
    }

    /// Updates γ by one step of Adam; must be called before the optimiser's step.
    ///
    /// `gradient` is the training loss's at θ0 + δ, neither clipped nor decayed; `delta` is δ as the last
    /// [`FastRadius::project`] left it; `strength` is `k` in 0..=1, and 1 holds back most.
    ///
    /// # Panics
    /// If `gradient` and `delta` differ in length, or the number of distances does not divide `delta`.
    pub fn learn(&mut self, gradient: &[T], delta: &[T], strength: f64, adam: &RadiusAdam) {
        assert_eq!(gradient.len(), delta.len(), "a gradient for another tensor");
        assert!(delta.len().is_multiple_of(self.distances.len().max(1)), "distances of another tensor");
        let (radius, distances) = (self.radius.value.wide(), self.distances.as_slice());
        let slope = Arch::new().dispatch(Slope { gradient, delta, distances, radius });
        self.radius.update(T::of(if slope > 0.0 { strength * slope } else { slope }), adam);
    }

    /// Projects δ into the ball; must be called after the optimiser's step. `delta` is `[rows, …]`, row-major.
    ///
    /// # Panics
    /// If `rows` does not divide `delta`.
    pub fn project(&mut self, delta: &mut [T], rows: usize) {
        distances(Norm::Mars, delta, rows, &mut self.distances);
        let furthest = self.distances.iter().copied().fold(T::zero(), T::max);
        self.radius.clip(furthest + T::of(EPSILON));
        let mut factors = Vec::new();
        ratios(&self.distances, self.radius.value, &mut factors);
        rescale(delta, &factors);
    }
}

impl<T: Real> Default for FastRadius<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// SIMD kernel of `Σ_rows ⟨g, δ⟩ / min(γ, n + ε)`.
struct Slope<'a, T> {
    gradient: &'a [T],
    delta: &'a [T],
    distances: &'a [T],
    radius: f64,
}

impl<T: Real> WithSimd for Slope<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Self { gradient, delta, distances, radius } = self;
        let span = (delta.len() / distances.len().max(1)).max(1);
        let rows = gradient.chunks_exact(span).zip(delta.chunks_exact(span)).zip(distances);
        let mut total = 0.0;
        for ((gradient, delta), distance) in rows {
            total += dot(gradient, delta) / radius.min(distance.wide() + EPSILON);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: 0/0 where a row, or a whole tensor, has not moved: a NaN that spreads over the radius, then the
    /// weights.
    #[test]
    fn rows_that_have_not_moved_stay_at_the_base() {
        let mut radius = FastRadius::<f32>::new();
        let mut delta = [0.0, 0.0, 0.5, -0.5];
        for _ in 0..3 {
            radius.learn(&[1.0, 1.0, -1.0, 1.0], &delta, 1.0, &RadiusAdam::default());
            radius.project(&mut delta, 2);
            assert_eq!(delta[..2], [0.0, 0.0]);
            assert!(delta.iter().all(|value| value.is_finite()) && radius.value() > 0.0);
            delta[2] += 0.1;
        }

        let mut unmoved = FastRadius::<f32>::new();
        let mut nothing = [0.0; 4];
        for _ in 0..3 {
            unmoved.learn(&[1.0; 4], &nothing, 1.0, &RadiusAdam::default());
            unmoved.project(&mut nothing, 2);
        }
        assert_eq!((nothing, unmoved.value()), ([0.0; 4], MINIMUM_RADIUS as f32));
    }

    /// Catches: a strength that also weakens what makes the radius larger.
    #[test]
    fn the_strength_scales_only_what_shrinks() {
        let after = |gradient: [f64; 2], strength: f64| {
            let adam = RadiusAdam { epsilon: 1.0, ..RadiusAdam::default() };
            let mut radius = FastRadius::new();
            radius.learn(&gradient, &[0.0; 2], strength, &adam);
            let mut delta = [0.3, -0.2];
            radius.project(&mut delta, 1);
            radius.learn(&gradient, &delta, strength, &adam);
            radius.value() - MINIMUM_RADIUS
        };
        let (outwards, inwards) = ([-1.0, 1.0], [1.0, -1.0]);
        assert_eq!(after(outwards, 0.25), after(outwards, 1.0));
        assert!(after(outwards, 1.0) > 0.0);
        assert!(after(inwards, 1.0) < after(inwards, 0.25) && after(inwards, 0.25) < 0.0);
        assert_eq!(after(inwards, 0.0), 0.0);
    }
}
