//! Matrix products over whole activations: weights packed once, results ended in registers.

use super::finish::{AsItIs, Ending};
use super::threads::tiles;
use super::tile::{Block, Left, Right, VECTORS, with_vectors};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Rows of a tile where registers suffice; half of it elsewhere.
const ROWS: usize = 8;
/// Terms of a sum between two visits to its memory: the panel of the right operand stays in the first-level cache.
const DEPTH: usize = 128;

/// The right operand of products, `[depth, columns]`, in panels of as many columns as a tile is wide.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    values: Vec<f32>,
    depth: usize,
    columns: usize,
}

impl Packed {
    /// Values that a matrix of that size takes, its last panel filled up with zeros.
    pub fn size(depth: usize, columns: usize) -> usize {
        depth * columns.next_multiple_of(lanes())
    }

    /// Packs anew, into the buffer that there is; `fill` writes the rows of a panel, which has those columns, and are that many
    /// values apart.
    pub fn refill_panels(&mut self, depth: usize, columns: usize, fill: impl Fn(Range<usize>, usize, &mut [f32])) {
        self.resize(depth, columns);
        let mut rest = self.values.as_mut_slice();
        for filled in tiles(0..columns, panel()) {
            let width = filled.len().next_multiple_of(lanes());
            let (panel, after) = rest.split_at_mut(depth * width);
            fill(filled, width, panel);
            rest = after;
        }
    }

    /// Packs anew, into the buffer that there is; `fill` writes the row at a depth.
    pub fn refill_rows(&mut self, depth: usize, columns: usize, fill: impl Fn(usize, &mut [f32])) {
        self.resize(depth, columns);
        let mut row = vec![0.0; columns.next_multiple_of(lanes())];
        for k in 0..depth {
            fill(k, &mut row[..columns]);
            for part in tiles(0..row.len(), panel()) {
                let start = part.start * depth + k * part.len();
                self.values[start..][..part.len()].copy_from_slice(&row[part]);
            }
        }
    }

    /// What fills panels up is zero, and stays so.
    fn resize(&mut self, depth: usize, columns: usize) {
        if (self.depth, self.columns) != (depth, columns) {
            (self.depth, self.columns) = (depth, columns);
            self.values.clear();
            self.values.resize(Self::size(depth, columns), 0.0);
        }
    }

    /// Values that it has room for.
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

/// `out = end(left · right)`: `left` is `[rows, depth]`, `out` `[rows, columns]`, its first row the activation's row
/// `first`.
pub(super) fn multiply(left: &[f32], right: &Packed, first: usize, out: &mut [f32], ending: &mut impl Ending) {
    multiply_terms(left, right, 0..right.depth, first, out, ending);
}

/// The same for some of each sum's terms: `left` has those alone. Where there were terms before them, the result is added
/// to what is there.
pub(super) fn multiply_terms(
    left: &[f32],
    right: &Packed,
    terms: Range<usize>,
    first: usize,
    out: &mut [f32],
    ending: &mut impl Ending,
) {
    let onto = if terms.start == 0 { Onto::Fresh } else { Onto::Sum };
    multiply_part(left, right, (terms, 0..right.columns), (first, out), onto, ending);
}

/// `out = left · right` for some of each sum's terms, which alone `left` has, and some of the right operand's columns, which
/// alone `out` has: they start with a [`panel`] and end with one or with the operand.
pub(super) fn multiply_block(
    left: &[f32],
    right: &Packed,
    terms: Range<usize>,
    columns: Range<usize>,
    out: &mut [f32],
) {
    multiply_part(left, right, (terms, columns), (0, out), Onto::Fresh, &mut AsItIs);
}

fn multiply_part(
    left: &[f32],
    right: &Packed,
    (terms, columns): (Range<usize>, Range<usize>),
    (first, out): (usize, &mut [f32]),
    onto: Onto,
    ending: &mut impl Ending,
) {
    let depth = terms.len();
    let rows = left.len().checked_div(depth).unwrap_or(0);
    assert_eq!((left.len(), out.len()), (rows * depth, rows * columns.len()), "the operands' sizes");
    let is_edge = |column: usize| column.is_multiple_of(panel()) || column == right.columns;
    assert!(is_edge(columns.start) && is_edge(columns.end) && columns.end <= right.columns, "whole panels");
    assert!(terms.end <= right.depth, "the right operand's terms");
    let right = |column: usize, width: usize| {
        let start = (columns.start + column) * right.depth + terms.start * width;
        Right { start: right.values[start..].as_ptr(), depth_step: width }
    };
    Arch::new().dispatch(Multiply {
        rows,
        columns: columns.len(),
        depth,
        left: Left { start: left.as_ptr(), step: depth, depth_step: 1 },
        right,
        first: first * columns.len(),
        out,
        step: columns.len(),
        onto,
        ending,
    });
}

/// Columns of a panel.
pub(super) fn panel() -> usize {
    VECTORS * lanes()
}

/// What happens to the values that a sum is written over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// They are overwritten.
    Fresh,
    /// The sum is added to them.
    Sum,
}

/// `out = leftᵀ · right` or `out += leftᵀ · right` for some rows of it: `left` is `[depth, columns of left]`, of which
/// `rows` are the output's rows, and `right` `[depth, columns]`.
pub(super) fn outer(
    (left, left_columns): (&[f32], usize),
    rows: Range<usize>,
    (right, columns): (&[f32], usize),
    out: &mut [f32],
    onto: Onto,
) {
    let depth = left.len() / left_columns;
    assert_eq!((left.len(), right.len()), (depth * left_columns, depth * columns), "the operands' sizes");
    assert!(rows.end <= left_columns && out.len() == rows.len() * columns, "the product's size");
    if depth == 0 && onto == Onto::Fresh {
        out.fill(0.0);
    }
    let blocks = left.chunks(DEPTH * left_columns).zip(right.chunks(DEPTH * columns));
    for (index, (left, right)) in blocks.enumerate() {
        Arch::new().dispatch(Multiply {
            rows: rows.len(),
            columns,
            depth: right.len() / columns,
            left: Left { start: left[rows.start..].as_ptr(), step: 1, depth_step: left_columns },
            right: |column, _| Right { start: right[column..].as_ptr(), depth_step: columns },
            first: 0,
            out,
            step: columns,
            onto: if index == 0 { onto } else { Onto::Sum },
            ending: &mut AsItIs,
        });
    }
}

/// A matrix inside another.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Strided<'a> {
    /// Rows that are `step` values apart.
    pub const fn rows(values: &'a [f32], step: usize) -> Self {
        Self { values, row: step, column: 1 }
    }

    /// The same transposed.
    pub const fn columns(values: &'a [f32], step: usize) -> Self {
        Self { values, row: 1, column: step }
    }

    /// Whether it has that many rows and columns.
    const fn has(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// `out = left · right` or `out += left · right` for `[rows, columns, depth]` of matrices inside others; the columns of
/// `right` are adjacent, and the rows of `out` as many values apart as it says.
pub(super) fn strided(
    [rows, columns, depth]: [usize; 3],
    left: Strided<'_>,
    right: Strided<'_>,
    (out, step): (&mut [f32], usize),
    onto: Onto,
) {
    assert!(left.has(rows, depth) && right.has(depth, columns) && right.column == 1, "the operands' sizes");
    Arch::new().dispatch(Multiply {
        rows,
        columns,
        depth,
        left: Left { start: left.values.as_ptr(), step: left.row, depth_step: left.column },
        right: |column, _| Right { start: right.values[column..].as_ptr(), depth_step: right.row },
        first: 0,
        out,
        step,
        onto,
        ending: &mut AsItIs,
    });
}

/// Lanes of a vector on this CPU.
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

/// A product, cut into panels of columns and those into tiles.
struct Multiply<'a, P, E> {
    rows: usize,
    columns: usize,
    depth: usize,
    left: Left,
    /// The right operand's panel from a column on, of that many columns with those that fill it up.
    right: P,
    /// Position in the whole activation of the output's first value.
    first: usize,
    out: &'a mut [f32],
    /// Values from one of the output's rows to the next.
    step: usize,
    onto: Onto,
    ending: &'a mut E,
}

impl<P: Fn(usize, usize) -> Right, E: Ending> WithSimd for Multiply<'_, P, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for column in (0..self.columns).step_by(VECTORS * S::F32_LANES) {
            with_vectors!(S::F32_LANES, self.columns, column, self.panel::<S>(simd, column));
        }
    }
}

impl<P: Fn(usize, usize) -> Right, E: Ending> Multiply<'_, P, E> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const TAIL: bool>(&mut self, simd: S, column: usize) {
        let right = (self.right)(column, V * S::F32_LANES);
        let mut row = 0;
        if S::REGISTER_COUNT >= 32 {
            while row + ROWS <= self.rows {
                self.tile::<S, ROWS, V, TAIL>(simd, row, column, right);
                row += ROWS;
            }
        }
        while row + ROWS / 2 <= self.rows {
            self.tile::<S, { ROWS / 2 }, V, TAIL>(simd, row, column, right);
            row += ROWS / 2;
        }
        while row < self.rows {
            self.tile::<S, 1, V, TAIL>(simd, row, column, right);
            row += 1;
        }
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
        if self.onto == Onto::Sum {
            let here = block.at(start - self.first);
            here.update::<R, V, TAIL>(simd, &mut sums, self.out, |sum, before| simd.add_f32s(before, sum));
        }
        self.ending.end::<S, R, V, TAIL>(simd, &block, &mut sums);
        block.write::<R, V, TAIL>(simd, &sums, self.first, self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect()
    }

    /// A tile that reads or writes beside its rows and columns: both products against the definition, on sizes around
    /// every multiple of the tile's. Whole numbers are exact in any order.
    #[test]
    fn products_follow_the_definition() {
        for (m, n, k) in
            [(1, 1, 1), (3, 5, 2), (8, 48, 16), (9, 47, 7), (13, 49, 3), (17, 100, 5), (4, 16, 131), (0, 3, 2)]
        {
            let (left, right) = (ramp(m * k, 1), ramp(k * n, 2));
            let sum =
                |row: usize, column: usize| (0..k).map(|x| left[row * k + x] * right[x * n + column]).sum::<f32>();
            let expected: Vec<f32> = (0..m * n).map(|i| sum(i / n, i % n)).collect();
            let mut packed = Packed::default();
            packed.refill_rows(k, n, |k, row| row.copy_from_slice(&right[k * n..][..n]));
            let mut out = vec![f32::NAN; m * n];
            multiply(&left, &packed, 0, &mut out, &mut AsItIs);
            assert_eq!(out, expected, "{m}×{k} · {k}×{n}");
            for split in (1..k).step_by(k.div_ceil(2)) {
                let terms = |terms: Range<usize>| -> Vec<f32> {
                    left.chunks_exact(k).flat_map(|row| row[terms.clone()].to_vec()).collect()
                };
                out.fill(0.0);
                multiply_terms(&terms(0..split), &packed, 0..split, 0, &mut out, &mut AsItIs);
                multiply_terms(&terms(split..k), &packed, split..k, 0, &mut out, &mut AsItIs);
                assert_eq!(out, expected, "{m}×{k} · {k}×{n}, {split} terms first");
            }
            for columns in [0..panel().min(n), panel().min(n)..n] {
                let mut some = vec![f32::NAN; m * columns.len()];
                multiply_block(&left, &packed, 0..k, columns.clone(), &mut some);
                let expected = expected.chunks_exact(n).flat_map(|row| row[columns.clone()].to_vec());
                assert_eq!(some, expected.collect::<Vec<_>>(), "{m}×{k} · {k}×{n}, columns {columns:?}");
            }
            let flipped: Vec<f32> = (0..m * k).map(|i| left[i % m * k + i / m]).collect();
            if m > 0 {
                out.fill(f32::NAN);
                outer((&flipped, m), 0..m, (&right, n), &mut out, Onto::Fresh);
                assert_eq!(out, expected, "({k}×{m})ᵀ · {k}×{n}");
                outer((&flipped, m), 0..m, (&right, n), &mut out, Onto::Sum);
                assert!(out.iter().zip(&expected).all(|(out, expected)| *out == 2.0 * expected));
                outer((&flipped, m), 1..m, (&right, n), &mut out[n..], Onto::Fresh);
                assert_eq!(out[n..], expected[n..], "rows from 1 on");
            }
        }
    }

    /// A product that reads or writes beside a matrix inside another, either way round.
    #[test]
    fn matrices_inside_others_are_multiplied_in_place() {
        for (m, n, k) in [(1, 1, 1), (5, 7, 3), (9, 49, 17), (13, 64, 40), (8, 16, 0)] {
            let (left, right) = (ramp(m.max(k) * 50, 3), ramp(k.max(1) * 70, 4));
            for transposed in [false, true] {
                let (a, b) = if transposed { (1, 50) } else { (50, 1) };
                let sum = |row: usize, column: usize| {
                    (0..k).map(|x| left[row * a + x * b] * right[x * 70 + column]).sum::<f32>()
                };
                let operand = if transposed { Strided::columns(&left, 50) } else { Strided::rows(&left, 50) };
                let mut out = vec![1.0; m * 80];
                for (onto, share) in [(Onto::Fresh, 0.0), (Onto::Sum, 1.0)] {
                    let before = out.clone();
                    strided([m, n, k], operand, Strided::rows(&right, 70), (&mut out, 80), onto);
                    for (index, value) in out.iter().enumerate() {
                        let (row, column) = (index / 80, index % 80);
                        let expected = if column < n { sum(row, column) + share * before[index] } else { 1.0 };
                        assert_eq!(*value, expected, "{m}×{k} · {k}×{n} at {row}, {column}");
                    }
                }
            }
        }
    }
}
