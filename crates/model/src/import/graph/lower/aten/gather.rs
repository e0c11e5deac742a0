//! Gathers: positions of an axis by a list, where a file indexes by a constant table, rolls, flips, repeats or expands.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawDim, RawDtype, RawType};
use fieldfit_nets::{Axis, Op};
use std::rc::Rc;

/// Index of an axis by a constant list, or of several neighbours by a list each.
pub(super) struct IndexList {
    pub axis: usize,
    /// Axes that are indexed together.
    pub count: usize,
    /// Positions on the axis, or on the neighbours as one.
    pub indices: Vec<usize>,
    /// Lengths of the axes that replace it.
    pub dims: Vec<usize>,
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Appends the positions of an axis that a list names.
    pub fn gather(&mut self, value: &Traced, axis: usize, indices: Vec<usize>) -> Lowered<Traced> {
        if indices.iter().copied().eq(0..value.length(axis)) {
            return Ok(value.clone());
        }
        self.gather_each(value, axis, indices)
    }

    /// Appends the positions of an axis that a list names, also if it names each once in order: an image of another size is then
    /// refused.
    pub fn gather_each(&mut self, value: &Traced, axis: usize, indices: Vec<usize>) -> Lowered<Traced> {
        let mut value = value.clone();
        if value.axes[axis].is_empty() {
            value.insert_unit(axis);
        }
        let Some(own) = value.pieces(axis) else { return refuse("positions of the batch") };
        let groups = self.groups_of(&value);
        let is_group = |index: usize| groups.as_ref().is_some_and(|groups| groups[index] == own);
        let (arranged, along) = if is_group(0) {
            (value, Axis::Rows)
        } else if is_group(1) {
            (value, Axis::Columns)
        } else {
            let first = own.iter().copied().min().unwrap_or(0);
            let others: Vec<usize> = (0..value.sides.len()).filter(|piece| !own.contains(piece)).collect();
            let is_last = others.iter().all(|piece| *piece < first || value.sides[*piece] == 1);
            // Whole runs of values are copied, not single ones.
            let before = |piece: &usize| *piece < first && !is_last;
            let (before, after): (Vec<usize>, Vec<usize>) = others.into_iter().partition(before);
            (self.sketch.arrange(&value, [&before, &own, &after])?, Axis::Columns)
        };
        let length = indices.len();
        let result = self.sketch.node(Op::Gather { axis: along, indices }, &[arranged.value])?;
        Ok(arranged.with_axis(axis, length, result))
    }

    /// Returns a value whose axes of length 1 are repeated to these lengths.
    pub fn repeated(&mut self, value: &Traced, lengths: &[usize]) -> Lowered<Traced> {
        let mut value = value.clone();
        for (axis, length) in lengths.iter().enumerate() {
            let is_batch = value.axes[axis].contains(&Factor::Batch);
            if value.length(axis) != *length && !is_batch {
                if value.length(axis) != 1 || *length > super::MAX_SIDE {
                    return refuse("an expansion to another length");
                }
                value = self.gather(&value, axis, vec![0; *length])?;
            }
        }
        Ok(value)
    }

    /// Lowers an expansion: repeated axes keep length 1 until an op needs them.
    pub fn expand(&mut self, value: Traced, sizes: &[Size]) -> Lowered<Known> {
        let Some(ahead) = sizes.len().checked_sub(value.rank()) else { return refuse("an expansion to fewer axes") };
        let mut value = value;
        (0..ahead).for_each(|_| value.axes.insert(0, Vec::new()));
        let mut lengths = Vec::with_capacity(sizes.len());
        for (axis, size) in sizes.iter().enumerate() {
            let is_batch = value.axes[axis].contains(&Factor::Batch);
            let length = value.length(axis);
            let is_images = |size: usize| axis == 0 && self.batch == Some(size) && length == 1;
            lengths.push(match size {
                Size::Batch(1) if !is_batch && length == 1 && !value.has_batch() => {
                    value.axes[axis].insert(0, Factor::Batch);
                    1
                }
                Size::Fixed(size) if !is_batch && is_images(*size) && !value.has_batch() => {
                    value.axes[axis].insert(0, Factor::Batch);
                    1
                }
                Size::Fixed(size) if !is_batch && (length == 1 || length == *size) => *size,
                Size::Rest | Size::Batch(_) | Size::Fixed(_) if is_batch => length,
                Size::Rest => length,
                Size::Batch(_) | Size::Fixed(_) => return refuse("an expansion to another length"),
            });
        }
        let is_whole = (0..value.rank()).all(|axis| value.length(axis) == lengths[axis]);
        Ok(if is_whole { Known::Traced(value) } else { Known::Expanded { value, lengths } })
    }

    /// Lowers `repeat`, and `tile`: each axis that many times; `name` is the argument that states the times.
    pub(super) fn repeat(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let (mut value, mut times) = (self.value(call, "self")?, self.sizes(call, name)?);
        while name == "dims" && times.len() < value.rank() {
            times.insert(0, Size::Fixed(1));
        }
        // A value of constants and parameters alone: the file computes it for one image, and repeats it for each.
        let is_one = matches!(call.argument("self"), Some(RawArgument::Value(name))
            if matches!(self.raw.types.get(name), Some(RawType::Tensor { shape: Some(shape), .. })
                if shape.first() == Some(&RawDim::Fixed(1))));
        let Some(ahead) = times.len().checked_sub(value.rank()) else { return refuse("a repetition of fewer axes") };
        (0..ahead).for_each(|_| value.axes.insert(0, Vec::new()));
        for (axis, times) in times.into_iter().enumerate() {
            let length = value.length(axis);
            let is_images = is_one && axis == 0 && value.is_batch(0);
            match times {
                Size::Fixed(1) => {}
                Size::Batch(1) if is_images => {}
                Size::Fixed(times) if is_images && self.batch == Some(times) => {}
                Size::Batch(1) if !value.has_batch() && length == 1 => value.axes[axis].insert(0, Factor::Batch),
                Size::Fixed(times) if axis == 0 && self.batch == Some(times) && !value.has_batch() && length == 1 => {
                    value.axes[axis].insert(0, Factor::Batch);
                }
                Size::Fixed(times) if length.checked_mul(times).is_some_and(|all| all <= super::MAX_SIDE) => {
                    value = self.gather(&value, axis, (0..length * times).map(|index| index % length).collect())?;
                }
                Size::Fixed(_) | Size::Batch(_) | Size::Rest => return refuse("a repetition of the batch"),
            }
        }
        Ok(value)
    }

    /// Lowers `repeat_interleave`: each position of an axis that many times.
    pub(super) fn repeat_interleave(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("an axis that is not there") };
        let times = usize::try_from(call.int("repeats", 1)?).unwrap_or(0);
        match value.length(axis).checked_mul(times).filter(|length| (1..=super::MAX_SIDE).contains(length)) {
            Some(length) => self.gather(&value, axis, (0..length).map(|index| index / times).collect()),
            None => refuse("that repetition"),
        }
    }

    /// Lowers `roll` and `flip`.
    pub(super) fn moved(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let mut value = self.value(call, "self")?;
        let lists = moved(call, name, |axis| {
            let axis = value.axis(axis).filter(|axis| !value.axes[*axis].contains(&Factor::Batch))?;
            Some((axis, value.length(axis)))
        })?;
        for (axis, indices) in lists {
            value = self.gather(&value, axis, indices)?;
        }
        Ok(value)
    }

    /// Lowers `index` by constant lists of neighbouring axes, `x[:, table]` or `x[rows, columns]`, and `index_select`.
    pub(super) fn index(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let mut value = self.value(call, "self")?;
        let Some(IndexList { axis, count, indices, dims }) = self.index_list(call)? else {
            return refuse("an index that depends on the image");
        };
        let Some(axis) = value.axis(axis as i64).filter(|axis| axis + count <= value.rank()) else {
            return refuse("an axis that is not there");
        };
        let merged = value.axes.drain(axis..axis + count).flatten().collect();
        value.axes.insert(axis, merged);
        let gathered = self.gather(&value, axis, indices)?;
        let mut sizes: Vec<Size> = gathered.sizes();
        sizes.splice(axis..=axis, dims.into_iter().map(Size::Fixed));
        gathered.view(&sizes, None).map_or_else(|| refuse("that index"), Ok)
    }

    /// Lowers `unfold`: windows along an axis, whose positions become the last axis.
    pub(super) fn windows(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let [size, step] = ["size", "step"].map(|name| call.int(name, 1));
        let Some(axis) = value.axis(call.int("dimension", 0)?) else { return refuse("an axis that is not there") };
        let (size, step) = (usize::try_from(size?).unwrap_or(0), usize::try_from(step?).unwrap_or(0));
        let Some(room) = value.length(axis).checked_sub(size).filter(|_| size > 0 && step > 0) else {
            return refuse("windows of that size");
        };
        let count = room / step + 1;
        if count.checked_mul(size).is_none_or(|all| all > super::MAX_SIDE) {
            return refuse("that many windows");
        }
        let positions = (0..count * size).map(|index| index / size * step + index % size).collect();
        let gathered = self.gather(&value, axis, positions)?;
        let mut sizes = gathered.sizes();
        sizes.splice(axis..=axis, [Size::Fixed(count), Size::Fixed(size)]);
        let Some(mut windows) = self.view(gathered, &sizes)? else { return refuse("windows of such an array") };
        let inner = windows.axes.remove(axis + 1);
        windows.axes.push(inner);
        Ok(windows)
    }

    /// Returns the axes, the positions and the axes of an index by constant lists of neighbouring axes; `None` of any other.
    pub(super) fn index_list(&self, call: &Call<'r, 'a>) -> Lowered<Option<IndexList>> {
        let shape = match self.first(call)? {
            Known::Traced(value) | Known::Expanded { value, .. } => {
                (0..value.rank()).map(|axis| value.length(axis)).collect()
            }
            Known::Tensor { shape, .. } => shape,
            Known::Constant(array) => array.shape.clone(),
            Known::Turned { .. } | Known::Int(_) | Known::Unread => return Ok(None),
        };
        let is_mask =
            |name: &Name<'_>| matches!(self.raw.types.get(name), Some(RawType::Tensor { dtype: RawDtype::Bool, .. }));
        let lists: Vec<(usize, Option<Rc<Array>>)> = match call.argument("indices") {
            Some(RawArgument::Values(names)) => {
                let named = names.iter().enumerate().filter_map(|(axis, name)| Some((axis, name.clone()?)));
                let named: Vec<(usize, Name<'a>)> = named.collect();
                if named.iter().any(|(_, name)| is_mask(name)) {
                    return refuse("an index by a mask");
                }
                named.into_iter().map(|(axis, name)| (axis, self.array(Some(&RawArgument::Value(name))))).collect()
            }
            _ => {
                let axis = call.int("dim", 0)?;
                let axis =
                    usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).unwrap_or(usize::MAX);
                vec![(axis, self.array(call.argument("index")))]
            }
        };
        let Some(axis) = lists.first().map(|(axis, _)| *axis) else { return Ok(None) };
        let (mut joined, count) = (Array::scalar(0.0), lists.len());
        for (position, (found, list)) in lists.into_iter().enumerate() {
            let side = shape.get(found).copied().filter(|_| found == axis + position);
            let (Some(list), Some(side)) = (list, side) else { return Ok(None) };
            let place = |value: f64| if value < 0.0 { value + side as f64 } else { value };
            if list.values.iter().any(|value| !(0.0..side as f64).contains(&place(*value))) {
                return Ok(None);
            }
            match joined.zip(&list, |before, value| before * side as f64 + place(value)) {
                Some(both) => joined = both,
                None => return refuse("an index by lists of other shapes"),
            }
        }
        let indices = joined.values.iter().map(|value| *value as usize).collect();
        Ok(Some(IndexList { axis, count, indices, dims: joined.shape }))
    }
}

/// Returns the axes that a roll or a flip moves, with the positions of each; `find` knows an axis and its length.
pub(super) fn moved(
    call: &Call<'_, '_>,
    name: &str,
    find: impl Fn(i64) -> Option<(usize, usize)>,
) -> Lowered<Vec<(usize, Vec<usize>)>> {
    let axes = call.ints("dims")?.unwrap_or_default();
    let shifts = if name == "roll" { call.ints("shifts")?.unwrap_or_default() } else { vec![0; axes.len()] };
    if axes.is_empty() || shifts.len() != axes.len() {
        return refuse("a roll of an array as one list");
    }
    let list = |(axis, shift): (&i64, &i64)| {
        let (axis, length) = find(*axis)?;
        let indices = (0..length).map(|index| match name {
            "roll" => (index as i64 - shift).rem_euclid(length as i64) as usize,
            _ => length - 1 - index,
        });
        Some((axis, indices.collect()))
    };
    let lists: Option<Vec<_>> = axes.iter().zip(&shifts).map(list).collect();
    lists.map_or_else(|| refuse("a roll of the batch, or of an axis that is not there"), Ok)
}
