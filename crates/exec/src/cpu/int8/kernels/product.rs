//! int8 matrix product: u8 rows times packed i8 columns, in register tiles, with a fused epilogue.

use super::epilogue::{Int8Epilogue, columns_of};
use super::isa::{Int8Simd, Isa, Work};
use super::packed::{PANEL, PackedInt8};
use super::{GROUP, Line};

/// Operands of an int8 product.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Product<'a> {
    /// Rows of activations, `step` bytes apart. Of the last row, too, the bytes up to a whole group can be read; they are
    /// multiplied by 0.
    pub left: &'a [u8],
    /// Bytes from one row to the next.
    pub step: usize,
    /// Number of rows.
    pub rows: usize,
    /// The activation that stands for 0.
    pub zero_point: u8,
    /// Weights.
    pub right: &'a PackedInt8,
}

/// Computes `epilogue(Σₖ (left[row, k] − zero_point) · right[k, column])`.
///
/// # Panics
/// If the left operand has fewer values.
pub(in crate::cpu) fn multiply(isa: Isa, product: Product<'_>, epilogue: &mut impl Int8Epilogue) {
    let Product { left, step, rows, right, .. } = product;
    let depth = right.groups() * GROUP;
    assert!(rows == 0 || (rows - 1) * step + depth <= left.len(), "a left operand of fewer values");
    isa.dispatch(Multiply { product, epilogue });
}

struct Multiply<'a, 'e, E> {
    product: Product<'a>,
    epilogue: &'e mut E,
}

impl<E: Int8Epilogue> Work for Multiply<'_, '_, E> {
    #[inline(always)]
    fn run<S: Int8Simd>(mut self, simd: S) {
        let vectors = self.product.right.columns().div_ceil(super::LANES);
        let width = PANEL.min(S::VECTORS);
        for first in (0..vectors).step_by(width) {
            match (vectors - first).min(width) {
                1 => self.panel::<S, 1>(simd, first),
                2 => self.panel::<S, 2>(simd, first),
                3 => self.panel::<S, 3>(simd, first),
                _four => self.panel::<S, 4>(simd, first),
            }
        }
    }
}

impl<E: Int8Epilogue> Multiply<'_, '_, E> {
    /// Computes all rows of `V` vectors of columns.
    #[inline(always)]
    fn panel<S: Int8Simd, const V: usize>(&mut self, simd: S, first: usize) {
        let (mut row, rows) = (0, self.product.rows);
        let widest = S::ROWS[V - 1];
        while row < rows {
            let left = (rows - row).min(widest);
            match left {
                8.. => self.tile::<S, 8, V>(simd, row, first),
                6.. => self.tile::<S, 6, V>(simd, row, first),
                4.. => self.tile::<S, 4, V>(simd, row, first),
                3 => self.tile::<S, 3, V>(simd, row, first),
                2 => self.tile::<S, 2, V>(simd, row, first),
                _one => self.tile::<S, 1, V>(simd, row, first),
            }
            row += match left {
                8.. => 8,
                6.. => 6,
                4.. => 4,
                few => few,
            };
        }
    }

    #[inline(always)]
    fn tile<S: Int8Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize, first: usize) {
        // A tile that the instruction set never uses is not compiled for it.
        if R > S::ROWS[V - 1] || V > S::VECTORS {
            return;
        }
        let Product { left, step, right, .. } = self.product;
        let (lines, group_step) = right.vectors(first, V);
        let left = left[row * step..].as_ptr();
        let mut sums = [[simd.zero(); V]; R];
        for group in 0..right.groups() {
            // SAFETY: `lines` goes to the last line of the last group.
            let weights: &[Line; V] = unsafe { &*lines.as_ptr().add(group * group_step).cast() };
            let weights: [S::Right; V] = std::array::from_fn(|vector| simd.load_right(&weights[vector]));
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `multiply` checked that each row has whole groups.
                let left = unsafe { simd.load_left(left.add(row * step + group * GROUP)) };
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = simd.dot(*sum, left, weights);
                }
            }
        }
        self.write(simd, sums, row, first);
    }

    /// Completes the sums of a tile and hands them to the epilogue.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "constant indices keep the sums in registers")]
    fn write<S: Int8Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        sums: [[S::Sums; V]; R],
        row: usize,
        first: usize,
    ) {
        let Product { zero_point, right, .. } = self.product;
        let starts: [S::I32; V] = std::array::from_fn(|vector| {
            simd.scaled_i32(right.sums(first + vector), S::OFFSET - i32::from(zero_point))
        });
        // A copy in memory for the loops below, so that the sums themselves stay in registers.
        let mut finished = [starts; R];
        for row in 0..R {
            for vector in 0..V {
                finished[row][vector] = simd.finish(sums[row][vector], starts[vector]);
            }
        }
        for vector in 0..V {
            let (of_columns, columns) =
                (self.epilogue.load(simd, first + vector), columns_of(first + vector, right.columns()));
            for (index, sums) in finished.iter().enumerate() {
                self.epilogue.write(simd, of_columns, sums[vector], row + index, columns.clone());
            }
        }
    }
}
