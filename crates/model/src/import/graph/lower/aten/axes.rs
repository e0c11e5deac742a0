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

    pub(super) fn change_axes(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        let known = self.first(call)?;
        match known {
            Known::Traced(value) => Ok(vec![Known::Traced(self.change_value(call, op, value)?)]),
            Known::Tensor { index, shape } => {
                Ok(vec![Known::Tensor { index, shape: self.change_tensor(call, op, shape)? }])
            }
            Known::Int(_) | Known::Unread => refuse("a view of something that is no array"),
        }
    }

    fn change_value(&self, call: &Call<'r, 'a>, op: &str, mut value: Traced) -> Lowered<Traced> {
        let rank = value.rank() as i64;
        let axis_of =
            |value: &Traced, axis: i64| value.axis(axis).map_or_else(|| refuse("an axis that is not there"), Ok);
        let changed = match op {
            "view.default" | "_unsafe_view.default" => value.view(&self.sizes(call, "size")?, self.batch),
            "reshape.default" => value.view(&self.sizes(call, "shape")?, self.batch),
            "flatten.using_ints" => {
                let (first, last) =
                    (axis_of(&value, call.int("start_dim", 0)?)?, axis_of(&value, call.int("end_dim", -1)?)?);
                if first <= last {
                    let merged = value.axes.drain(first..=last).flatten().collect();
                    value.axes.insert(first, merged);
                }
                Some(value)
            }
            "unflatten.int" => self.unflatten(call, value)?,
            "permute.default" => {
                let dims = call.ints("dims")?.unwrap_or_default();
                let order: Lowered<Vec<usize>> = dims.into_iter().map(|axis| axis_of(&value, axis)).collect();
                value.permute(&order?)
            }
            "transpose.int" | "t.default" => {
                let (first, second) =
                    if op == "t.default" { (0, 1) } else { (call.int("dim0", 0)?, call.int("dim1", 1)?) };
                let (first, second) = (axis_of(&value, first)?, axis_of(&value, second)?);
                value.axes.swap(first, second);
                Some(value)
            }
            "unsqueeze.default" => {
                let axis = call.int("dim", 0)?;
                let axis = if axis < 0 { axis + rank + 1 } else { axis };
                let Ok(axis) = usize::try_from(axis) else { return refuse("an axis that is not there") };
                if axis > value.rank() {
                    return refuse("an axis that is not there");
                }
                value.axes.insert(axis, Vec::new());
                Some(value)
            }
            "squeeze.dim" | "squeeze.dims" => {
                let mut axes: Vec<usize> = call
                    .ints("dim")?
                    .unwrap_or_default()
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
            _ => {
                let sizes = self.sizes(call, "size")?;
                let keeps = |(axis, size): (usize, &Size)| match size {
                    Size::Rest | Size::Batch(_) => true,
                    Size::Fixed(size) => *size == value.length(axis) || value.axes[axis].contains(&Factor::Batch),
                };
                if sizes.len() != value.rank() || !sizes.iter().enumerate().all(keeps) {
                    return refuse("an expansion of a value");
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

    /// Returns the shape of a view of a tensor.
    fn change_tensor(&self, call: &Call<'r, 'a>, op: &str, mut shape: Vec<usize>) -> Lowered<Vec<usize>> {
        let at = |shape: &[usize], axis: i64, extra: i64| {
            let rank = shape.len() as i64 + extra;
            usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|axis| (*axis as i64) < rank)
        };
        match op {
            "view.default" | "reshape.default" | "_unsafe_view.default" => {
                let sizes = self.sizes(call, if op == "reshape.default" { "shape" } else { "size" })?;
                let total: usize = shape.iter().product();
                let fixed: usize =
                    sizes.iter().map(|size| if let Size::Fixed(size) = size { *size } else { 1 }).product();
                let side = |size: &Size| match size {
                    Size::Fixed(size) => Some(*size),
                    Size::Rest => total.checked_div(fixed),
                    Size::Batch(_) => None,
                };
                let sides: Option<Vec<usize>> = sizes.iter().map(side).collect();
                match sides.filter(|sides| sides.iter().product::<usize>() == total) {
                    Some(sides) => Ok(sides),
                    None => refuse("a view of a tensor by the batch's size"),
                }
            }
            "unsqueeze.default" => match at(&shape, call.int("dim", 0)?, 1) {
                Some(axis) => {
                    shape.insert(axis, 1);
                    Ok(shape)
                }
                None => refuse("an axis that is not there"),
            },
            "squeeze.dim" => match at(&shape, call.int("dim", 0)?, 0) {
                Some(axis) => {
                    if shape[axis] == 1 {
                        shape.remove(axis);
                    }
                    Ok(shape)
                }
                None => refuse("an axis that is not there"),
            },
            "expand.default" => {
                let sizes = self.sizes(call, "size")?;
                let ahead = sizes.len().saturating_sub(shape.len());
                let expanded: Vec<usize> = vec![1; ahead].into_iter().chain(shape).collect();
                // Only an axis that the batch takes may grow: every image has the same values.
                let grows = |(axis, size): (usize, &Size)| match size {
                    Size::Fixed(size) => *size != expanded[axis] && !(axis == 0 && self.batch == Some(*size)),
                    Size::Rest | Size::Batch(_) => false,
                };
                if sizes.iter().enumerate().any(grows) {
                    return refuse("an expansion of a tensor");
                }
                Ok(expanded)
            }
            "flatten.using_ints" if shape.len() == 1 => Ok(shape),
            _ => refuse("a permutation of a tensor"),
        }
    }
}
