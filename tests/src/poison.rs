//! A version that can be activated and never run.

use fieldfit_delta::{Codec, Header, Kind, Provenance, Task, Tensor, encode};

/// A delta that is whole and names the base, but changes a tensor that no network has.
pub fn delta(base: [u8; 32]) -> Vec<u8> {
    let header = Header {
        base,
        parent: None,
        task: Task::Classification,
        input_size: 32,
        crop: 0.875,
        classes: 2,
        tensors: 1,
        provenance: Provenance::default(),
    };
    let foreign = Tensor {
        name: "lm_head.bias",
        shape: &[2],
        kind: Kind::Difference,
        ball: None,
        codec: Codec::F16,
        values: &[0.5, 1.0],
    };
    encode(&header, &["good", "evil"], &[foreign]).unwrap()
}
