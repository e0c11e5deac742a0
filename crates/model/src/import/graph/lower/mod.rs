//! Lowering: makes a network of a raw graph, the ops under their names in a file become nodes of `fieldfit_nets`.

use super::raw::RawGraph;
use fieldfit_nets::Network;

/// Network of a file, and where its tensors' values come from.
#[derive(Debug)]
pub struct Lowered {
    /// The network; its architecture is [`IMPORTED`].
    pub network: Network,
    /// Of each tensor of the network, in order, its source in [`RawGraph::tensors`].
    pub sources: Vec<TensorSource>,
    /// Rows and columns of the image that the file was exported for.
    pub size: [usize; 2],
}

/// The architecture's name of a network that a file brings.
pub const IMPORTED: &str = "imported";

/// Source of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorSource {
    /// Position in [`RawGraph::tensors`]; `None` of a tensor that the network adds, whose values are all `fill`.
    pub tensor: Option<usize>,
    /// Value of each element without a source.
    pub fill: f32,
    /// Whether the first two axes are exchanged: a transposed convolution, or a matrix as ONNX has it.
    pub is_turned: bool,
}

/// Makes a network of a raw graph.
///
/// # Errors
/// If an op, or a way that it is used, has no form in a network; the error names the op, its module path, and what to do.
pub fn lower(raw: &RawGraph<'_>) -> Result<Lowered, super::GraphError> {
    let _ = raw;
    Err(super::GraphError::Format)
}
