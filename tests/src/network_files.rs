//! Network files of `tests/data/networks`, which are stored compressed.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder with one small network an operation, and what PyTorch computes of each.
pub fn micro() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/networks/micro")
}

/// The contents of a compressed file.
pub fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}
