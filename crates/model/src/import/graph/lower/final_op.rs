//! Final ops: what a deployed classifier does with its logits. The import leaves it out, so that the head is the network's end.

use super::fuse::fuse;
use super::sketch::Sketch;
use super::{GraphError, RawArgument, RawGraph, linear_head};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawNode, RawSource};
use fieldfit_nets::{Axis, Function, Op, ValueId};

/// Op that ends a classifier behind its logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalOp {
    /// Probabilities of one class an image.
    Softmax,
    /// Their logarithms.
    LogSoftmax,
    /// Probabilities of each class alone.
    Sigmoid,
    /// The class of the greatest logit.
    ArgMax,
}

impl FinalOp {
    /// Returns the name that PyTorch has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
            Self::Sigmoid => "sigmoid",
            Self::ArgMax => "argmax",
        }
    }

    /// Returns what a network's op may be at its end.
    pub(super) fn of(op: &Op) -> Option<Self> {
        let is_softmax = matches!(op, Op::Softmax(Axis::Channels));
        let is_sigmoid = matches!(op, Op::Activate(Function::Sigmoid));
        is_softmax.then_some(Self::Softmax).or(is_sigmoid.then_some(Self::Sigmoid))
    }
}

/// Node of a file that gives the class in place of the logits.
pub(super) struct FinalArgMax<'r, 'a> {
    /// Name of the logits.
    pub logits: &'r Name<'a>,
    /// Position of the node.
    pub position: usize,
    /// Axis of the classes, which may be counted from the end.
    pub axis: i64,
}

impl<'r, 'a> FinalArgMax<'r, 'a> {
    /// Finds the node, if it makes the result.
    pub fn find(raw: &'r RawGraph<'a>, result: &Name<'a>) -> Option<Self> {
        let makes = |node: &RawNode<'a>| node.outputs.first().and_then(Option::as_ref) == Some(result);
        let position = raw.nodes.iter().position(makes)?;
        let node = &raw.nodes[position];
        let (op, axis) = match raw.source {
            RawSource::Pt2 { .. } => ("torch.ops.aten.argmax.default", node.named("dim")),
            RawSource::Onnx { .. } => ("ArgMax", node.named("axis")),
        };
        match (&node.arguments.first()?.value, axis) {
            (RawArgument::Value(logits), Some(RawArgument::Int(axis))) if node.op.as_str() == op => {
                Some(Self { logits, position, axis: *axis })
            }
            _ => None,
        }
    }

    /// Refuses an axis that is not that of the classes: the second, of an array of that many axes.
    pub fn check(&self, raw: &RawGraph<'_>, rank: usize) -> Result<(), GraphError> {
        if self.axis == 1 || self.axis == 1 - rank as i64 {
            return Ok(());
        }
        let node = &raw.nodes[self.position];
        Err(GraphError::Form {
            expected: "one result",
            found: format!("the result of `{}` over axis {}, which is not that of the classes", node.op, self.axis),
        })
    }
}

/// Whether a network that ends in a value ends in a head.
pub(super) fn ends_in_head(sketch: &Sketch, output: ValueId) -> bool {
    let mut trial = sketch.clone();
    let output = fuse(&mut trial, output);
    output.index() == trial.nodes.len() && linear_head(&mut trial).classes > 0
}
