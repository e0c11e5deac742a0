//! Parity tests of every architecture with PyTorch: `tests/data/golden/ARCHITECTURE.json`, which
//! `tests/peers/parity.py` computes in f64 with timm's and torchvision's networks and weights from a formula.
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
use fieldfit_nets::{Network, by_name};
use fieldfit_tensor::{Params, Real};
use fieldfit_tests::formula;
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

/// How far two values are apart, in those units; no more than allowed.
fn gap(found: f64, expected: f64, unit: f64, allowed: f64, what: &str) -> f64 {
    let gap = (found - expected).abs() / unit;
    assert!(gap <= allowed, "{what}: {found} against {expected}, off by {gap:e}, allowed {allowed:e} of {unit}");
    gap
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

/// What the oracle may be off, relative to the largest value of a stage or of the logits, or to a gradient's l2 norm.
const EXACT: f64 = 1e-8;
/// What logits of the kernels may be off, relative to the largest.
const LOGITS: f64 = 1e-4;
/// What a gradient of the kernels may be off, all its values together, relative to its l2 norm.
const GRADIENTS: f64 = 1e-3;

fn stage_gap(found: &[f64], expected: &Stage, name: &str) -> f64 {
    assert_eq!(found.len(), expected.values, "{name}");
    let (unit, count) = (expected.absmax, found.len() as f64);
    let mean = found.iter().sum::<f64>() / count;
    let variance = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let near = |found, expected, what: &str| gap(found, expected, unit, EXACT, &format!("{name}: {what}"));
    let statistics = [
        near(mean, expected.mean, "mean"),
        near(variance.sqrt(), expected.std, "standard deviation"),
        near(largest(found.iter().copied()), expected.absmax, "largest"),
    ];
    let picks = picks(found, 4).into_iter().zip(expected.picks).map(|(found, pick)| near(found, pick, "a value"));
    largest(statistics.into_iter().chain(picks))
}

fn gradient_gap(found: &[f64], expected: &Gradient, name: &str) -> f64 {
    let what = format!("gradient of {name}");
    let norm = gap(l2(found.iter().copied()), expected.l2, expected.l2, EXACT, &what);
    let spread = expected.l2 * (found.len() as f64).sqrt();
    let sum = gap(found.iter().sum(), expected.sum, spread, EXACT, &what);
    let picks = picks(found, 3).into_iter().zip(expected.picks);
    largest([norm, sum].into_iter().chain(picks.map(|(found, pick)| gap(found, pick, expected.l2, EXACT, &what))))
}

/// The f64 path is PyTorch's to eight digits: stages in order, so that the first wrong one is named. The largest gap.
fn assert_exact(network: &Network, golden: &Golden, run: &Run<f64>) -> f64 {
    assert_eq!(run.stages.len(), golden.stages.len());
    let stages = run.stages.iter().map(|(name, values)| stage_gap(values, &golden.stages[name], name));
    let stages = largest(stages);
    let unit = largest(golden.logits.iter().flatten().copied());
    let logits = run.logits.iter().zip(golden.logits.iter().flatten());
    let logits = largest(logits.map(|(found, expected)| gap(*found, *expected, unit, EXACT, "logit")));
    let loss = gap(run.loss, golden.loss, golden.loss, EXACT, "loss");
    let trained: Vec<_> = network.tensors().filter(|(_, spec)| spec.role.is_trainable()).collect();
    assert_eq!(trained.len(), golden.gradients.len());
    let gradients = trained
        .into_iter()
        .map(|(id, spec)| gradient_gap(&run.gradients[id], &golden.gradients[&spec.name], &spec.name));
    largest([stages, logits, loss].into_iter().chain(gradients))
}

/// The kernels in f32 are the f64 path up to rounding. The largest gap of logits, and of gradients.
fn assert_fast(network: &Network, exact: &Run<f64>, fast: &Run<f32>) -> (f64, f64) {
    let unit = largest(exact.logits.iter().copied());
    let logits = fast.logits.iter().zip(&exact.logits);
    let logits = logits.map(|(found, expected)| gap(found.wide(), *expected, unit, LOGITS, "logit of the kernels"));
    let logits = largest(logits);
    let gradients = network.tensors().filter(|(id, _)| exact.gradients.contains(*id)).map(|(id, spec)| {
        let (found, expected) = (&fast.gradients[id], &exact.gradients[id]);
        let distance = l2(found.iter().zip(expected).map(|(found, expected)| found.wide() - expected));
        let what = format!("gradient of {} by the kernels", spec.name);
        gap(distance, 0.0, l2(expected.iter().copied()), GRADIENTS, &what)
    });
    (logits, largest(gradients))
}

fn check(architecture: &str) {
    let golden = golden(architecture);
    let network = by_name(architecture).unwrap().with_classes(golden.logits[0].len());
    let mut oracle = Candle::<f64>::new(&network, device(Device::Cpu { threads: 1 }).unwrap());
    let exact = Run::new(&mut oracle, &golden);
    let oracle = assert_exact(&network, &golden, &exact);
    let mut kernels = Cpu::new(&network, 1, Passes::default()).unwrap();
    let (logits, gradients) = assert_fast(&network, &exact, &Run::new(&mut kernels, &golden));
    println!("{architecture}: f64 {oracle:.0e}; f32 logits {logits:.0e}, gradients {gradients:.0e}");
}

macro_rules! architectures {
    ($($test:ident: $architecture:literal),* $(,)?) => {
        $(
            /// Catches: an architecture whose stages, logits, loss or gradients differ from PyTorch's own, in f64 or
            /// in f32.
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
    deit_tiny_distilled: "deit-tiny-distilled",
    vit_small: "vit-small",
    dinov2_small: "dinov2-small",
    dinov2_small_reg4: "dinov2-small-reg4",
}
