//! Selection: slices, splits, gathers, concatenations and sequences.

use super::constants::positions;
use super::node::Node;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::lowering::{Known, Lowered, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};

/// Range of an axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub axis: usize,
    pub start: usize,
    pub length: usize,
    pub step: usize,
    /// Whether it reaches to the end, however long the axis is.
    pub is_open: bool,
}

impl<'r, 'a> OnnxLowering<'r, 'a> {
    pub(super) fn slice(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let known = self.array(node, 0)?;
        let mut value = self.as_value(known)?;
        let lengths: Vec<usize> = (0..value.rank()).map(|axis| value.length(axis)).collect();
        for Range { axis, start, length, step, is_open } in self.ranges(node, &lengths)? {
            if value.axes[axis].contains(&Factor::Batch) {
                // Of the batch, which the file may know by another number, only all images are selected.
                if start != 0 || step != 1 || !is_open {
                    return refuse("a slice of the batch");
                }
                continue;
            }
            if length == 0 {
                return refuse("an empty slice");
            }
            value = self.lowering.append_range(&value, axis, (start, length, step))?;
        }
        Ok(value)
    }

    /// Returns the ranges that a `Slice` selects of axes of those lengths.
    pub(super) fn ranges(&mut self, node: &Node<'r, 'a>, lengths: &[usize]) -> Lowered<Vec<Range>> {
        let (starts, ends) = (self.ints(node, 1)?.unwrap_or_default(), self.ints(node, 2)?.unwrap_or_default());
        let axes = self.ints(node, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints(node, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return refuse("a slice with other numbers of starts, ends, axes and steps");
        }
        let mut ranges = Vec::with_capacity(starts.len());
        for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let axis = axis_of(axis, lengths.len())?;
            let side = lengths[axis] as i64;
            let place =
                |position: i64| (if position < 0 { position.saturating_add(side) } else { position }).clamp(0, side);
            let Some(step) = usize::try_from(step).ok().filter(|step| *step > 0) else {
                return refuse(format!("a slice with a step of {step}"));
            };
            let is_open = end >= i64::from(i32::MAX);
            let (start, end) = (place(start), place(end));
            let length = (end.saturating_sub(start).max(0) as usize).div_ceil(step);
            ranges.push(Range { axis, start: start as usize, length, step, is_open });
        }
        Ok(ranges)
    }

    pub(super) fn split(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        let value = self.value(node, 0)?;
        let axis = axis_of(node.int("axis", 0)?, value.rank())?;
        let lengths = match node.ints("split")? {
            Some(lengths) => Some(lengths.to_vec()),
            None => self.ints(node, 1)?,
        };
        let lengths = match lengths {
            Some(lengths) => lengths,
            None => {
                let count = node.int("num_outputs", node.raw.outputs.len() as i64)?;
                parts(value.length(axis), count)?
            }
        };
        let parts = self.parts(&value, axis, &lengths)?;
        Ok(parts.into_iter().map(Value::from).collect())
    }

    fn parts(&mut self, value: &Traced, axis: usize, lengths: &[i64]) -> Lowered<Vec<Known>> {
        let of = |length: &i64| usize::try_from(*length).or_else(|_| refuse("a split into parts of negative length"));
        let lengths = lengths.iter().map(of).collect::<Lowered<Vec<usize>>>()?;
        Ok(self.lowering.append_split(value, axis, &lengths)?.into_iter().map(Known::Traced).collect())
    }

    /// Lowers `Gather` of a value: one position, whose axis goes, or positions at one distance.
    pub(super) fn gather(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (known, indices) = (self.array(node, 0)?, self.array(node, 1)?);
        let value = self.as_value(known)?;
        let axis = axis_of(node.int("axis", 0)?, value.rank())?;
        let Some(indices) = self.constant(&indices)? else { return refuse("positions that are computed") };
        if value.axes[axis].contains(&Factor::Batch) {
            return refuse("a selection from the batch");
        }
        let Some(positions) = positions(&indices, value.length(axis)) else {
            return refuse("a position that is not there");
        };
        let is_scalar = indices.shape.is_empty();
        let (first, step) = match positions[..] {
            [first] => (first, 1),
            [first, second, ..] if second > first => (first, second - first),
            _ => return refuse("positions in no order"),
        };
        let is_even = positions.iter().enumerate().all(|(index, position)| *position == first + index * step);
        if indices.shape.len() > 1 || !is_even {
            return refuse("a table of positions");
        }
        let mut value = self.lowering.append_range(&value, axis, (first, positions.len(), step))?;
        if is_scalar {
            value.axes.remove(axis);
        }
        Ok(value)
    }

    pub(super) fn concat(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let parts = node.inputs().flatten().map(|name| self.known(name)).collect::<Lowered<Vec<_>>>()?;
        self.lowering.append_concat(parts, node.int("axis", 0)?)
    }

    /// Lowers an op of sequences.
    pub(super) fn sequence(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        match node.op() {
            "SplitToSequence" => {
                if !node.flag("keepdims", true)? {
                    return refuse("a split without its axis");
                }
                let value = self.value(node, 0)?;
                let axis = axis_of(node.int("axis", 0)?, value.rank())?;
                let lengths = match self.ints(node, 1)? {
                    // One number is the length of all parts but the last.
                    Some(lengths) if self.is_scalar(node, 1)? => match lengths[..] {
                        [length] if length > 0 => chunks(value.length(axis), length as usize),
                        _ => return refuse("a split into parts of no length"),
                    },
                    Some(lengths) => lengths,
                    None => vec![1; value.length(axis)],
                };
                Ok(vec![Value::Sequence(self.parts(&value, axis, &lengths)?)])
            }
            "SequenceConstruct" => {
                let parts = node.inputs().flatten().map(|name| self.known(name)).collect::<Lowered<_>>()?;
                Ok(vec![Value::Sequence(parts)])
            }
            "SequenceAt" => {
                let Value::Sequence(parts) = self.operand(node, 0)? else {
                    return refuse("a member of something that is no sequence");
                };
                let position = match self.ints(node, 1)?.as_deref() {
                    Some([position]) => axis_of(*position, parts.len())?,
                    _ => return refuse("a member at no position"),
                };
                Ok(vec![parts[position].clone().into()])
            }
            _ => {
                let Value::Sequence(parts) = self.operand(node, 0)? else {
                    return refuse("a concatenation of something that is no sequence");
                };
                if node.flag("new_axis", false)? {
                    return refuse("a concatenation along a new axis");
                }
                Ok(vec![Known::Traced(self.lowering.append_concat(parts, node.int("axis", 0)?)?).into()])
            }
        }
    }

    /// Whether an input is an array without axes.
    fn is_scalar(&mut self, node: &Node<'r, 'a>, position: usize) -> Lowered<bool> {
        let known = self.array(node, position)?;
        Ok(self.constant(&known)?.is_some_and(|array| array.shape.is_empty()))
    }
}

/// Returns an axis of an array, or a member of a list, which may be counted from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Lowered<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let axis = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|axis| *axis < rank);
    axis.map_or_else(|| refuse("an axis or position that is not there"), Ok)
}

/// Returns the lengths of that many parts of an axis; the last may be shorter.
fn parts(length: usize, count: i64) -> Lowered<Vec<i64>> {
    match usize::try_from(count) {
        Ok(count) if count > 0 && count <= length => Ok(chunks(length, length.div_ceil(count))),
        _ => refuse(format!("a split of {length} positions into {count} parts")),
    }
}

/// Returns the lengths of parts of an axis, all but the last of that length.
fn chunks(length: usize, size: usize) -> Vec<i64> {
    (0..length.div_ceil(size)).map(|index| size.min(length - index * size) as i64).collect()
}
