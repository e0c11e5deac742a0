//! Test helpers: a small delta with each kind of field.

use fieldfit_delta::{
    Codec, Constraint, Fidelity, HeadDescription, Header, Provenance, Task, TensorData, TensorKind, encode,
};
use fieldfit_tensor::Norm;

pub const LABELS: [&str; 2] = ["cat", "große Katze"];

pub const KERNEL: [f32; 6] = [0.25, -1.0, 0.0, 0.5, 0.125, 0.0625];
pub const BIAS: [f32; 3] = [-0.5, 0.0, 0.75];
pub const HEAD: [f32; 4] = [1.5, -2.0, 0.0, 3.0];

pub fn header() -> Header {
    Header {
        base: [0xb5; 32],
        parent: Some([0x1e; 32]),
        task: Task::Classification,
        input_size: 128,
        crop: 0.875,
        classes: 2,
        tensors: 0,
        provenance: Provenance {
            fieldfit: "0.1.0".try_into().unwrap(),
            method: "tpgm".try_into().unwrap(),
            options: "epochs=4".try_into().unwrap(),
            seed: 42,
            train: 300,
            validation: 60,
            gate: 70,
            before: 0.5,
            after: 0.75,
            fidelity: Some(Fidelity { images: 60, changed: 1, divergence: 0.0625 }),
        },
        head: HeadDescription::default(),
    }
}

/// Returns a constrained kernel, a constrained bias, and a replaced head.
pub fn tensors() -> [TensorData<'static>; 3] {
    [
        TensorData {
            name: "stem.weight",
            shape: &[2, 3, 1, 1],
            kind: TensorKind::Difference,
            constraint: Some(Constraint { norm: Norm::Mars, radius: 1.5, distance: 1.25 }),
            codec: Codec::F16,
            values: &KERNEL,
        },
        TensorData {
            name: "stem.bias",
            shape: &[3],
            kind: TensorKind::Difference,
            constraint: Some(Constraint { norm: Norm::L2, radius: 1.0, distance: 0.9 }),
            codec: Codec::Int8,
            values: &BIAS,
        },
        TensorData {
            name: "classifier.weight",
            shape: &[2, 2],
            kind: TensorKind::Replacement,
            constraint: None,
            codec: Codec::Int8,
            values: &HEAD,
        },
    ]
}

pub fn sample() -> Vec<u8> {
    encode(&header(), &LABELS, &tensors()).unwrap()
}
