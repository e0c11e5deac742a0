//! Sketch of a network: nodes with their module paths and tensors, as ops are lowered one by one.

use super::TensorSource;
use super::array::Array;
use super::sections::module;
use super::traced::{Factor, Traced};
use crate::description::MAX_VALUES;
use crate::import::graph::raw::RawGraph;
use fieldfit_nets::{Function, Node, Op, Rearrange, Role, Shape, ShapeError, TensorSpec, ValueId};
use fieldfit_tensor::TensorId;
use std::collections::HashMap;

/// Network under construction.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub nodes: Vec<Node>,
    /// Module path of each node.
    pub paths: Vec<String>,
    /// Shape of each value, the image's first.
    pub shapes: Vec<Shape>,
    pub tensors: Vec<TensorSpec>,
    pub sources: Vec<TensorSource>,
    /// Values of the tensors that the file computes; see [`TensorSource::constant`].
    pub constants: Vec<Vec<f64>>,
    /// The tensor that a raw tensor became, by its position.
    known: HashMap<usize, TensorId>,
    /// The constants that there are, by their shapes and bits.
    known_constants: HashMap<(Vec<usize>, Vec<u64>), TensorId>,
    /// Values that are tensors, by tensor and block.
    parameters: HashMap<(TensorId, String), (ValueId, Shape)>,
    /// Module path of the nodes that are appended now.
    pub path: String,
}

impl Sketch {
    pub fn new(image: Shape) -> Self {
        Self {
            nodes: Vec::new(),
            paths: Vec::new(),
            shapes: vec![image],
            tensors: Vec::new(),
            sources: Vec::new(),
            constants: Vec::new(),
            known: HashMap::new(),
            known_constants: HashMap::new(),
            parameters: HashMap::new(),
            path: String::new(),
        }
    }

    /// Appends a node; returns its value and shape.
    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> Result<(ValueId, Shape), ShapeError> {
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.shapes[input.index()]).collect();
        let shape = op.output_shape(&shapes)?;
        let len = shape.sides().iter().try_fold(1_usize, |len, side| len.checked_mul(*side));
        if len.is_none_or(|len| len > MAX_VALUES) {
            return Err(ShapeError::Inputs {
                op: op.name(),
                found: shape,
                other: shapes.first().copied().unwrap_or(shape),
            });
        }
        self.nodes.push(Node { op, inputs: inputs.to_vec() });
        self.paths.push(self.path.clone());
        self.shapes.push(shape);
        Ok((ValueId::of_node(self.nodes.len() - 1), shape))
    }

    /// Returns the network's tensor of a raw one. The first use decides its shape and role.
    pub fn tensor(
        &mut self,
        raw: &RawGraph<'_>,
        index: usize,
        (shape, role): (Vec<usize>, Role),
        is_turned: bool,
    ) -> TensorId {
        if let Some(id) = self.known.get(&index) {
            return *id;
        }
        let id = TensorId::new(self.tensors.len());
        self.tensors.push(TensorSpec { name: raw.tensors[index].name.as_str().to_owned(), shape, role });
        self.sources.push(TensorSource { tensor: Some(index), constant: None, fill: 0.0, is_turned });
        self.known.insert(index, id);
        id
    }

    /// Adds a tensor that the file does not have, of equal values.
    pub fn filled(&mut self, name: String, (shape, role): (Vec<usize>, Role), fill: f32) -> TensorId {
        self.tensors.push(TensorSpec { name, shape, role });
        self.sources.push(TensorSource { tensor: None, constant: None, fill, is_turned: false });
        TensorId::new(self.tensors.len() - 1)
    }

    /// Adds a tensor of the module that is lowered, whose values the file computes from its parameters, and which is trained.
    pub fn computed(&mut self, name: &str, array: &Array, (shape, role): (Vec<usize>, Role)) -> TensorId {
        let separator = if self.path.is_empty() { "" } else { "." };
        self.tensors.push(TensorSpec { name: format!("{}{separator}{name}", self.path), shape, role });
        let constant = Some(self.constants.len());
        self.sources.push(TensorSource { tensor: None, constant, fill: 0.0, is_turned: false });
        self.constants.push(array.values.clone());
        TensorId::new(self.tensors.len() - 1)
    }

    /// Adds a tensor whose values the file computes. Equal constants are one tensor.
    pub fn constant(&mut self, array: &Array, shape: Vec<usize>) -> TensorId {
        let key = (shape.clone(), array.values.iter().map(|value| value.to_bits()).collect());
        if let Some(id) = self.known_constants.get(&key) {
            return *id;
        }
        let id = TensorId::new(self.tensors.len());
        let separator = if self.path.is_empty() { "" } else { "." };
        let name = format!("{}{separator}constant{}", self.path, self.constants.len());
        self.tensors.push(TensorSpec { name, shape, role: Role::Constant });
        let constant = Some(self.constants.len());
        self.sources.push(TensorSource { tensor: None, constant, fill: 0.0, is_turned: false });
        self.constants.push(array.values.clone());
        self.known_constants.insert(key, id);
        id
    }

    /// Whether no value of a node's output can be negative, as far as its op and those before it show.
    pub fn is_non_negative(&self, value: ValueId) -> bool {
        let Some(node) = value.node().map(|node| &self.nodes[node]) else { return false };
        match &node.op {
            Op::Activate(
                Function::Relu
                | Function::Sigmoid
                | Function::HardSigmoid
                | Function::Exp
                | Function::Square
                | Function::Sqrt
                | Function::Absolute
                | Function::Softplus { .. },
            )
            | Op::Softmax(_) => true,
            Op::Activate(Function::Clamp { low, .. }) => *low >= 0.0,
            Op::Scalar { scale, shift } => *scale >= 0.0 && *shift >= 0.0 && self.is_non_negative(node.inputs[0]),
            Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::AdaptiveAveragePool(_)
            | Op::GlobalAveragePool
            | Op::Mean(_)
            | Op::Rearrange(_)
            | Op::Slice { .. }
            | Op::Gather { .. } => self.is_non_negative(node.inputs[0]),
            _ => false,
        }
    }

    /// Returns a tensor as a value. A constant is one value a block, so that no block needs another one's.
    pub fn parameter(&mut self, tensor: TensorId, shape: Shape) -> Result<(ValueId, Shape), ShapeError> {
        let is_trained = self.tensors[tensor.index()].role.is_trainable();
        let block = if is_trained { "" } else { module(&self.path) };
        let key = (tensor, block.to_owned());
        if let Some(known) = self.parameters.get(&key) {
            return Ok(*known);
        }
        let node = self.node(Op::Parameter { tensor, shape }, &[])?;
        self.parameters.insert(key, node);
        Ok(node)
    }

    /// Brings a value's pieces into an order in memory, seen as rows, columns and channels.
    pub fn arrange(&mut self, traced: &Traced, groups: [&[usize]; 3]) -> Result<Traced, ShapeError> {
        let order: Vec<usize> = groups.concat();
        let shape = Shape::of(groups.map(|group| group.iter().map(|piece| traced.sides[*piece]).product()));
        let is_in_order = order.iter().copied().eq(0..traced.sides.len());
        if is_in_order && shape == traced.shape {
            return Ok(traced.clone());
        }
        let moved = |factor: &Factor| match factor {
            Factor::Batch => Factor::Batch,
            Factor::Piece(piece) => Factor::Piece(order.iter().position(|from| from == piece).unwrap_or(0)),
        };
        let axes = traced.axes.iter().map(|axis| axis.iter().map(moved).collect()).collect();
        let sides = order.iter().map(|piece| traced.sides[*piece]).collect();
        let rearrange = Rearrange { dimensions: traced.sides.clone(), order, output: Some(shape) };
        let (value, shape) = self.node(Op::Rearrange(rearrange), &[traced.value])?;
        Ok(Traced { value, shape, sides, axes })
    }
}
