//! Concatenation: values and tensors one after the other along an axis.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Axis, Op, Shape};

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn concat(&mut self, call: &Call<'r, 'a>) -> Lowered<Vec<Known>> {
        let Some(RawArgument::Values(names)) = call.argument("tensors") else {
            return refuse("a list that is computed");
        };
        let mut parts = Vec::with_capacity(names.len());
        for name in names.iter().flatten() {
            parts.push(self.named(name)?);
        }
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
        let Some(axis) = template.axis(call.int("dim", 0)?) else { return refuse("a concatenation along no axis") };
        if values.len() == 1 {
            return Ok(values.into_iter().map(Known::Traced).collect());
        }
        Ok(vec![Known::Traced(self.concat_values(values, template, axis)?)])
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
        let mut inputs = Vec::with_capacity(values.len());
        let mut shapes = Vec::with_capacity(values.len());
        let is_last = after.iter().all(|piece| reference.sides[*piece] == 1);
        for value in &values {
            let Some(own) = value.pieces(axis) else { return refuse("a concatenation along the batch") };
            let map = |piece: &usize| partner_of(&reference, value, axis, *piece);
            let (before, after): (Vec<usize>, Vec<usize>) =
                (before.iter().filter_map(map).collect(), after.iter().filter_map(map).collect());
            let units = self.units(value, &[&before, &own, &after]);
            if units.iter().any(|piece| value.sides[*piece] != 1) {
                return refuse("a concatenation of arrays of other shapes");
            }
            let before = [units, before].concat();
            let arranged = if is_last {
                let channels = [own, after].concat();
                let order: Vec<usize> = before.iter().chain(&channels).copied().collect();
                let len: usize = channels.iter().map(|piece| value.sides[*piece]).product();
                let fits = order.iter().copied().eq(0..value.sides.len()) && value.shape.channels == len;
                let same = shapes
                    .first()
                    .is_none_or(|shape: &Shape| (shape.height, shape.width) == (value.shape.height, value.shape.width));
                if fits && same { value.clone() } else { self.sketch.arrange(value, [&[], &before, &channels])? }
            } else {
                self.sketch.arrange(value, [&before, &own, &after])?
            };
            shapes.push(arranged.shape);
            inputs.push(arranged.value);
        }
        let total: usize = values.iter().map(|value| value.length(axis)).sum();
        let (value, shape) =
            self.sketch.node(Op::Concat(if is_last { Axis::Channels } else { Axis::Columns }), &inputs)?;
        // Memory is before, the axis as one piece, after.
        let order: Vec<Option<usize>> = before
            .iter()
            .map(|piece| Some(*piece))
            .chain([None])
            .chain(after.iter().map(|piece| Some(*piece)))
            .collect();
        let place = |piece: usize| order.iter().position(|found| *found == Some(piece));
        let mut axes = Vec::with_capacity(reference.rank());
        for (position, factors) in reference.axes.iter().enumerate() {
            if position == axis {
                axes.push(vec![Factor::Piece(before.len())]);
                continue;
            }
            let moved = |factor: &Factor| match factor {
                Factor::Batch => Some(Factor::Batch),
                Factor::Piece(piece) => place(*piece).map(Factor::Piece),
            };
            axes.push(factors.iter().filter_map(moved).collect());
        }
        let sides = order.iter().map(|piece| piece.map_or(total, |piece| reference.sides[piece])).collect();
        Ok(Traced { value, shape, sides, axes })
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
