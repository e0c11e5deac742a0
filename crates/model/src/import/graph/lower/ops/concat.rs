//! Concatenation: values and tensors one after the other along an axis.

use crate::description::MAX_VALUES;
use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use fieldfit_nets::{Axis, Op, Role, Shape, ValueId};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Appends a concatenation of values and tensors along an axis, which may be counted from the end.
    pub fn append_concat(&mut self, parts: Vec<Known>, axis: i64) -> Lowered<Traced> {
        let Some(rank) =
            parts.iter().find_map(|part| if let Known::Traced(value) = part { Some(value.rank()) } else { None })
        else {
            return refuse("a concatenation of tensors alone");
        };
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            values.push(match part {
                Known::Traced(value) if value.rank() == rank => value,
                Known::Tensor { index, shape } if shape.len() == rank => {
                    let mut value = self.parameter_value(index, &shape)?;
                    value.axes[0]
                        .retain(|factor| value.sides[if let Factor::Piece(piece) = factor { *piece } else { 0 }] != 1);
                    value
                }
                _ => return refuse("a concatenation of arrays of other ranks"),
            });
        }
        let Some(template) =
            values.iter().find(|value| value.axes.iter().any(|axis| axis.contains(&Factor::Batch))).cloned()
        else {
            return refuse("a concatenation of tensors alone");
        };
        let Some(axis) = template.axis(axis) else { return refuse("a concatenation along no axis") };
        if values.len() == 1 {
            return Ok(template);
        }
        self.concat_values(values, template, axis)
    }

    /// Appends positions of one number before and behind an axis.
    pub fn append_fill(&mut self, value: Traced, axis: usize, amounts: [usize; 2], fill: f32) -> Lowered<Traced> {
        if amounts == [0; 2] {
            return Ok(value);
        }
        let rank = value.rank();
        let mut beside = |amount: usize| -> Lowered<Option<Known>> {
            if amount == 0 {
                return Ok(None);
            }
            let length = |other: usize| if other == axis { amount } else { value.length(other) };
            let sides: Vec<usize> = (0..rank).map(length).collect();
            let len = sides.iter().try_fold(1_usize, |len, side| len.checked_mul(*side)).filter(|len| *len <= MAX_VALUES);
            let (Some(len), Some(channels)) = (len, sides.last().copied()) else { return refuse("padding of that size") };
            let name = format!("{}.padding", self.sketch.path);
            let tensor = self.sketch.filled(name, (vec![len], Role::Constant), fill);
            let shape = Shape { height: 1, width: len / channels.max(1), channels };
            let (value, shape) = self.sketch.node(Op::Parameter { tensor, shape }, &[])?;
            let axes = (0..rank).map(|piece| vec![Factor::Piece(piece)]).collect();
            Ok(Some(Known::Traced(Traced { value, shape, sides, axes })))
        };
        let [before, after] = [beside(amounts[0])?, beside(amounts[1])?];
        let parts = before.into_iter().chain([Known::Traced(value.clone())]).chain(after).collect();
        self.append_concat(parts, axis as i64)
    }

    fn concat_values(&mut self, values: Vec<Traced>, template: Traced, axis: usize) -> Lowered<Traced> {
        // The other axes of all parts get the same pieces: they are split by each other first.
        let mut reference = template;
        let mut values = values;
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
