//! Tests of device training against host training: guards against a stale copy, rows that are cut elsewhere, another
//! arithmetic, and a state that is not fetched.
//!
//! candle's own CPU stands in for the device, in f64 and in f32, and where there is one, the device itself is held to the
//! same. The host's arithmetic is held to PyTorch's by the crate's other tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its runs has failed")]

mod common;

use candle_core::WithDType;
use common::{Field, options};
use fieldfit_adapt::{
    AdaptError, Clip, Event, HeadParams, HostParams, METHODS, Optimiser, OptimiserOptions, Options, TensorRadii,
    TpgmOptions, TrainingState,
};
use fieldfit_delta::Delta;
use fieldfit_exec::candle::{Candle, CandleParams, device};
use fieldfit_exec::{Device, DeviceParams, ParamStore, StateTensor, accelerator};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Norm, Params, Real, TensorId};
use fieldfit_tests::not_run;
use fieldfit_tpgm::RadiusAdam;
use tempfile::TempDir;

const LABELS: [u32; 3] = [0, 1, 2];
const OPTIMISERS: [OptimiserOptions; 2] = [
    OptimiserOptions::Sgd { learning_rate: 1e-2, momentum: 0.9, weight_decay: 0.05 },
    OptimiserOptions::AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.05 },
];
/// A bias of the backbone and a kernel: what is frozen must not come back with values.
const FROZEN: [&str; 2] = ["_bn0.bias", "_blocks.1._project_conv.weight"];

/// A run of every-step TPGM in a place, with gradients clipped.
struct Run<T> {
    optimiser: Optimiser<T>,
    radii: TensorRadii<T>,
    losses: Vec<f64>,
}

impl<T: Real> Run<T> {
    fn new(network: &Network, delta: &Params<T>, options: OptimiserOptions, norm: Norm) -> Self {
        let constrained = |id| delta.contains(id) && !network.tensor(id).role.is_head();
        let adam = RadiusAdam { learning_rate: 1e-3, ..RadiusAdam::default() };
        Self {
            optimiser: Optimiser::new(options, network, delta),
            radii: TensorRadii::new(network, norm, adam, constrained),
            losses: Vec::new(),
        }
    }

    /// What a step does until δ moves.
    fn before(&mut self, place: &mut dyn ParamStore<T>) -> Clip {
        let loss = place.gradient(&[], &pictures(0), &LABELS).unwrap();
        self.losses.push(loss.wide());
        Clip::of(&place.gradient_norms().unwrap(), Some(0.5))
    }

    /// What it does once δ has moved.
    fn after(&mut self, place: &mut dyn ParamStore<T>) {
        let loss = self.radii.radius_step(place, &pictures(1), &LABELS).unwrap();
        self.losses.push(loss.wide());
        self.radii.project(place).unwrap();
    }
}

/// Three images of different brightness.
fn pictures(seed: usize) -> Images {
    let mut images = Images::zeros(3, 32, 32);
    for (index, value) in images.values.iter_mut().enumerate() {
        *value = ((index * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0 + (index / (32 * 32 * 3)) as f32 * 0.5;
    }
    images
}

fn head(network: &Network) -> HeadParams {
    let weight = |index: usize| (index as f32 * 0.37).sin() * 0.1;
    HeadParams { weight: (0..3 * network.head.features).map(weight).collect(), bias: vec![0.0; 3] }
}

fn trains(network: &Network, id: TensorId) -> bool {
    let spec = network.tensor(id);
    spec.role.is_trainable() && !FROZEN.contains(&spec.name.as_str())
}

/// The distance of the two over the length of the first.
fn gap<T: Real>(one: &Params<T>, other: &Params<T>) -> f64 {
    let pairs = || one.buffers().iter().flatten().zip(other.buffers().iter().flatten());
    let square = |value: f64| value * value;
    let apart: f64 = pairs().map(|(one, other)| square(one.wide() - other.wide())).sum();
    let long: f64 = pairs().map(|(one, _)| square(one.wide())).sum();
    (apart / long.max(1e-300)).sqrt()
}

/// Five steps in either place, under either optimiser and norm, to `tolerance` of each step's loss and of δ in the end.
fn same_steps<T: Real + WithDType>(at: Device, tolerance: f64) {
    let folder = TempDir::new().unwrap();
    let base = Base::open(&fieldfit_tests::tiny::base(folder.path(), 3)).unwrap();
    let network = base.network().with_classes(3);
    for (options, norm) in OPTIMISERS.into_iter().flat_map(|options| [(options, Norm::L2), (options, Norm::Mars)]) {
        let mut state = TrainingState::<T>::new(&base, network.clone(), head(&network), |id| trains(&network, id));
        let (mut weights, mut gradients) = (state.weights(), state.delta.clone());
        let (weights, gradients) = (&mut weights, &mut gradients);
        let mut executor = Candle::<T>::new(&network, candle_core::Device::Cpu);
        let mut resident =
            CandleParams::<T>::new(&network, device(at).unwrap(), |id| state.start(id), |id| trains(&network, id))
                .unwrap();
        let mut near = Run::new(&network, &state.delta, options, norm);
        let mut far = Run::new(&network, &state.delta, options, norm);
        let mut home = state.delta.clone();
        for step in 0..5 {
            let clip = near.before(&mut HostParams { state: &mut state, executor: &mut executor, weights, gradients });
            near.optimiser.step_scaled(&mut state.delta, weights, (gradients, clip.scale), 1e-2);
            near.after(&mut HostParams { state: &mut state, executor: &mut executor, weights, gradients });

            let clip = far.before(&mut resident);
            far.optimiser.step_on(&mut resident, clip.scale, 1e-2).unwrap();
            far.after(&mut resident);

            let what = format!("step {step} under {options:?} and {norm:?}");
            for (near, far) in near.losses.iter().zip(&far.losses) {
                assert!((near - far).abs() <= tolerance * near.abs(), "{what}: a loss of {far}, not {near}");
            }
            resident.fetch(StateTensor::Delta, &mut home).unwrap();
            let gap = gap(&state.delta, &home);
            assert!(gap <= tolerance, "{what}: δ is {gap:e} of itself apart");
        }
        let moved = near.radii.values().iter().flatten().count();
        assert!(moved > 10, "only {moved} radii were learned, which proves nothing");
    }
}

/// Catches: a sum over the wrong rows, a rule or a projection that isn't the host's, θ0 read wrongly from its stored type.
#[test]
fn a_step_is_the_same_step_in_f64() {
    same_steps::<f64>(Device::Candle, 1e-12);
}

/// Catches: the same in the type that a device computes in, where sums are f32's.
#[test]
fn a_step_is_the_same_step_in_f32() {
    same_steps::<f32>(Device::Candle, 1e-5);
}

/// Catches: what only the device's own kernels get wrong.
#[test]
fn a_step_is_the_same_step_on_a_device() {
    match accelerator() {
        Ok(device) => same_steps::<f32>(device, 1e-2),
        Err(error) => not_run("a_step_is_the_same_step_on_a_device", &error),
    }
}

/// Short runs on that device.
fn on(device: Device, method: &str) -> Options {
    let optimiser = OptimiserOptions::sgd().with_learning_rate(3e-3);
    options(method).with_device(device).with_optimiser(optimiser).with_settings(steps(method))
}

/// Few radius steps, where a method takes many.
fn steps(method: &str) -> std::collections::BTreeMap<String, f64> {
    let few = method == "tpgm-post-hoc" || method == "tpgm-relative";
    few.then(|| ("steps".to_owned(), 4.0)).into_iter().collect()
}

/// θ0 + δ as it is stored, tensor after tensor.
fn stored(field: &Field, delta: &[u8]) -> Params<f32> {
    fieldfit_model::Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap().params
}

/// An adaptation by every method, all of it, to the same weights: what a step's test can't see is whether the trainer uses
/// the place, projects in it, and takes δ home.
fn same_adaptations(device: Device, tolerance: f64) {
    let field = Field::new(3);
    let base = field.base.params::<f32>();
    for entry in METHODS {
        let run = |device| {
            let (outcome, events) = field.adapt(&on(device, entry.name));
            let losses = events.iter().filter_map(|event| match event {
                Event::Step { loss, .. } => Some(*loss),
                _ => None,
            });
            (stored(&field, &outcome.unwrap().delta), losses.collect::<Vec<_>>())
        };
        let ((near, losses), (far, other)) = (run(Device::Cpu { threads: 1 }), run(device));
        assert_eq!(losses.len(), other.len(), "{}", entry.name);
        for (near, far) in losses.iter().zip(&other) {
            assert!((near - far).abs() <= tolerance * near.abs(), "{}: {far}, not {near}", entry.name);
        }
        let mut moved = near.clone();
        let kernels =
            moved.buffers_mut().iter_mut().zip(base.buffers()).filter(|(near, base)| near.len() == base.len());
        kernels.for_each(|(near, base)| near.iter_mut().zip(base).for_each(|(near, base)| *near -= base));
        let gap = gap(&near, &far) * length(&near) / length(&moved);
        assert!(gap <= tolerance, "{}: δ is {gap:e} of itself apart", entry.name);
    }
}

fn length(params: &Params<f32>) -> f64 {
    params.buffers().iter().flatten().map(|value| value.wide() * value.wide()).sum::<f64>().sqrt()
}

/// Catches: a method whose adaptation differs where its tensors live on a device: stale weights, moments that are not
/// fetched, steps that are left out. Candle's CPU stands in for the device.
#[test]
fn adaptations_on_the_stand_in_are_the_hosts() {
    same_adaptations(Device::Candle, 1e-3);
}

/// Catches: the same on a real accelerator, whose kernels and transfers differ from the stand-in's.
#[test]
fn adaptations_on_a_device_are_the_hosts() {
    match accelerator() {
        Ok(device) => same_adaptations(device, 1e-1),
        Err(error) => not_run("adaptations_on_a_device_are_the_hosts", &error),
    }
}

/// Catches: a checkpoint without what the device holds, or that doesn't get back there.
#[test]
fn a_run_on_the_stand_in_resumes_to_the_same_bits() {
    let field = Field::new(4);
    let adamw = OptimiserOptions::adamw().with_learning_rate(1e-3);
    let tpgm = TpgmOptions::default().with_norm(Some(Norm::L2));
    for options in [on(Device::Candle, "lp-ft").with_optimiser(adamw), on(Device::Candle, "tpgm").with_tpgm(tpgm)] {
        let whole = field.adapt(&options).0.unwrap().delta;
        let path = field.folder.path().join("checkpoint");
        let stop = |event: &Event| matches!(event, Event::Step { step: 3, .. });
        let stopped = field.adapt_until(&options, &path, false, stop);
        assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })));
        let resumed = field.adapt_until(&options, &path, true, |_| false).unwrap();
        assert!(resumed.delta == whole, "{}: other bits after a pause", options.method);
    }
}

/// The authors' numbers, on a place with nothing but a head: `logits = X · Wᵀ + b`, two classes of three values.
fn linear() -> Network {
    let mut network = fieldfit_nets::by_name("efficientnet-tiny").unwrap();
    network = network.after(network.graph.sections.len()).unwrap().with_classes(2);
    (network.channels, network.head.features) = (3, 3);
    network.tensors[network.head.weight.index()].shape = vec![2, 3];
    network
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn assert_near(found: &[f64], expected: &serde_json::Value, tolerance: f64, what: &str) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{what}: {found}, not {expected}");
    }
}

fn projections<T: Real + WithDType>(tolerance: f64) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tpgm_vectors.json");
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (network, narrow) =
        (linear(), |name: &str| numbers(&vectors[name]).iter().map(|&v| v as f32).collect::<Vec<_>>());
    let (weight, base, zeros) = (network.head.weight, numbers(&vectors["W0"]), vec![0.0; 1 << 16]);
    let start: Vec<f32> = base.iter().map(|&value| value as f32).collect();
    let images = Images { count: 2, height: 1, width: 1, channels: 3, values: narrow("X_val") };
    let labels: Vec<u32> = numbers(&vectors["y_val"]).iter().map(|&label| label as u32).collect();
    let lend = |id: TensorId| {
        let values = if id == weight { &start } else { &zeros[..network.tensor(id).len()] };
        fieldfit_tensor::TensorView::from_f32(values)
    };
    let of_weight = |value: Vec<T>| {
        (0..network.tensors.len())
            .map(move |i| if i == weight.index() { value.clone() } else { Vec::new() })
            .collect::<Vec<_>>()
    };
    for expected in vectors["projection"].as_array().unwrap() {
        let norm = if expected["norm"] == "l2" { Norm::L2 } else { Norm::Mars };
        let what = format!("{norm:?}, γ = {}", expected["gamma"]);
        let mut place = CandleParams::<T>::new(&network, candle_core::Device::Cpu, lend, |id| id == weight).unwrap();
        let mut delta = Params::zeros_where(&network, |id| id == weight);
        let moved = numbers(&vectors["Wt"]).into_iter().zip(&base).map(|(tuned, base)| T::of(tuned - base));
        delta.replace(weight, moved.collect());
        place.put(StateTensor::Delta, &delta).unwrap();

        let wanted: Vec<bool> = network.tensors().map(|(id, _)| id == weight).collect();
        let mut norms = Vec::new();
        place.distances(norm, &wanted, &mut norms).unwrap();
        let lengths: Vec<f64> = norms[weight.index()].iter().map(|norm| norm.wide()).collect();
        assert_near(&lengths, &expected["norms"], tolerance, &what);

        let furthest = lengths.iter().copied().fold(0.0, f64::max);
        let radius = T::of(expected["gamma"].as_f64().unwrap().min(furthest));
        let mut kept = Vec::new();
        fieldfit_tpgm::ratios(&norms[weight.index()], radius, &mut kept);
        let loss = place.gradient(&of_weight(kept.clone()), &images, &labels).unwrap();
        assert_near(&[loss.wide()], &expected["val_loss"], tolerance, &what);
        let radii: Vec<_> = wanted.iter().map(|&wanted| wanted.then_some(radius)).collect();
        let slope = place.radius_gradients(&norms, &radii).unwrap()[weight.index()].unwrap();
        assert_near(&[slope.wide()], &expected["dloss_dgamma"], tolerance, &what);

        place.rescale(&of_weight(kept)).unwrap();
        place.fetch(StateTensor::Delta, &mut delta).unwrap();
        let projected: Vec<f64> = delta[weight].iter().zip(&base).map(|(delta, base)| delta.wide() + base).collect();
        assert_near(&projected, &expected["projected"], tolerance, &what);
    }
}

/// Catches: a norm, a ratio or a radius gradient that isn't the authors'.
#[test]
fn the_place_reproduces_the_authors_numbers() {
    projections::<f64>(1e-8);
    projections::<f32>(1e-5);
}
