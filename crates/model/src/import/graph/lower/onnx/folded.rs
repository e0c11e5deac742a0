//! Folded norms: batch norms that an exporter multiplied into the convolutions before them.

use super::node::Node;
use crate::import::graph::raw::RawGraph;

/// Returns how many convolutions of a file have a batch norm folded into them, as far as the file shows it.
///
/// torch's exporters name the new weights after the op (`onnx::Conv_760`), the new bias after the weight (`conv.weight_bias`),
/// or leave the norm's call in the node's notes.
pub fn folded_norms(raw: &RawGraph<'_>) -> usize {
    let convolutions =
        raw.nodes.iter().filter(|node| node.domain.is_empty() && matches!(node.op.as_str(), "Conv" | "ConvTranspose"));
    let is_folded = |node: &Node<'_, '_>| {
        let (Some(weight), Some(bias)) = (node.input(1), node.input(2)) else { return false };
        let is_named_by_op = weight.starts_with("onnx::Conv") && bias.starts_with("onnx::Conv");
        is_named_by_op || bias.strip_suffix("_bias").is_some_and(|name| name == weight.as_str())
    };
    convolutions.filter(|node| is_folded(&Node { raw: node })).count()
}
