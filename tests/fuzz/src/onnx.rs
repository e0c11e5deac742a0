//! Fuzz case of the ONNX reader: the input is the whole file.

use crate::network;

/// Reads the network.
pub fn run(data: &[u8]) {
    network::read(data);
}
