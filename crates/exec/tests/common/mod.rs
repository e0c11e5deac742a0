//! Test helpers: small networks with random weights, random images, and gradients of the CPU kernels.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

use fieldfit_exec::{Executor, Passes, cpu::Cpu};
use fieldfit_nets::{Network, Role, by_name};
use fieldfit_tensor::{Images, Params, TensorId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Returns two tiny networks: inverted residuals with TensorFlow's padding; bottlenecks, a max pool and projected
/// shortcuts with PyTorch's.
pub fn networks() -> [Network; 2] {
    ["efficientnet-tiny", "resnet-tiny"].map(|name| by_name(name).unwrap().with_classes(5))
}

/// Returns random parameters that keep activations at their scale.
pub fn params(network: &Network) -> Params<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let spread = (spec.rows() as f32 / spec.len() as f32).sqrt();
        params[id].fill_with(|| {
            let unit: f32 = generator.random_range(-1.0..1.0);
            match spec.role {
                Role::NormScale | Role::RunningVariance | Role::LayerScale => 1.5 + unit,
                Role::Kernel | Role::HeadWeight => 2.0 * unit * spread,
                Role::LinearWeight => 3.0 * unit * spread,
                _ => unit,
            }
        });
    }
    params
}

/// Returns uniform noise in [−2, 2).
pub fn images(count: usize, height: usize, width: usize) -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let mut images = Images::zeros(count, height, width);
    images.values.fill_with(|| generator.random_range(-2.0..2.0));
    images
}

/// Returns a label from 0 to 4 for each image.
pub fn labels(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 3 % 5).collect()
}

/// Converts parameters to f64.
pub fn widen(network: &Network, params: &Params<f32>) -> Params<f64> {
    let mut wide = Params::zeros(network);
    for (wide, narrow) in wide.buffers_mut().iter_mut().zip(params.buffers()) {
        *wide = narrow.iter().map(|value| f64::from(*value)).collect();
    }
    wide
}

/// Computes loss and gradients of the trained tensors; returns the executor, too.
pub fn gradient(
    network: &Network,
    threads: usize,
    passes: Passes,
    images: &Images,
    trains: impl Fn(TensorId) -> bool,
) -> (f32, Params<f32>, Cpu) {
    let mut gradients = Params::zeros_where(network, trains);
    // NaN detects gradients that are added to the old contents.
    gradients.buffers_mut().iter_mut().flatten().for_each(|value| *value = f32::NAN);
    let mut cpu = Cpu::new(network, threads, passes).unwrap();
    let loss = cpu.gradient(&params(network), images, &labels(images.count), &mut gradients).unwrap();
    (loss, gradients, cpu)
}

/// Returns the L2 distance between two tensors, relative to the reference's norm.
pub fn distance(fast: &[f32], oracle: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut fast.iter().zip(oracle).map(|(a, b)| f64::from(*a) - b)) / norm(&mut oracle.iter().copied()).max(1e-9)
}
