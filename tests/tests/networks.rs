//! Imported networks against PyTorch: each micro network of `tests/data/networks/micro`, which `tests/peers/coverage/micro.py`
//! exported, with the outputs, loss and gradients that PyTorch computed in f64.
//!
//! In f64 outputs and gradients must agree within 1e-8; the kernels in f32 within 1e-4 of the largest output, and each
//! gradient within 1e-3 of its l2 norm.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "../examples/network_parity/computation.rs"]
mod computation;

use computation::{Computed, Inputs, kernels, oracle};
use fieldfit_model::Base;
use fieldfit_model::import::{ImportRequest, import};
use fieldfit_tensor::Dtype;
use fieldfit_tests::message;
use fieldfit_tests::network_files::{micro, unpacked};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Outputs, loss and gradients by name.
type Tensors = HashMap<String, Vec<f64>>;

fn expected(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let is_result = |name: &str| name == "loss" || name.starts_with("output.") || name.starts_with("gradient.");
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|bits| f64::from_le_bytes(*bits)).collect();
    file.iter().filter(|(name, _)| is_result(name)).map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

fn l2(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// A gradient below this part of all gradients' l2 norm is compared with that part, as in `tests/peers/coverage/fixture.py`.
const FLOOR: f64 = 1e-5;

/// What differs by more than the tolerances of outputs and gradients; empty if nothing does.
fn differences(found: &Computed, expected: &Tensors, outputs: f64, gradients: f64) -> Vec<String> {
    let found: Tensors = found.tensors().map(|(name, _, values)| (name, values.to_vec())).collect();
    let all = expected.iter().filter(|(name, _)| name.starts_with("gradient."));
    let floor = FLOOR * l2(all.flat_map(|(_, values)| values.iter().copied()));
    let mut faults: Vec<String> = Vec::new();
    for (name, expected) in expected {
        let Some(found) = found.get(name).filter(|found| found.len() == expected.len()) else {
            faults.push(format!("{name} is missing or of another length"));
            continue;
        };
        let gaps = || found.iter().zip(expected).map(|(found, expected)| found - expected);
        let (gap, allowed) = if name.starts_with("gradient.") {
            (l2(gaps()) / l2(expected.iter().copied()).max(floor), gradients)
        } else {
            let largest =
                |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |all: f64, value| all.max(value.abs()));
            (largest(&mut gaps()) / largest(&mut expected.iter().copied()), outputs)
        };
        if gap.is_nan() || gap > allowed {
            faults.push(format!("{name} is off by {gap:.1e}, allowed {allowed:.0e}"));
        }
    }
    let extra =
        found.iter().filter(|(name, values)| !expected.contains_key(*name) && values.iter().any(|value| *value != 0.0));
    faults.extend(extra.map(|(name, _)| format!("{name} is unexpected")));
    faults
}

/// Result of one file.
enum Outcome {
    /// It agrees with PyTorch, in f64 and in f32.
    Agrees,
    /// The import refuses it.
    Refused(String),
    /// It differs, or cannot be run.
    Differs(String),
}

fn outcome(path: &Path, reference: &[u8]) -> Outcome {
    let temporary = tempfile::tempdir().unwrap();
    let (file, out) = (temporary.path().join("network"), temporary.path().join("model"));
    fs::write(&file, unpacked(path)).unwrap();
    if let Err(error) = import(&ImportRequest::new(&file, &out).with_dtype(Dtype::F32)) {
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1, "{}: something is left", path.display());
        return Outcome::Refused(message(&error));
    }
    let base = Base::open(&out).unwrap();
    let (inputs, expected) = (Inputs::parse(reference), expected(reference));
    let computed = inputs.and_then(|inputs| Ok((oracle(&base, &inputs)?, kernels(&base, &inputs)?)));
    let (exact, fast) = match computed {
        Ok(computed) => computed,
        Err(error) => return Outcome::Differs(message(&*error)),
    };
    let exact = differences(&exact, &expected, 1e-8, 1e-8).into_iter().map(|fault| format!("f64: {fault}"));
    let fast = differences(&fast, &expected, 1e-4, 1e-3).into_iter().map(|fault| format!("f32: {fault}"));
    let faults: Vec<String> = exact.chain(fast).collect();
    if faults.is_empty() { Outcome::Agrees } else { Outcome::Differs(faults.join("; ")) }
}

/// Networks that must agree: together they have every kind of tensor, head and layout that a model folder keeps.
const MUST: &[&str] = &[
    "attention",
    "batch_norm_no_affine",
    "channel_shuffle",
    "clamp",
    "class_token",
    "classifier",
    "conv_bias_norm",
    "conv_transposed_3",
    "layer_norm_channels",
    "linear",
    "linear_no_bias",
    "multihead",
    "normalised_input",
    "prelu_shared",
    "resize_nearest",
    "squeeze_excite",
    "static",
    "unused",
];

/// Networks that are imported and cannot be compared, and the reason.
const OTHERS: &[(&str, &str)] = &[
    // The reference's slope of the hard sigmoid is rounded to f32.
    ("hardsigmoid", "f64: gradient.0."),
    ("squeeze_excite_hard", "f64: gradient.branches.1."),
    // The gradient of a key's bias is 0 in exact arithmetic: what f32 finds is rounding.
    ("matmul", "f32: gradient.branches.1.bias"),
    // Constants that a file computes are stored in f32.
    ("fourier_positions", "f64: "),
    ("rotary", "f64: "),
    // The gradient of a bias ahead of a norm of each channel is 0 in exact arithmetic.
    ("deviation", "f32: gradient.0.bias"),
    ("instance_norm", "f32: gradient.0.bias"),
    ("instance_norm_plain", "f32: gradient.0.bias"),
    ("layer_norm_last_two", "f32: gradient.0.bias"),
    // The reference is what the ops behind the head make of the logits, which the import leaves out: its outputs are compared in
    // `crates/exec/tests/imported_networks.rs`. Of the greatest there is no loss.
    ("classifier_argmax", "tensor `weight.0` not found"),
    ("classifier_log_softmax", "f64: output.0"),
    ("classifier_sigmoid", "f64: output.0"),
    ("classifier_softmax", "f64: output.0"),
    // A kernel that is computed at import is trained in place of what it was computed from, and stored in f32.
    ("spectral_normed", "gradient.0.weight_orig is missing"),
    ("weight_normed", "gradient.0.parametrizations.weight.original0 is missing"),
    ("weight_standardised", "gradient.0.gain is missing"),
];

/// Catches: a model folder that loses a part of a network, a tensor that is stored in another order of axes, an import that is
/// refused without the op or that leaves something behind, a gradient that misses a part.
#[test]
fn imported_programs_agree_with_pytorch() {
    let names = fs::read_dir(micro())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".pt2.gz")?.to_owned()));
    let mut problems = Vec::new();
    for name in names {
        let reference = unpacked(&micro().join(format!("{name}.safetensors.gz")));
        let other = OTHERS.iter().find(|(network, _)| *network == name);
        match outcome(&micro().join(format!("{name}.pt2.gz")), &reference) {
            Outcome::Agrees if other.is_none() => {}
            Outcome::Agrees => problems.push(format!("{name} agrees: take it off the list")),
            Outcome::Refused(error) if !MUST.contains(&name.as_str()) => {
                if !error.contains("of op `") && !error.contains("expected one ") {
                    problems.push(format!("{name}: refused without its op: {error}"));
                }
            }
            Outcome::Differs(error) if other.is_some_and(|(_, reason)| error.contains(reason)) => {}
            Outcome::Refused(error) | Outcome::Differs(error) => problems.push(format!("{name}: {error}")),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
