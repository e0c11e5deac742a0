//! Back into the ball.

use crate::{EPSILON, Norm, Real};

/// How much of δ stays, `r = clamp(γ / (n + ε), 0, 1)`, for each of the norms that [`distances`](crate::distances) gave.
///
/// The projected weights are `θ0 + r · δ`, each row (or the whole tensor) with its own `r`. Replaces what `out` held.
pub fn ratios<T: Real>(distances: &[T], radius: T, out: &mut Vec<T>) {
    out.clear();
    out.extend(distances.iter().map(|&distance| ratio(distance, radius)));
}

/// Pulls δ back into its ball, in place: `δ ← r · δ`, with the `r` of [`ratios`].
///
/// Under [`Norm::Mars`] this rescales each row; it is not the Euclidean projection on an L1 ball. What has `n + ε ≤ γ`
/// is left as it is, to the bit. `delta` is `[rows, …]`, row-major.
///
/// # Panics
/// If `rows` doesn't divide `delta`.
pub fn project<T: Real>(norm: Norm, delta: &mut [T], rows: usize, radius: T) {
    let span = norm.span(delta.len(), rows);
    for values in delta.chunks_exact_mut(span) {
        let ratio = ratio(norm.of(values), radius);
        if ratio != T::one() {
            values.iter_mut().for_each(|value| *value *= ratio);
        }
    }
}

/// Keeps a NaN: hiding one here would hide a broken run.
fn ratio<T: Real>(distance: T, radius: T) -> T {
    (radius / (distance + T::of(EPSILON))).clamp(T::zero(), T::one())
}
