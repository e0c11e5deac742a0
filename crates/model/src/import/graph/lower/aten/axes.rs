//! Axes: views, permutations and other changes that move no value.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::description::MAX_VALUES;
use crate::import::graph::lower::traced::{Factor, Size};
use crate::import::graph::lower::view::View;
use crate::import::graph::raw::{RawArgument, RawInt};

/// Returns the order of axes of which some move to other places, and the others fill what is left.
fn moved_axes(call: &Call<'_, '_>, rank: usize) -> Lowered<Vec<i64>> {
    let places = |name| -> Lowered<Vec<usize>> {
        let axes = call.ints(name)?.unwrap_or_default();
        let place = |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok();
        let places: Option<Vec<usize>> = axes.into_iter().map(place).collect();
        places
            .filter(|places| places.iter().all(|place| *place < rank))
            .map_or_else(|| refuse("an axis that is not there"), Ok)
    };
    let (from, to) = (places("source")?, places("destination")?);
    let mut order = vec![None; rank];
    to.iter().zip(&from).for_each(|(to, from)| order[*to] = Some(*from));
    let mut others = (0..rank).filter(|axis| !from.contains(axis));
    let axes: Option<Vec<usize>> = order.into_iter().map(|axis| axis.or_else(|| others.next())).collect();
    axes.map_or_else(
        || refuse("an axis that moves twice"),
        |axes| Ok(axes.into_iter().map(|axis| axis as i64).collect()),
    )
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Returns the sizes of a view's argument.
    pub(super) fn sizes(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<Size>> {
        let of = |value: i64| match value {
            -1 => Ok(Size::Rest),
            value => {
                let size = usize::try_from(value).ok().filter(|size| *size <= MAX_VALUES);
                size.map_or_else(|| refuse(format!("a size of {value}")), |size| Ok(Size::Fixed(size)))
            }
        };
        match call.argument(name) {
            Some(RawArgument::Ints(values)) => values.iter().map(|value| of(*value)).collect(),
            Some(RawArgument::SymbolicInts(values)) => values
                .iter()
                .map(|value| match value {
                    RawInt::Constant(value) => of(*value),
                    RawInt::Value(name) => match self.named(name)? {
                        Known::Int(size) => Ok(size),
                        _ => refuse("a size that is no integer"),
                    },
                })
                .collect(),
            _ => refuse(format!("a call without `{name}`")),
        }
    }

    pub(super) fn change_axes(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<Known>> {
        let known = self.first(call)?;
        if let Known::Tensor { index, shape } = &known
            && let Some(changed) = self.change_tensor(call, name, *index, shape)?
        {
            return Ok(vec![changed]);
        }
        let value = self.traced(known)?;
        if let "expand" | "expand_as" = name {
            let sizes = if name == "expand" { self.sizes(call, "size")? } else { self.sizes_of(call, "other")? };
            return Ok(vec![self.expand(value, &sizes)?]);
        }
        let view = self.view_of_call(call, name, value.rank())?;
        let changed = self.view_of_value(value, &view)?;
        changed.map_or_else(|| refuse("a view that cuts across the axes"), |value| Ok(vec![Known::Traced(value)]))
    }

    /// Returns the view that a call makes of an array of so many axes.
    fn view_of_call(&self, call: &Call<'r, 'a>, name: &str, rank: usize) -> Lowered<View> {
        Ok(match name {
            "view" | "_unsafe_view" => View::Reshape(self.sizes(call, "size")?),
            "reshape" => View::Reshape(self.sizes(call, "shape")?),
            "view_as" | "reshape_as" => View::Reshape(self.sizes_of(call, "other")?),
            "expand" => View::Expand(self.sizes(call, "size")?),
            "flatten" => View::Flatten { first: call.int("start_dim", 0)?, last: call.int("end_dim", -1)? },
            "unflatten" => View::Unflatten { axis: call.int("dim", 0)?, sizes: self.sizes(call, "sizes")? },
            "permute" => View::Permute(call.ints("dims")?.unwrap_or_default()),
            "t" => View::Swap(0, 1),
            "mT" => View::Swap(-2, -1),
            "transpose" | "swapdims" => View::Swap(call.int("dim0", 0)?, call.int("dim1", 1)?),
            "swapaxes" => View::Swap(call.int("axis0", 0)?, call.int("axis1", 1)?),
            "movedim" => View::Permute(moved_axes(call, rank)?),
            "unsqueeze" => View::Unsqueeze(call.int("dim", 0)?),
            _ => View::Squeeze(call.ints("dim")?.unwrap_or_else(|| (0..rank as i64).collect())),
        })
    }

    /// Returns a view of a tensor that is a tensor, too; `None` of another one.
    fn change_tensor(&self, call: &Call<'r, 'a>, name: &str, index: usize, shape: &[usize]) -> Lowered<Option<Known>> {
        let is_turned = match name {
            "t" | "transpose" | "swapaxes" | "swapdims" | "mT" => true,
            "permute" => call.ints("dims")?.is_some_and(|dims| dims == [1, 0]),
            _ => false,
        };
        if is_turned && shape.len() == 2 && shape == self.raw.tensors[index].shape {
            return Ok(Some(Known::Turned { index }));
        }
        if matches!(name, "view_as" | "reshape_as" | "expand_as") {
            return Ok(None);
        }
        let view = self.view_of_call(call, name, shape.len())?;
        let changed = self.view_of_tensor(shape.to_vec(), &view)?;
        Ok(changed.map(|shape| Known::Tensor { index, shape }))
    }

    /// Returns the sizes of an array that an argument names.
    fn sizes_of(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<Size>> {
        let fixed = |shape: &[usize]| shape.iter().map(|size| Size::Fixed(*size)).collect();
        match call.argument(name).map(|argument| self.known_argument(argument)).transpose()? {
            Some(Known::Traced(value)) => Ok(value.sizes()),
            Some(Known::Expanded { value, lengths }) => Ok(value
                .axes
                .iter()
                .zip(lengths)
                .map(
                    |(axis, length)| {
                        if axis.contains(&Factor::Batch) { Size::Batch(length) } else { Size::Fixed(length) }
                    },
                )
                .collect()),
            Some(Known::Tensor { shape, .. }) => Ok(fixed(&shape)),
            Some(Known::Constant(array)) => Ok(fixed(&array.shape)),
            Some(Known::Turned { .. } | Known::Int(_) | Known::Unread) | None => {
                refuse(format!("a call without `{name}`"))
            }
        }
    }
}
