//! The one door to the matrix product.

/// A matrix in memory: `rows × columns` values, the columns of a row adjacent, or the other way round.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> View<'a> {
    /// A matrix stored row by row.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a {rows}×{columns} matrix");
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// The same values read as the transposed matrix.
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_step: self.column_step, column_step: self.row_step, ..self }
    }
}

/// What happens to the values that the product is written over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// They are overwritten.
    Fresh,
    /// The product is added to them.
    Sum,
}

/// `out = left · right`, or `out += left · right`, on the calling thread; `out` is stored row by row.
pub(super) fn matmul(left: View<'_>, right: View<'_>, out: &mut [f32], onto: Onto) {
    assert_eq!(left.columns, right.rows, "inner dimensions");
    assert_eq!(out.len(), left.rows * right.columns, "the product's size");
    // SAFETY: the three pointers come from slices whose lengths were checked, here and in `View::new`, against the
    // dimensions and steps that are passed along; `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            right.columns as isize,
            onto == Onto::Sum,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect()
    }

    /// Swapped steps, or a product that reads stale values: every orientation against the definition, on odd sizes.
    #[test]
    fn products_follow_the_definition() {
        let (m, n, k) = (5, 7, 19);
        let (a, b) = (ramp(m * k, 1), ramp(k * n, 2));
        let (at, bt) = (flip(&a, m, k), flip(&b, k, n));
        let expected: Vec<f32> =
            (0..m * n).map(|i| (0..k).map(|x| a[i / n * k + x] * b[x * n + i % n]).sum()).collect();
        let lefts = [View::new(&a, m, k), View::new(&at, k, m).transposed()];
        let rights = [View::new(&b, k, n), View::new(&bt, n, k).transposed()];
        for left in lefts {
            for right in rights {
                let mut out = vec![f32::NAN; m * n];
                matmul(left, right, &mut out, Onto::Fresh);
                assert_eq!(out, expected);
                matmul(left, right, &mut out, Onto::Sum);
                assert!(out.iter().zip(&expected).all(|(o, e)| *o == 2.0 * e));
            }
        }
    }

    fn flip(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..values.len()).map(|i| values[i % rows * columns + i / rows]).collect()
    }
}
