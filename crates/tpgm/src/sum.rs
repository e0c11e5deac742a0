//! Deterministic sums in f64, in one pass, in an order that depends only on the number of values.
//!
//! Plain loops that the compiler vectorises inside a [`pulp::WithSimd`]; the instruction set does not change the bits.

use fieldfit_tensor::Real;

/// Partial sums in long rows: enough to hide an addition's latency.
const LANES: usize = 32;
/// Partial sums in the remainder of a row, or in a short one.
const FEW: usize = 8;

/// Computes `Σ term(value)`.
#[inline(always)]
pub(crate) fn sum<T: Real>(values: &[T], term: impl Fn(f64) -> f64) -> f64 {
    sums(values, values, |value, _| term(value))
}

/// Computes `Σ value · factor`.
#[inline(always)]
pub(crate) fn dot<T: Real>(values: &[T], factors: &[T]) -> f64 {
    sums(values, factors, |value, factor| value * factor)
}

/// Computes `Σ term(value, factor)`.
#[inline(always)]
fn sums<T: Real>(values: &[T], factors: &[T], term: impl Fn(f64, f64) -> f64) -> f64 {
    let (blocks, values) = values.as_chunks::<LANES>();
    let (factor_blocks, factors) = factors.as_chunks::<LANES>();
    let mut few = [0.0; FEW];
    if !blocks.is_empty() {
        let mut lanes = [0.0; LANES];
        for (values, factors) in blocks.iter().zip(factor_blocks) {
            add(&mut lanes, values, factors, &term);
        }
        for lane in 0..FEW {
            few[lane] = (lanes[lane] + lanes[lane + 16]) + (lanes[lane + 8] + lanes[lane + 24]);
        }
    }
    let (chunks, values) = values.as_chunks::<FEW>();
    let (factor_chunks, factors) = factors.as_chunks::<FEW>();
    for (values, factors) in chunks.iter().zip(factor_chunks) {
        add(&mut few, values, factors, &term);
    }
    let [a, b, c, d, e, f, g, h] = few;
    let mut total = ((a + e) + (c + g)) + ((b + f) + (d + h));
    for (value, factor) in values.iter().zip(factors) {
        total += term(value.wide(), factor.wide());
    }
    total
}

/// Adds one term to each partial sum.
#[inline(always)]
fn add<T: Real, const N: usize>(
    lanes: &mut [f64; N],
    values: &[T; N],
    factors: &[T; N],
    term: &impl Fn(f64, f64) -> f64,
) {
    for lane in 0..N {
        lanes[lane] += term(values[lane].wide(), factors[lane].wide());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a lane that is dropped or counted twice where a length is not a multiple of the lanes.
    #[test]
    fn every_value_counts_once() {
        for length in 0..100_u32 {
            let values: Vec<f32> = (0..length).map(|index| index as f32 - 7.0).collect();
            let factors: Vec<f32> = values.iter().map(|value| value * 3.0 + 1.0).collect();
            let products = values.iter().zip(&factors).map(|(value, factor)| f64::from(value * factor));
            assert_eq!(dot(&values, &factors), products.sum::<f64>(), "{length} values");
            let magnitudes = values.iter().map(|value| f64::from(value.abs()));
            assert_eq!(sum(&values, f64::abs), magnitudes.sum::<f64>(), "{length} values");
        }
    }
}
