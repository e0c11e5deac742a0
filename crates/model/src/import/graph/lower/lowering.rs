//! Lowering: the state in which a file's nodes become nodes of a network, one by one.

use super::array::Array;
use super::sketch::Sketch;
use super::traced::{Size, Traced};
use crate::import::graph::GraphError;
use crate::import::graph::error::NodeProblem;
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawGraph, RawNode};
use fieldfit_nets::ShapeError;
use std::collections::HashMap;
use std::rc::Rc;

/// Advice for a network in training mode.
pub(super) const EVALUATION: &str = "export model.eval()";

/// The greatest kernel, stride, dilation, padding or factor.
pub(super) const MAX_SIDE: usize = 1 << 16;

/// The most axes of an array, as in torch.
pub(super) const MAX_RANK: usize = 64;

/// What is known of a name of the file.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// A value of the network.
    Traced(Traced),
    /// A tensor, read as an array of that shape.
    Tensor { index: usize, shape: Vec<usize> },
    /// A matrix whose axes are exchanged.
    Turned { index: usize },
    /// What the file computes from constants alone.
    Constant(Rc<Array>),
    /// An integer.
    Int(Size),
    /// Something that nothing may read.
    Unread,
}

/// Lowering of a file's nodes.
pub(super) struct Lowering<'r, 'a> {
    pub raw: &'r RawGraph<'a>,
    pub sketch: Sketch,
    pub known: HashMap<Name<'a>, Known>,
    /// Images that the file was exported for, if its sizes state them.
    pub batch: Option<usize>,
    /// How often each op is called.
    pub uses: HashMap<String, usize>,
    /// Of each name that shares memory with another one in the file, the other.
    pub views: HashMap<Name<'a>, Name<'a>>,
}

/// Reason for which a node cannot be lowered.
pub(super) enum Problem {
    /// The op has no form.
    Op,
    /// The way that it is used has none: the way, and what to do.
    Use(String, &'static str),
    /// Shapes that do not fit.
    Shape(ShapeError),
}

impl From<ShapeError> for Problem {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

pub(super) type Lowered<T> = Result<T, Problem>;

pub(super) fn refuse<T>(what: impl Into<String>) -> Lowered<T> {
    Err(Problem::Use(what.into(), "replace the module, or export the part before it"))
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Sets the module path of the nodes that are appended from now on.
    pub fn enter(&mut self, node: &RawNode<'a>) {
        self.sketch.path = node.path.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default();
    }

    /// Returns the error of a node.
    pub fn failed(&self, node: &RawNode<'a>, problem: Problem) -> GraphError {
        let path = node.path.as_ref().map(|path| path.as_str().to_owned());
        let problem = match problem {
            Problem::Op => {
                NodeProblem::Unsupported { uses: self.uses.get(node.op.as_str()).copied().unwrap_or(1), path }
            }
            Problem::Use(what, advice) => NodeProblem::Use { what, path, advice },
            Problem::Shape(error) => NodeProblem::Shape(error),
        };
        GraphError::Node { node: node.name.as_str().to_owned(), op: node.op.as_str().to_owned(), problem }
    }
}
