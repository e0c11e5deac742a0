//! Slices and splits: ranges of an axis.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Axis, Op};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Returns the range of an axis that a call selects: axis, start, length, step, and whether the axis goes.
    pub(super) fn slice(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a slice of an axis that is not there") };
        let length = value.length(axis) as i64;
        let from_end = |position: i64| (if position < 0 { position + length } else { position }).clamp(0, length);
        let (start, end, step, goes) = match op {
            "select.int" => {
                let index = from_end(call.int("index", 0)?);
                (index, index + 1, 1, true)
            }
            "narrow.default" => {
                let start = from_end(call.int("start", 0)?);
                (start, start + call.int("length", 0)?, 1, false)
            }
            _ => {
                let end = match call.argument("end") {
                    None | Some(RawArgument::None) => i64::MAX,
                    Some(_) => call.int("end", i64::MAX)?,
                };
                let start = match call.argument("start") {
                    None | Some(RawArgument::None) => 0,
                    Some(_) => call.int("start", 0)?,
                };
                (from_end(start), from_end(end), call.int("step", 1)?, false)
            }
        };
        if value.axes[axis].contains(&Factor::Batch) {
            return if (start, end, step, goes) == (0, length, 1, false) || end == i64::MAX && start == 0 {
                Ok(value)
            } else {
                refuse("a slice of the batch")
            };
        }
        if step < 1 || end <= start {
            return refuse("an empty slice");
        }
        let (start, count) = (start as usize, ((end - start) as usize).div_ceil(step as usize));
        let mut result = self.range(&value, axis, (start, count, step as usize))?;
        if goes {
            result.axes.remove(axis);
        }
        Ok(result)
    }

    /// Appends a range of an axis.
    fn range(&mut self, value: &Traced, axis: usize, (start, length, step): (usize, usize, usize)) -> Lowered<Traced> {
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

    pub(super) fn split(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a split of an axis that is not there") };
        let length = value.length(axis);
        let of = |value: i64| usize::try_from(value).or_else(|_| refuse("a split into parts of negative size"));
        let sizes: Vec<usize> = match op {
            "unbind.int" => vec![1; length],
            "split_with_sizes.default" => {
                call.ints("split_sizes")?.unwrap_or_default().into_iter().map(of).collect::<Lowered<_>>()?
            }
            _ => {
                let size = if op == "chunk.default" {
                    length.div_ceil(of(call.int("chunks", 1)?)?.max(1))
                } else {
                    of(call.int("split_size", 1)?)?
                };
                let size = size.max(1);
                (0..length.div_ceil(size)).map(|index| size.min(length - index * size)).collect()
            }
        };
        if sizes.iter().sum::<usize>() != length {
            return refuse("a split into parts that do not add up");
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let mut part = self.range(&value, axis, (start, size, 1))?;
            if op == "unbind.int" {
                part.axes.remove(axis);
            }
            parts.push(Known::Traced(part));
            start += size;
        }
        Ok(parts)
    }
}
