//! Fuzz target of compressed deltas: a zstd frame as it is, and the same bytes behind a frame's magic number.

use fieldfit_delta::Delta;
use fieldfit_delta::compression::{compress, decompress};

/// What is let out of a frame at most.
const LIMIT: usize = 1 << 20;

/// Unpacks within the limit, or refuses with a message; what comes out is packed to come out again.
pub fn run(data: &[u8]) {
    try_one(data.to_vec());
    try_one([&[0x28, 0xb5, 0x2f, 0xfd], data].concat());
}

fn try_one(bytes: Vec<u8>) {
    match decompress(bytes, LIMIT) {
        Ok(file) => {
            if let Ok(delta) = Delta::parse(&file) {
                assert_eq!(delta.file_bytes(), file.len());
                assert_eq!(decompress(compress(&file), file.len()).expect("what was packed here"), file);
            }
        }
        Err(error) => assert!(error.to_string().len() > 20, "{error}"),
    }
}
