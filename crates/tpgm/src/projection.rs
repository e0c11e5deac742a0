//! Projection of δ into its ball: ratios, and rescaling in place.

use crate::{EPSILON, distances};
use fieldfit_tensor::{Norm, Real};
use pulp::{Arch, Simd, WithSimd};

/// Computes the projection ratios, `r = clamp(γ / (n + ε), 0, 1)`, one for each norm returned by
/// [`distances`](crate::distances).
///
/// The projected weights are `θ0 + r · δ`, each row (or the whole tensor) with its own `r`. Replaces the contents of
/// `out`.
pub fn ratios<T: Real>(distances: &[T], radius: T, out: &mut Vec<T>) {
    out.clear();
    out.extend(distances.iter().map(|&distance| ratio(distance, radius)));
}

/// Projects δ into its ball, in place: `δ ← r · δ`, with the `r` of [`ratios`].
///
/// Under [`Norm::Mars`] this rescales each row; it is not the Euclidean projection on an L1 ball. Values with
/// `n + ε ≤ γ` are unchanged, to the bit. `delta` is `[rows, …]`, row-major.
///
/// # Panics
/// If `rows` does not divide `delta`.
pub fn project<T: Real>(norm: Norm, delta: &mut [T], rows: usize, radius: T) {
    let mut factors = Vec::new();
    distances(norm, delta, rows, &mut factors);
    factors.iter_mut().for_each(|factor| *factor = ratio(*factor, radius));
    rescale(delta, &factors);
}

/// Rescales δ in place, `δ ← r · δ`, by given ratios, one for the tensor or one per row. Rows with `r = 1` are neither
/// read nor written.
///
/// # Panics
/// If the number of ratios does not divide `delta`.
pub fn rescale<T: Real>(delta: &mut [T], ratios: &[T]) {
    assert!(delta.len().is_multiple_of(ratios.len().max(1)), "{} values, {} ratios", delta.len(), ratios.len());
    Arch::new().dispatch(Rescale { delta, ratios });
}

/// SIMD kernel of [`rescale`].
struct Rescale<'a, T> {
    delta: &'a mut [T],
    ratios: &'a [T],
}

impl<T: Real> WithSimd for Rescale<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let span = (self.delta.len() / self.ratios.len().max(1)).max(1);
        for (values, &ratio) in self.delta.chunks_exact_mut(span).zip(self.ratios) {
            if ratio != T::one() {
                values.iter_mut().for_each(|value| *value *= ratio);
            }
        }
    }
}

/// Computes one ratio; propagates a NaN, which would otherwise hide a diverged run.
fn ratio<T: Real>(distance: T, radius: T) -> T {
    (radius / (distance + T::of(EPSILON))).clamp(T::zero(), T::one())
}
