//! Delta fixtures: small deltas of two classes.

use fieldfit_delta::{Codec, HeadDescription, Header, Provenance, Task, TensorData, TensorKind, encode};

/// The header of one with a single tensor, for that base.
pub fn header(base: [u8; 32], provenance: Provenance) -> Header {
    Header {
        base,
        parent: None,
        task: Task::Classification,
        input_size: 32,
        crop: 0.875,
        classes: 2,
        tensors: 1,
        provenance,
        head: HeadDescription::default(),
    }
}

/// One of a few hundred bytes that is whole, with one tensor; another one for each seed of its provenance.
pub fn small(base: [u8; 32], provenance: Provenance, labels: [&str; 2]) -> Vec<u8> {
    let values = [provenance.seed as f32, 1.0];
    let bias = TensorData {
        name: "classifier.bias",
        shape: &[2],
        kind: TensorKind::Replacement,
        constraint: None,
        codec: Codec::F16,
        values: &values,
    };
    encode(&header(base, provenance), &labels, &[bias]).unwrap()
}

/// One that is whole and names the base, but changes a tensor that no network has: it can be activated, and never run.
pub fn poisoned(base: [u8; 32]) -> Vec<u8> {
    let foreign = TensorData {
        name: "lm_head.bias",
        shape: &[2],
        kind: TensorKind::Difference,
        constraint: None,
        codec: Codec::F16,
        values: &[0.5, 1.0],
    };
    encode(&header(base, Provenance::default()), &["good", "evil"], &[foreign]).unwrap()
}
