//! View: a change of an array's axes that moves no value.

use super::{MAX_RANK, OnnxLowering};
use crate::import::graph::lower::aten::{Known, Lowered, refuse};
use crate::import::graph::lower::traced::{Factor, Size, Traced};

/// Change of an array's axes that moves no value. Axes may be counted from the end.
#[derive(Debug, Clone)]
pub(super) enum View {
    /// Other sizes, row by row.
    Reshape(Vec<Size>),
    /// One axis in place of those from the first to the last.
    Flatten { first: i64, last: i64 },
    /// Several axes in place of one.
    Unflatten { axis: i64, sizes: Vec<Size> },
    /// The axes in another order.
    Permute(Vec<i64>),
    /// Two axes exchanged.
    Swap(i64, i64),
    /// A new axis of length 1.
    Unsqueeze(i64),
    /// Without those axes that have length 1.
    Squeeze(Vec<i64>),
    /// Axes of length 1 repeated.
    Expand(Vec<Size>),
}

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    /// Returns a value or tensor with other axes.
    pub(super) fn view(&mut self, known: Known, view: &View) -> Lowered<Known> {
        let rank = match &known {
            Known::Traced(value) => value.rank(),
            Known::Tensor { shape, .. } => shape.len(),
            Known::Expanded { .. } | Known::Turned { .. } | Known::Constant(_) | Known::Int(_) | Known::Unread => 0,
        };
        let axes = match view {
            View::Reshape(sizes) | View::Unflatten { sizes, .. } | View::Expand(sizes) => sizes.len(),
            View::Unsqueeze(_) => rank + 1,
            View::Flatten { .. } | View::Permute(_) | View::Swap(..) | View::Squeeze(_) => rank,
        };
        if axes > MAX_RANK {
            return refuse(format!("an array of more than {MAX_RANK} axes"));
        }
        match known {
            Known::Traced(_) | Known::Expanded { .. } | Known::Turned { .. } | Known::Constant(_) => {
                let value = self.lowering.traced(known)?;
                let changed = self.view_of_value(value, view)?;
                changed.map_or_else(|| refuse("a view that cuts across the axes"), |value| Ok(Known::Traced(value)))
            }
            Known::Tensor { index, shape } => Ok(Known::Tensor { index, shape: self.view_of_tensor(shape, view)? }),
            Known::Int(_) | Known::Unread => refuse("a view of something that is no array"),
        }
    }

    fn view_of_value(&mut self, mut value: Traced, view: &View) -> Lowered<Option<Traced>> {
        let rank = value.rank();
        let axis_of = |axis: &i64| axis_of(*axis, rank);
        Ok(match view {
            View::Reshape(sizes) => self.lowering.view(value, sizes)?,
            View::Flatten { first, last } => {
                let (first, last) = (axis_of(first)?, axis_of(last)?);
                if first <= last {
                    let merged = value.axes.drain(first..=last).flatten().collect();
                    value.axes.insert(first, merged);
                }
                Some(value)
            }
            View::Unflatten { axis, sizes } => {
                let sizes = unflattened(&value, axis_of(axis)?, sizes);
                match sizes {
                    Some(sizes) => self.lowering.view(value, &sizes)?,
                    None => None,
                }
            }
            View::Permute(order) => value.permute(&order.iter().map(axis_of).collect::<Lowered<Vec<_>>>()?),
            View::Swap(first, second) => {
                value.axes.swap(axis_of(first)?, axis_of(second)?);
                Some(value)
            }
            View::Unsqueeze(axis) => {
                value.axes.insert(self::axis_of(*axis, rank + 1)?, Vec::new());
                Some(value)
            }
            View::Squeeze(axes) => {
                let mut axes = axes.iter().map(axis_of).collect::<Lowered<Vec<_>>>()?;
                axes.sort_unstable();
                axes.dedup();
                for axis in axes.into_iter().rev() {
                    if value.length(axis) == 1 && !value.axes[axis].contains(&Factor::Batch) {
                        value.axes.remove(axis);
                    }
                }
                Some(value)
            }
            View::Expand(_) => return refuse("an expansion of a value"),
        })
    }

    /// Returns the shape of a view of a tensor.
    fn view_of_tensor(&self, mut shape: Vec<usize>, view: &View) -> Lowered<Vec<usize>> {
        let rank = shape.len();
        match view {
            View::Reshape(sizes) => {
                let total: usize = shape.iter().product();
                let fixed = |size: &Size| if let Size::Fixed(size) = size { *size } else { 1 };
                let fixed = sizes.iter().try_fold(1_usize, |len, size| len.checked_mul(fixed(size)));
                let side = |size: &Size| match size {
                    Size::Fixed(size) => Some(*size),
                    Size::Rest => total.checked_div(fixed?),
                    Size::Batch(_) => None,
                };
                let sides: Option<Vec<usize>> = sizes.iter().map(side).collect();
                let len = |sides: &[usize]| sides.iter().try_fold(1_usize, |len, side| len.checked_mul(*side));
                match sides.filter(|sides| len(sides) == Some(total)) {
                    Some(sides) => Ok(sides),
                    None => refuse("a view of a tensor by the batch's size"),
                }
            }
            View::Unsqueeze(axis) => {
                shape.insert(axis_of(*axis, rank + 1)?, 1);
                Ok(shape)
            }
            View::Squeeze(axes) => {
                let axes = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Lowered<Vec<_>>>()?;
                let kept = shape.iter().enumerate().filter(|(axis, side)| **side != 1 || !axes.contains(axis));
                Ok(kept.map(|(_, side)| *side).collect())
            }
            View::Expand(sizes) => {
                let ahead = sizes.len().saturating_sub(rank);
                let expanded: Vec<usize> = vec![1; ahead].into_iter().chain(shape).collect();
                // Only an axis that the batch takes may grow: every image has the same values.
                let grows = |(axis, size): (usize, &Size)| match size {
                    Size::Fixed(size) => *size != expanded[axis] && !(axis == 0 && self.lowering.batch == Some(*size)),
                    Size::Rest | Size::Batch(_) => false,
                };
                if sizes.iter().enumerate().any(grows) {
                    return refuse("an expansion of a tensor");
                }
                Ok(expanded)
            }
            View::Flatten { .. } if rank == 1 => Ok(shape),
            View::Flatten { .. } | View::Unflatten { .. } | View::Permute(_) | View::Swap(..) => {
                refuse("a permutation of a tensor")
            }
        }
    }
}

/// Returns an axis of an array, which may be counted from the end.
fn axis_of(axis: i64, rank: usize) -> Lowered<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let axis = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|axis| *axis < rank);
    axis.map_or_else(|| refuse("an axis that is not there"), Ok)
}

/// Returns the sizes of a value of which one axis is split.
fn unflattened(value: &Traced, axis: usize, inner: &[Size]) -> Option<Vec<Size>> {
    let known = |axis: usize| match value.axes[axis].contains(&Factor::Batch) {
        true => Size::Batch(value.length(axis)),
        false => Size::Fixed(value.length(axis)),
    };
    let whole = value.length(axis);
    let fixed = |size: &Size| if let Size::Fixed(size) = size { *size } else { 1 };
    let fixed = inner.iter().try_fold(1_usize, |len, size| len.checked_mul(fixed(size)))?;
    let mut sizes: Vec<Size> = (0..axis).map(known).collect();
    sizes.extend(inner.iter().map(|size| match size {
        Size::Rest => Size::Fixed(whole / fixed.max(1)),
        other => *other,
    }));
    sizes.extend((axis + 1..value.rank()).map(known));
    Some(sizes)
}
