//! Sizes: integers of a file that depend on the batch, as shapes do, and what is computed of them.

use super::MAX_RANK;
use super::node::Node;
use super::{OnnxLowering, Value};
use crate::description::MAX_VALUES;
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::aten::{Known, Lowered, refuse};
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use std::rc::Rc;

/// List of sizes, or one of them without an axis.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    pub sizes: Vec<Size>,
    /// Whether the array has no axis.
    pub is_scalar: bool,
}

impl Sizes {
    /// Returns the value of sizes: a constant, if none depends on the batch.
    fn value(self) -> Value {
        let number = |size: &Size| match size {
            Size::Fixed(size) => Some(*size as f64),
            Size::Rest => Some(-1.0),
            Size::Batch(_) => None,
        };
        let Some(values) = self.sizes.iter().map(number).collect::<Option<Vec<f64>>>() else {
            return Value::Sizes(self);
        };
        let shape = if self.is_scalar { Vec::new() } else { vec![values.len()] };
        Known::Constant(Rc::new(Array { shape, values })).into()
    }

    /// Returns the sizes at the positions of a constant, which may be counted from the end.
    fn gather(&self, indices: &Array) -> Option<Self> {
        let at = |index: &f64| {
            let index = if *index < 0.0 { *index + self.sizes.len() as f64 } else { *index };
            self.sizes.get(index as usize).copied().filter(|_| index >= 0.0)
        };
        let sizes = indices.values.iter().map(at).collect::<Option<_>>()?;
        Some(Self { sizes, is_scalar: indices.shape.is_empty() })
    }
}

/// Returns the size that an integer of the file states; −1 is what is left.
pub(super) fn size(value: f64) -> Lowered<Size> {
    if value == -1.0 {
        return Ok(Size::Rest);
    }
    let is_size = value >= 0.0 && value <= MAX_VALUES as f64;
    if is_size { Ok(Size::Fixed(value as usize)) } else { refuse(format!("a size of {value}")) }
}

/// Returns the length of an axis of a value, of all images where the batch is in it.
pub(super) fn length(value: &Traced, axis: usize) -> Size {
    let length = value.length(axis);
    if value.axes[axis].contains(&Factor::Batch) { Size::Batch(length) } else { Size::Fixed(length) }
}

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    /// Lowers `Shape`: the lengths of an input's axes.
    pub(super) fn shape(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        let sizes: Vec<Size> = match self.operand(node, 0)? {
            Value::Known(Known::Traced(value)) => (0..value.rank()).map(|axis| length(&value, axis)).collect(),
            Value::Known(Known::Expanded { value, lengths }) => {
                let size = |(axis, size): (usize, usize)| match value.axes[axis].contains(&Factor::Batch) {
                    true => Size::Batch(size),
                    false => Size::Fixed(size),
                };
                lengths.iter().copied().enumerate().map(size).collect()
            }
            Value::Known(Known::Tensor { shape, .. }) => shape.into_iter().map(Size::Fixed).collect(),
            Value::Known(Known::Turned { index }) => {
                self.lowering.raw.tensors[index].shape.iter().rev().map(|side| Size::Fixed(*side)).collect()
            }
            Value::Known(Known::Constant(array)) => array.shape.iter().map(|side| Size::Fixed(*side)).collect(),
            Value::Sizes(sizes) if !sizes.is_scalar => vec![Size::Fixed(sizes.sizes.len())],
            Value::Sizes(_) => Vec::new(),
            Value::Known(Known::Int(_) | Known::Unread) | Value::Sequence(_) => {
                return refuse("the shape of something that is no array");
            }
        };
        let rank = sizes.len() as i64;
        let place = |axis: i64| (if axis < 0 { axis.saturating_add(rank) } else { axis }).clamp(0, rank) as usize;
        let (start, end) = (place(node.int("start", 0)?), place(node.int("end", i64::MAX)?));
        let sizes = sizes.get(start..end).unwrap_or_default().to_vec();
        self.integers.extend(node.output().cloned());
        Ok(vec![Sizes { sizes, is_scalar: false }.value()])
    }

    /// Returns the sizes of an input; −1 is what is left.
    pub(super) fn sizes(&mut self, node: &Node<'r, 'a>, position: usize) -> Lowered<Vec<Size>> {
        match self.operand(node, position)? {
            Value::Sizes(sizes) => Ok(sizes.sizes),
            Value::Known(known) => match self.constant(&known)? {
                Some(array) if array.values.len() > MAX_RANK => refuse(format!("{} sizes", array.values.len())),
                Some(array) => array.values.iter().map(|value| size(*value)).collect(),
                None => refuse("sizes that are computed from values"),
            },
            Value::Sequence(_) => refuse("sizes that are no list of integers"),
        }
    }

    /// Computes an op of which at least one input depends on the batch; `None` if the op is none of shapes.
    pub(super) fn evaluate_sizes(&mut self, node: &Node<'r, 'a>) -> Lowered<Option<Vec<Value>>> {
        let operands: Vec<Value> =
            node.inputs().flatten().map(|name| self.named(name).cloned()).collect::<Lowered<_>>()?;
        if !operands.iter().any(|operand| matches!(operand, Value::Sizes(_))) {
            return Ok(None);
        }
        let first = match operands.first() {
            Some(Value::Sizes(sizes)) => Some(sizes),
            _ => None,
        };
        let result = match (node.op(), first) {
            ("Identity" | "Cast" | "CastLike", Some(sizes)) => sizes.clone(),
            ("Squeeze", Some(sizes)) if sizes.sizes.len() == 1 => Sizes { is_scalar: true, ..sizes.clone() },
            ("Unsqueeze", Some(sizes)) if sizes.is_scalar => Sizes { is_scalar: false, ..sizes.clone() },
            ("Reshape", Some(sizes)) => {
                let is_scalar = self.ints(node, 1)?.is_some_and(|shape| shape.is_empty());
                Sizes { is_scalar, ..sizes.clone() }
            }
            ("Gather", Some(sizes)) => {
                let indices = self.array(node, 1)?;
                match self.constant(&indices)?.and_then(|indices| sizes.gather(&indices)) {
                    Some(sizes) => sizes,
                    None => return refuse("a position of a shape that is not there"),
                }
            }
            ("Slice", Some(sizes)) => {
                let positions: Vec<f64> = (0..sizes.sizes.len()).map(|index| index as f64).collect();
                let indices = Array { shape: vec![positions.len()], values: positions };
                match self.sliced(node, &indices)? {
                    Some(indices) => match sizes.gather(&indices) {
                        Some(sizes) => sizes,
                        None => return refuse("a position of a shape that is not there"),
                    },
                    None => return refuse("a slice of a shape that is computed"),
                }
            }
            ("Concat", _) => Sizes { sizes: self.all_sizes(&operands)?.concat(), is_scalar: false },
            ("Add" | "Sub" | "Mul" | "Div", _) => self.size_arithmetic(node.op(), &operands)?,
            ("Equal", _) => {
                let [left, right] = &self.all_sizes(&operands)?[..] else { return Ok(None) };
                let is_equal = |(left, right): (&Size, &Size)| f64::from(u8::from(left == right));
                let values: Vec<f64> = pairs(left, right).iter().map(|(left, right)| is_equal((left, right))).collect();
                let array = Array { shape: vec![values.len()], values };
                return Ok(Some(vec![Known::Constant(Rc::new(array)).into()]));
            }
            ("Where", _) => {
                let condition = self.array(node, 0)?;
                let Some(condition) = self.constant(&condition)? else { return Ok(None) };
                let [left, right] = &self.all_sizes(&operands[1..])?[..] else { return Ok(None) };
                let choices = pairs(left, right);
                let pick =
                    |(is_left, (left, right)): (&f64, &(Size, Size))| if *is_left != 0.0 { *left } else { *right };
                Sizes { sizes: condition.values.iter().zip(&choices).map(pick).collect(), is_scalar: false }
            }
            ("Expand" | "ConstantOfShape", None) => return Ok(None),
            _ => return Ok(None),
        };
        self.integers.extend(node.output().cloned());
        Ok(Some(vec![result.value()]))
    }

    fn all_sizes(&mut self, operands: &[Value]) -> Lowered<Vec<Vec<Size>>> {
        let mut all = Vec::with_capacity(operands.len());
        for operand in operands {
            all.push(match operand {
                Value::Sizes(sizes) => sizes.sizes.clone(),
                Value::Known(known) => match self.constant(known)? {
                    Some(array) => array.values.iter().map(|value| size(*value)).collect::<Lowered<_>>()?,
                    None => return refuse("arithmetic of sizes and values"),
                },
                Value::Sequence(_) => return refuse("arithmetic of sizes and values"),
            });
        }
        Ok(all)
    }

    fn size_arithmetic(&mut self, op: &str, operands: &[Value]) -> Lowered<Sizes> {
        let [left, right] = &self.all_sizes(operands)?[..] else { return refuse("arithmetic of other than two sizes") };
        let is_scalar = |operand: &Value| match operand {
            Value::Sizes(sizes) => sizes.is_scalar,
            Value::Known(Known::Constant(array)) => array.shape.is_empty(),
            Value::Known(Known::Tensor { shape, .. }) => shape.is_empty(),
            Value::Known(_) | Value::Sequence(_) => false,
        };
        let is_scalar = operands.iter().all(is_scalar);
        let sizes =
            pairs(left, right).into_iter().map(|(left, right)| computed(op, left, right)).collect::<Lowered<_>>()?;
        Ok(Sizes { sizes, is_scalar })
    }
}

/// Returns the pairs of two lists, of which one of length 1 is repeated.
fn pairs(left: &[Size], right: &[Size]) -> Vec<(Size, Size)> {
    let at = |list: &[Size], index: usize| list.get(if list.len() == 1 { 0 } else { index }).copied();
    (0..left.len().max(right.len())).map_while(|index| at(left, index).zip(at(right, index))).collect()
}

/// Computes one size of two.
fn computed(op: &str, left: Size, right: Size) -> Lowered<Size> {
    let result = match (op, left, right) {
        ("Mul", Size::Fixed(a), Size::Fixed(b)) => a.checked_mul(b).map(Size::Fixed),
        ("Mul", Size::Batch(a), Size::Fixed(b)) | ("Mul", Size::Fixed(b), Size::Batch(a)) => {
            a.checked_mul(b).map(Size::Batch)
        }
        ("Mul", Size::Fixed(0), Size::Rest) | ("Mul", Size::Rest, Size::Fixed(0)) => Some(Size::Fixed(0)),
        ("Div", Size::Fixed(a), Size::Fixed(b)) => a.checked_div(b).map(Size::Fixed),
        ("Div", Size::Batch(a), Size::Fixed(b)) if b > 0 && a.is_multiple_of(b) => Some(Size::Batch(a / b)),
        ("Div", Size::Batch(a), Size::Batch(b)) if b > 0 && a.is_multiple_of(b) => Some(Size::Fixed(a / b)),
        ("Add", Size::Fixed(a), Size::Fixed(b)) => a.checked_add(b).map(Size::Fixed),
        ("Sub", Size::Fixed(a), Size::Fixed(b)) => a.checked_sub(b).map(Size::Fixed),
        ("Add" | "Sub", size, Size::Fixed(0)) => Some(size),
        _ => None,
    };
    result.map_or_else(|| refuse("that arithmetic of the batch's size"), Ok)
}
