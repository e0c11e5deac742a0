//! Slices and splits: ranges of an axis.

use super::call::Call;
use super::{Known, Lowered, Lowering, MAX_PARTS, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Axis, Op};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers a range of an axis.
    pub(super) fn slice(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a slice of an axis that is not there") };
        let length = value.length(axis);
        if value.axes[axis].contains(&Factor::Batch) {
            let is_end = |end: &i64| *end == i64::MAX || self.batch.is_some_and(|batch| *end >= batch as i64);
            let is_whole = name == "slice"
                && matches!(call.argument("start"), None | Some(RawArgument::None | RawArgument::Int(0)))
                && match call.argument("end") {
                    None | Some(RawArgument::None) => true,
                    Some(RawArgument::Int(end)) => is_end(end),
                    Some(_) => false,
                }
                && call.int("step", 1)? == 1;
            return if is_whole { Ok(value) } else { refuse("a slice of the batch") };
        }
        let (range, goes) = selected(call, name, length)?;
        let mut result = self.range(&value, axis, range)?;
        if goes {
            result.axes.remove(axis);
        }
        Ok(result)
    }

    /// Appends a range of an axis.
    pub fn range(
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
        let result = self.sketch.node(Op::Slice { axis: along, start, length, step }, &[arranged.value])?;
        Ok(arranged.with_axis(axis, length, result))
    }

    pub(super) fn split(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<Known>> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a split of an axis that is not there") };
        let mut start = 0;
        let mut parts = Vec::new();
        for size in part_sizes(call, name, value.length(axis))? {
            let mut part = self.range(&value, axis, (start, size, 1))?;
            if name == "unbind" {
                part.axes.remove(axis);
            }
            parts.push(Known::Traced(part));
            start += size;
        }
        Ok(parts)
    }
}

/// Returns the range of an axis that a call selects, as start, length and step, and whether the axis goes.
pub(super) fn selected(call: &Call<'_, '_>, name: &str, length: usize) -> Lowered<((usize, usize, usize), bool)> {
    let length = length as i64;
    let from_end = |position: i64| (if position < 0 { position + length } else { position }).clamp(0, length);
    let optional = |name, other| match call.argument(name) {
        None | Some(RawArgument::None) => Ok(other),
        Some(_) => call.int(name, other),
    };
    let (start, end, step, goes) = match name {
        "select" => {
            let index = from_end(call.int("index", 0)?);
            (index, index + 1, 1, true)
        }
        "narrow" => {
            let start = from_end(call.int("start", 0)?);
            (start, start.saturating_add(call.int("length", 0)?), 1, false)
        }
        _ => (from_end(optional("start", 0)?), from_end(optional("end", i64::MAX)?), call.int("step", 1)?, false),
    };
    if step < 1 || end <= start || end > length {
        return refuse("an empty slice");
    }
    Ok(((start as usize, ((end - start) as usize).div_ceil(step as usize), step as usize), goes))
}

/// Returns the lengths of the parts into which a call splits an axis.
pub(super) fn part_sizes(call: &Call<'_, '_>, name: &str, length: usize) -> Lowered<Vec<usize>> {
    let of = |value: i64| usize::try_from(value).or_else(|_| refuse("a split into parts of negative size"));
    let refused = |count: usize| refuse(format!("a split into {count} parts"));
    let sizes: Vec<usize> = match name {
        "unbind" if length > MAX_PARTS => return refused(length),
        "unbind" => vec![1; length],
        "split_with_sizes" => {
            call.ints("split_sizes")?.unwrap_or_default().into_iter().map(of).collect::<Lowered<_>>()?
        }
        _ => {
            let size = if name == "chunk" {
                length.div_ceil(of(call.int("chunks", 1)?)?.max(1))
            } else {
                of(call.int("split_size", 1)?)?
            };
            let size = size.max(1);
            if length.div_ceil(size) > MAX_PARTS {
                return refused(length.div_ceil(size));
            }
            (0..length.div_ceil(size)).map(|index| size.min(length - index * size)).collect()
        }
    };
    let total = sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size));
    if total != Some(length) || sizes.contains(&0) {
        return refuse("a split into parts that do not add up");
    }
    Ok(sizes)
}
