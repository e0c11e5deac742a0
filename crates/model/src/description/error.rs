//! Errors of a network description.

use crate::text::excerpt;
use fieldfit_nets::ShapeError;
use thiserror::Error;

/// Error of a network description: which part of it is invalid, and why.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// Text that is no JSON, or JSON of another form.
    #[error("not the JSON of a network: {}", excerpt(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    /// Another version of the format.
    #[error(
        "expected version {expected}, found {found}: use the version of fieldfit that imported the model, or import it again"
    )]
    Version {
        /// The version that is read.
        expected: u32,
        /// The file's.
        found: u32,
    },
    /// More of something than is supported.
    #[error("expected at most {limit} {what}, found {found}")]
    Limit {
        /// What.
        what: &'static str,
        /// How many are supported.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// Channels that no image has.
    #[error("expected an input of 3 channels, found {found}: only images are supported")]
    Channels {
        /// Channels of the input.
        found: usize,
    },
    /// A tensor that cannot be used.
    #[error("tensor `{}`: {problem}", excerpt(name))]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A tensor with another number of values than its node reads.
    #[error("node {node} ({op}): tensor `{}` has shape {shape:?}, expected {expected} values", excerpt(name))]
    TensorLength {
        /// Position of the node.
        node: usize,
        /// Its op.
        op: &'static str,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Values that the op reads.
        expected: usize,
    },
    /// A node that cannot be computed.
    #[error("node {node} ({op}): {problem}")]
    Node {
        /// Position of the node.
        node: usize,
        /// Its op.
        op: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A node whose inputs have shapes that it does not accept.
    #[error("node {node} ({op}), for an image of {}×{} pixels: {source}", size[0], size[1])]
    Shape {
        /// Position of the node.
        node: usize,
        /// Its op.
        op: &'static str,
        /// Rows and columns of the image.
        size: [usize; 2],
        /// Why.
        source: ShapeError,
    },
    /// A section that is out of place.
    #[error("section `{}`: {problem}", excerpt(name))]
    Section {
        /// The section.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A graph that computes no features of an image.
    #[error("graph: {0}")]
    Graph(&'static str),
    /// A head that does not fit.
    #[error("head: {0}")]
    Head(&'static str),
    /// A head whose features are not those of the backbone.
    #[error("head: expected {expected} features, as many as the backbone's output has values, found {found}")]
    Features {
        /// Values of the backbone's output.
        expected: usize,
        /// Features of the head.
        found: usize,
    },
}
