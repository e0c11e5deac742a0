//! Concatenation: values and tensors one after the other along an axis.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Axis, Op, Shape, ValueId};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers `cat`, or `stack`, which gives each part an axis of its own.
    pub(super) fn concat(&mut self, call: &Call<'r, 'a>, stacks: bool) -> Lowered<Vec<Known>> {
        let parts = self.parts_of(call)?;
        self.concat_of(parts, call.int("dim", 0)?, stacks).map(|value| vec![Known::Traced(value)])
    }

    /// Lowers a concatenation along an axis that the op's name states.
    pub(super) fn concat_along(&mut self, call: &Call<'r, 'a>, axis: i64) -> Lowered<Vec<Known>> {
        let parts = self.parts_of(call)?;
        self.concat_of(parts, axis, false).map(|value| vec![Known::Traced(value)])
    }

    fn parts_of(&self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
        let Some(RawArgument::Values(names)) = call.argument("tensors") else {
            return refuse("a list that is computed");
        };
        names.iter().flatten().map(|name| self.named(name)).collect()
    }

    /// Appends a concatenation, or a stack, of values and tensors along an axis, which may be counted from the end.
    pub fn concat_of(&mut self, parts: Vec<Known>, dim: i64, stacks: bool) -> Lowered<Traced> {
        let mut values = Vec::with_capacity(parts.len());
        for known in parts {
            let is_tensor = !matches!(known, Known::Traced(_) | Known::Expanded { .. });
            let mut value = self.traced(known)?;
            if is_tensor && !value.axes.is_empty() {
                value.drop_units(0);
            }
            values.push(value);
        }
        let Some(first) = values.first() else { return refuse("a concatenation of nothing") };
        let rank = first.rank();
        if values.iter().any(|value| value.rank() != rank) {
            return refuse("a concatenation of arrays of other ranks");
        }
        let all = (rank + usize::from(stacks)) as i64;
        let axis = usize::try_from(if dim < 0 { dim + all } else { dim }).ok().filter(|axis| (*axis as i64) < all);
        let Some(axis) = axis else { return refuse("a concatenation along no axis") };
        if stacks {
            values.iter_mut().for_each(|value| value.axes.insert(axis, Vec::new()));
        }
        // A tensor alone has the same values for each image, and takes the batch of the others.
        let template = values.iter().find(|value| value.has_batch()).or(values.first()).cloned();
        let Some(template) = template else { return refuse("a concatenation of nothing") };
        if values.len() == 1 {
            return Ok(template);
        }
        self.concat_values(values, template, axis)
    }

    fn concat_values(&mut self, values: Vec<Traced>, template: Traced, axis: usize) -> Lowered<Traced> {
        // The other axes of all parts get the same pieces: they are split by each other first.
        let mut reference = template;
        let mut values = values;
        for value in values.iter_mut().chain([&mut reference]) {
            if value.axes[axis].is_empty() {
                value.insert_unit(axis);
            }
        }
        let others: Vec<usize> = (0..reference.rank()).filter(|other| *other != axis).collect();
        // Twice, so that what a later part splits is split in the earlier ones.
        for _ in 0..2 {
            for value in &mut values {
                if refine_axes(&mut reference, value, &others).is_none() {
                    return refuse("a concatenation of arrays of other shapes");
                }
            }
        }
        let Some(own) = reference.pieces(axis) else { return refuse("a concatenation along the batch") };
        let others: Vec<usize> = (0..reference.sides.len()).filter(|piece| !own.contains(piece)).collect();
        let first = own.first().copied().unwrap_or(reference.sides.len());
        let before: Vec<usize> = others.iter().copied().filter(|piece| *piece < first).collect();
        let after: Vec<usize> = others.iter().copied().filter(|piece| *piece >= first).collect();
        let around = Around { axis, before: &before, after: &after };
        let mut parts: Vec<Traced> = Vec::with_capacity(values.len());
        for value in &values {
            let part = self.concat_part(&reference, value, &around, parts.first().map(|part| part.shape))?;
            parts.push(part);
        }
        let along = if around.is_last(&reference) { Axis::Channels } else { Axis::Columns };
        let inputs: Vec<ValueId> = parts.iter().map(|part| part.value).collect();
        let (value, shape) = self.sketch.node(Op::Concat(along), &inputs)?;
        let total = values.iter().map(|value| value.length(axis)).sum();
        Ok(around.joined(&reference, total, (value, shape)))
    }

    /// Brings one part of a concatenation into the order of the reference; `first` is the shape of the first part.
    fn concat_part(
        &mut self,
        reference: &Traced,
        value: &Traced,
        around: &Around<'_>,
        first: Option<Shape>,
    ) -> Lowered<Traced> {
        let Some(own) = value.pieces(around.axis) else { return refuse("a concatenation along the batch") };
        let partner = |piece: &usize| partner_of(reference, value, around.axis, *piece);
        let before: Vec<usize> = around.before.iter().filter_map(partner).collect();
        let after: Vec<usize> = around.after.iter().filter_map(partner).collect();
        let units = self.units(value, &[&before, &own, &after]);
        if units.iter().any(|piece| value.sides[*piece] != 1) {
            return refuse("a concatenation of arrays of other shapes");
        }
        let before = [units, before].concat();
        if !around.is_last(reference) {
            return Ok(self.sketch.arrange(value, [&before, &own, &after])?);
        }
        let channels = [own, after].concat();
        let order: Vec<usize> = before.iter().chain(&channels).copied().collect();
        let len: usize = channels.iter().map(|piece| value.sides[*piece]).product();
        let fits = order.iter().copied().eq(0..value.sides.len()) && value.shape.channels == len;
        let is_like = |first: Shape| (first.height, first.width) == (value.shape.height, value.shape.width);
        if fits && first.is_none_or(is_like) {
            return Ok(value.clone());
        }
        let rows = rows_of(value, &before, first.unwrap_or(reference.shape).height);
        Ok(self.sketch.arrange(value, [&before[..rows], &before[rows..], &channels])?)
    }
}

/// Returns how many of the pieces before the channels are rows, so that there are that many; none where they do not divide.
fn rows_of(value: &Traced, before: &[usize], height: usize) -> usize {
    let len = |count: usize| before[..count].iter().map(|piece| value.sides[*piece]).product::<usize>();
    (0..=before.len()).find(|count| len(*count) == height).unwrap_or(0)
}

/// Axis of a concatenation, and the reference's pieces before and behind it in memory.
struct Around<'p> {
    axis: usize,
    before: &'p [usize],
    after: &'p [usize],
}

impl Around<'_> {
    /// Whether the axis is the last in memory.
    fn is_last(&self, reference: &Traced) -> bool {
        self.after.iter().all(|piece| reference.sides[*piece] == 1)
    }

    /// Returns the joined value: in memory, what is before, the axis as one piece of that length, what is behind.
    fn joined(&self, reference: &Traced, length: usize, (value, shape): (ValueId, Shape)) -> Traced {
        let some = |pieces: &[usize]| pieces.iter().copied().map(Some).collect::<Vec<_>>();
        let order = [some(self.before), vec![None], some(self.after)].concat();
        let moved = |factor: &Factor| match factor {
            Factor::Batch => Some(Factor::Batch),
            Factor::Piece(piece) => order.iter().position(|found| *found == Some(*piece)).map(Factor::Piece),
        };
        let axes = reference.axes.iter().enumerate().map(|(axis, factors)| match axis == self.axis {
            true => vec![Factor::Piece(self.before.len())],
            false => factors.iter().filter_map(moved).collect(),
        });
        let axes = axes.collect();
        let sides = order.iter().map(|piece| piece.map_or(length, |piece| reference.sides[piece])).collect();
        Traced { value, shape, sides, axes }
    }
}

/// Splits the pieces of some axes of two values until they are alike.
pub(super) fn refine_axes(left: &mut Traced, right: &mut Traced, axes: &[usize]) -> Option<()> {
    if left.rank() != right.rank() {
        return None;
    }
    axes.iter().try_for_each(|axis| left.refine_axis(right, *axis))
}

/// Returns the piece of `value` at the place that `piece` has in the reference, on any axis but `axis`.
fn partner_of(reference: &Traced, value: &Traced, axis: usize, piece: usize) -> Option<usize> {
    for (position, factors) in reference.axes.iter().enumerate().filter(|(position, _)| *position != axis) {
        if let Some(place) = factors.iter().position(|factor| *factor == Factor::Piece(piece)) {
            return match value.axes.get(position)?.get(place)? {
                Factor::Piece(piece) => Some(*piece),
                Factor::Batch => None,
            };
        }
    }
    None
}
