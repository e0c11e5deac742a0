//! Distance of a tensor from its base.

use crate::sum::sum;
use fieldfit_tensor::{Norm, Real};
use pulp::{Arch, Simd, WithSimd};

/// Returns how many values of a tensor share one norm.
///
/// # Panics
/// If `rows` does not divide `length`.
pub(crate) fn norm_span(norm: Norm, length: usize, rows: usize) -> usize {
    assert!(rows > 0 && length.is_multiple_of(rows), "{length} values cannot make {rows} rows of equal length");
    let span = match norm {
        Norm::L2 => length,
        Norm::Mars => length / rows,
    };
    span.max(1)
}

/// Returns the norm of values that share one.
#[inline(always)]
pub(crate) fn norm_of<T: Real>(norm: Norm, values: &[T]) -> T {
    T::of(match norm {
        Norm::L2 => sum(values, |value| value * value).sqrt(),
        Norm::Mars => sum(values, f64::abs),
    })
}

/// Computes the norms `n` of a tensor's δ: one for the tensor under [`Norm::L2`], one per row under [`Norm::Mars`].
///
/// `delta` is `[rows, …]`, row-major. A tensor of one dimension is one row, whatever the norm. Replaces the contents
/// of `out`. A tensor without values has no norm.
///
/// # Panics
/// If `rows` does not divide `delta`.
pub fn distances<T: Real>(norm: Norm, delta: &[T], rows: usize, out: &mut Vec<T>) {
    let span = norm_span(norm, delta.len(), rows);
    out.clear();
    Arch::new().dispatch(Distances { norm, delta, span, out });
}

/// SIMD kernel of [`distances`].
struct Distances<'a, T> {
    norm: Norm,
    delta: &'a [T],
    span: usize,
    out: &'a mut Vec<T>,
}

impl<T: Real> WithSimd for Distances<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.delta.chunks_exact(self.span);
        match self.norm {
            Norm::L2 => self.out.extend(rows.map(|row| norm_of(Norm::L2, row))),
            Norm::Mars => self.out.extend(rows.map(|row| norm_of(Norm::Mars, row))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a lane that is dropped or counted twice where a row's length is not a multiple of the lanes.
    #[test]
    fn every_value_of_a_row_counts_once() {
        for length in 1..100 {
            let delta: Vec<f32> = (0..2 * length).map(|index| index as f32 - 7.0).collect();
            let mut norms = Vec::new();
            distances(Norm::Mars, &delta, 2, &mut norms);
            let expected: Vec<f32> =
                delta.chunks(length).map(|row| row.iter().map(|value| value.abs()).sum()).collect();
            assert_eq!(norms, expected, "rows of {length}");

            distances(Norm::L2, &delta, 2, &mut norms);
            let squares: f64 = delta.iter().map(|&value| f64::from(value * value)).sum();
            assert_eq!(norms, [squares.sqrt() as f32], "two rows of {length}");
        }
    }

    /// Catches: sums in f32: a million small values after a large one would vanish one by one.
    #[test]
    fn long_sums_keep_their_small_values() {
        let mut delta = vec![1e-3_f32; 1 << 20];
        delta[0] = 1e5;
        let expected = 1e5 + f64::from(1e-3_f32) * ((1 << 20) - 1) as f64;
        let norm: f32 = norm_of(Norm::Mars, &delta);
        assert_eq!(norm, expected as f32);
    }

    /// Catches: a crash on a tensor that has no values.
    #[test]
    fn an_empty_tensor_has_no_norm() {
        let mut norms = vec![1.0_f32];
        distances(Norm::Mars, &[], 3, &mut norms);
        assert!(norms.is_empty());
    }

    /// Catches: rows that silently leave out a tensor's last values.
    #[test]
    #[should_panic(expected = "7 values cannot make 2 rows")]
    fn rows_of_unequal_length_are_refused() {
        distances(Norm::Mars, &[0.0_f32; 7], 2, &mut Vec::new());
    }
}
