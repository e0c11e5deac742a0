//! DiGraP: the part of a gradient that leads straight away from the base, taken back by a learned share.

use crate::EPSILON;
use crate::sum::{dot, sum};
use fieldfit_tensor::Real;
use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// Decay of the mean slope of ω.
const BETA1: f64 = 0.9;
/// Decay of the mean squared slope of ω.
const BETA2: f64 = 0.999;
/// ε of ω's Adam.
const ADAM_EPSILON: f64 = 1e-8;
/// Lengths below this count as this much in a cosine.
const SHORTEST: f64 = 1e-12;

/// DiGraP of one tensor, with its learned share ω: Huang, Tian, Maneechotesuwan, Chopra and Kira, *Directional Gradient Projection for
/// Robust Fine-Tuning of Foundation Models*, ICLR 2025, arXiv 2502.15895.
///
/// With g the training loss's gradient and δ = θ − θ0 before the step, u = ⟨g, δ⟩: where u < 0, descending the loss
/// leads further away from the base, and the gradient becomes g − ω·(u/‖δ‖²)·δ. At ω = 1 the step is at right angles to
/// δ; at 0 it is the plain one. ω is learned by Adam within 0..1, from the cosine of this gradient with the last step's
/// correction, (u/‖δ‖²)·δ, which is recorded at every step, whether it was applied or not.
///
/// The authors' prototype takes the cosine along the second dimension of a matrix, and fails on vectors; this takes that of whole
/// tensors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DirectionalProjection<T> {
    share: f64,
    mean: f64,
    square: f64,
    step: u64,
    /// Factor of `last` in the last step's correction.
    factor: f64,
    /// δ before the last step; empty before the first.
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    last: Vec<T>,
}

impl<T: Real> DirectionalProjection<T> {
    /// Creates the state before the first step: ω is 0.
    pub const fn new() -> Self {
        Self { share: 0.0, mean: 0.0, square: 0.0, step: 0, factor: 0.0, last: Vec::new() }
    }

    /// ω, 0..1.
    pub const fn share(&self) -> f64 {
        self.share
    }

    /// Number of steps so far.
    pub const fn step(&self) -> u64 {
        self.step
    }

    /// δ before the last step; empty before the first.
    pub fn last(&self) -> &[T] {
        &self.last
    }

    /// Whether every value is finite and in its range.
    pub fn is_sound(&self) -> bool {
        let Self { share, mean, square, step: _, factor, last } = self;
        (0.0..=1.0).contains(share)
            && mean.is_finite()
            && (0.0..=f64::MAX).contains(square)
            && factor.is_finite()
            && last.iter().all(|value| value.is_finite())
    }

    /// Learns ω and projects the gradient; must be called before clipping and the optimiser's step. `gradient` is the training
    /// loss's at θ0 + δ; `rate` is the learning rate of ω.
    ///
    /// # Panics
    /// If `gradient`, `delta` and the last step's δ differ in length.
    pub fn project(&mut self, gradient: &mut [T], delta: &[T], rate: f64) {
        assert_eq!(gradient.len(), delta.len(), "a gradient for another tensor");
        let is_first = self.last.is_empty();
        assert!(is_first || self.last.len() == delta.len(), "a state of another tensor");
        self.step += 1;
        let products = Arch::new().dispatch(Products { gradient, delta, last: &self.last });
        if !is_first {
            self.learn(products.slope(self.factor), rate);
        }
        self.factor = products.along / (products.distance + EPSILON);
        self.last.clear();
        self.last.extend_from_slice(delta);
        if products.along < 0.0 {
            let factor = T::of(-self.share * products.along / products.distance);
            gradient.iter_mut().zip(delta).for_each(|(gradient, &delta)| *gradient += factor * delta);
        }
    }

    fn learn(&mut self, slope: f64, rate: f64) {
        self.mean = BETA1 * self.mean + (1.0 - BETA1) * slope;
        self.square = BETA2 * self.square + (1.0 - BETA2) * slope * slope;
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let (mean, square) = (self.mean / correction(BETA1), self.square / correction(BETA2));
        self.share = (self.share - rate * mean / (square.sqrt() + ADAM_EPSILON)).clamp(0.0, 1.0);
    }
}

/// Inner products of one step.
struct InnerProducts {
    /// ⟨g, δ⟩.
    along: f64,
    /// ‖δ‖².
    distance: f64,
    /// ‖g‖.
    gradient: f64,
    /// ⟨g, δ of the step before⟩.
    before: f64,
    /// ‖δ of the step before‖.
    length: f64,
}

impl InnerProducts {
    /// Cosine of the gradient and `factor` times the δ of the step before.
    fn slope(&self, factor: f64) -> f64 {
        factor * self.before / (self.gradient.max(SHORTEST) * (factor.abs() * self.length).max(SHORTEST))
    }
}

/// SIMD kernel of [`InnerProducts`].
struct Products<'a, T> {
    gradient: &'a [T],
    delta: &'a [T],
    last: &'a [T],
}

impl<T: Real> WithSimd for Products<'_, T> {
    type Output = InnerProducts;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> InnerProducts {
        let Self { gradient, delta, last } = self;
        let square = |value: f64| value * value;
        InnerProducts {
            along: dot(gradient, delta),
            distance: sum(delta, square),
            gradient: sum(gradient, square).sqrt(),
            before: dot(&gradient[..last.len()], last),
            length: sum(last, square).sqrt(),
        }
    }
}
