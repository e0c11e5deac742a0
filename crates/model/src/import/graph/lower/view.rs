//! View: a change of an array's axes that moves no value.

use super::aten::{Lowered, Lowering, refuse};
use super::traced::{Factor, Size, Traced};

/// Change of an array's axes that moves no value. Axes may be counted from the end.
#[derive(Debug, Clone)]
pub enum View {
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

impl Lowering<'_, '_> {
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

    /// Returns a view of a value; `None` of one that cuts across its axes.
    pub fn view_of_value(&mut self, mut value: Traced, view: &View) -> Lowered<Option<Traced>> {
        let rank = value.rank();
        let axis_of = |axis: &i64| axis_of(*axis, rank);
        Ok(match view {
            View::Reshape(sizes) => self.view(value, sizes)?,
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
                    Some(sizes) => self.view(value, &sizes)?,
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

    /// Returns the shape of a view of a tensor that is a tensor, too; `None` of another one.
    pub fn view_of_tensor(&self, mut shape: Vec<usize>, view: &View) -> Lowered<Option<Vec<usize>>> {
        let rank = shape.len();
        Ok(match view {
            View::Reshape(sizes) => {
                let len = |sides: &[usize]| sides.iter().try_fold(1_usize, |len, side| len.checked_mul(*side));
                let fixed = |size: &Size| if let Size::Fixed(size) = size { *size } else { 1 };
                let (total, fixed) = (len(&shape), len(&sizes.iter().map(fixed).collect::<Vec<usize>>()));
                let side = |size: &Size| match size {
                    Size::Fixed(size) => Some(*size),
                    Size::Rest => total?.checked_div(fixed?),
                    Size::Batch(_) => None,
                };
                let sides: Option<Vec<usize>> = sizes.iter().map(side).collect();
                sides.filter(|sides| len(sides) == total)
            }
            View::Unsqueeze(axis) => {
                shape.insert(axis_of(*axis, rank + 1)?, 1);
                Some(shape)
            }
            View::Squeeze(axes) => {
                let axes = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Lowered<Vec<_>>>()?;
                let kept = shape.iter().enumerate().filter(|(axis, side)| **side != 1 || !axes.contains(axis));
                Some(kept.map(|(_, side)| *side).collect())
            }
            View::Expand(sizes) => {
                let ahead = sizes.len().saturating_sub(rank);
                let expanded: Vec<usize> = vec![1; ahead].into_iter().chain(shape).collect();
                // Only an axis that the batch takes may grow: every image has the same values.
                let grows = |(axis, size): (usize, &Size)| match size {
                    Size::Fixed(size) => *size != expanded[axis] && !(axis == 0 && self.batch == Some(*size)),
                    Size::Rest | Size::Batch(_) => false,
                };
                (!sizes.iter().enumerate().any(grows)).then_some(expanded)
            }
            View::Flatten { .. } if rank == 1 => Some(shape),
            View::Flatten { .. } | View::Unflatten { .. } | View::Permute(_) | View::Swap(..) => None,
        })
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
    let own = value.sizes();
    let whole = value.length(axis);
    let fixed = |size: &Size| if let Size::Fixed(size) = size { *size } else { 1 };
    let fixed = inner.iter().try_fold(1_usize, |len, size| len.checked_mul(fixed(size)))?;
    let mut sizes = own[..axis].to_vec();
    sizes.extend(inner.iter().map(|size| match size {
        Size::Rest => Size::Fixed(whole / fixed.max(1)),
        other => *other,
    }));
    sizes.extend_from_slice(&own[axis + 1..]);
    Some(sizes)
}
