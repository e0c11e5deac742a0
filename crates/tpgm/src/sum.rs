//! Sums over many values: in f64, in one pass, in an order that depends on nothing but their number.

use crate::Real;

/// Independent running sums. A single one would add no faster than one addition's latency, and could not be vectorised:
/// the compiler may not reorder floating-point additions.
const LANES: usize = 8;

/// `Σ term(value)`.
pub(crate) fn sum<T: Real>(values: &[T], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(value.wide());
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += term(value.wide());
    }
    lanes.iter().sum()
}

/// `Σ term(value)` and `Σ value · factor`, reading both slices once.
pub(crate) fn sum_and_dot<T: Real>(values: &[T], factors: &[T], term: impl Fn(f64) -> f64) -> (f64, f64) {
    let mut sums = [0.0; LANES];
    let mut dots = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let (factor_chunks, factor_rest) = factors.as_chunks::<LANES>();
    for (chunk, factors) in chunks.iter().zip(factor_chunks) {
        for lane in 0..LANES {
            let value = chunk[lane].wide();
            sums[lane] += term(value);
            dots[lane] += value * factors[lane].wide();
        }
    }
    for (lane, (value, factor)) in rest.iter().zip(factor_rest).enumerate() {
        let value = value.wide();
        sums[lane] += term(value);
        dots[lane] += value * factor.wide();
    }
    (sums.iter().sum(), dots.iter().sum())
}
