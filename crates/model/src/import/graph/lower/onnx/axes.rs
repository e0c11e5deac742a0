//! Axes: reshapes, permutations and other changes that move no value.

use super::MAX_RANK;
use super::node::Node;
use super::sizes::length;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::aten::{Known, Lowered, refuse};
use crate::import::graph::lower::traced::Size;
use crate::import::graph::lower::view::View;

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    pub(super) fn change_axes(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        let known = self.array(node, 0)?;
        let known = match node.op() {
            "Reshape" => {
                let sizes = self.reshaped_sizes(node, &known)?;
                self.view(known, &View::Reshape(sizes))?
            }
            "Flatten" => self.flatten(known, node.int("axis", 1)?)?,
            "Squeeze" => {
                let axes = match self.axes(node)? {
                    Some(axes) => axes,
                    None => (0..rank(&known) as i64).collect(),
                };
                self.view(known, &View::Squeeze(axes))?
            }
            "Unsqueeze" => self.unsqueeze(node, known)?,
            "Transpose" => self.transpose(node, known)?,
            _ => {
                let sizes = self.sizes(node, 1)?;
                self.expand(known, sizes)?
            }
        };
        Ok(vec![known.into()])
    }

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
                let changed = self.lowering.view_of_value(value, view)?;
                changed.map_or_else(|| refuse("a view that cuts across the axes"), |value| Ok(Known::Traced(value)))
            }
            Known::Tensor { index, shape } => match self.lowering.view_of_tensor(shape, view)? {
                Some(shape) => Ok(Known::Tensor { index, shape }),
                None => refuse(match view {
                    View::Reshape(_) => "a view of a tensor by the batch's size",
                    View::Expand(_) => "an expansion of a tensor",
                    View::Flatten { .. }
                    | View::Unflatten { .. }
                    | View::Permute(_)
                    | View::Swap(..)
                    | View::Unsqueeze(_)
                    | View::Squeeze(_) => "a permutation of a tensor",
                }),
            },
            Known::Int(_) | Known::Unread => refuse("a view of something that is no array"),
        }
    }

    /// Returns the axes of a node: an attribute before opset 13, an input since.
    pub(super) fn axes(&mut self, node: &Node<'r, 'a>) -> Lowered<Option<Vec<i64>>> {
        match node.ints("axes")? {
            Some(axes) => Ok(Some(axes.to_vec())),
            None => self.ints(node, 1),
        }
    }

    /// Returns the sizes that a reshape states; 0 is the input's length.
    fn reshaped_sizes(&mut self, node: &Node<'r, 'a>, known: &Known) -> Lowered<Vec<Size>> {
        let mut sizes = self.sizes(node, 1)?;
        if node.flag("allowzero", false)? {
            return Ok(sizes);
        }
        for (axis, size) in sizes.iter_mut().enumerate().filter(|(_, size)| **size == Size::Fixed(0)) {
            let kept = match known {
                Known::Traced(value) => (axis < value.rank()).then(|| length(value, axis)),
                Known::Tensor { shape, .. } => shape.get(axis).copied().map(Size::Fixed),
                Known::Expanded { .. } | Known::Turned { .. } | Known::Constant(_) | Known::Int(_) | Known::Unread => {
                    None
                }
            };
            match kept {
                Some(kept) => *size = kept,
                None => return refuse("a reshape that keeps an axis that is not there"),
            }
        }
        Ok(sizes)
    }

    /// Makes two axes of those before an axis and those from it on.
    fn flatten(&mut self, known: Known, axis: i64) -> Lowered<Known> {
        let rank = rank(&known) as i64;
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        if !(0..=rank).contains(&axis) {
            return refuse("an axis that is not there");
        }
        let inner = if axis == rank { View::Unsqueeze(rank) } else { View::Flatten { first: axis, last: -1 } };
        let known = self.view(known, &inner)?;
        let outer = if axis == 0 { View::Unsqueeze(0) } else { View::Flatten { first: 0, last: axis - 1 } };
        self.view(known, &outer)
    }

    fn unsqueeze(&mut self, node: &Node<'r, 'a>, mut known: Known) -> Lowered<Known> {
        let mut axes = self.axes(node)?.unwrap_or_default();
        if axes.len() > MAX_RANK {
            return refuse(format!("{} axes", axes.len()));
        }
        let total = (rank(&known) + axes.len()) as i64;
        axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis = axis.saturating_add(total));
        axes.sort_unstable();
        for axis in axes {
            known = self.view(known, &View::Unsqueeze(axis))?;
        }
        Ok(known)
    }

    fn transpose(&mut self, node: &Node<'r, 'a>, known: Known) -> Lowered<Known> {
        let rank = rank(&known);
        let order = match node.ints("perm")? {
            Some(order) => order.to_vec(),
            None => (0..rank as i64).rev().collect(),
        };
        let is_exchanged = order == [1, 0];
        match known {
            Known::Tensor { index, shape } if is_exchanged && shape == self.lowering.raw.tensors[index].shape => {
                Ok(Known::Turned { index })
            }
            Known::Turned { index } if is_exchanged => {
                let shape = self.lowering.raw.tensors[index].shape.clone();
                Ok(Known::Tensor { index, shape })
            }
            Known::Tensor { .. } => {
                let value = self.lowering.traced(known)?;
                self.view(Known::Traced(value), &View::Permute(order))
            }
            known => self.view(known, &View::Permute(order)),
        }
    }

    /// Repeats axes of length 1. Where the size is 1, the length stays.
    fn expand(&mut self, known: Known, mut sizes: Vec<Size>) -> Lowered<Known> {
        if let Known::Tensor { .. } = known {
            sizes.iter_mut().filter(|size| **size == Size::Fixed(1)).for_each(|size| *size = Size::Rest);
            if let Ok(tensor) = self.view(known.clone(), &View::Expand(sizes.clone())) {
                return Ok(tensor);
            }
        }
        let value = self.lowering.traced(known)?;
        while sizes.len() < value.rank() {
            sizes.insert(0, Size::Rest);
        }
        let ahead = sizes.len() - value.rank();
        for (axis, size) in sizes.iter_mut().enumerate().skip(ahead).filter(|(_, size)| **size == Size::Fixed(1)) {
            *size = length(&value, axis - ahead);
        }
        self.lowering.expand(value, &sizes)
    }
}

/// Returns the number of axes of an array.
fn rank(known: &Known) -> usize {
    match known {
        Known::Traced(value) | Known::Expanded { value, .. } => value.rank(),
        Known::Tensor { shape, .. } => shape.len(),
        Known::Turned { .. } => 2,
        Known::Constant(array) => array.shape.len(),
        Known::Int(_) | Known::Unread => 0,
    }
}
