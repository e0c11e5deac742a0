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
use std::path::{Path, PathBuf};

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

/// What is wrong with one file: the import's error, or what differs from PyTorch.
fn check(path: &Path, reference: &[u8]) -> Result<(), String> {
    let temporary = tempfile::tempdir().unwrap();
    let (file, out) = (temporary.path().join("network"), temporary.path().join("model"));
    fs::write(&file, unpacked(path)).unwrap();
    let request = ImportRequest { dtype: Dtype::F32, ..ImportRequest::new(&file, &out) };
    if let Err(error) = import(&request) {
        assert!(!out.exists(), "{}", path.display());
        return Err(format!("refused: {}", message(&error)));
    }
    let base = Base::open(&out).unwrap();
    let (inputs, expected) = (Inputs::parse(reference).map_err(|error| message(&*error))?, expected(reference));
    let exact = oracle(&base, &inputs).map_err(|error| format!("oracle: {}", message(&*error)))?;
    let fast = kernels(&base, &inputs).map_err(|error| format!("kernels: {}", message(&*error)))?;
    let faults = [
        differences(&exact, &expected, 1e-8, 1e-8).into_iter().map(|fault| format!("f64: {fault}")).collect::<Vec<_>>(),
        differences(&fast, &expected, 1e-4, 1e-3).into_iter().map(|fault| format!("f32: {fault}")).collect(),
    ]
    .concat();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Every file of that ending, by name.
fn files(ending: &str) -> Vec<(String, PathBuf)> {
    let paths = fs::read_dir(micro()).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(ending)?.to_owned();
        Some((name, path))
    };
    let mut files: Vec<_> = paths.filter_map(named).collect();
    files.sort();
    files
}

/// Catches: an op that is lowered, run forward or differentiated in another way than PyTorch does.
#[test]
fn programs_of_torch_agree_with_pytorch() {
    let files = files(".pt2.gz");
    assert!(files.len() > 100, "{}", files.len());
    for (name, path) in files {
        let reference = unpacked(&micro().join(format!("{name}.safetensors.gz")));
        match check(&path, &reference) {
            Ok(()) => println!("{name}: pass"),
            Err(problem) => println!("{name}: {problem}"),
        }
    }
}
