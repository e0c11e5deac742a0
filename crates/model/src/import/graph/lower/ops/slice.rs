//! Slices and splits: ranges of an axis.

use crate::import::graph::lower::lowering::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use fieldfit_nets::{Axis, Op};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Appends a range of an axis: start, number of positions, step.
    pub fn append_range(
        &mut self,
        value: &Traced,
        axis: usize,
        (start, length, step): (usize, usize, usize),
    ) -> Lowered<Traced> {
        if (start, length, step) == (0, value.length(axis), 1) {
            return Ok(value.clone());
        }
        let Some(own) = value.pieces(axis) else { return refuse("a slice of the batch") };
        let Some(first) = own.iter().copied().min() else { return refuse("a slice of an axis of length 1") };
        let others: Vec<usize> = (0..value.sides.len()).filter(|piece| !own.contains(piece)).collect();
        let before: Vec<usize> = others.iter().copied().filter(|piece| *piece < first).collect();
        let after: Vec<usize> = others.iter().copied().filter(|piece| *piece >= first).collect();
        let is_last = after.iter().all(|piece| value.sides[*piece] == 1);
        let (arranged, along) = if is_last {
            let axes_last = self.channels_last(value, axis)?;
            (axes_last, Axis::Channels)
        } else {
            (self.sketch.arrange(value, [&before, &own, &after])?, Axis::Columns)
        };
        let (result, shape) = self.sketch.node(Op::Slice { axis: along, start, length, step }, &[arranged.value])?;
        // The axis becomes one piece.
        let own = arranged.pieces(axis).unwrap_or_default();
        let place = |piece: usize| {
            let gone = own.iter().filter(|gone| **gone < piece).count();
            piece - gone + usize::from(own.iter().any(|gone| *gone < piece))
        };
        let position = own.iter().copied().min().unwrap_or(0);
        let mut sides: Vec<usize> = Vec::with_capacity(arranged.sides.len());
        for (piece, side) in arranged.sides.iter().enumerate() {
            if piece == position {
                sides.push(length);
            } else if !own.contains(&piece) {
                sides.push(*side);
            }
        }
        let mut axes = arranged.axes.clone();
        for (index, factors) in axes.iter_mut().enumerate() {
            if index == axis {
                *factors = vec![Factor::Piece(position)];
                continue;
            }
            for factor in factors {
                if let Factor::Piece(piece) = factor {
                    *piece = place(*piece);
                }
            }
        }
        Ok(Traced { value: result, shape, sides, axes })
    }

    /// Appends a split of an axis into parts of those lengths.
    pub fn append_split(&mut self, value: &Traced, axis: usize, lengths: &[usize]) -> Lowered<Vec<Traced>> {
        let total = lengths.iter().try_fold(0_usize, |total, length| total.checked_add(*length));
        if total != Some(value.length(axis)) {
            return refuse("a split into parts that do not add up");
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths {
            parts.push(self.append_range(value, axis, (start, *length, 1))?);
            start += length;
        }
        Ok(parts)
    }
}
