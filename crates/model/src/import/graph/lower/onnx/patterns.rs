//! Patterns: several nodes that compute one op of a network, found before the nodes are lowered.
//!
//! Exporters write GELU, SiLU, HardSwish and layer norms as the ops that they consist of. A pattern is only taken if nothing
//! else reads what is inside it.

use super::functions::is_torch_hard_sigmoid;
use super::node::Node;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::aten::NormTensors;
use crate::import::graph::lower::aten::{Known, Lowered};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawGraph};
use fieldfit_nets::{Function, Op};
use std::collections::HashMap;

/// Op that several nodes compute, at the last of them.
#[derive(Debug, Clone)]
pub(super) enum Pattern<'a> {
    /// A node within a pattern.
    Inner,
    /// A function of each value.
    Function { of: Name<'a>, function: Function },
    /// A layer norm over the last axis.
    LayerNorm { of: Name<'a>, scale: Option<Name<'a>>, shift: Option<Name<'a>>, epsilon: f64 },
}

/// Patterns of a graph, by the nodes' positions, and how often each value is read.
#[derive(Debug, Default)]
pub(super) struct Patterns<'a> {
    at: HashMap<usize, Pattern<'a>>,
    readers: HashMap<Name<'a>, usize>,
}

impl<'a> Patterns<'a> {
    /// Finds the patterns of a graph.
    pub fn of(raw: &RawGraph<'a>) -> Self {
        let mut finder = Finder::new(raw);
        for position in 0..raw.nodes.len() {
            finder.find(position);
        }
        Self { at: finder.at, readers: finder.readers }
    }

    /// Returns the pattern of the node at that position.
    pub fn at(&self, position: usize) -> Option<&Pattern<'a>> {
        self.at.get(&position)
    }

    /// Returns how many nodes and results of the graph read a value.
    pub fn readers(&self, name: &Name<'a>) -> usize {
        self.readers.get(name).copied().unwrap_or(0)
    }
}

/// Graph in which patterns are looked for.
struct Finder<'r, 'a> {
    raw: &'r RawGraph<'a>,
    readers: HashMap<Name<'a>, usize>,
    /// The node that reads a value last, of those that one node reads the only one.
    reader: HashMap<Name<'a>, usize>,
    producer: HashMap<Name<'a>, usize>,
    tensors: HashMap<Name<'a>, usize>,
    at: HashMap<usize, Pattern<'a>>,
}

impl<'r, 'a> Finder<'r, 'a> {
    fn new(raw: &'r RawGraph<'a>) -> Self {
        let (mut readers, mut reader, mut producer) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (position, node) in raw.nodes.iter().enumerate() {
            for name in (Node { raw: node }).inputs().flatten() {
                *readers.entry(name.clone()).or_insert(0) += 1;
                reader.insert(name.clone(), position);
            }
            producer.extend(node.outputs.iter().flatten().map(|name| (name.clone(), position)));
        }
        for end in &raw.outputs {
            if let RawArgument::Value(name) = &end.value {
                *readers.entry(name.clone()).or_insert(0) += 1;
            }
        }
        let tensors = raw.tensors.iter().enumerate().map(|(index, tensor)| (tensor.value.clone(), index)).collect();
        Self { raw, readers, reader, producer, tensors, at: HashMap::new() }
    }

    fn node(&self, position: usize) -> Node<'r, 'a> {
        Node { raw: &self.raw.nodes[position] }
    }

    /// Whether a node calls an op of the default domain, outside the patterns that are found.
    fn calls(&self, position: usize, op: &str) -> bool {
        let node = self.node(position);
        node.op() == op && node.raw.domain.is_empty() && !self.at.contains_key(&position)
    }

    /// Returns the node that computes a value, if it calls that op.
    fn producer(&self, name: &Name<'a>, op: &str) -> Option<usize> {
        let position = *self.producer.get(name)?;
        self.calls(position, op).then_some(position)
    }

    /// Returns the node that alone reads a node's result, if it calls that op.
    fn reader(&self, position: usize, op: &str) -> Option<usize> {
        let output = self.node(position).output()?;
        let reader = *self.reader.get(output).filter(|_| self.readers.get(output) == Some(&1))?;
        self.calls(reader, op).then_some(reader)
    }

    /// Returns the number that a name stands for.
    fn number(&self, name: &Name<'a>) -> Option<f64> {
        let tensor = &self.raw.tensors[*self.tensors.get(name)?];
        let bytes = (tensor.len() == 1).then(|| self.raw.values(tensor))?;
        match tensor.dtype.name() {
            "float32" => Some(f64::from(f32::from_le_bytes(bytes.as_ref().try_into().ok()?))),
            "float64" => Some(f64::from_le_bytes(bytes.as_ref().try_into().ok()?)),
            _ => None,
        }
    }

    /// Returns the input of a node of two that is not the number, in either order.
    fn beside_number(&self, position: usize, number: f64) -> Option<&'r Name<'a>> {
        let node = self.node(position);
        let (left, right) = (node.input(0)?, node.input(1)?);
        let is_number = |name| self.number(name).is_some_and(|found| (found - number).abs() <= 1e-6 * number.abs());
        if is_number(right) {
            Some(left)
        } else {
            (node.op() != "Div" && node.op() != "Sub" && node.op() != "Pow" && is_number(left)).then_some(right)
        }
    }

    /// Returns the other input of a node of two.
    fn beside(&self, position: usize, name: &Name<'a>) -> Option<&'r Name<'a>> {
        let node = self.node(position);
        let (left, right) = (node.input(0)?, node.input(1)?);
        if left == name { Some(right) } else { (right == name).then_some(left) }
    }

    /// Looks for a pattern around a node.
    fn find(&mut self, position: usize) {
        let node = self.node(position);
        let found = match if self.calls(position, node.op()) { node.op() } else { "" } {
            "Erf" => self.gelu(position),
            "Sigmoid" | "HardSigmoid" => self.gate(position),
            "Sqrt" => self.layer_norm(position),
            _ => None,
        };
        if let Some((pattern, last, inner)) = found {
            self.at.extend(inner.into_iter().map(|position| (position, Pattern::Inner)));
            self.at.insert(last, pattern);
        }
    }

    /// `x · ½ (1 + erf(x / √2))`, in whatever order it is multiplied.
    fn gelu(&self, erf: usize) -> Option<Found<'a>> {
        let scaled_name = self.node(erf).input(0)?;
        let (scaled, of) = match self.producer(scaled_name, "Div") {
            Some(scaled) => (scaled, self.beside_number(scaled, std::f64::consts::SQRT_2)?),
            None => {
                let scaled = self.producer(scaled_name, "Mul")?;
                (scaled, self.beside_number(scaled, std::f64::consts::FRAC_1_SQRT_2)?)
            }
        };
        let added = self.reader(scaled, "Erf").and_then(|erf| self.reader(erf, "Add"))?;
        self.beside_number(added, 1.0)?;
        let product = self.reader(added, "Mul")?;
        let other = self.beside(product, self.node(added).output()?)?;
        let pattern = Pattern::Function { of: of.clone(), function: Function::Gelu };
        if other == of {
            // x · (1 + erf) · ½
            let last = self.reader(product, "Mul")?;
            self.beside_number(last, 0.5)?;
            return Some((pattern, last, vec![scaled, erf, added, product]));
        }
        if self.beside_number(product, 0.5).is_some() {
            // x · (½ (1 + erf))
            let last = self.reader(product, "Mul")?;
            (self.beside(last, self.node(product).output()?)? == of).then_some(())?;
            return Some((pattern, last, vec![scaled, erf, added, product]));
        }
        // (½ x) · (1 + erf)
        let half = self.producer(other, "Mul")?;
        (self.beside_number(half, 0.5)? == of && self.reader(half, "Mul") == Some(product)).then_some(())?;
        Some((pattern, product, vec![scaled, erf, added, half]))
    }

    /// `x · sigmoid(x)` and `x · hardsigmoid(x)`.
    fn gate(&self, gate: usize) -> Option<Found<'a>> {
        let node = self.node(gate);
        let of = node.input(0)?;
        let function = match node.op() {
            "Sigmoid" => Function::Silu,
            _ => {
                let (alpha, beta) = (node.number("alpha", 0.2).ok()?, node.number("beta", 0.5).ok()?);
                is_torch_hard_sigmoid(alpha, beta).then_some(Function::HardSwish)?
            }
        };
        let last = self.reader(gate, "Mul")?;
        (self.beside(last, node.output()?)? == of).then_some(())?;
        Some((Pattern::Function { of: of.clone(), function }, last, vec![gate]))
    }

    /// `(x − mean(x)) / √(mean((x − mean(x))²) + ε) · γ + β`, anchored at the root.
    fn layer_norm(&self, root: usize) -> Option<Found<'a>> {
        let shifted = self.producer(self.node(root).input(0)?, "Add")?;
        let (left, right) = (self.node(shifted).input(0)?, self.node(shifted).input(1)?);
        let epsilon = self.number(right)?;
        let variance = self.producer(left, "ReduceMean")?;
        self.is_over_last(variance)?;
        let square = self.producer(self.node(variance).input(0)?, "Pow")?;
        let centred_name = self.beside_number(square, 2.0)?;
        let centred = self.producer(centred_name, "Sub")?;
        let (of, mean_name) = (self.node(centred).input(0)?, self.node(centred).input(1)?);
        let mean = self.producer(mean_name, "ReduceMean")?;
        (self.node(mean).input(0)? == of).then_some(())?;
        self.is_over_last(mean)?;
        let quotient = self.reader(root, "Div")?;
        (self.node(quotient).input(0)? == centred_name && self.readers.get(centred_name) == Some(&2)).then_some(())?;
        for (inner, reader, op) in [
            (mean, centred, "Sub"),
            (square, variance, "ReduceMean"),
            (variance, shifted, "Add"),
            (shifted, root, "Sqrt"),
        ] {
            (self.reader(inner, op) == Some(reader)).then_some(())?;
        }
        let mut inner = vec![mean, centred, square, variance, shifted, root];
        let (mut last, mut scale, mut shift) = (quotient, None, None);
        for (op, tensor) in [("Mul", &mut scale), ("Add", &mut shift)] {
            let next = self.reader(last, op);
            let found = next.and_then(|next| Some((next, self.vector(self.beside(next, self.node(last).output()?)?)?)));
            if let Some((next, name)) = found {
                inner.push(last);
                (last, *tensor) = (next, Some(name));
            }
        }
        Some((Pattern::LayerNorm { of: of.clone(), scale, shift, epsilon }, last, inner))
    }

    /// Returns the name of a tensor of one axis.
    fn vector(&self, name: &Name<'a>) -> Option<Name<'a>> {
        let tensor = &self.raw.tensors[*self.tensors.get(name)?];
        (tensor.shape.len() == 1 && tensor.len() > 1).then(|| name.clone())
    }

    /// Whether a reduction is over the last axis, which stays.
    fn is_over_last(&self, position: usize) -> Option<()> {
        let node = self.node(position);
        let axes = match (node.ints("axes").ok()?, node.input(1)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(name)) => {
                let tensor = &self.raw.tensors[*self.tensors.get(name)?];
                let bytes = (tensor.len() == 1 && tensor.dtype.name() == "int64").then(|| self.raw.values(tensor))?;
                vec![i64::from_le_bytes(bytes.as_ref().try_into().ok()?)]
            }
            (None, None) => return None,
        };
        (axes == [-1] && node.flag("keepdims", true).ok()?).then_some(())
    }
}

/// Pattern, the node that computes its result, and the nodes within it.
type Found<'a> = (Pattern<'a>, usize, Vec<usize>);

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    /// Appends the op of a pattern.
    pub(super) fn pattern(&mut self, pattern: &Pattern<'a>) -> Lowered<Vec<Value>> {
        let value = match pattern {
            Pattern::Inner => return Ok(Vec::new()),
            Pattern::Function { of, function } => {
                let known = self.known(of)?;
                let value = self.lowering.traced(known)?;
                self.lowering.unary(&value, Op::Activate(*function))?
            }
            Pattern::LayerNorm { of, scale, shift, epsilon } => {
                let known = self.known(of)?;
                let value = self.lowering.traced(known)?;
                let whole = |name: &Option<Name<'a>>| match name {
                    Some(name) => self.known(name).and_then(|known| self.whole_tensor(known, name)).map(Some),
                    None => Ok(None),
                };
                let tensors = NormTensors { scale: whole(scale)?, shift: whole(shift)?, ..NormTensors::default() };
                self.lowering.layer_norm_of(value, 1, tensors, *epsilon)?
            }
        };
        Ok(vec![Known::Traced(value).into()])
    }
}
