//! Fusion: joins nodes that an executor computes as one. A value is only joined into its reader if nothing else reads it.

use super::sketch::Sketch;
use fieldfit_nets::{Activation, Arithmetic, Function, Node, Op, Prologue, Shape, ValueId};
use fieldfit_tensor::TensorId;
use std::collections::HashMap;

/// Joins norms, shortcuts and activations into convolutions and linear layers, and drops nodes that nothing reads.
pub(super) fn fuse(sketch: &mut Sketch, output: ValueId) -> ValueId {
    let mut fusion = Fusion::new(sketch, output);
    for index in 0..fusion.nodes.len() {
        fusion.join(index, output);
    }
    fusion.finish(sketch, output)
}

/// Nodes while they are joined. A joined node is `None`, and its value is that of the node that took its place.
struct Fusion {
    nodes: Vec<Option<Node>>,
    /// Of each value, the one that stands for it.
    stands_for: Vec<ValueId>,
    readers: Vec<usize>,
    shapes: Vec<Shape>,
    /// Nodes that read each tensor.
    users: HashMap<TensorId, usize>,
}

impl Fusion {
    fn new(sketch: &Sketch, output: ValueId) -> Self {
        let mut is_needed = vec![false; sketch.nodes.len() + 1];
        is_needed[output.index()] = true;
        for (index, node) in sketch.nodes.iter().enumerate().rev() {
            if is_needed[index + 1] {
                node.inputs.iter().for_each(|input| is_needed[input.index()] = true);
            }
        }
        let nodes = sketch.nodes.iter().enumerate().map(|(index, node)| is_needed[index + 1].then(|| node.clone()));
        let nodes: Vec<Option<Node>> = nodes.collect();
        let mut readers = vec![0; nodes.len() + 1];
        nodes.iter().flatten().flat_map(|node| &node.inputs).for_each(|input| readers[input.index()] += 1);
        readers[output.index()] += 1;
        let stands_for =
            (0..=nodes.len()).map(|index| index.checked_sub(1).map_or(ValueId::IMAGE, ValueId::of_node)).collect();
        let mut users = HashMap::new();
        nodes.iter().flatten().flat_map(|node| node.op.tensors()).for_each(|id| *users.entry(id).or_insert(0) += 1);
        Self { nodes, stands_for, readers, shapes: sketch.shapes.clone(), users }
    }

    /// Returns the node that computes a value, if it is the value's only reader that asks.
    fn sole_producer(&self, value: ValueId) -> Option<usize> {
        let node = value.node().filter(|_| self.readers[value.index()] == 1)?;
        self.nodes[node].is_some().then_some(node)
    }

    /// Joins a node into the one that computes its input, if both are of such kinds. The linear layer of one vector that is the
    /// output stays as it is: it is the head.
    fn join(&mut self, index: usize, output: ValueId) {
        let Some(mut node) = self.nodes[index].take() else { return };
        node.inputs.iter_mut().for_each(|input| *input = self.stands_for[input.index()]);
        if !self.absorb(index, &node) {
            if ValueId::of_node(index) != output || self.shapes[index + 1].pixels() != 1 {
                self.take_prologue(&mut node);
            }
            self.nodes[index] = Some(node);
        }
    }

    /// Has the node that computes the input compute this node, too.
    fn absorb(&mut self, index: usize, node: &Node) -> bool {
        let positions: &[usize] = if let Op::Arithmetic(Arithmetic::Add) = node.op { &[1, 0] } else { &[0] };
        // Of two operands, the one that is computed later can add the other.
        let mut producers: Vec<(usize, usize)> = positions
            .iter()
            .filter_map(|position| Some((*position, self.sole_producer(*node.inputs.get(*position)?)?)))
            .collect();
        producers.sort_by_key(|(_, producer)| std::cmp::Reverse(*producer));
        for (position, producer) in producers {
            let other = node.inputs.get(1 - position.min(1)).copied().filter(|_| node.inputs.len() == 2);
            let shape = self.shapes[index + 1];
            // A side that is repeated is not a shortcut.
            let is_same = |value: ValueId| self.shapes[value.index()] == shape;
            if !is_same(node.inputs[position]) || !other.is_none_or(is_same) {
                continue;
            }
            let Some(target) = &mut self.nodes[producer] else { continue };
            // A tensor that several nodes train is not folded with another one.
            let is_shared = |op: &Op| op.tensors().iter().any(|id| self.users.get(id).is_some_and(|users| *users > 1));
            let folds = matches!(node.op, Op::BatchNorm(_) | Op::Affine { .. });
            if folds && (is_shared(&node.op) || is_shared(&target.op)) {
                continue;
            }
            if joined(target, &node.op, other, producer) {
                let value = ValueId::of_node(producer);
                self.stands_for[index + 1] = value;
                self.readers[value.index()] = self.readers[index + 1];
                return true;
            }
        }
        false
    }

    /// Makes a layer norm or a GELU that only this linear layer reads its prologue.
    fn take_prologue(&mut self, node: &mut Node) {
        let Op::Linear(linear) = &mut node.op else { return };
        let Some(producer) = self.sole_producer(node.inputs[0]) else { return };
        let prologue = match self.nodes[producer].as_ref().map(|node| &node.op) {
            Some(Op::LayerNorm(norm)) if [norm.scale, norm.shift].iter().all(|id| self.users.get(id) == Some(&1)) => {
                Prologue::LayerNorm(*norm)
            }
            Some(Op::Activate(Function::Gelu)) => Prologue::Gelu,
            _ => return,
        };
        if let Some(taken) = self.nodes[producer].take() {
            linear.prologue = prologue;
            node.inputs[0] = taken.inputs[0];
        }
    }

    /// Writes the nodes that are left, and returns the output's value among them.
    fn finish(self, sketch: &mut Sketch, output: ValueId) -> ValueId {
        let mut place = vec![ValueId::IMAGE; self.nodes.len() + 1];
        let (mut nodes, mut paths, mut shapes) = (Vec::new(), Vec::new(), vec![sketch.shapes[0]]);
        for (index, node) in self.nodes.into_iter().enumerate() {
            let Some(mut node) = node else { continue };
            node.inputs.iter_mut().for_each(|input| *input = place[input.index()]);
            place[index + 1] = ValueId::of_node(nodes.len());
            nodes.push(node);
            paths.push(std::mem::take(&mut sketch.paths[index]));
            shapes.push(sketch.shapes[index + 1]);
        }
        (sketch.nodes, sketch.paths, sketch.shapes) = (nodes, paths, shapes);
        place[self.stands_for[output.index()].index()]
    }
}

/// Joins an op into the node that computes its input; `other` is the op's other input. Returns whether it could.
fn joined(target: &mut Node, op: &Op, other: Option<ValueId>, producer: usize) -> bool {
    match (&mut target.op, op) {
        (Op::Conv(conv), Op::BatchNorm(norm)) if conv.norm.is_none() && is_open(conv.activation, &target.inputs) => {
            conv.norm = Some(*norm);
            true
        }
        (Op::Conv(conv), Op::Arithmetic(Arithmetic::Add)) if is_open(conv.activation, &target.inputs) => {
            add(&mut target.inputs, other, producer)
        }
        (Op::Linear(_), Op::Arithmetic(Arithmetic::Add)) if target.inputs.len() == 1 => {
            add(&mut target.inputs, other, producer)
        }
        (Op::Linear(linear), Op::Affine { scale: Some(scale), shift: None })
            if linear.scale.is_none() && target.inputs.len() == 1 =>
        {
            linear.scale = Some(*scale);
            true
        }
        (Op::Conv(conv), Op::Activate(function)) if conv.activation == Activation::Identity => match function {
            Function::Relu => {
                conv.activation = Activation::Relu;
                true
            }
            Function::Clamp { low, high } if (*low, *high) == (0.0, 6.0) => {
                conv.activation = Activation::Relu6;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether nothing is added or applied behind a convolution yet.
fn is_open(activation: Activation, inputs: &[ValueId]) -> bool {
    activation == Activation::Identity && inputs.len() == 1
}

/// Adds a shortcut that is computed before the node.
fn add(inputs: &mut Vec<ValueId>, other: Option<ValueId>, producer: usize) -> bool {
    let Some(other) = other.filter(|other| other.index() <= producer) else { return false };
    inputs.push(other);
    true
}
