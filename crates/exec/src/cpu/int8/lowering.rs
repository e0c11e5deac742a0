//! Lowering of a graph to int8: which nodes are computed in int8, and in which formats their values are stored.
//!
//! Computed from the last node to the first: a convolution or a linear layer is always int8; a depthwise convolution or a
//! max pool is if a later int8 op reads its output as u8, since alone it is bound by memory. All others stay f32. A value
//! that int8 ops read is stored as u8; one that f32 ops read, as f32, which its op writes itself where nothing reads it as
//! u8.

use super::forward::takes_window;
use super::kernels::depthwise::MAX_TAPS;
use fieldfit_nets::{Conv, Network, Op};

/// The most terms of a sum: as many products of 255 and 127 fit in i32.
const MAX_DEPTH: usize = i32::MAX as usize / (255 * 127);

/// How a node is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lowered {
    /// Convolution as an int8 product.
    Product,
    /// Depthwise int8 convolution.
    Depthwise,
    /// Linear layer: f32 in and out, int8 product of rows that are quantised by their greatest values.
    Linear,
    /// Max pool of u8 values, whose quantisation the output shares.
    MaxPool,
    /// The f32 kernel.
    Float,
}

/// In which formats a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reads {
    pub codes: bool,
    pub floats: bool,
}

/// Lowered graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cpu) struct Lowering {
    /// One a node.
    pub(super) nodes: Vec<Lowered>,
    /// One a value: the image, then each node's output.
    pub(super) reads: Vec<Reads>,
}

impl Lowering {
    pub fn new(network: &Network) -> Self {
        let graph = &network.graph;
        let mut nodes = vec![Lowered::Float; graph.nodes.len()];
        let mut reads = vec![Reads::default(); graph.values()];
        reads[graph.output().index()].floats = true;
        for (index, node) in graph.nodes.iter().enumerate().rev() {
            let lowered = lowered(&node.op, node.inputs.len(), reads[index + 1]);
            nodes[index] = lowered;
            for input in &node.inputs {
                match lowered {
                    Lowered::Product | Lowered::Depthwise | Lowered::MaxPool => reads[input.index()].codes = true,
                    Lowered::Linear | Lowered::Float => reads[input.index()].floats = true,
                }
            }
        }
        Self { nodes, reads }
    }

    /// Whether a node writes its output as u8.
    pub fn writes_codes(&self, node: usize) -> bool {
        match self.nodes[node] {
            Lowered::Product => self.reads[node + 1].codes,
            Lowered::Depthwise | Lowered::MaxPool => true,
            Lowered::Linear | Lowered::Float => false,
        }
    }
}

/// Returns how an op is computed whose output is read so.
fn lowered(op: &Op, inputs: usize, output: Reads) -> Lowered {
    match op {
        Op::Conv(conv) if conv.groups == 1 && depth(conv) <= MAX_DEPTH => Lowered::Product,
        Op::Conv(conv) if conv.is_depthwise() && conv.window.taps() <= MAX_TAPS && inputs == 1 && output.codes => {
            Lowered::Depthwise
        }
        Op::Linear(linear) if linear.input <= MAX_DEPTH => Lowered::Linear,
        Op::MaxPool(window) if output.codes && takes_window(window) => Lowered::MaxPool,
        Op::Conv(_)
        | Op::Linear(_)
        | Op::MaxPool(_)
        | Op::ConvTranspose(_)
        | Op::Attention(_)
        | Op::MatMul { .. }
        | Op::Embed(_)
        | Op::ClassToken(_)
        | Op::Parameter { .. }
        | Op::Activate(_)
        | Op::Prelu { .. }
        | Op::Arithmetic(_)
        | Op::Affine { .. }
        | Op::Scalar { .. }
        | Op::BatchNorm(_)
        | Op::LayerNorm(_)
        | Op::GroupNorm { .. }
        | Op::L2Norm { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::Rearrange(_)
        | Op::Pad(_)
        | Op::Resize { .. }
        | Op::AveragePool { .. }
        | Op::AdaptiveAveragePool(_)
        | Op::GlobalAveragePool
        | Op::Mean(_) => Lowered::Float,
    }
}

/// Terms of a convolution's sum.
pub(super) const fn depth(conv: &Conv) -> usize {
    conv.window.taps() * conv.input
}
