//! Fuzz case of ONNX, its reader and its lowering: the input is the whole file.

use crate::network;

/// Reads the network and lowers it.
pub fn run(data: &[u8]) {
    network::read(data);
}
