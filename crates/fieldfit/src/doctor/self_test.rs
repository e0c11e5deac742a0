//! Self-test: runs each part of an adaptation once on a small network with made-up weights; needs no file.

use fieldfit_delta::{
    Codec, Constraint, Delta, HeadDescription, Header, Provenance, Task, TensorData, TensorKind, encode,
};
use fieldfit_exec::{Device, ExecError, Executor, Passes, executor};
use fieldfit_nets::{Network, Role, TensorSpec, by_name};
use fieldfit_store::Store;
use fieldfit_tensor::{Images, Norm, Params, TensorId};
use fieldfit_tpgm::{distances, project};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Instant;

/// The network that is tried.
pub(super) const NETWORK: &str = "efficientnet-tiny";
/// Side of its images in pixels: odd, so that kernels meet edges.
const SIDE: usize = 33;
/// Images at once.
const IMAGES: usize = 2;
const CLASSES: usize = 4;
const LABELS: [u32; IMAGES] = [1, 3];

/// The logits of both images, by NumPy in f64; a test holds the oracle against them.
const GOLDEN: [[f64; CLASSES]; IMAGES] =
    [[-0.013593585, 0.202492558, -0.141486135, 0.162973536], [-0.013977651, 0.193702056, -0.153338288, 0.167053093]];
/// Tolerance of a logit: f32's rounding over the network's depth.
const LOGIT_TOLERANCE: f64 = 1e-5;
/// Length of the step along the gradient that a difference is taken over, and how far that may be from the gradient, in
/// parts of it: what f32 leaves of the difference of two losses.
const STEP: f32 = 5e-3;
const GRADIENT_TOLERANCE: f64 = 0.02;
/// Tolerance of a projected difference outside its ball, as a share of the radius.
const CONSTRAINT_TOLERANCE: f32 = 1e-5;

type Outcome = Result<String, Box<dyn Error>>;

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// Name of the check.
    pub name: &'static str,
    /// Whether it passed.
    pub passed: bool,
    /// Its figures, or what failed.
    pub detail: String,
}

/// Formats the result as a line of text, every field.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, passed, detail } = self;
        write!(f, "{} {name}: {detail}", if *passed { "passed       " } else { "FAILED       " })
    }
}

/// Runs all checks; files are written to that folder.
pub(super) fn run(folder: &Path) -> Vec<Check> {
    let check = |name, outcome: Outcome| match outcome {
        Ok(detail) => Check { name, passed: true, detail },
        Err(error) => Check { name, passed: false, detail: error.to_string() },
    };
    let (network, weights) = match network() {
        Ok(network) => (network.clone(), weights(&network)),
        Err(error) => return vec![check("network", Err(error))],
    };
    vec![
        check("golden logits", logits(&network, &weights)),
        check("gradient", gradient(&network, &weights)),
        check("projected step", projected_step(&network, &weights).map(|(_, told)| told)),
        check("store commit", commit(&network, &weights, folder)),
    ]
}

fn network() -> Result<Network, Box<dyn Error>> {
    Ok(by_name(NETWORK)?.with_classes(CLASSES))
}

/// A value in −1..1 for each place, the same on every machine: splitmix64 (Steele et al., OOPSLA 2014).
fn made_up(place: u64) -> f32 {
    let mut mixed = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // 24 bits: as many as f32 holds.
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Weights that keep activations at their scale.
fn weights(network: &Network) -> Params<f32> {
    let mut weights = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let spread = (3.0 * spec.rows() as f32 / spec.len() as f32).sqrt();
        for (index, value) in weights[id].iter_mut().enumerate() {
            let value_here = made_up(((id.index() as u64) << 32) | index as u64);
            *value = match spec.role {
                Role::Kernel | Role::HeadWeight => spread * value_here,
                Role::NormScale | Role::RunningVariance => 1.0 + 0.25 * value_here,
                _ => 0.1 * value_here,
            };
        }
    }
    weights
}

fn images() -> Images {
    let mut images = Images::zeros(IMAGES, SIDE, SIDE);
    images.values.iter_mut().enumerate().for_each(|(index, value)| *value = made_up(u64::MAX - index as u64));
    images
}

fn kernels(network: &Network) -> Result<Box<dyn Executor<f32>>, ExecError> {
    executor(Device::Cpu { threads: 2 }, network, Passes::default())
}

/// Checks the logits against those that NumPy computed.
fn logits(network: &Network, weights: &Params<f32>) -> Outcome {
    let found = kernels(network)?.logits(weights, &images())?;
    let pairs = found.values.iter().zip(GOLDEN.as_flattened());
    let furthest = pairs.map(|(found, golden)| (f64::from(*found) - golden).abs()).fold(0.0, f64::max);
    require(furthest <= LOGIT_TOLERANCE, format!("{furthest:.1e} from NumPy's, {LOGIT_TOLERANCE:.0e} is allowed"))
}

fn descent(network: &Network, weights: &Params<f32>) -> Result<(f32, Params<f32>), ExecError> {
    let trains = |id: TensorId| network.tensor(id).role.is_trainable();
    let mut gradients = Params::zeros_where(network, trains);
    let loss = kernels(network)?.gradient(weights, &images(), &LABELS, &mut gradients)?;
    Ok((loss, gradients))
}

/// Checks that the loss rises along the gradient as fast as the gradient is long.
fn gradient(network: &Network, weights: &Params<f32>) -> Outcome {
    let (_, gradients) = descent(network, weights)?;
    let all = gradients.buffers().iter().flatten();
    let length = all.map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let loss_at = |step: f32| {
        let mut moved = weights.clone();
        for (weights, gradient) in moved.buffers_mut().iter_mut().zip(gradients.buffers()) {
            weights.iter_mut().zip(gradient).for_each(|(weight, slope)| *weight += step * slope / length as f32);
        }
        descent(network, &moved).map(|(loss, _)| f64::from(loss))
    };
    let slope = (loss_at(STEP)? - loss_at(-STEP)?) / f64::from(2.0 * STEP);
    let apart = (slope / length - 1.0).abs();
    require(
        apart <= GRADIENT_TOLERANCE,
        format!("{:.2} % from a difference of losses, {:.0} % is allowed", 100.0 * apart, 100.0 * GRADIENT_TOLERANCE),
    )
}

/// A step down the gradient, and back into balls of half its length: δ, and what was seen.
fn projected_step(network: &Network, weights: &Params<f32>) -> Result<(Vec<Moved>, String), Box<dyn Error>> {
    let (_, gradients) = descent(network, weights)?;
    let mut moved = Vec::new();
    let mut furthest = 0.0_f32;
    for (id, spec) in network.tensors().filter(|(id, spec)| gradients.contains(*id) && !spec.role.is_head()) {
        let mut delta: Vec<f32> = gradients[id].iter().map(|slope| -0.1 * slope).collect();
        let radius = 0.5 * distance(&delta, spec);
        project(Norm::L2, &mut delta, spec.rows(), radius);
        let distance = distance(&delta, spec);
        furthest = furthest.max(if radius > 0.0 { distance / radius - 1.0 } else { distance });
        moved.push(Moved { id, delta, radius });
    }
    let told = format!("{} tensors in their balls, {:.1e} of a radius outside at most", moved.len(), furthest.max(0.0));
    require(furthest <= CONSTRAINT_TOLERANCE, told).map(|told| (moved, told))
}

/// A tensor's difference from the base, and its ball.
struct Moved {
    id: TensorId,
    delta: Vec<f32>,
    radius: f32,
}

fn distance(delta: &[f32], spec: &TensorSpec) -> f32 {
    let mut norms = Vec::new();
    distances(Norm::L2, delta, spec.rows(), &mut norms);
    norms.into_iter().fold(0.0, f32::max)
}

/// Checks that a delta is stored, activated, and read back to the bit.
fn commit(network: &Network, weights: &Params<f32>, folder: &Path) -> Outcome {
    let (moved, _) = projected_step(network, weights)?;
    let bytes = delta(network, &moved)?;
    let started = Instant::now();
    let path = folder.join("store");
    let version = {
        let store = Store::create_or_open(&path)?;
        let version = store.add(&bytes)?;
        store.activate(version)?;
        version
    };
    let took = started.elapsed().as_secs_f64() * 1e3;
    let store = Store::open(&path)?;
    let is_whole = store.active()? == Some(version) && store.read(version)? == bytes;
    require(
        is_whole && decodes_to(&bytes, &moved)?,
        format!("a delta of {} bytes added and active in {took:.1} ms", bytes.len()),
    )
}

fn delta(network: &Network, moved: &[Moved]) -> Result<Vec<u8>, Box<dyn Error>> {
    let labels = ["a", "b", "c", "d"];
    let header = Header {
        base: [0; 32],
        parent: None,
        task: Task::Classification,
        input_size: SIDE as u32,
        crop: 1.0,
        classes: CLASSES as u32,
        tensors: 0,
        provenance: Provenance::default(),
        head: HeadDescription::default(),
    };
    let tensors = moved.iter().map(|Moved { id, delta, radius }| {
        let spec = network.tensor(*id);
        let constraint =
            Constraint { norm: fieldfit_tensor::Norm::L2, radius: *radius, distance: distance(delta, spec) };
        let (name, shape) = (spec.name.as_str(), spec.shape.as_slice());
        TensorData {
            name,
            shape,
            kind: TensorKind::Difference,
            constraint: Some(constraint),
            codec: Codec::F32,
            values: delta,
        }
    });
    Ok(encode(&header, &labels, &tensors.collect::<Vec<_>>())?)
}

fn decodes_to(bytes: &[u8], moved: &[Moved]) -> Result<bool, Box<dyn Error>> {
    let delta = Delta::parse(bytes)?;
    for (record, Moved { delta, .. }) in delta.records().zip(moved) {
        let mut values = vec![0.0; record.len()];
        record.decode_into(&mut values)?;
        if values != *delta {
            return Ok(false);
        }
    }
    Ok(true)
}

fn require(holds: bool, told: String) -> Outcome {
    if holds { Ok(told) } else { Err(told.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_exec::candle::{Candle, device};

    /// Catches: golden logits that are the fast kernels' own, so that both could be wrong together.
    #[test]
    fn the_golden_logits_are_the_oracles() {
        let network = network().unwrap();
        let mut wide = Params::zeros(&network);
        for (wide, narrow) in wide.buffers_mut().iter_mut().zip(weights(&network).buffers()) {
            *wide = narrow.iter().map(|value| f64::from(*value)).collect();
        }
        let cpu = device(Device::Cpu { threads: 1 }).unwrap();
        let logits = Candle::<f64>::new(&network, cpu).logits(&wide, &images()).unwrap();
        for (found, golden) in logits.values.iter().zip(GOLDEN.as_flattened()) {
            assert!((found - golden).abs() < 2e-9, "{:?}", logits.values);
        }
    }

    /// Catches: a check that passes whatever it is given.
    #[test]
    fn wrong_weights_and_a_store_that_cannot_be_written_are_seen() {
        let network = network().unwrap();
        let mut wrong = weights(&network);
        wrong.buffers_mut().iter_mut().for_each(|values| values.reverse());
        assert!(logits(&network, &wrong).is_err());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("store"), b"").unwrap();
        let checks = run(folder.path());
        assert_eq!(checks.iter().map(|check| check.passed).collect::<Vec<_>>(), [true, true, true, false]);
    }
}
