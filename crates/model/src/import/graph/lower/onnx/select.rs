//! Selection: slices, splits, gathers, concatenations and sequences.

use super::constants::positions;
use super::node::Node;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::aten::{Known, Lowered, MAX_PARTS, MAX_SIDE, refuse};
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::import::graph::lower::view::View;
use crate::import::graph::name::Name;

/// Range of an axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub axis: usize,
    pub start: usize,
    pub length: usize,
    /// Distance of positions; negative from the end.
    pub step: isize,
    /// Whether it reaches to the end, however long the axis is.
    pub is_open: bool,
}

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    pub(super) fn slice(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let mut value = self.value(node, 0)?;
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
            value = match usize::try_from(step) {
                Ok(step) => self.lowering.range(&value, axis, (start, length, step))?,
                // From the end: as `flip` is written.
                Err(_) => {
                    let position = |index: usize| start.saturating_add_signed(step.saturating_mul(index as isize));
                    self.lowering.gather(&value, axis, (0..length).map(position).collect())?
                }
            };
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
            let Some(step) = isize::try_from(step).ok().filter(|step| *step != 0) else {
                return refuse(format!("a slice with a step of {step}"));
            };
            // From the end, the limits are one further back.
            let least = if step < 0 { -1 } else { 0 };
            let place = |position: i64| {
                let position = if position < 0 { position.saturating_add(side) } else { position };
                position.clamp(least, side + least)
            };
            let is_open = end >= i64::from(i32::MAX);
            let (start, end) = (place(start), place(end));
            let span = if step < 0 { start - end } else { end - start };
            let length = (span.max(0) as usize).div_ceil(step.unsigned_abs());
            ranges.push(Range { axis, start: start.max(0) as usize, length, step, is_open });
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
        if lengths.len() > MAX_PARTS {
            return refuse(format!("a split into {} parts", lengths.len()));
        }
        let of = |length: &i64| usize::try_from(*length).or_else(|_| refuse("a split into parts of negative length"));
        let lengths = lengths.iter().map(of).collect::<Lowered<Vec<usize>>>()?;
        let total = lengths.iter().try_fold(0_usize, |total, length| total.checked_add(*length));
        if total != Some(value.length(axis)) {
            return refuse("a split into parts that do not add up");
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths {
            parts.push(Known::Traced(self.lowering.range(value, axis, (start, length, 1))?));
            start += length;
        }
        Ok(parts)
    }

    /// Lowers `Gather` of a value: one position, whose axis goes, or positions at one distance.
    pub(super) fn gather(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (known, indices) = (self.array(node, 0)?, self.array(node, 1)?);
        let value = self.lowering.traced(known)?;
        let axis = axis_of(node.int("axis", 0)?, value.rank())?;
        let Some(indices) = self.constant(&indices)? else { return refuse("positions that are computed") };
        if value.axes[axis].contains(&Factor::Batch) {
            return self.gather_images(node, value, axis, &indices);
        }
        let Some(positions) = positions(&indices, value.length(axis)) else {
            return refuse("a position that is not there");
        };
        self.taken(&value, axis, positions, &indices.shape)
    }

    /// Appends positions of an axis, which takes the axes of their table.
    fn taken(&mut self, value: &Traced, axis: usize, positions: Vec<usize>, shape: &[usize]) -> Lowered<Traced> {
        let step = positions.get(1).map_or(Some(1), |second| second.checked_sub(positions[0])).filter(|step| *step > 0);
        let is_range = |step: usize| positions.iter().enumerate().all(|(index, at)| *at == positions[0] + index * step);
        let mut value = match step.filter(|step| !positions.is_empty() && is_range(*step)) {
            Some(step) => self.lowering.range(value, axis, (positions[0], positions.len(), step))?,
            None => self.lowering.gather(value, axis, positions)?,
        };
        match shape.len() {
            0 => {
                value.axes.remove(axis);
                Ok(value)
            }
            1 => Ok(value),
            _ => {
                let sizes = shape.iter().map(|side| Size::Fixed(*side)).collect();
                let view = View::Unflatten { axis: axis as i64, sizes };
                let known = self.view(Known::Traced(value), &view)?;
                self.lowering.traced(known)
            }
        }
    }

    /// Lowers `GatherND` of rows of the first axis.
    pub(super) fn gather_rows(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (value, indices) = (self.value(node, 0)?, self.array(node, 1)?);
        let Some(indices) = self.constant(&indices)? else { return refuse("positions that are computed") };
        if node.int("batch_dims", 0)? != 0 || value.rank() == 0 || value.axes[0].contains(&Factor::Batch) {
            return refuse("a selection from the batch");
        }
        let Some((1, outer)) = indices.shape.split_last().map(|(last, outer)| (*last, outer)) else {
            return refuse("positions of several axes");
        };
        match positions(&indices, value.length(0)) {
            Some(positions) if !positions.is_empty() => self.taken(&value, 0, positions, outer),
            _ => refuse("a position that is not there"),
        }
    }

    /// Returns the whole value where positions name all of each image in order, as the view of an array by strides does; the
    /// axis takes the positions' axes.
    fn gather_images(&self, node: &Node<'r, 'a>, value: Traced, axis: usize, indices: &Array) -> Lowered<Traced> {
        let is_whole = self.is_whole(node.input(1), indices, value.length(axis));
        let [1, inner @ ..] = &indices.shape[..] else { return refuse("a selection from the batch") };
        if axis != 0 || !is_whole {
            return refuse("a selection from the batch");
        }
        let sizes = [Size::Batch(1)].into_iter().chain(inner.iter().map(|side| Size::Fixed(*side)));
        let others = (1..value.rank()).map(|axis| Size::Fixed(value.length(axis)));
        let sizes: Vec<Size> = sizes.chain(others).collect();
        value.view(&sizes, None).map_or_else(|| refuse("a view that cuts across the axes"), Ok)
    }

    /// Whether positions that have a row for each image name all of it in order.
    fn is_whole(&self, name: Option<&Name<'a>>, indices: &Array, length: usize) -> bool {
        name.is_some_and(|name| self.batched.contains(name))
            && indices.values.iter().copied().eq((0..length).map(|position| position as f64))
    }

    /// Lowers `ScatterND` that replaces all images, or positions of the first axis.
    pub(super) fn scatter(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (value, update) = (self.value(node, 0)?, self.value(node, 2)?);
        let indices = self.array(node, 1)?;
        let Some(indices) = self.constant(&indices)? else { return refuse("positions that are computed") };
        if value.rank() == 0 || value.rank() != update.rank() || node.text("reduction", "none")? != "none" {
            return refuse("a change of a part of an array");
        }
        if value.axes[0].contains(&Factor::Batch) {
            let is_alike = value.lengths() == update.lengths();
            let is_whole = value.is_batch(0) && self.is_whole(node.input(1), &indices, 1);
            return if is_alike && is_whole { Ok(update) } else { refuse("a change of a part of the batch") };
        }
        match (&indices.shape[..], positions(&indices, value.length(0))) {
            ([_, 1], Some(positions)) => self.lowering.replaced(&value, 0, &positions, update),
            _ => refuse("a change of single values of an array"),
        }
    }

    /// Lowers `ScatterElements` that replaces whole positions of an axis.
    pub(super) fn scatter_elements(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (value, update) = (self.value(node, 0)?, self.value(node, 2)?);
        let indices = self.array(node, 1)?;
        let Some(indices) = self.constant(&indices)? else { return refuse("positions that are computed") };
        let axis = axis_of(node.int("axis", 0)?, value.rank())?;
        let is_whole = indices.shape.len() == value.rank()
            && (0..value.rank()).all(|other| other == axis || indices.shape[other] == value.length(other));
        let inner: usize = indices.shape.iter().skip(axis + 1).product();
        let count = indices.shape.get(axis).copied().unwrap_or(0);
        let at = |index: usize| indices.values.get(index * inner).copied();
        let is_alike = |(index, value): (usize, &f64)| at(index / inner.max(1) % count.max(1)) == Some(*value);
        let list = (0..count).map(at).collect::<Option<Vec<f64>>>().and_then(Array::list);
        let found = list.and_then(|list| positions(&list, value.length(axis)));
        match found.filter(|_| is_whole && indices.values.iter().enumerate().all(is_alike)) {
            Some(positions) if node.text("reduction", "none")? == "none" => {
                self.lowering.replaced(&value, axis, &positions, update)
            }
            _ => refuse("a change of single values of an array"),
        }
    }

    /// Lowers `Tile`: each axis that many times.
    pub(super) fn tile(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let mut value = self.value(node, 0)?;
        let times = self.ints(node, 1)?.unwrap_or_default();
        if times.len() != value.rank() {
            return refuse("a repetition of other axes");
        }
        for (axis, times) in times.into_iter().enumerate().filter(|(_, times)| *times != 1) {
            let length = value.length(axis);
            let all = usize::try_from(times).ok().and_then(|times| length.checked_mul(times));
            let Some(all) = all.filter(|all| (1..=MAX_SIDE).contains(all)) else { return refuse("that repetition") };
            value = self.lowering.gather(&value, axis, (0..all).map(|index| index % length).collect())?;
        }
        Ok(value)
    }

    /// Lowers `Where` by a mask of constants.
    pub(super) fn choose(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let [mask, chosen, other] = [self.array(node, 0)?, self.array(node, 1)?, self.array(node, 2)?];
        let Some(mask) = self.constant(&mask)? else { return refuse("a mask that depends on the image") };
        let (chosen, other) = (self.as_constant(chosen)?, self.as_constant(other)?);
        self.lowering.chosen(&mask, chosen, other)
    }

    pub(super) fn concat(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let parts = node.inputs().flatten().map(|name| self.known(name)).collect::<Lowered<Vec<_>>>()?;
        self.lowering.concat_of(parts, node.int("axis", 0)?, false)
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
                        [length] if length > 0 && value.length(axis) / length as usize <= MAX_PARTS => {
                            chunks(value.length(axis), length as usize)
                        }
                        _ => return refuse("a split into parts of that length"),
                    },
                    Some(lengths) => lengths,
                    None => chunks(value.length(axis).min(MAX_PARTS + 1), 1),
                };
                Ok(vec![Value::Sequence(self.parts(&value, axis, &lengths)?.into())])
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
                Ok(vec![Known::Traced(self.lowering.concat_of(parts.to_vec(), node.int("axis", 0)?, false)?).into()])
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
        Ok(count) if count > 0 && count <= length.min(MAX_PARTS) => Ok(chunks(length, length.div_ceil(count))),
        _ => refuse(format!("a split of {length} positions into {count} parts")),
    }
}

/// Returns the lengths of parts of an axis, all but the last of that length.
fn chunks(length: usize, size: usize) -> Vec<i64> {
    (0..length.div_ceil(size)).map(|index| size.min(length - index * size) as i64).collect()
}
