//! Values: looks up what the inputs of a node name.

use super::node::Node;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::aten::{Known, Lowered, Operand, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::name::Name;
use crate::import::graph::raw::RawNode;
use crate::import::graph::tensor::RawTensorKind;
use std::rc::Rc;

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    pub(super) fn named(&self, name: &Name<'a>) -> Lowered<&Value> {
        match self.values.get(name) {
            Some(Value::Known(Known::Unread)) | None => {
                refuse(format!("value `{name}`, which no supported node before computes"))
            }
            Some(value) => Ok(value),
        }
    }

    pub(super) fn known(&self, name: &Name<'a>) -> Lowered<Known> {
        match self.named(name)? {
            Value::Known(known) => Ok(known.clone()),
            Value::Sizes(_) => refuse(format!("`{name}`, which depends on the batch")),
            Value::Sequence(_) => refuse(format!("`{name}`, which is a sequence")),
        }
    }

    /// Returns an input that must be there.
    pub(super) fn operand(&self, node: &Node<'r, 'a>, position: usize) -> Lowered<Value> {
        match node.input(position) {
            Some(name) => self.named(name).cloned(),
            None => refuse(format!("a node without input {position}")),
        }
    }

    /// Returns an input that is an array.
    pub(super) fn array(&self, node: &Node<'r, 'a>, position: usize) -> Lowered<Known> {
        match node.input(position) {
            Some(name) => self.known(name),
            None => refuse(format!("a node without input {position}")),
        }
    }

    /// Returns an input as a value of the network; a tensor or a constant becomes one.
    pub(super) fn value(&mut self, node: &Node<'r, 'a>, position: usize) -> Lowered<Traced> {
        let known = self.array(node, position)?;
        self.lowering.traced(known)
    }

    /// Returns an input that is a tensor of the file, as the file has it; `None` if it is left out, or all `fill`.
    pub(super) fn parameter(&mut self, node: &Node<'r, 'a>, position: usize, fill: f64) -> Lowered<Option<usize>> {
        let Some(name) = node.input(position) else { return Ok(None) };
        let known = self.known(name)?;
        if let Some(array) = self.constant(&known)? {
            return match array.values.iter().all(|value| *value == fill) {
                true => Ok(None),
                false if matches!(known, Known::Tensor { .. }) => self.whole_tensor(known, name).map(Some),
                false => refuse(format!("input {position} that is computed")),
            };
        }
        self.whole_tensor(known, name).map(Some)
    }

    /// Returns the raw tensor that a known value is, as the file has it; `name` is its slot in messages.
    pub(super) fn whole_tensor(&self, known: Known, name: &str) -> Lowered<usize> {
        match known {
            Known::Tensor { index, shape } if shape == self.lowering.raw.tensors[index].shape => Ok(index),
            Known::Tensor { .. } | Known::Turned { .. } => refuse(format!("`{name}` that is a view of a tensor")),
            Known::Traced(_) | Known::Expanded { .. } | Known::Constant(_) | Known::Int(_) | Known::Unread => {
                refuse(format!("`{name}` that is computed"))
            }
        }
    }

    /// Returns a convolution's kernel: a tensor of the file, or what it computes from its parameters.
    pub(super) fn kernel(&self, node: &Node<'r, 'a>) -> Lowered<Operand> {
        match self.array(node, 1)? {
            Known::Constant(array)
                if kernel_name(node.raw).is_some_and(|name| self.lowering.kernels.contains_key(name)) =>
            {
                Ok(Operand::Constant(array))
            }
            known => self.whole_tensor(known, "weight").map(Operand::Tensor),
        }
    }

    /// Returns an input that must be a tensor of the file.
    pub(super) fn weight(&self, node: &Node<'r, 'a>, position: usize) -> Lowered<usize> {
        let known = self.array(node, position)?;
        self.whole_tensor(known, "weight")
    }

    /// Returns the values of a constant; `None` if it depends on the image, or on a parameter that no kernel is computed from.
    pub(super) fn constant(&mut self, known: &Known) -> Lowered<Option<Rc<Array>>> {
        match known {
            Known::Constant(array) => Ok(Some(Rc::clone(array))),
            Known::Tensor { index, shape } if self.lowering.is_kernel || self.is_frozen(*index) => {
                self.count(self.lowering.raw.tensors[*index].len())?;
                let values = self.lowering.tensor_values(*index);
                Ok(values.and_then(|values| Array::new(shape.clone(), values)).map(Rc::new))
            }
            Known::Tensor { .. }
            | Known::Turned { .. }
            | Known::Traced(_)
            | Known::Expanded { .. }
            | Known::Int(_)
            | Known::Unread => Ok(None),
        }
    }

    /// Returns the number that a constant is; `None` if it is none, or several.
    pub(super) fn single(&mut self, known: &Known) -> Lowered<Option<f64>> {
        match known {
            Known::Tensor { index, .. } if self.lowering.raw.tensors[*index].len() != 1 => Ok(None),
            known => Ok(self.constant(known)?.and_then(|array| array.single())),
        }
    }

    /// Returns the integers of an input; `None` if it is left out.
    pub(super) fn ints(&mut self, node: &Node<'r, 'a>, position: usize) -> Lowered<Option<Vec<i64>>> {
        let Some(name) = node.input(position) else { return Ok(None) };
        let known = self.known(name)?;
        match self.constant(&known)? {
            Some(array) => Ok(Some(array.values.iter().map(|value| *value as i64).collect())),
            None => refuse(format!("`{name}` that is computed")),
        }
    }

    /// Returns the numbers of an input that is no parameter, whatever its name; `None` if it is left out.
    pub(super) fn numbers(&mut self, node: &Node<'r, 'a>, position: usize) -> Lowered<Option<Vec<f64>>> {
        let Some(name) = node.input(position) else { return Ok(None) };
        match self.known(name)? {
            Known::Tensor { index, .. } => {
                self.count(self.lowering.raw.tensors[index].len())?;
                Ok(self.lowering.tensor_values(index))
            }
            Known::Constant(array) => Ok(Some(array.values.clone())),
            Known::Turned { .. } | Known::Traced(_) | Known::Expanded { .. } | Known::Int(_) | Known::Unread => {
                refuse(format!("`{name}` that is computed"))
            }
        }
    }

    /// Returns the number of an input; `None` if it is left out.
    pub(super) fn number(&mut self, node: &Node<'r, 'a>, position: usize) -> Lowered<Option<f64>> {
        let Some(name) = node.input(position) else { return Ok(None) };
        match self.numbers(node, position)?.as_deref() {
            Some([number]) => Ok(Some(*number)),
            Some(_) | None => refuse(format!("`{name}` that is no constant number")),
        }
    }

    /// Counts evaluated values, so that a small file does not make the import compute for long.
    pub(super) fn count(&mut self, values: usize) -> Lowered<()> {
        self.evaluated = self.evaluated.saturating_add(values);
        if self.evaluated > self.limit {
            return refuse(format!("constants of more than {} values", self.limit));
        }
        Ok(())
    }

    /// Whether a tensor of the file is none that is trained: a constant, integers, or a number that an exporter named.
    pub(super) fn is_frozen(&self, index: usize) -> bool {
        let tensor = &self.lowering.raw.tensors[index];
        tensor.kind == RawTensorKind::Constant
            || !self.lowering.is_float(index)
            || tensor.is_empty()
            || is_lifted(&tensor.name)
            || tensor.len() == 1 && is_generated(&tensor.name)
    }
}

/// Returns the name of a convolution's kernel; `None` of another op.
pub(super) fn kernel_name<'r, 'a>(raw: &'r RawNode<'a>) -> Option<&'r Name<'a>> {
    let is_convolution = raw.domain.is_empty() && raw.op.as_str() == "Conv";
    Node { raw }.input(1).filter(|_| is_convolution)
}

/// Whether a tensor is a constant of the program, which is no parameter of a module: `lifted_tensor_0`, `_tensor_constant0`.
fn is_lifted(name: &str) -> bool {
    ["lifted_tensor_", "_tensor_constant"].into_iter().any(|start| {
        let number = name.strip_prefix(start);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Whether an exporter made up a tensor's name, as `val_17`, `onnx::Mul_123` or `/Constant_output_0`.
pub(super) fn is_generated(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_counted = |start: &str| name.strip_prefix(start).is_some_and(is_number);
    is_number(name)
        || is_counted("val_")
        || is_counted("Constant_")
        || is_lifted(name)
        || name.starts_with("onnx::")
        || name.starts_with('/')
}
