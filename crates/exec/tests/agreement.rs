//! Agreement of the CPU kernels with the f64 reference on convolutional networks. Guards against a kernel that is
//! correct on round sizes only, a skipped tail of channels, a misplaced shortcut or mask, and a sum that depends on the
//! partition.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may end them")]

mod common;

use common::{distance, images, labels, networks, params, widen};
use fieldfit_exec::{
    ExecError, Executor, Objective, Passes, Prepared, accelerator, candle, candle::Candle, cpu, kl_divergence,
};
use fieldfit_nets::{Network, Role};
use fieldfit_tensor::{Images, Params, Real, TensorId};
use fieldfit_tests::not_run;

const SIZES: [(usize, usize, usize); 6] = [(1, 1, 1), (1, 32, 32), (2, 33, 47), (3, 31, 8), (5, 17, 64), (1, 2, 95)];

fn trainable(network: &Network) -> impl Fn(TensorId) -> bool + '_ {
    |id| network.tensor(id).role.is_trainable()
}

fn gradient(network: &Network, threads: usize, images: &Images, keep: impl Fn(TensorId) -> bool) -> (f32, Params<f32>) {
    let (loss, gradients, _) = common::gradient(network, threads, Passes::of(usize::MAX), images, keep);
    (loss, gradients)
}

/// Catches: a size at which a kernel reads or writes the wrong pixel.
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

/// Catches: a backward kernel that is wrong at an edge, or a tensor's gradient that misses a part.
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

/// Catches: frozen tensors that change the gradients of others, whichever prefix or subset is frozen.
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
        // Of the networks without such names, every third tensor.
        let third: &dyn Fn(TensorId) -> bool = &|id| network.tensor(id).role.is_trainable() && id.index() % 3 == 0;
        let has_some = |keep: &dyn Fn(TensorId) -> bool| network.tensors().any(|(id, _)| keep(id));
        let subsets = subsets.map(|keep| if has_some(keep) { keep } else { third });
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

/// Catches: work that is partitioned by which thread is free, not by their number.
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

/// Catches: buffers of one batch that leak into the next.
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

/// Catches: an empty batch that divides by zero, or leaves old values in the gradients.
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

/// Objective: the divergence of every image's prediction from fixed probabilities.
struct Towards(Vec<f64>);

impl<T: Real> Objective<T> for Towards {
    fn check(&self, _: usize, columns: usize) -> Result<(), ExecError> {
        assert_eq!(columns, self.0.len());
        Ok(())
    }

    fn loss_and_gradient(&self, _: usize, logits: &mut [T]) -> f64 {
        let probabilities: Vec<T> = self.0.iter().map(|&probability| T::of(probability)).collect();
        kl_divergence(logits, &probabilities)
    }
}

/// Catches: an executor that ignores the objective, or passes it the image indices of another micro-batch.
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

/// Compares logits and gradients of the candle executor in f32, on that device, with the f64 reference.
fn candle_agrees(device: &candle_core::Device) {
    for network in networks() {
        let params = params(&network);
        for (count, height, width) in SIZES {
            let images = images(count, height, width);
            let mut exact = Candle::<f64>::new(&network, candle_core::Device::Cpu);
            let mut found = Candle::<f32>::new(&network, device.clone());
            let what = format!("{} at {count}×{height}×{width}", network.architecture);
            let expected = exact.logits(&widen(&network, &params), &images).unwrap();
            assert!(distance(&found.logits(&params, &images).unwrap().values, &expected.values) < 1e-5, "{what}");
            let prepared = candle::PreparedCandle::new(&network, &params, device.clone()).unwrap();
            assert!(distance(&prepared.logits(&images).unwrap().values, &expected.values) < 1e-5, "{what}, prepared");

            let mut expected = Params::zeros_where(&network, trainable(&network));
            let mut gradients = Params::zeros_where(&network, trainable(&network));
            exact.gradient(&widen(&network, &params), &images, &labels(count), &mut expected).unwrap();
            found.gradient(&params, &images, &labels(count), &mut gradients).unwrap();
            for (id, spec) in network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
                let distance = distance(&gradients[id], &expected[id]);
                assert!(distance < 1e-4, "{}: {distance:e}, {what}", spec.name);
            }
        }
    }
}

/// Catches: a composition that is correct in f64 alone: a constant that f32 cannot represent, a sum that loses small
/// terms.
#[test]
fn candle_agrees_in_f32() {
    candle_agrees(&candle_core::Device::Cpu);
}

/// Catches: an op that a device computes differently from candle's CPU backend.
#[test]
fn candle_agrees_on_a_device() {
    match accelerator().and_then(candle::device) {
        Ok(device) => candle_agrees(&device),
        Err(error) => not_run("candle_agrees_on_a_device", &error),
    }
}
