//! Axes: views, permutations and other changes that move no value.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::description::MAX_VALUES;
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::import::graph::raw::{RawArgument, RawInt};

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
            && let Some(changed) = self.change_tensor(call, name, *index, shape.clone())?
        {
            return Ok(vec![changed]);
        }
        let value = self.traced(known)?;
        if let "expand" | "expand_as" = name {
            let sizes = if name == "expand" { self.sizes(call, "size")? } else { self.sizes_of(call, "other")? };
            return Ok(vec![self.expand(value, &sizes)?]);
        }
        Ok(vec![Known::Traced(self.change_value(call, name, value)?)])
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

    /// Changes a value to those sizes, row by row. A view that cuts across its pieces has the values brought into the order of
    /// the array first.
    pub fn view(&mut self, mut value: Traced, sizes: &[Size]) -> Lowered<Option<Traced>> {
        let mut batch = self.batch.filter(|_| value.has_batch());
        if !value.has_batch() && sizes.iter().any(|size| matches!(size, Size::Batch(_))) {
            // Every image has the same values.
            if value.axes.is_empty() {
                value.axes.push(Vec::new());
            }
            value.axes[0].insert(0, Factor::Batch);
            batch = None;
        }
        if let Some(changed) = value.clone().view(sizes, batch) {
            return Ok(Some(changed));
        }
        value.coalesce();
        if let Some(changed) = value.clone().view(sizes, batch) {
            return Ok(Some(changed));
        }
        let piece = |factor: &Factor| if let Factor::Piece(piece) = factor { Some(*piece) } else { None };
        let order: Vec<usize> = value.axes.iter().flatten().filter_map(piece).collect();
        let units = self.units(&value, &[&order]);
        let mut arranged = self.sketch.arrange(&value, [&[], &[units, order].concat(), &[]])?;
        arranged.coalesce();
        Ok(arranged.view(sizes, batch))
    }

    fn change_value(&mut self, call: &Call<'r, 'a>, name: &str, mut value: Traced) -> Lowered<Traced> {
        let rank = value.rank() as i64;
        let axis_of =
            |value: &Traced, axis: i64| value.axis(axis).map_or_else(|| refuse("an axis that is not there"), Ok);
        let changed = match name {
            "view" | "_unsafe_view" => {
                let sizes = self.sizes(call, "size")?;
                self.view(value, &sizes)?
            }
            "reshape" => {
                let sizes = self.sizes(call, "shape")?;
                self.view(value, &sizes)?
            }
            "view_as" | "reshape_as" => {
                let sizes = self.sizes_of(call, "other")?;
                self.view(value, &sizes)?
            }
            "flatten" => {
                let (first, last) =
                    (axis_of(&value, call.int("start_dim", 0)?)?, axis_of(&value, call.int("end_dim", -1)?)?);
                if first <= last {
                    let merged = value.axes.drain(first..=last).flatten().collect();
                    value.axes.insert(first, merged);
                }
                Some(value)
            }
            "unflatten" => self.unflatten(call, value)?,
            "permute" => {
                let dims = call.ints("dims")?.unwrap_or_default();
                let order: Lowered<Vec<usize>> = dims.into_iter().map(|axis| axis_of(&value, axis)).collect();
                value.permute(&order?)
            }
            "transpose" | "t" | "swapaxes" => {
                let (first, second) = if name == "t" { (0, 1) } else { (call.int("dim0", 0)?, call.int("dim1", 1)?) };
                let (first, second) = (axis_of(&value, first)?, axis_of(&value, second)?);
                value.axes.swap(first, second);
                Some(value)
            }
            "unsqueeze" => {
                let axis = call.int("dim", 0)?;
                let axis = if axis < 0 { axis + rank + 1 } else { axis };
                let Ok(axis) = usize::try_from(axis) else { return refuse("an axis that is not there") };
                if axis > value.rank() {
                    return refuse("an axis that is not there");
                }
                value.axes.insert(axis, Vec::new());
                Some(value)
            }
            _ => {
                let all = || (0..rank).collect();
                let mut axes: Vec<usize> = call
                    .ints("dim")?
                    .unwrap_or_else(all)
                    .into_iter()
                    .map(|axis| axis_of(&value, axis))
                    .collect::<Lowered<_>>()?;
                axes.sort_unstable();
                for axis in axes.into_iter().rev() {
                    if value.length(axis) == 1 && !value.axes[axis].contains(&Factor::Batch) {
                        value.axes.remove(axis);
                    }
                }
                Some(value)
            }
        };
        changed.map_or_else(|| refuse("a view that cuts across the axes"), Ok)
    }

    /// Splits one axis.
    fn unflatten(&self, call: &Call<'r, 'a>, value: Traced) -> Lowered<Option<Traced>> {
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("an axis that is not there") };
        let inner = self.sizes(call, "sizes")?;
        let known = |axis: usize| match value.axes[axis].contains(&Factor::Batch) {
            true => Size::Batch(value.length(axis)),
            false => Size::Fixed(value.length(axis)),
        };
        let mut sizes: Vec<Size> = (0..axis).map(known).collect();
        let whole = value.length(axis);
        let fixed: usize = inner.iter().map(|size| if let Size::Fixed(size) = size { *size } else { 1 }).product();
        sizes.extend(inner.iter().map(|size| match size {
            Size::Rest => Size::Fixed(whole / fixed.max(1)),
            other => *other,
        }));
        sizes.extend((axis + 1..value.rank()).map(known));
        Ok(value.view(&sizes, None))
    }

    /// Returns a view of a tensor that is a tensor, too; `None` of another one.
    fn change_tensor(
        &self,
        call: &Call<'r, 'a>,
        name: &str,
        index: usize,
        mut shape: Vec<usize>,
    ) -> Lowered<Option<Known>> {
        let at = |shape: &[usize], axis: i64, extra: i64| {
            let rank = shape.len() as i64 + extra;
            usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|axis| (*axis as i64) < rank)
        };
        let is_turned = match name {
            "t" => true,
            "transpose" => true,
            "permute" => call.ints("dims")?.is_some_and(|dims| dims == [1, 0]),
            _ => false,
        };
        if is_turned && shape.len() == 2 && shape == self.raw.tensors[index].shape {
            return Ok(Some(Known::Turned { index }));
        }
        let changed = match name {
            "view" | "reshape" | "_unsafe_view" => {
                let sizes = self.sizes(call, if name == "reshape" { "shape" } else { "size" })?;
                let total: usize = shape.iter().product();
                let fixed: usize =
                    sizes.iter().map(|size| if let Size::Fixed(size) = size { *size } else { 1 }).product();
                let side = |size: &Size| match size {
                    Size::Fixed(size) => Some(*size),
                    Size::Rest => total.checked_div(fixed),
                    Size::Batch(_) => None,
                };
                let sides: Option<Vec<usize>> = sizes.iter().map(side).collect();
                sides.filter(|sides| sides.iter().product::<usize>() == total)
            }
            "unsqueeze" => at(&shape, call.int("dim", 0)?, 1).map(|axis| {
                shape.insert(axis, 1);
                shape
            }),
            "squeeze" if call.argument("dim").is_some() => {
                let axes = call.ints("dim")?.unwrap_or_default();
                let axes: Vec<usize> = axes.into_iter().filter_map(|axis| at(&shape, axis, 0)).collect();
                let kept = |(axis, side): (usize, &usize)| (!axes.contains(&axis) || *side != 1).then_some(*side);
                Some(shape.iter().enumerate().filter_map(kept).collect())
            }
            "expand" => {
                let sizes = self.sizes(call, "size")?;
                let ahead = sizes.len().saturating_sub(shape.len());
                let expanded: Vec<usize> = vec![1; ahead].into_iter().chain(shape).collect();
                // Only an axis that the batch takes may grow: every image has the same values.
                let grows = |(axis, size): (usize, &Size)| match size {
                    Size::Fixed(size) => *size != expanded[axis] && !(axis == 0 && self.batch == Some(*size)),
                    Size::Rest | Size::Batch(_) => false,
                };
                (!sizes.iter().enumerate().any(grows)).then_some(expanded)
            }
            "flatten" if shape.len() == 1 => Some(shape),
            _ => None,
        };
        Ok(changed.map(|shape| Known::Tensor { index, shape }))
    }
}
