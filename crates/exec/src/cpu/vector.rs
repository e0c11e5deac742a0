//! Auto-vectorised scalar functions (exp, erf, GELU) and row reductions: branch-free, with as many partial sums as the
//! widest vector has lanes.
//!
//! Must be called inside [`vectorized`] from a plain loop: an iterator's closure may be compiled separately, without
//! vectors.

use pulp::{Arch, Simd, WithSimd};
use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// Runs `work`, an `#[inline(always)]` closure, compiled for this CPU's vector instructions.
///
/// A closure dispatched directly is called through its `FnOnce`, which the compiler may leave out of line and scalar: a
/// fused multiply-add is then a function call, and an exponential dozens of them.
pub(super) fn vectorized(work: impl FnMut()) {
    struct Work<F>(F);
    impl<F: FnMut()> WithSimd for Work<F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, _: S) {
            (self.0)();
        }
    }
    Arch::new().dispatch(Work(work));
}

/// Partial sums of a row: the same number on every CPU, so that the vector width does not change the bits.
const LANES: usize = 16;

/// Computes eˣ to two units in the last place; 0 below −87.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding and subtracting it rounds to an integer, which is in the lowest bits of the sum.
    const ROUNDER: f32 = 12_582_912.0;
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let bounded = x.clamp(-87.0, 88.0);
    let shifted = bounded.mul_add(LOG2_E, ROUNDER);
    let power = shifted - ROUNDER;
    let rest = power.mul_add(-LN_2.1, power.mul_add(-LN_2.0, bounded));
    // Cephes' polynomial of (eʳ − 1 − r) / r² for |r| ≤ ½ ln 2.
    let terms = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let series = polynomial(terms, 0.0, rest);
    let mantissa = series.mul_add(rest * rest, rest) + 1.0;
    let value = mantissa * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < -87.0 { 0.0 } else { value }
}

/// Evaluates a polynomial by Horner's rule; the terms are those of the falling powers below `first`'s.
#[inline(always)]
fn polynomial<const N: usize>(terms: [f32; N], first: f32, x: f32) -> f32 {
    let mut sum = first;
    for term in terms {
        sum = sum.mul_add(x, term);
    }
    sum
}

/// Computes the error function to an ulp, by Juffa's two polynomials: an odd one in the middle, an exponent outside.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let middle = [-5.967_617e-4, 4.991_194e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1];
    let middle = polynomial(middle, 0.0, square).mul_add(x, x);
    let high = (-1.728_534_7e-5_f32).mul_add(size, 3.831_972e-4);
    let low = (-3.883_964_4e-3_f32).mul_add(size, 2.425_462_2e-2);
    let outside = [-1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1];
    let outside = polynomial(outside, high.mul_add(square, low), size);
    let outside = (1.0 - exp(outside.mul_add(size, -size))).copysign(x);
    if size > 0.927_734_4 { outside } else { middle }
}

/// Computes GELU, `x · ½ (1 + erf(x / √2))`.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// Computes GELU's derivative, `½ (1 + erf(x / √2)) + x · e^(−x²/2) / √(2π)`.
#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    const DENSITY: f32 = 0.398_942_3;
    let density = DENSITY * exp(-0.5 * x * x);
    x.mul_add(density, 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)))
}

/// Sums `term` of each value.
#[inline(always)]
pub(super) fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    sum_pairs(row, row, |value, _| term(value))
}

/// Sums `term` of each pair of values of two rows of equal length.
#[inline(always)]
pub(super) fn sum_pairs(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (left, right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left.remainder().iter().zip(right.remainder());
    for (left, right) in left.zip(right) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += term(*left, *right);
        }
    }
    for (lane, (left, right)) in lanes.iter_mut().zip(rest) {
        *lane += term(*left, *right);
    }
    fold(lanes, |a, b| a + b)
}

/// Returns the largest value.
#[inline(always)]
pub(super) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = lane.max(*value);
    }
    fold(lanes, f32::max)
}

/// Reduces the lanes by halves.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes erf in f64 by its Taylor series, which converges everywhere.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut total) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            total += term / f64::from(2 * n + 1);
        }
        total * std::f64::consts::FRAC_2_SQRT_PI
    }

    /// Catches: a coefficient with a wrong digit, a seam between two polynomials, an exponent off by one.
    #[test]
    fn functions_are_exact_to_rounding() {
        for step in -4000..=4000 {
            let x = step as f32 / 1000.0;
            let wide = f64::from(x);
            let normal = 0.5 * (1.0 + exact_erf(wide / std::f64::consts::SQRT_2));
            let density = (-0.5 * wide * wide).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((f64::from(erf(x)) - exact_erf(wide)).abs() < 1.5e-7, "erf({x})");
            assert!((f64::from(gelu(x)) - wide * normal).abs() < 4e-7, "gelu({x})");
            assert!((f64::from(gelu_slope(x)) - normal - wide * density).abs() < 3e-7, "gelu'({x})");
            let x = 20.0 * x;
            assert!((f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs() < 3e-7, "exp({x})");
        }
    }

    /// Catches: an overflow where the exponential leaves f32, a NaN that becomes a number.
    #[test]
    fn extremes_stay_what_they_are() {
        assert_eq!((exp(-1e4), exp(f32::NEG_INFINITY), exp(0.0)), (0.0, 0.0, 1.0));
        assert_eq!((gelu(-100.0), gelu(100.0), gelu_slope(-100.0), gelu_slope(100.0)), (0.0, 100.0, 0.0, 1.0));
        assert!(exp(f32::NAN).is_nan() && gelu(f32::NAN).is_nan() && gelu_slope(f32::NAN).is_nan());
    }

    /// Catches: a tail that is left out or counted twice.
    #[test]
    fn sums_take_every_value_once() {
        for len in 0..50 {
            let row: Vec<f32> = (0..len).map(|value| value as f32 - 20.0).collect();
            assert_eq!(sum(&row, |value| value), row.iter().sum::<f32>(), "{len}");
            assert_eq!(sum_pairs(&row, &row, |a, b| a * b), row.iter().map(|a| a * a).sum::<f32>(), "{len}");
            assert_eq!(largest(&row), row.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{len}");
        }
    }
}
