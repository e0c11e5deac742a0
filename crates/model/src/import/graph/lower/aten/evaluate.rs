//! Evaluation: calls whose tensors are all constants, computed in f64 while the file is imported.

use super::call::Call;
use super::gather::IndexList;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::traced::Size;
use crate::import::graph::raw::{RawArgument, RawDtype, RawType};
use crate::import::graph::tensor::RawTensorKind;
use std::rc::Rc;

/// The most values of all evaluated arrays together.
const MAX_TOTAL: usize = 1 << 25;

/// Ops that create an array in the type, and without sizes in the shape, of another one.
const CREATIONS: [&str; 8] =
    ["new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "empty_like"];

/// Steps in which every parameter may be made a kernel.
const MAX_STEPS: usize = 16;

impl<'r, 'a> Lowering<'r, 'a> {
    /// Evaluates a call; `None` if it depends on the image or on a parameter, or is none that is evaluated.
    pub(super) fn evaluate(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Option<Vec<Known>>> {
        self.is_kernel = call.node.outputs.iter().flatten().any(|name| self.kernels.contains_key(name));
        let is_of_shape = CREATIONS.contains(&op.split('.').next().unwrap_or(op));
        if !self.is_constant(call, is_of_shape) || self.keeps_its_tensor(call, op) {
            return Ok(None);
        }
        let Some(results) = self.evaluated(call, op)? else { return Ok(None) };
        self.counted(results).map(Some)
    }

    /// Returns evaluated arrays as constants, and counts their values.
    pub(super) fn counted(&mut self, results: Vec<Array>) -> Lowered<Vec<Known>> {
        self.evaluated_values += results.iter().map(|array| array.values.len()).sum::<usize>();
        let limit = self.evaluation_limit();
        if self.evaluated_values > limit {
            return refuse(format!("constants of more than {limit} values"));
        }
        Ok(results.into_iter().map(|array| Known::Constant(Rc::new(array))).collect())
    }

    /// Returns the most values of all evaluated arrays together. Kernels are as large as the parameters that they are computed
    /// from.
    pub fn evaluation_limit(&self) -> usize {
        let stored: usize = self.raw.tensors.iter().map(|tensor| tensor.len()).sum();
        MAX_TOTAL.max(stored.saturating_mul(MAX_STEPS))
    }

    /// Whether no tensor of a call depends on the image or on a parameter; the first one may, if the call takes its shape alone.
    fn is_constant(&self, call: &Call<'r, 'a>, is_of_shape: bool) -> bool {
        let is_constant = |name| match self.known.get(self.array_name(name)) {
            Some(Known::Constant(_) | Known::Int(_)) => true,
            Some(Known::Tensor { index, .. }) => self.is_fixed(*index),
            Some(Known::Traced(_) | Known::Expanded { .. } | Known::Turned { .. } | Known::Unread) | None => false,
        };
        let arguments = call.node.arguments.iter().skip(usize::from(is_of_shape));
        arguments.into_iter().all(|argument| match &argument.value {
            RawArgument::Value(name) => is_constant(name),
            RawArgument::Values(names) => names.iter().flatten().all(is_constant),
            _ => true,
        })
    }

    /// Whether a tensor's values are those of the file for the node that is lowered: it is not trained, or the node computes a
    /// kernel from it.
    fn is_fixed(&self, index: usize) -> bool {
        self.is_kernel && self.is_float(index) || self.is_frozen(index)
    }

    /// Whether a tensor of the file is none that is trained.
    pub fn is_frozen(&self, index: usize) -> bool {
        matches!(self.raw.tensors[index].kind, RawTensorKind::Buffer | RawTensorKind::Constant)
    }

    /// Whether a call's result is a tensor of the file, seen as another shape, which keeps its name.
    fn keeps_its_tensor(&self, call: &Call<'r, 'a>, op: &str) -> bool {
        let is_tensor = matches!(self.first(call), Ok(Known::Tensor { index, .. }) if self.is_float(index));
        is_tensor
            && matches!(
                op,
                "alias.default"
                    | "clone.default"
                    | "contiguous.default"
                    | "detach.default"
                    | "detach_.default"
                    | "lift_fresh_copy.default"
                    | "to.dtype"
                    | "to.device"
                    | "to.dtype_layout"
                    | "type_as.default"
                    | "view.default"
                    | "reshape.default"
                    | "_unsafe_view.default"
                    | "unsqueeze.default"
                    | "squeeze.dim"
            )
    }

    pub fn is_float(&self, index: usize) -> bool {
        self.raw.tensors[index].dtype.is_float()
    }

    /// Returns the values of a tensor of the file; `None` if its type has none that can be read.
    pub fn tensor_values(&self, index: usize) -> Option<Vec<f64>> {
        fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.as_chunks().0.iter().map(|bits| read(*bits)).collect()
        }
        let tensor = &self.raw.tensors[index];
        let bytes = self.raw.values(tensor);
        Some(match tensor.dtype {
            RawDtype::F16 => each(&bytes, |bits| half::f16::from_le_bytes(bits).to_f64()),
            RawDtype::Bf16 => each(&bytes, |bits| half::bf16::from_le_bytes(bits).to_f64()),
            RawDtype::F32 => each(&bytes, |bits| f64::from(f32::from_le_bytes(bits))),
            RawDtype::F64 => each(&bytes, f64::from_le_bytes),
            RawDtype::I8 => each(&bytes, |bits| f64::from(i8::from_le_bytes(bits))),
            RawDtype::I16 => each(&bytes, |bits| f64::from(i16::from_le_bytes(bits))),
            RawDtype::I32 => each(&bytes, |bits| f64::from(i32::from_le_bytes(bits))),
            RawDtype::I64 => each(&bytes, |bits| i64::from_le_bytes(bits) as f64),
            RawDtype::U8 | RawDtype::Bool => each(&bytes, |bits| f64::from(u8::from_le_bytes(bits))),
            RawDtype::U16 => each(&bytes, |bits| f64::from(u16::from_le_bytes(bits))),
            RawDtype::U32 => each(&bytes, |bits| f64::from(u32::from_le_bytes(bits))),
            RawDtype::U64 => each(&bytes, |bits| u64::from_le_bytes(bits) as f64),
            RawDtype::Other(_) => return None,
        })
    }

    /// Returns an argument that is constant; `None` if it is left out or not.
    pub(super) fn array(&self, argument: Option<&RawArgument<'a>>) -> Option<Rc<Array>> {
        let scalar = |value| Some(Rc::new(Array::scalar(value)));
        match argument? {
            RawArgument::Int(value) => scalar(*value as f64),
            RawArgument::Float(value) => scalar(*value),
            RawArgument::Bool(value) => scalar(f64::from(u8::from(*value))),
            argument @ (RawArgument::Value(_) | RawArgument::Tensor(_)) => {
                self.constant(&self.known_argument(argument).ok()?)
            }
            _ => None,
        }
    }

    /// Returns the values of what is known, if it is constant.
    pub(super) fn constant(&self, known: &Known) -> Option<Rc<Array>> {
        match known {
            Known::Constant(array) => Some(Rc::clone(array)),
            Known::Int(Size::Fixed(value)) => Some(Rc::new(Array::scalar(*value as f64))),
            Known::Tensor { index, shape } if self.is_fixed(*index) => {
                Array::new(shape.clone(), self.tensor_values(*index)?).map(Rc::new)
            }
            Known::Tensor { .. }
            | Known::Int(Size::Batch(_) | Size::Rest)
            | Known::Traced(_)
            | Known::Expanded { .. }
            | Known::Turned { .. }
            | Known::Unread => None,
        }
    }

    /// Returns a call's results; `None` if it is none that is evaluated.
    fn evaluated(&self, call: &Call<'r, 'a>, op: &str) -> Lowered<Option<Vec<Array>>> {
        let (name, _) = op.split_once('.').unwrap_or((op, ""));
        let name = name.strip_suffix('_').filter(|name| !name.is_empty()).unwrap_or(name);
        if let Some(array) = self.created(call, name)? {
            return Ok(Some(vec![array]));
        }
        if let ("cat" | "stack" | "meshgrid", Some(RawArgument::Values(names))) = (name, call.argument("tensors")) {
            let parts: Option<Vec<Rc<Array>>> =
                names.iter().flatten().map(|name| self.array(Some(&RawArgument::Value(name.clone())))).collect();
            return parts.and_then(|parts| joined(call, name, &parts).transpose()).transpose();
        }
        let first = ["self", "condition", "input", "v"].into_iter().find_map(|name| call.argument(name));
        let Some(array) = self.array(first) else { return Ok(None) };
        if let Some(of) = unary(name) {
            return Ok(Some(vec![array.map(of)]));
        }
        if let Some(reduced) = self.reduced(call, op, &array)? {
            return Ok(Some(vec![reduced]));
        }
        let other = ["other", "exponent", "vec2", "mask"].into_iter().find_map(|name| self.array(call.argument(name)));
        if let Some(other) = &other
            && let Some(result) = binary(call, name, &array, other)?
        {
            return Ok(Some(vec![result]));
        }
        if let Some(parts) = parted(call, name, &array)? {
            return Ok(Some(parts));
        }
        Ok(self.viewed(call, name, &array)?.map(|array| vec![array]))
    }

    /// Returns the array that a call creates from numbers alone.
    fn created(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Option<Array>> {
        let filled = |value: f64| -> Lowered<Option<Array>> {
            let shape = match call.argument("size") {
                Some(_) => self.fixed_sizes(call, "size")?,
                None => match self.first(call) {
                    Ok(Known::Traced(value)) => value.lengths(),
                    Ok(Known::Expanded { lengths, .. }) => lengths,
                    Ok(Known::Tensor { shape, .. }) => shape,
                    Ok(Known::Constant(array)) => array.shape.clone(),
                    Ok(Known::Turned { .. } | Known::Int(_) | Known::Unread) | Err(_) => return Ok(None),
                },
            };
            Array::filled(shape, value)
                .map_or_else(|| refuse("a constant of that many values"), |array| Ok(Some(array)))
        };
        let number = |name, other| match self.array(call.argument(name)).and_then(|array| array.single()) {
            Some(value) => Ok(value),
            None if call.argument(name).is_none() => Ok(other),
            None => refuse(format!("`{name}` that is no constant")),
        };
        match name {
            // What is left open is written before it is read.
            "empty" | "empty_like" | "new_empty" | "zeros" | "zeros_like" | "new_zeros" | "zero" => filled(0.0),
            "ones" | "ones_like" | "new_ones" => filled(1.0),
            "full" | "full_like" | "new_full" | "fill" => filled(number("fill_value", number("value", 0.0)?)?),
            "scalar_tensor" => Ok(Some(Array::scalar(number("s", 0.0)?))),
            "arange" => {
                let (start, end, step) = (number("start", 0.0)?, number("end", 0.0)?, number("step", 1.0)?);
                let count = ((end - start) / step).ceil();
                if !(0.0..=4_194_304.0).contains(&count) {
                    return refuse(format!("a range of {count} values"));
                }
                Ok(Array::list((0..count as usize).map(|index| start + index as f64 * step).collect()))
            }
            "eye" => {
                let rows = number("n", 0.0)?;
                let shape = [rows, number("m", rows)?].map(|side| side as usize);
                let Some(zeros) = Array::filled(shape.to_vec(), 0.0) else {
                    return refuse("a constant of that many values");
                };
                Ok(Some(zeros.triangle(|row, column| row == column, 1.0)))
            }
            "linspace" => {
                let (start, end, steps) = (number("start", 0.0)?, number("end", 0.0)?, number("steps", 1.0)?);
                if !(1.0..=4_194_304.0).contains(&steps) {
                    return refuse(format!("a range of {steps} values"));
                }
                let step = if steps > 1.0 { (end - start) / (steps - 1.0) } else { 0.0 };
                Ok(Array::list((0..steps as usize).map(|index| start + index as f64 * step).collect()))
            }
            _ => Ok(None),
        }
    }

    /// Returns the sizes of an argument; the batch counts as one image, as every image has the same constants.
    fn fixed_sizes(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<usize>> {
        let sizes = self.sizes(call, name)?;
        let fixed = sizes.into_iter().map(|size| match size {
            Size::Fixed(size) | Size::Batch(size) => Some(size),
            Size::Rest => None,
        });
        fixed.collect::<Option<Vec<usize>>>().map_or_else(|| refuse("a size that is left open"), Ok)
    }

    /// Returns the array that a call makes by moving values.
    fn viewed(&self, call: &Call<'r, 'a>, name: &str, array: &Array) -> Lowered<Option<Array>> {
        let axis = |argument: &str, default: i64| {
            let axis = array.axis(call.int(argument, default)?);
            axis.map_or_else(|| refuse("an axis that is not there"), Ok)
        };
        let other = || self.array(call.argument("other")).map(|other| other.shape.clone());
        let mut shape = array.shape.clone();
        let result = match name {
            "tril" | "triu" => {
                let diagonal = call.int("diagonal", 0)?;
                let is_above = |row: usize, column: usize| column as i64 - row as i64 > diagonal;
                let is_below = |row: usize, column: usize| (column as i64 - (row as i64)) < diagonal;
                Some(if name == "tril" { array.triangle(is_above, 0.0) } else { array.triangle(is_below, 0.0) })
            }
            "alias" | "clone" | "contiguous" | "detach" | "lift_fresh_copy" | "type_as" | "dropout" => {
                Some(array.clone())
            }
            "to" | "_to_copy" => Some(converted(call, array)),
            "bitwise_not" => {
                let is_flag = self.is_flag(call);
                Some(array.map(|value| if is_flag { 1.0 - value } else { -value - 1.0 }))
            }
            "view" | "reshape" | "_unsafe_view" | "expand" | "repeat" => {
                let argument = if name == "reshape" {
                    "shape"
                } else if name == "repeat" {
                    "repeats"
                } else {
                    "size"
                };
                self.resized(call, (name, argument), array)?
            }
            "view_as" | "reshape_as" => other().and_then(|shape| array.reshape(shape)),
            "expand_as" => other().and_then(|shape| array.expand(&shape)),
            "copy" => self.array(call.argument("src")).and_then(|source| source.expand(&array.shape)),
            "cumsum" => Some(array.cumulate(axis("dim", 0)?)),
            "index" => match self.index_list(call)? {
                Some(IndexList { axis, count, indices, dims }) => {
                    let merged = shape[axis..axis + count].iter().product();
                    shape.splice(axis..axis + count, [merged]);
                    let taken = array.reshape(shape.clone()).and_then(|array| array.take(axis, &indices));
                    shape.splice(axis..=axis, dims);
                    taken.and_then(|taken| taken.reshape(shape))
                }
                None => None,
            },
            "flatten" | "unsqueeze" | "squeeze" | "permute" | "transpose" | "t" => with_axes(call, name, array)?,
            _ => return Ok(None),
        };
        result.map_or_else(|| refuse("a view of a constant that does not fit"), |array| Ok(Some(array)))
    }

    /// Returns an array in the sizes of an argument: viewed, expanded or repeated.
    fn resized(&self, call: &Call<'r, 'a>, (name, argument): (&str, &str), array: &Array) -> Lowered<Option<Array>> {
        let sizes = self.sizes(call, argument)?;
        let known: usize =
            sizes.iter().map(|size| if let Size::Fixed(size) | Size::Batch(size) = size { *size } else { 1 }).product();
        let ahead = sizes.len().saturating_sub(array.shape.len());
        let size = |(index, size): (usize, &Size)| match size {
            Size::Fixed(size) | Size::Batch(size) => *size,
            Size::Rest if name == "expand" => {
                index.checked_sub(ahead).and_then(|axis| array.shape.get(axis)).copied().unwrap_or(1)
            }
            Size::Rest => array.values.len().checked_div(known).unwrap_or(0),
        };
        let sizes: Vec<usize> = sizes.iter().enumerate().map(size).collect();
        Ok(match name {
            "expand" => array.expand(&sizes),
            "repeat" => {
                let mut shape = vec![1; ahead];
                shape.extend(&array.shape);
                let first = array.reshape(shape.clone());
                shape.iter().zip(&sizes).enumerate().fold(first, |result, (axis, (side, times))| {
                    let indices: Vec<usize> = (0..side.checked_mul(*times)?).map(|index| index % side).collect();
                    result?.take(axis, &indices)
                })
            }
            _ => array.reshape(sizes),
        })
    }

    /// Whether a call's first argument has booleans.
    fn is_flag(&self, call: &Call<'r, 'a>) -> bool {
        match call.argument("self") {
            Some(RawArgument::Value(name)) => {
                matches!(self.raw.types.get(name), Some(RawType::Tensor { dtype: RawDtype::Bool, .. }))
            }
            _ => false,
        }
    }
}

/// Returns an array with its axes merged, added, dropped or in another order; `None` if they cannot be.
fn with_axes(call: &Call<'_, '_>, name: &str, array: &Array) -> Lowered<Option<Array>> {
    let axis = |argument: &str, default: i64| {
        let axis = array.axis(call.int(argument, default)?);
        axis.map_or_else(|| refuse("an axis that is not there"), Ok)
    };
    let mut shape = array.shape.clone();
    Ok(match name {
        "flatten" => {
            let (first, last) = (axis("start_dim", 0)?, axis("end_dim", -1)?);
            if first > last {
                return refuse("a view that cuts across the axes");
            }
            let merged = shape[first..=last].iter().product();
            shape.splice(first..=last, [merged]);
            array.reshape(shape)
        }
        "unsqueeze" => {
            let at = call.int("dim", 0)?;
            let at = usize::try_from(if at < 0 { at + shape.len() as i64 + 1 } else { at }).unwrap_or(usize::MAX);
            if at > shape.len() {
                return refuse("an axis that is not there");
            }
            shape.insert(at, 1);
            array.reshape(shape)
        }
        "squeeze" => {
            let axes = call.ints("dim")?.unwrap_or_else(|| (0..shape.len() as i64).collect());
            let axes: Vec<usize> = axes.into_iter().filter_map(|axis| array.axis(axis)).collect();
            let kept = |(axis, side): (usize, &usize)| (!axes.contains(&axis) || *side != 1).then_some(*side);
            array.reshape(array.shape.iter().enumerate().filter_map(kept).collect())
        }
        "permute" => {
            let order: Option<Vec<usize>> =
                call.ints("dims")?.unwrap_or_default().into_iter().map(|axis| array.axis(axis)).collect();
            order.and_then(|order| array.permute(&order))
        }
        "transpose" | "t" => {
            let [first, second] = if name == "t" { [0, 1] } else { [call.int("dim0", 0)?, call.int("dim1", 1)?] };
            let mut order: Vec<usize> = (0..shape.len()).collect();
            match (array.axis(first), array.axis(second)) {
                (Some(first), Some(second)) => order.swap(first, second),
                _ => return refuse("an axis that is not there"),
            }
            array.permute(&order)
        }
        _ => None,
    })
}

/// Returns arrays joined along an axis, or the grid of lists.
fn joined(call: &Call<'_, '_>, name: &str, parts: &[Rc<Array>]) -> Lowered<Option<Vec<Array>>> {
    let Some(first) = parts.first() else { return Ok(None) };
    let rank = first.shape.len() as i64 + i64::from(name == "stack");
    let axis = call.int("dim", 0)?;
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).unwrap_or(usize::MAX);
    let result = match name {
        "cat" => Array::concat(parts, axis).map(|array| vec![array]),
        "stack" => {
            let raised = |part: &Rc<Array>| {
                let mut shape = part.shape.clone();
                if axis > shape.len() {
                    return None;
                }
                shape.insert(axis, 1);
                part.reshape(shape)
            };
            let parts: Option<Vec<Array>> = parts.iter().map(raised).collect();
            parts.and_then(|parts| Array::concat(&parts, axis)).map(|array| vec![array])
        }
        _ => {
            let is_swapped =
                matches!(call.argument("indexing"), Some(RawArgument::Text(text)) if text.as_str() == "xy");
            let shape: Vec<usize> = parts.iter().map(|part| part.values.len()).collect();
            let grid = |(axis, part): (usize, &Rc<Array>)| {
                let mut own = vec![1; shape.len()];
                own[axis] = shape[axis];
                let grid = part.reshape(own)?.expand(&shape)?;
                let mut order: Vec<usize> = (0..shape.len()).collect();
                if is_swapped && order.len() > 1 {
                    order.swap(0, 1);
                }
                grid.permute(&order)
            };
            parts.iter().enumerate().map(grid).collect()
        }
    };
    result.map_or_else(|| refuse("constants of other shapes"), |arrays| Ok(Some(arrays)))
}

/// Returns the parts of an axis that a call selects.
fn parted(call: &Call<'_, '_>, name: &str, array: &Array) -> Lowered<Option<Vec<Array>>> {
    if !matches!(
        name,
        "slice" | "select" | "narrow" | "chunk" | "split" | "split_with_sizes" | "unbind" | "flip" | "roll"
    ) {
        return Ok(None);
    }
    let misfit = "a part of a constant that is not there";
    if let "flip" | "roll" = name {
        let mut result = array.clone();
        for (axis, indices) in super::gather::moved(call, name, |axis| {
            let axis = array.axis(axis)?;
            Some((axis, array.shape[axis]))
        })? {
            let Some(moved) = result.take(axis, &indices) else { return refuse(misfit) };
            result = moved;
        }
        return Ok(Some(vec![result]));
    }
    let Some(axis) = array.axis(call.int("dim", 0)?) else { return refuse("an axis that is not there") };
    let length = array.shape[axis];
    let (ranges, goes) = if let "slice" | "select" | "narrow" = name {
        let (range, goes) = super::slice::selected(call, name, length)?;
        (vec![range], goes)
    } else {
        let sizes = super::slice::part_sizes(call, name, length)?;
        let mut start = 0;
        let ranges = sizes.into_iter().map(|size| {
            start += size;
            (start - size, size, 1)
        });
        (ranges.collect(), name == "unbind")
    };
    let part = |(start, count, step): (usize, usize, usize)| {
        let indices: Vec<usize> = (0..count).map(|index| start + index * step).collect();
        let mut part = array.take(axis, &indices)?;
        if goes {
            part.shape.remove(axis);
        }
        Some(part)
    };
    ranges.into_iter().map(part).collect::<Option<Vec<Array>>>().map_or_else(|| refuse(misfit), |parts| Ok(Some(parts)))
}

/// Returns an array in the type that a call converts it to.
fn converted(call: &Call<'_, '_>, array: &Array) -> Array {
    match call.argument("dtype") {
        Some(RawArgument::Dtype(RawDtype::Bool)) => array.map(|value| f64::from(u8::from(value != 0.0))),
        Some(RawArgument::Dtype(dtype)) if dtype.is_integer() => array.map(f64::trunc),
        _ => array.clone(),
    }
}

/// Returns the function of one value that an op computes.
fn unary(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tanh" => f64::tanh,
        "exp" => f64::exp,
        "log" => f64::ln,
        "log2" => f64::log2,
        "sqrt" => f64::sqrt,
        "rsqrt" => |value| 1.0 / value.sqrt(),
        "reciprocal" => |value| 1.0 / value,
        "abs" => f64::abs,
        "neg" => |value| -value,
        "floor" => f64::floor,
        "ceil" => f64::ceil,
        "sign" => |value| if value == 0.0 { 0.0 } else { value.signum() },
        "square" => |value| value * value,
        "sigmoid" => |value| 1.0 / (1.0 + (-value).exp()),
        "relu" => |value| value.max(0.0),
        "logical_not" => |value| f64::from(u8::from(value == 0.0)),
        _ => return None,
    })
}

/// Returns the function of two values that an op computes; `None` if it is another kind of op.
fn binary(call: &Call<'_, '_>, name: &str, left: &Array, right: &Array) -> Lowered<Option<Array>> {
    let alpha = call.number("alpha", 1.0)?;
    let rounding = match call.argument("rounding_mode") {
        Some(RawArgument::Text(text)) => text.as_str().to_owned(),
        _ => String::new(),
    };
    let flag = |is: bool| f64::from(u8::from(is));
    let value = call.number("value", 0.0)?;
    let of = |a: f64, b: f64| match name {
        "add" => a + alpha * b,
        "sub" => a - alpha * b,
        "rsub" => b - alpha * a,
        "mul" | "outer" => a * b,
        "div" if rounding == "floor" => (a / b).floor(),
        "div" if rounding == "trunc" => (a / b).trunc(),
        "div" => a / b,
        "floor_divide" => (a / b).floor(),
        "remainder" => a - (a / b).floor() * b,
        "pow" => a.powf(b),
        "maximum" => a.max(b),
        "minimum" => a.min(b),
        "eq" => flag(a == b),
        "ne" => flag(a != b),
        "lt" => flag(a < b),
        "le" => flag(a <= b),
        "gt" => flag(a > b),
        "ge" => flag(a >= b),
        "logical_and" | "bitwise_and" => flag(a != 0.0 && b != 0.0),
        "logical_or" | "bitwise_or" => flag(a != 0.0 || b != 0.0),
        "masked_fill" if b != 0.0 => value,
        _ => a,
    };
    const NAMES: [&str; 22] = [
        "add",
        "sub",
        "rsub",
        "mul",
        "outer",
        "div",
        "floor_divide",
        "remainder",
        "pow",
        "maximum",
        "minimum",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "logical_and",
        "bitwise_and",
        "logical_or",
        "bitwise_or",
        "masked_fill",
    ];
    if !NAMES.contains(&name) {
        return Ok(None);
    }
    let column = (name == "outer").then(|| left.reshape(vec![left.values.len(), 1])).flatten();
    let result = column.as_ref().unwrap_or(left).zip(right, of);
    result.map_or_else(|| refuse("arithmetic of constants of other shapes"), |array| Ok(Some(array)))
}
