//! The fast kernels against the f64 oracle: a kernel that is right on round sizes only, a tail of channels left out, a
//! shortcut or a mask in the wrong place, a sum that depends on how the work was cut.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may end them")]

use fieldfit_exec::{ExecError, Executor, Objective, Passes, Prepared, candle::Candle, cpu, divergence};
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Network, Role, TensorId, by_name};
use fieldfit_tpgm::Real;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIZES: [(usize, usize, usize); 6] = [(1, 1, 1), (1, 32, 32), (2, 33, 47), (3, 31, 8), (5, 17, 64), (1, 2, 95)];

/// Inverted residuals under TensorFlow's padding, and bottlenecks, a max pool and projected shortcuts under PyTorch's.
fn networks() -> [Network; 2] {
    ["efficientnet-tiny", "resnet-tiny"].map(|name| by_name(name).unwrap().with_classes(5))
}

fn params(network: &Network) -> Params<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let spread = (spec.rows() as f32 / spec.len() as f32).sqrt();
        for value in &mut params[id] {
            let unit: f32 = generator.random_range(-1.0..1.0);
            *value = match spec.role {
                Role::NormScale | Role::RunningVariance => 1.5 + unit,
                Role::Kernel | Role::HeadWeight => 2.0 * unit * spread,
                _ => unit,
            };
        }
    }
    params
}

fn images(count: usize, height: usize, width: usize) -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let mut images = Images::zeros(count, height, width);
    images.values.fill_with(|| generator.random_range(-2.0..2.0));
    images
}

fn labels(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 3 % 5).collect()
}

fn widen(network: &Network, params: &Params<f32>) -> Params<f64> {
    let mut wide = Params::zeros(network);
    for (wide, narrow) in wide.buffers_mut().iter_mut().zip(params.buffers()) {
        *wide = narrow.iter().map(|value| f64::from(*value)).collect();
    }
    wide
}

fn trainable(network: &Network) -> impl Fn(TensorId) -> bool + '_ {
    |id| network.tensor(id).role.is_trainable()
}

fn gradient(network: &Network, threads: usize, images: &Images, keep: impl Fn(TensorId) -> bool) -> (f32, Params<f32>) {
    let mut gradients = Params::zeros_where(network, keep);
    gradients.buffers_mut().iter_mut().flatten().for_each(|value| *value = f32::NAN);
    let mut cpu = cpu::Cpu::new(network, threads, Passes::of(usize::MAX)).unwrap();
    let loss = cpu.gradient(&params(network), images, &labels(images.count), &mut gradients).unwrap();
    (loss, gradients)
}

/// The distance between two tensors over the oracle's length.
fn distance(fast: &[f32], oracle: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut fast.iter().zip(oracle).map(|(a, b)| f64::from(*a) - b)) / norm(&mut oracle.iter().copied()).max(1e-9)
}

/// A size at which a kernel reads or writes the wrong pixel.
#[test]
fn logits_agree_on_every_size() {
    for network in networks() {
        let params = params(&network);
        for (count, height, width) in SIZES {
            let images = images(count, height, width);
            let oracle = Candle::<f64>::new(&network, candle_core::Device::Cpu)
                .logits(&widen(&network, &params), &images)
                .unwrap();
            let fast = cpu::Cpu::new(&network, 2, Passes::of(usize::MAX)).unwrap().logits(&params, &images).unwrap();
            let prepared = cpu::PreparedCpu::new(&network, &params, 2).unwrap().logits(&images).unwrap();
            assert!(distance(&fast.values, &oracle.values) < 1e-5, "{count}×{height}×{width}");
            assert_eq!(fast, prepared, "{count}×{height}×{width}");
        }
    }
}

/// A backward kernel that is wrong at an edge, or a tensor's gradient that misses a part.
#[test]
fn every_gradient_agrees_on_every_size() {
    for network in networks() {
        for (count, height, width) in SIZES {
            let images = images(count, height, width);
            let mut expected = Params::zeros_where(&network, trainable(&network));
            let mut candle = Candle::<f64>::new(&network, candle_core::Device::Cpu);
            let wide = widen(&network, &params(&network));
            let oracle = candle.gradient(&wide, &images, &labels(count), &mut expected).unwrap();
            for threads in [1, 2, 3] {
                let (loss, found) = gradient(&network, threads, &images, trainable(&network));
                assert!((f64::from(loss) - oracle).abs() < 1e-5 * oracle.abs());
                for (id, spec) in network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
                    let distance = distance(&found[id], &expected[id]);
                    assert!(
                        distance < 1e-4,
                        "{}: {distance:e} at {count}×{height}×{width}, {threads} threads",
                        spec.name
                    );
                }
            }
        }
    }
}

/// Freezing some tensors changes the gradients of others, whichever prefix or subset is frozen.
#[test]
fn frozen_tensors_leave_the_rest_as_it_was() {
    for network in networks() {
        let images = images(3, 33, 31);
        let (_, all) = gradient(&network, 2, &images, trainable(&network));
        let subsets: [&dyn Fn(TensorId) -> bool; 5] = [
            &|id| network.tensor(id).role.is_head(),
            &|id| network.tensor(id).role == Role::NormShift,
            &|id| network.tensor(id).role == Role::NormScale,
            &|id| network.tensor(id).name.contains(".1.") && network.tensor(id).role == Role::Kernel,
            &|id| {
                [".0.downsample.0.weight", ".2._project_conv.weight"]
                    .iter()
                    .any(|end| network.tensor(id).name.ends_with(end))
            },
        ];
        for keep in subsets {
            let (_, some) = gradient(&network, 2, &images, keep);
            assert!(!some.is_empty() && some.len() < all.len());
            for (id, spec) in network.tensors() {
                let expected: &[f32] = if keep(id) { &all[id] } else { &[] };
                assert_eq!(&some[id], expected, "{}", spec.name);
            }
        }
    }
}

/// Work that is cut by which thread is free, rather than by their number.
#[test]
fn the_same_threads_give_the_same_bits() {
    for network in networks() {
        let images = images(4, 40, 40);
        let first = gradient(&network, 2, &images, trainable(&network));
        for _ in 0..5 {
            assert_eq!(gradient(&network, 2, &images, trainable(&network)), first);
        }
    }
}

/// Buffers of one batch that leak into the next.
#[test]
fn passes_of_different_sizes_dont_disturb_each_other() {
    for network in networks() {
        let params = params(&network);
        let mut cpu = cpu::Cpu::new(&network, 2, Passes::default()).unwrap();
        let small = images(1, 17, 23);
        let fresh = cpu.logits(&params, &small).unwrap();
        let mut gradients = Params::zeros_where(&network, trainable(&network));
        cpu.gradient(&params, &images(4, 40, 40), &labels(4), &mut gradients).unwrap();
        assert_eq!(cpu.logits(&params, &small).unwrap(), fresh);
    }
}

/// An empty batch that divides by zero, or leaves old values in the gradients.
#[test]
fn an_empty_batch_gives_no_rows_and_zero_gradients() {
    for network in networks() {
        let none = Images::zeros(0, 32, 32);
        assert_eq!(
            cpu::Cpu::new(&network, 2, Passes::default()).unwrap().logits(&params(&network), &none).unwrap().rows,
            0
        );
        let (loss, gradients) = gradient(&network, 2, &none, trainable(&network));
        assert_eq!(loss, 0.0);
        assert!(gradients.buffers().iter().flatten().all(|value| *value == 0.0));
    }
}

/// Probabilities that every image's logits are pulled to.
struct Towards(Vec<f64>);

impl<T: Real> Objective<T> for Towards {
    fn check(&self, _: usize, columns: usize) -> Result<(), ExecError> {
        assert_eq!(columns, self.0.len());
        Ok(())
    }

    fn descend(&self, _: usize, logits: &mut [T]) -> f64 {
        let probabilities: Vec<T> = self.0.iter().map(|&probability| T::of(probability)).collect();
        divergence(logits, &probabilities)
    }
}

/// An executor that descends labels whatever it is given, or judges a micro-batch's images by those of another.
#[test]
fn any_objective_is_descended() {
    for network in networks() {
        let images = images(5, 33, 40);
        let classes = network.head.classes;
        let towards =
            Towards((0..classes).map(|class| 2.0 * (class + 1) as f64 / (classes * (classes + 1)) as f64).collect());
        let mut expected = Params::zeros_where(&network, trainable(&network));
        let mut found = Params::zeros_where(&network, trainable(&network));
        let mut candle = Candle::<f64>::new(&network, candle_core::Device::Cpu);
        let oracle = candle.gradient(&widen(&network, &params(&network)), &images, &towards, &mut expected).unwrap();
        let mut cpu = cpu::Cpu::new(&network, 2, Passes::of(2)).unwrap();
        let loss = cpu.gradient(&params(&network), &images, &towards, &mut found).unwrap();
        assert!((f64::from(loss) - oracle).abs() < 1e-5 * oracle, "{loss}, not {oracle}");
        for (id, spec) in network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
            let distance = distance(&found[id], &expected[id]);
            assert!(distance < 1e-4, "{}: {distance:e}", spec.name);
        }
    }
}
