//! Invariants of a network that was read, of either format.

use crate::base::message;
use fieldfit_model::import::graph::{self, MAX_NODES, RawGraph};

/// Reads the file and lowers what it holds. Errors have a message; a graph keeps its reader's promises, and a network has a
/// source for every tensor.
pub(crate) fn read(file: &[u8]) {
    match graph::read(file, None) {
        Ok(graph) => {
            check(&graph, file.len());
            lower(&graph);
        }
        Err(error) => drop(message(&error)),
    }
}

fn lower(graph: &RawGraph<'_>) {
    match graph::lower(graph) {
        Ok(lowered) => assert_eq!(lowered.sources.len(), lowered.network.tensors.len()),
        Err(error) => drop(message(&error)),
    }
}

/// Every tensor has as many values as its shape, all of them together no more than a small multiple of the file; every node
/// is counted.
fn check(graph: &RawGraph<'_>, length: usize) {
    assert!(graph.nodes.len() <= MAX_NODES);
    assert_eq!(graph.op_counts().values().sum::<usize>(), graph.nodes.len());
    let mut total = 0;
    for tensor in &graph.tensors {
        let size = tensor.dtype.size().expect("a type that can be read");
        let values = graph.values(tensor);
        assert_eq!(values.len(), tensor.shape.iter().product::<usize>() * size);
        assert_eq!(values.len(), tensor.len() * size);
        assert_eq!(values.is_empty(), tensor.is_empty());
        total += values.len();
    }
    assert!(total <= 8 * length);
}
