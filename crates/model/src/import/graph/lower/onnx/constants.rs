//! Constants: nodes whose inputs are all constant, computed in f64 while the file is imported.

use super::MAX_RANK;
use super::node::Node;
use super::select::Range;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::aten::{Known, Lowered, length, mean, refuse, standardised};
use crate::import::graph::lower::traced::Size;
use crate::import::graph::name::Name;
use crate::import::graph::raw::RawArgument;
use std::rc::Rc;

/// Ops whose result is a tensor of the file seen as another shape, which keeps its name.
const VIEWS: [&str; 8] = ["Identity", "Cast", "CastLike", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"];

/// ONNX's numbers of the integer types.
const INTEGERS: [i64; 8] = [2, 3, 4, 5, 6, 7, 12, 13];

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    /// Evaluates a node; `None` if it depends on the image or on a parameter, or its op is none that is evaluated.
    pub(super) fn evaluate(&mut self, node: &Node<'r, 'a>) -> Lowered<Option<Vec<Value>>> {
        if node.op() == "Shape" {
            return Ok(None);
        }
        if let Some(results) = self.evaluate_sizes(node)? {
            return Ok(Some(results));
        }
        let mut operands = Vec::new();
        let mut is_batched = false;
        for (position, name) in node.inputs().enumerate() {
            let Some(name) = name else {
                operands.push(None);
                continue;
            };
            is_batched |= self.batched.contains(name);
            let known = match self.named(name)? {
                Value::Known(known) => known.clone(),
                // The batch's axis has length 1, as for one image.
                Value::Sizes(sizes) => {
                    is_batched = true;
                    let fixed = |size: &Size| match size {
                        Size::Fixed(size) => *size as f64,
                        Size::Rest => -1.0,
                        Size::Batch(times) => *times as f64,
                    };
                    let values: Vec<f64> = sizes.sizes.iter().map(fixed).collect();
                    let shape = if sizes.is_scalar { Vec::new() } else { vec![values.len()] };
                    Known::Constant(Rc::new(Array { shape, values }))
                }
                Value::Sequence(_) => return Ok(None),
            };
            let is_first_view = position == 0 && VIEWS.contains(&node.op());
            if is_first_view && self.is_long_float_tensor(&known) {
                return Ok(None);
            }
            match self.constant(&known)? {
                Some(array) => operands.push(Some(array)),
                None if position == 1 && node.op() == "CastLike" => operands.push(None),
                None => return Ok(None),
            }
        }
        self.count(operands.iter().flatten().map(|array| array.values.len()).sum())?;
        let Some(array) = self.evaluated(node, &operands)? else { return Ok(None) };
        self.count(array.values.len())?;
        if array.shape.len() > MAX_RANK {
            return refuse(format!("a constant of more than {MAX_RANK} axes"));
        }
        if self.is_integer_result(node)? {
            self.integers.extend(node.output().cloned());
        }
        if is_batched {
            self.batched.extend(node.output().cloned());
        }
        Ok(Some(vec![Known::Constant(Rc::new(array)).into()]))
    }

    /// Computes the one result of a node of constants.
    fn evaluated(&mut self, node: &Node<'r, 'a>, operands: &[Option<Rc<Array>>]) -> Lowered<Option<Array>> {
        let misfit = || refuse("constants of shapes that do not fit");
        let fits = |array: Option<Array>| array.map_or_else(misfit, |array| Ok(Some(array)));
        let at = |position: usize| operands.get(position).and_then(Option::as_ref);
        if node.op() == "ConstantOfShape" {
            let Some(shape) = at(0) else { return misfit() };
            let fill = match node.attribute("value") {
                Some(RawArgument::Tensor(index)) => {
                    self.lowering.tensor_values(*index).and_then(|values| values.first().copied())
                }
                _ => Some(0.0),
            };
            return fits(fill.and_then(|fill| Array::filled(sides(shape)?, fill)));
        }
        let Some(first) = at(0) else { return Ok(None) };
        if let Some(function) = unary(node.op()) {
            return Ok(Some(first.map(function)));
        }
        if let Some(function) = binary(node.op()) {
            let Some(second) = at(1) else { return misfit() };
            let result = first.zip(second, function);
            let truncates = node.op() == "Div" && node.inputs().flatten().all(|name| self.is_integer(name));
            return fits(result.map(|result| if truncates { result.map(f64::trunc) } else { result }));
        }
        match node.op() {
            "Identity" | "CastLike" => Ok(Some(first.as_ref().clone())),
            "Cast" => Ok(Some(converted(node.int("to", 1)?, first))),
            "Max" | "Min" | "Sum" => {
                let of = |a: f64, b: f64| match node.op() {
                    "Max" => a.max(b),
                    "Min" => a.min(b),
                    _ => a + b,
                };
                let mut rest = operands.iter().skip(1).flatten();
                fits(rest.try_fold(first.as_ref().clone(), |result, other| result.zip(other, of)))
            }
            "Where" => {
                let (Some(left), Some(right)) = (at(1), at(2)) else { return misfit() };
                // Each place of the condition, and of what it chooses from.
                let chosen = first.zip(left, |is_left, left| if is_left != 0.0 { left } else { f64::NAN });
                let other = first.zip(right, |is_left, right| if is_left != 0.0 { f64::NAN } else { right });
                let pick = |left: f64, right: f64| if left.is_nan() { right } else { left };
                fits(chosen.zip(other).and_then(|(left, right)| left.zip(&right, pick)))
            }
            "Range" => {
                let limits = [at(0), at(1), at(2)].map(|limit| limit.and_then(|limit| limit.single()));
                let [Some(start), Some(end), Some(step)] = limits else { return misfit() };
                let count = ((end - start) / step).ceil().max(0.0);
                self.count(count as usize)?;
                fits(Array::list((0..count as usize).map(|index| start + index as f64 * step).collect()))
            }
            "CumSum" => {
                if node.flag("exclusive", false)? || node.flag("reverse", false)? {
                    return Ok(None);
                }
                let axis = at(1).and_then(|axis| axis.single()).and_then(|axis| first.axis(axis as i64));
                fits(axis.map(|axis| first.cumulate(axis)))
            }
            "Concat" => {
                let parts: Vec<Rc<Array>> = operands.iter().flatten().cloned().collect();
                fits(first.axis(node.int("axis", 0)?).and_then(|axis| Array::concat(&parts, axis)))
            }
            "Gather" => {
                let axis = first.axis(node.int("axis", 0)?);
                fits(at(1).zip(axis).and_then(|(indices, axis)| gathered(first, axis, indices)))
            }
            "GatherND" => fits(at(1).and_then(|indices| gathered_rows(first, indices))),
            "Slice" => self.sliced(node, first),
            "Tile" => {
                let Some(repeats) = at(1).and_then(|repeats| sides(repeats)) else { return misfit() };
                fits(tiled(first, &repeats))
            }
            "ReduceMean" | "ReduceSum" | "ReduceProd" | "ReduceL2" | "ReduceSumSquare" => self.reduced(node, first),
            "MatMul" => Ok(at(1).and_then(|second| with_vector(first, second))),
            "BatchNormalization" if node.flag("training_mode", false)? => {
                let tensors = [at(1).map(AsRef::as_ref), at(2).map(AsRef::as_ref)];
                fits(standardised(first, tensors, node.number("epsilon", 1e-5)?))
            }
            "BatchNormalization" => {
                let [Some(scale), Some(shift), Some(mean), Some(variance)] = [at(1), at(2), at(3), at(4)] else {
                    return misfit();
                };
                fits(normalised(first, [scale, shift, mean, variance], node.number("epsilon", 1e-5)?))
            }
            _ => self.reshaped(node, first, at(1)).and_then(|result| match result {
                Some(result) => fits(result),
                None => Ok(None),
            }),
        }
    }

    /// Returns a constant reduced over axes, which are an attribute or an input; all of them without any.
    fn reduced(&mut self, node: &Node<'r, 'a>, array: &Array) -> Lowered<Option<Array>> {
        let axes = self.axes(node)?.unwrap_or_default();
        let is_all = axes.is_empty();
        if is_all && node.flag("noop_with_empty_axes", false)? {
            return Ok(Some(array.clone()));
        }
        let axes = if is_all { (0..array.shape.len() as i64).collect() } else { axes };
        let axes: Option<Vec<usize>> = axes.into_iter().map(|axis| array.axis(axis)).collect();
        let keeps = node.flag("keepdims", true)?;
        let squares = |values: &[f64]| values.iter().map(|value| value * value).sum();
        let reduced = axes.and_then(|axes| match node.op() {
            "ReduceMean" => array.reduce(&axes, keeps, mean),
            "ReduceProd" => array.reduce(&axes, keeps, |values| values.iter().product()),
            "ReduceL2" => array.reduce(&axes, keeps, length),
            "ReduceSumSquare" => array.reduce(&axes, keeps, squares),
            _ => array.reduce(&axes, keeps, |values| values.iter().sum()),
        });
        reduced
            .map_or_else(|| refuse("a reduction of a constant over axes that are not there"), |array| Ok(Some(array)))
    }

    /// Whether an operand is a tensor of the file with several floating-point numbers, which keeps its name.
    fn is_long_float_tensor(&self, known: &Known) -> bool {
        match known {
            Known::Tensor { index, .. } => {
                self.lowering.is_float(*index) && self.lowering.raw.tensors[*index].len() != 1
            }
            Known::Traced(_)
            | Known::Expanded { .. }
            | Known::Constant(_)
            | Known::Turned { .. }
            | Known::Int(_)
            | Known::Unread => false,
        }
    }

    /// Whether a name stands for integers.
    fn is_integer(&self, name: &Name<'a>) -> bool {
        match self.values.get(name) {
            Some(Value::Sizes(_)) => true,
            Some(Value::Known(Known::Tensor { index, .. })) => !self.lowering.is_float(*index),
            Some(Value::Known(Known::Constant(_))) => self.integers.contains(name),
            Some(Value::Known(
                Known::Traced(_) | Known::Expanded { .. } | Known::Turned { .. } | Known::Int(_) | Known::Unread,
            ))
            | Some(Value::Sequence(_))
            | None => false,
        }
    }

    /// Whether the result of a node of constants is integers.
    fn is_integer_result(&self, node: &Node<'r, 'a>) -> Lowered<bool> {
        let is_integer = |position: usize| node.input(position).is_some_and(|name| self.is_integer(name));
        Ok(match node.op() {
            "Cast" => INTEGERS.contains(&node.int("to", 1)?),
            "CastLike" | "Where" => is_integer(1),
            "ConstantOfShape" => match node.attribute("value") {
                Some(RawArgument::Tensor(index)) => !self.lowering.is_float(*index),
                _ => false,
            },
            _ => is_integer(0),
        })
    }

    /// Changes the axes of a constant; `None` if the op is another one, `Some(None)` if they do not fit.
    fn reshaped(
        &self,
        node: &Node<'r, 'a>,
        array: &Array,
        argument: Option<&Rc<Array>>,
    ) -> Lowered<Option<Option<Array>>> {
        let rank = array.shape.len();
        let axes = |default: Option<Vec<i64>>| -> Lowered<Option<Vec<i64>>> {
            let attribute = node.ints("axes")?.map(<[i64]>::to_vec);
            let given = argument.map(|axes| axes.values.iter().map(|axis| *axis as i64).collect());
            Ok(attribute.or(given).or(default))
        };
        Ok(Some(match node.op() {
            "Reshape" => argument.and_then(|shape| {
                let keeps = !matches!(node.attribute("allowzero"), Some(RawArgument::Int(1)));
                let total = array.values.len();
                let side = |(axis, side): (usize, &f64)| match *side as i64 {
                    0 if keeps => array.shape.get(axis).copied(),
                    side => usize::try_from(side).ok(),
                };
                let known = shape.values.iter().enumerate().filter(|(_, side)| **side != -1.0).map(side);
                let known: usize =
                    known.collect::<Option<Vec<_>>>()?.iter().try_fold(1_usize, |a, b| a.checked_mul(*b))?;
                let side = |(axis, side_value): (usize, &f64)| match *side_value == -1.0 {
                    true => total.checked_div(known),
                    false => side((axis, side_value)),
                };
                array.reshape(shape.values.iter().enumerate().map(side).collect::<Option<_>>()?)
            }),
            "Flatten" => {
                let axis = node.int("axis", 1)?;
                let axis = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).unwrap_or(usize::MAX);
                let outer = array.shape.get(..axis).map(|sides| sides.iter().product::<usize>());
                outer.and_then(|outer| array.reshape(vec![outer, array.values.len().checked_div(outer)?]))
            }
            "Unsqueeze" => {
                let axes = axes(None)?.unwrap_or_default();
                let total = rank + axes.len();
                let place = |axis: i64| usize::try_from(if axis < 0 { axis + total as i64 } else { axis }).ok();
                let places: Option<Vec<usize>> = axes.into_iter().map(place).collect();
                places.and_then(|places| {
                    let mut sides = array.shape.iter();
                    let side = |axis: usize| if places.contains(&axis) { Some(1) } else { sides.next().copied() };
                    array.reshape((0..total).map(side).collect::<Option<_>>()?)
                })
            }
            "Squeeze" => {
                let axes = axes(None)?;
                let goes = |axis: usize| match &axes {
                    Some(axes) => axes.iter().any(|gone| array.axis(*gone) == Some(axis)),
                    None => array.shape[axis] == 1,
                };
                array.reshape((0..rank).filter(|axis| !goes(*axis)).map(|axis| array.shape[axis]).collect())
            }
            "Expand" => argument.and_then(|shape| {
                let shape = sides(shape)?;
                array.expand(&crate::import::graph::lower::array::joint(&array.shape, &shape)?)
            }),
            "Transpose" => {
                let order: Option<Vec<usize>> = match node.ints("perm")? {
                    Some(order) => order.iter().map(|axis| usize::try_from(*axis).ok()).collect(),
                    None => Some((0..rank).rev().collect()),
                };
                order.and_then(|order| array.permute(&order))
            }
            _ => return Ok(None),
        }))
    }

    /// Returns the slice of a constant; `None` if a limit is none.
    pub(super) fn sliced(&mut self, node: &Node<'r, 'a>, array: &Array) -> Lowered<Option<Array>> {
        let mut result = array.clone();
        for Range { axis, start, length, step, .. } in self.ranges(node, &array.shape)? {
            let position = |index: usize| start.saturating_add_signed(step.saturating_mul(index as isize));
            match result.take(axis, &(0..length).map(position).collect::<Vec<_>>()) {
                Some(part) => result = part,
                None => return refuse("a slice of a constant that is not there"),
            }
        }
        Ok(Some(result))
    }
}

/// Returns an array normalised by the scale, shift, mean and variance of each channel, its second axis.
fn normalised(array: &Array, channels: [&Rc<Array>; 4], epsilon: f64) -> Option<Array> {
    let mut shape = vec![1; array.shape.len()];
    *shape.get_mut(1)? = *array.shape.get(1)?;
    let [scale, shift, mean, variance] = channels.map(|values| values.reshape(shape.clone()));
    let centred = array.zip(&mean?, |value, mean| value - mean)?;
    let units = centred.zip(&variance?, |value, variance| value / (variance + epsilon).sqrt())?;
    units.zip(&scale?, |value, scale| value * scale)?.zip(&shift?, |value, shift| value + shift)
}

/// Returns the product of a matrix, or a vector, and a vector.
fn with_vector(array: &Array, vector: &Array) -> Option<Array> {
    let last = array.shape.len().checked_sub(1).filter(|_| vector.shape.len() == 1)?;
    array.zip(vector, |left, right| left * right)?.reduce(&[last], false, |row| row.iter().sum())
}

/// Returns an array repeated that many times along each axis.
fn tiled(array: &Array, repeats: &[usize]) -> Option<Array> {
    (repeats.len() == array.shape.len()).then_some(())?;
    array.shape.iter().zip(repeats).enumerate().try_fold(array.clone(), |tiled, (axis, (side, repeats))| {
        let total = side.checked_mul(*repeats).filter(|total| *total <= u16::MAX.into())?;
        tiled.take(axis, &(0..total).map(|index| index % side).collect::<Vec<_>>())
    })
}

/// Returns the sides of a shape that a constant states.
fn sides(shape: &Array) -> Option<Vec<usize>> {
    let side = |side: &f64| (*side >= 0.0 && *side <= f64::from(u32::MAX)).then_some(*side as usize);
    shape.values.iter().map(side).collect()
}

/// Returns the positions of an axis that an array of indices names, which become its axes.
fn gathered(array: &Array, axis: usize, indices: &Array) -> Option<Array> {
    let taken = array.take(axis, &positions(indices, array.shape[axis])?)?;
    let shape = [&array.shape[..axis], &indices.shape, &array.shape[axis + 1..]].concat();
    taken.reshape(shape)
}

/// Returns the rows of the first axis that indices `[…, 1]` name.
fn gathered_rows(array: &Array, indices: &Array) -> Option<Array> {
    let (1, outer) = indices.shape.split_last().map(|(last, outer)| (*last, outer))? else { return None };
    gathered(array, 0, &indices.reshape(outer.to_vec())?)
}

/// Returns the positions that indices name, which may be counted from the end of an axis of that length.
pub(super) fn positions(indices: &Array, side: usize) -> Option<Vec<usize>> {
    let position = |index: &f64| {
        let index = if *index < 0.0 { *index + side as f64 } else { *index };
        (index >= 0.0 && index < side as f64).then_some(index as usize)
    };
    indices.values.iter().map(position).collect()
}

/// Returns a constant in the type of ONNX's number.
fn converted(to: i64, array: &Array) -> Array {
    match to {
        9 => array.map(|value| f64::from(u8::from(value != 0.0))),
        to if INTEGERS.contains(&to) => array.map(f64::trunc),
        _ => array.clone(),
    }
}

/// Returns the function of one value that an op computes.
fn unary(op: &str) -> Option<fn(f64) -> f64> {
    Some(match op {
        "Sin" => f64::sin,
        "Cos" => f64::cos,
        "Tanh" => f64::tanh,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Sqrt" => f64::sqrt,
        "Reciprocal" => |value| 1.0 / value,
        "Abs" => f64::abs,
        "Neg" => |value| -value,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Round" => f64::round_ties_even,
        "Sign" => |value| if value == 0.0 { 0.0 } else { value.signum() },
        "Sigmoid" => |value| 1.0 / (1.0 + (-value).exp()),
        "Relu" => |value| value.max(0.0),
        "Not" => |value| f64::from(u8::from(value == 0.0)),
        _ => return None,
    })
}

/// Returns the function of two values that an op computes.
fn binary(op: &str) -> Option<fn(f64, f64) -> f64> {
    fn flag(is: bool) -> f64 {
        f64::from(u8::from(is))
    }
    Some(match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f64::powf,
        "Mod" => |a, b| a - (a / b).floor() * b,
        "Equal" => |a, b| flag(a == b),
        "Less" => |a, b| flag(a < b),
        "LessOrEqual" => |a, b| flag(a <= b),
        "Greater" => |a, b| flag(a > b),
        "GreaterOrEqual" => |a, b| flag(a >= b),
        "And" => |a, b| flag(a != 0.0 && b != 0.0),
        "Or" => |a, b| flag(a != 0.0 || b != 0.0),
        _ => return None,
    })
}
