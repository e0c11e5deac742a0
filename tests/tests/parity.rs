//! Every architecture against PyTorch's own: `tests/data/golden/ARCHITECTURE.json`, which `tests/peers/parity.py` computes
//! in f64 with timm's and torchvision's networks and weights from a formula.
//!
//! Guards against a layer, its padding, ε or order that differs from the published network's, forward or backward. candle
//! in f64 must agree within 1e-8; our kernels in f32 within 1e-4 of the largest logit, and each gradient, all its values
//! together, within 1e-3 of its l2 norm.
#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use fieldfit_exec::{
    Device, Executor, Passes,
    candle::{Candle, device},
    cpu::Cpu,
};
use fieldfit_model::Params;
use fieldfit_nets::{Network, by_name};
use fieldfit_tests::formula;
use fieldfit_tpgm::Real;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

#[derive(Deserialize)]
struct Golden {
    side: usize,
    labels: Vec<u32>,
    logits: Vec<Vec<f64>>,
    loss: f64,
    stages: HashMap<String, Stage>,
    gradients: HashMap<String, Gradient>,
}

/// A stage's output, flattened with channels innermost.
#[derive(Deserialize)]
struct Stage {
    values: usize,
    mean: f64,
    std: f64,
    absmax: f64,
    /// The first, the last and two between them, evenly apart.
    picks: [f64; 4],
}

#[derive(Deserialize)]
struct Gradient {
    l2: f64,
    sum: f64,
    /// The first, the middle one and the last.
    picks: [f64; 3],
}

/// What an executor makes of a golden's weights and images.
struct Run<T> {
    logits: Vec<T>,
    loss: f64,
    gradients: Params<T>,
    stages: Vec<(String, Vec<T>)>,
}

impl<T: Real> Run<T> {
    fn new(executor: &mut dyn Executor<T>, golden: &Golden) -> Self {
        let network = executor.network().clone();
        let (params, images) = (formula::params(&network), formula::images(golden.labels.len(), golden.side));
        let mut gradients = Params::zeros_where(&network, |id| network.tensor(id).role.is_trainable());
        let loss = executor.gradient(&params, &images, &golden.labels.as_slice(), &mut gradients).unwrap().wide();
        let mut stages = Vec::new();
        executor
            .trace(&params, &images, &mut |name, _, values| stages.push((name.to_owned(), values.to_vec())))
            .unwrap();
        Self { logits: executor.logits(&params, &images).unwrap().values, loss, gradients, stages }
    }
}

fn golden(architecture: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/golden/{architecture}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let gap = (found - expected).abs();
    assert!(gap <= tolerance, "{what}: {found} against {expected}, off by {gap:e}, allowed {tolerance:e}");
}

fn l2(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

/// That many values of a slice, evenly apart, the first and the last among them.
fn picks(values: &[f64], count: usize) -> Vec<f64> {
    let place = |part| (part as f64 / (count - 1) as f64 * (values.len() - 1) as f64).round_ties_even() as usize;
    (0..count).map(|part| values[place(part)]).collect()
}

/// Relative tolerance of the oracle.
const EXACT: f64 = 1e-8;

fn assert_stage(found: &[f64], expected: &Stage, name: &str) {
    assert_eq!(found.len(), expected.values, "{name}");
    let (tolerance, count) = (EXACT * expected.absmax, found.len() as f64);
    let mean = found.iter().sum::<f64>() / count;
    let variance = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    assert_close(mean, expected.mean, tolerance, &format!("{name}: mean"));
    assert_close(variance.sqrt(), expected.std, tolerance, &format!("{name}: standard deviation"));
    assert_close(largest(found.iter().copied()), expected.absmax, tolerance, &format!("{name}: largest"));
    for (found, expected) in picks(found, 4).into_iter().zip(expected.picks) {
        assert_close(found, expected, tolerance, &format!("{name}: a value"));
    }
}

fn assert_gradient(found: &[f64], expected: &Gradient, name: &str) {
    let tolerance = EXACT * expected.l2;
    assert_close(l2(found.iter().copied()), expected.l2, tolerance, &format!("{name}: ‖gradient‖"));
    let spread = tolerance * (found.len() as f64).sqrt();
    assert_close(found.iter().sum(), expected.sum, spread, &format!("{name}: sum of the gradient"));
    for (found, expected) in picks(found, 3).into_iter().zip(expected.picks) {
        assert_close(found, expected, tolerance, &format!("{name}: gradient"));
    }
}

/// The f64 path is PyTorch's to eight digits: stages in order, so that the first wrong one is named.
fn assert_exact(network: &Network, golden: &Golden, run: &Run<f64>) {
    assert_eq!(run.stages.len(), golden.stages.len());
    for (name, values) in &run.stages {
        assert_stage(values, &golden.stages[name], name);
    }
    let room = EXACT * largest(golden.logits.iter().flatten().copied());
    for (found, expected) in run.logits.iter().zip(golden.logits.iter().flatten()) {
        assert_close(*found, *expected, room, "logit");
    }
    assert_close(run.loss, golden.loss, EXACT * golden.loss, "loss");
    let trained: Vec<_> = network.tensors().filter(|(_, spec)| spec.role.is_trainable()).collect();
    assert_eq!(trained.len(), golden.gradients.len());
    for (id, spec) in trained {
        assert_gradient(&run.gradients[id], &golden.gradients[&spec.name], &spec.name);
    }
}

/// The kernels in f32 are the f64 path up to rounding.
fn assert_fast(network: &Network, exact: &Run<f64>, fast: &Run<f32>) {
    let room = 1e-4 * largest(exact.logits.iter().copied());
    for (found, expected) in fast.logits.iter().zip(&exact.logits) {
        assert_close(found.wide(), *expected, room, "logit of the kernels");
    }
    for (id, spec) in network.tensors().filter(|(id, _)| exact.gradients.contains(*id)) {
        let (found, expected) = (&fast.gradients[id], &exact.gradients[id]);
        let gap = l2(found.iter().zip(expected).map(|(found, expected)| found.wide() - expected));
        let room = 1e-3 * l2(expected.iter().copied());
        assert!(gap <= room, "gradient of {} by the kernels: off by {gap:e}, allowed {room:e}", spec.name);
    }
}

fn check(architecture: &str) {
    let golden = golden(architecture);
    let network = by_name(architecture).unwrap().with_classes(golden.logits[0].len());
    let mut oracle = Candle::<f64>::new(&network, device(Device::Cpu { threads: 1 }).unwrap());
    let exact = Run::new(&mut oracle, &golden);
    assert_exact(&network, &golden, &exact);
    let mut kernels = Cpu::new(&network, 1, Passes::default()).unwrap();
    assert_fast(&network, &exact, &Run::new(&mut kernels, &golden));
}

macro_rules! architectures {
    ($($test:ident: $architecture:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($architecture);
            }
        )*
    };
}

architectures! {
    efficientnet_lite0: "efficientnet-lite0",
    efficientnet_lite1: "efficientnet-lite1",
    efficientnet_lite2: "efficientnet-lite2",
    mobilenetv2: "mobilenetv2",
    resnet18: "resnet18",
    resnet34: "resnet34",
    resnet50: "resnet50",
    deit_tiny: "deit-tiny",
    deit_small: "deit-small",
    vit_small: "vit-small",
    dinov2_small: "dinov2-small",
    dinov2_small_reg4: "dinov2-small-reg4",
}
