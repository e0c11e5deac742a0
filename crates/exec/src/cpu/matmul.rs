//! Matrix multiplication kernels: packed or strided operands, register tiles, fused epilogues.

use super::epilogue::{Epilogue, IdentityEpilogue};
use super::thread_pool::tiles;
use super::tile::{Block, Left, Right, VECTORS, each_tile, with_vectors};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Terms accumulated before the sums are written: the right operand's panel stays in the L1 cache.
const DEPTH: usize = 128;

/// Packed right operand of a product, `[depth, columns]`, in panels as wide as a tile.
#[derive(Debug, Clone, Default)]
pub(super) struct PackedMatrix {
    values: Vec<f32>,
    depth: usize,
    columns: usize,
}

impl PackedMatrix {
    /// Returns the values of a packed matrix of that size; the last panel is padded with zeros.
    pub fn size(depth: usize, columns: usize) -> usize {
        depth * columns.next_multiple_of(lanes())
    }

    /// Packs into the existing buffer, panel by panel; `fill` receives the panel's columns, the distance between its
    /// rows, and its values.
    pub fn refill_panels(&mut self, depth: usize, columns: usize, fill: impl Fn(Range<usize>, usize, &mut [f32])) {
        self.resize(depth, columns);
        let mut rest = self.values.as_mut_slice();
        for filled in tiles(0..columns, panel_columns()) {
            let width = filled.len().next_multiple_of(lanes());
            let (panel, after) = rest.split_at_mut(depth * width);
            fill(filled, width, panel);
            rest = after;
        }
    }

    /// Packs into the existing buffer, row by row; `fill` writes the row at a depth.
    pub fn refill_rows(&mut self, depth: usize, columns: usize, fill: impl Fn(usize, &mut [f32])) {
        self.resize(depth, columns);
        let mut row = vec![0.0; columns.next_multiple_of(lanes())];
        for k in 0..depth {
            fill(k, &mut row[..columns]);
            for part in tiles(0..row.len(), panel_columns()) {
                let start = part.start * depth + k * part.len();
                self.values[start..][..part.len()].copy_from_slice(&row[part]);
            }
        }
    }

    /// Resizes the buffer; padding is zero and never written.
    fn resize(&mut self, depth: usize, columns: usize) {
        if (self.depth, self.columns) != (depth, columns) {
            (self.depth, self.columns) = (depth, columns);
            self.values.clear();
            self.values.resize(Self::size(depth, columns), 0.0);
        }
    }

    /// Values allocated.
    pub const fn capacity(&self) -> usize {
        self.values.capacity()
    }

    pub const fn depth(&self) -> usize {
        self.depth
    }

    pub const fn columns(&self) -> usize {
        self.columns
    }
}

/// Computes `out = epilogue(left · right)`: `left` is `[rows, depth]`, `out` is `[rows, columns]` and starts at row
/// `first` of the activation.
pub(super) fn multiply(
    left: &[f32],
    right: &PackedMatrix,
    first: usize,
    out: &mut [f32],
    epilogue: &mut impl Epilogue,
) {
    multiply_terms(left, right, 0..right.depth, first, out, epilogue);
}

/// Computes [`multiply`] for a range of terms, which are all of `left`; adds to `out` unless the range starts at 0.
pub(super) fn multiply_terms(
    left: &[f32],
    right: &PackedMatrix,
    terms: Range<usize>,
    first: usize,
    out: &mut [f32],
    epilogue: &mut impl Epilogue,
) {
    let accumulate = if terms.start == 0 { Accumulate::Overwrite } else { Accumulate::Add };
    multiply_part(left, right, (terms, 0..right.columns), (first, out), accumulate, epilogue);
}

/// Computes `out = left · right` for a range of terms, which are all of `left`, and a range of columns, which are all
/// of `out` and must be whole panels.
pub(super) fn multiply_block(
    left: &[f32],
    right: &PackedMatrix,
    terms: Range<usize>,
    columns: Range<usize>,
    out: &mut [f32],
) {
    multiply_part(left, right, (terms, columns), (0, out), Accumulate::Overwrite, &mut IdentityEpilogue);
}

/// Computes a range of terms and columns of a product.
fn multiply_part(
    left: &[f32],
    right: &PackedMatrix,
    (terms, columns): (Range<usize>, Range<usize>),
    (first, out): (usize, &mut [f32]),
    accumulate: Accumulate,
    epilogue: &mut impl Epilogue,
) {
    let depth = terms.len();
    let rows = left.len().checked_div(depth).unwrap_or(0);
    assert_eq!((left.len(), out.len()), (rows * depth, rows * columns.len()), "operands of unequal depth");
    let is_edge = |column: usize| column.is_multiple_of(panel_columns()) || column == right.columns;
    assert!(
        is_edge(columns.start) && is_edge(columns.end) && columns.end <= right.columns,
        "columns that are not whole panels"
    );
    assert!(terms.end <= right.depth, "terms beyond the right operand");
    let right = |column: usize, width: usize| {
        let start = (columns.start + column) * right.depth + terms.start * width;
        Right { start: right.values[start..].as_ptr(), depth_step: width }
    };
    Arch::new().dispatch(Matmul {
        rows,
        columns: columns.len(),
        depth,
        left: Left { start: left.as_ptr(), step: depth, depth_step: 1 },
        right,
        first: first * columns.len(),
        out,
        step: columns.len(),
        accumulate,
        epilogue,
    });
}

/// Returns the columns per panel.
pub(super) fn panel_columns() -> usize {
    VECTORS * lanes()
}

/// Whether a result overwrites its target or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accumulate {
    /// The target is overwritten.
    Overwrite,
    /// The result is added to the target.
    Add,
}

/// Computes some rows of `out = leftᵀ · right` or `out += leftᵀ · right`: `left` is `[depth, left_columns]`, of which
/// `rows` are the output's rows; `right` is `[depth, columns]`.
pub(super) fn multiply_transposed(
    (left, left_columns): (&[f32], usize),
    rows: Range<usize>,
    (right, columns): (&[f32], usize),
    out: &mut [f32],
    accumulate: Accumulate,
) {
    let depth = left.len() / left_columns;
    assert_eq!((left.len(), right.len()), (depth * left_columns, depth * columns), "operands of unequal depth");
    assert!(rows.end <= left_columns && out.len() == rows.len() * columns, "an output of another size");
    if depth == 0 && accumulate == Accumulate::Overwrite {
        out.fill(0.0);
    }
    let blocks = left.chunks(DEPTH * left_columns).zip(right.chunks(DEPTH * columns));
    for (index, (left, right)) in blocks.enumerate() {
        Arch::new().dispatch(Matmul {
            rows: rows.len(),
            columns,
            depth: right.len() / columns,
            left: Left { start: left[rows.start..].as_ptr(), step: 1, depth_step: left_columns },
            right: |column, _| Right { start: right[column..].as_ptr(), depth_step: columns },
            first: 0,
            out,
            step: columns,
            accumulate: if index == 0 { accumulate } else { Accumulate::Add },
            epilogue: &mut IdentityEpilogue,
        });
    }
}

/// View of a matrix with row and column strides.
#[derive(Clone, Copy)]
pub(super) struct StridedMatrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> StridedMatrix<'a> {
    /// View with rows `step` values apart.
    pub const fn rows(values: &'a [f32], step: usize) -> Self {
        Self { values, row: step, column: 1 }
    }

    /// Transposed view of rows `step` values apart.
    pub const fn columns(values: &'a [f32], step: usize) -> Self {
        Self { values, row: 1, column: step }
    }

    /// Whether the values cover that many rows and columns.
    const fn has(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// Computes `out = left · right` or `out += left · right` of size `[rows, columns, depth]` with strided operands; the
/// columns of `right` must be adjacent, and the rows of `out` are `step` values apart.
pub(super) fn multiply_strided(
    [rows, columns, depth]: [usize; 3],
    left: StridedMatrix<'_>,
    right: StridedMatrix<'_>,
    (out, step): (&mut [f32], usize),
    accumulate: Accumulate,
) {
    assert!(left.has(rows, depth) && right.has(depth, columns) && right.column == 1, "operands of unequal depth");
    Arch::new().dispatch(Matmul {
        rows,
        columns,
        depth,
        left: Left { start: left.values.as_ptr(), step: left.row, depth_step: left.column },
        right: |column, _| Right { start: right.values[column..].as_ptr(), depth_step: right.row },
        first: 0,
        out,
        step,
        accumulate,
        epilogue: &mut IdentityEpilogue,
    });
}

/// Returns the f32 lanes of a vector on this CPU.
fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// SIMD kernel of a product: panels of columns, split into tiles of rows.
struct Matmul<'a, P, E> {
    rows: usize,
    columns: usize,
    depth: usize,
    left: Left,
    /// Returns the right operand's panel at a column, with that many columns including padding.
    right: P,
    /// Index in the activation of the output's first value.
    first: usize,
    out: &'a mut [f32],
    /// Row stride of the output.
    step: usize,
    accumulate: Accumulate,
    epilogue: &'a mut E,
}

impl<P: Fn(usize, usize) -> Right, E: Epilogue> WithSimd for Matmul<'_, P, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for column in (0..self.columns).step_by(VECTORS * S::F32_LANES) {
            with_vectors!(S::F32_LANES, self.columns, column, self.panel::<S>(simd, column));
        }
    }
}

impl<P: Fn(usize, usize) -> Right, E: Epilogue> Matmul<'_, P, E> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, column: usize) {
        let right = (self.right)(column, V * S::F32_LANES);
        each_tile!(S, V, TAIL, self.rows, row, self.tile(simd, row, column, right));
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        right: Right,
    ) {
        let start = self.first + row * self.step + column;
        let block = Block::new::<V>(simd, start, self.step, column, self.columns);
        let left = Left { start: self.left.start.wrapping_add(row * self.left.step), ..self.left };
        // SAFETY: its callers checked that the operands have `rows` and `columns` for each k below `depth`;
        // this tile's rows and columns are among them.
        let mut sums = unsafe { block.product::<R, V, TAIL>(simd, self.depth, left, right) };
        if self.accumulate == Accumulate::Add {
            let here = block.at(start - self.first);
            here.update::<R, V, TAIL>(simd, &mut sums, self.out, |sum, before| simd.add_f32s(before, sum));
        }
        self.epilogue.apply::<S, R, V, TAIL>(simd, &block, &mut sums);
        block.write::<R, V, TAIL>(simd, &sums, self.first, self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect()
    }

    /// Catches: a tile that reads or writes outside its rows and columns. Compares both products with the definition on
    /// sizes around multiples of the tile's; integers are exact in any order.
    #[test]
    fn products_follow_the_definition() {
        for (m, n, k) in
            [(1, 1, 1), (3, 5, 2), (8, 48, 16), (9, 47, 7), (13, 49, 3), (17, 100, 5), (4, 16, 131), (0, 3, 2)]
        {
            let (left, right) = (ramp(m * k, 1), ramp(k * n, 2));
            let sum =
                |row: usize, column: usize| (0..k).map(|x| left[row * k + x] * right[x * n + column]).sum::<f32>();
            let expected: Vec<f32> = (0..m * n).map(|i| sum(i / n, i % n)).collect();
            let mut packed = PackedMatrix::default();
            packed.refill_rows(k, n, |k, row| row.copy_from_slice(&right[k * n..][..n]));
            let mut out = vec![f32::NAN; m * n];
            multiply(&left, &packed, 0, &mut out, &mut IdentityEpilogue);
            assert_eq!(out, expected, "{m}×{k} · {k}×{n}");
            for split in (1..k).step_by(k.div_ceil(2)) {
                let terms = |terms: Range<usize>| -> Vec<f32> {
                    left.chunks_exact(k).flat_map(|row| row[terms.clone()].to_vec()).collect()
                };
                out.fill(0.0);
                multiply_terms(&terms(0..split), &packed, 0..split, 0, &mut out, &mut IdentityEpilogue);
                multiply_terms(&terms(split..k), &packed, split..k, 0, &mut out, &mut IdentityEpilogue);
                assert_eq!(out, expected, "{m}×{k} · {k}×{n}, {split} terms first");
            }
            for columns in [0..panel_columns().min(n), panel_columns().min(n)..n] {
                let mut some = vec![f32::NAN; m * columns.len()];
                multiply_block(&left, &packed, 0..k, columns.clone(), &mut some);
                let expected = expected.chunks_exact(n).flat_map(|row| row[columns.clone()].to_vec());
                assert_eq!(some, expected.collect::<Vec<_>>(), "{m}×{k} · {k}×{n}, columns {columns:?}");
            }
            let flipped: Vec<f32> = (0..m * k).map(|i| left[i % m * k + i / m]).collect();
            if m > 0 {
                out.fill(f32::NAN);
                multiply_transposed((&flipped, m), 0..m, (&right, n), &mut out, Accumulate::Overwrite);
                assert_eq!(out, expected, "({k}×{m})ᵀ · {k}×{n}");
                multiply_transposed((&flipped, m), 0..m, (&right, n), &mut out, Accumulate::Add);
                assert!(out.iter().zip(&expected).all(|(out, expected)| *out == 2.0 * expected));
                multiply_transposed((&flipped, m), 1..m, (&right, n), &mut out[n..], Accumulate::Overwrite);
                assert_eq!(out[n..], expected[n..], "rows from 1 on");
            }
        }
    }

    /// Catches: a strided product that reads or writes outside its matrix, plain or transposed.
    #[test]
    fn matrices_inside_others_are_multiplied_in_place() {
        for (m, n, k) in [(1, 1, 1), (5, 7, 3), (9, 49, 17), (13, 64, 40), (8, 16, 0)] {
            let (left, right) = (ramp(m.max(k) * 50, 3), ramp(k.max(1) * 70, 4));
            for transposed in [false, true] {
                let (a, b) = if transposed { (1, 50) } else { (50, 1) };
                let sum = |row: usize, column: usize| {
                    (0..k).map(|x| left[row * a + x * b] * right[x * 70 + column]).sum::<f32>()
                };
                let operand =
                    if transposed { StridedMatrix::columns(&left, 50) } else { StridedMatrix::rows(&left, 50) };
                let mut out = vec![1.0; m * 80];
                for (accumulate, factor) in [(Accumulate::Overwrite, 0.0), (Accumulate::Add, 1.0)] {
                    let before = out.clone();
                    multiply_strided([m, n, k], operand, StridedMatrix::rows(&right, 70), (&mut out, 80), accumulate);
                    for (index, value) in out.iter().enumerate() {
                        let (row, column) = (index / 80, index % 80);
                        let expected = if column < n { sum(row, column) + factor * before[index] } else { 1.0 };
                        assert_eq!(*value, expected, "{m}×{k} · {k}×{n} at {row}, {column}");
                    }
                }
            }
        }
    }
}
