//! Transformers on the CPU kernels: agreement with the f64 reference on odd numbers of tokens, unchanged gradients
//! under micro-batches and recomputation, the planned footprint, and split networks.

#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

mod common;

use common::{distance, images, labels, params, widen};
use fieldfit_exec::memory::{self, BatchSize};
use fieldfit_exec::{Executor, Passes, Prepared, candle::Candle, cpu};
use fieldfit_nets::{Network, Role, by_name};
use fieldfit_tensor::{Images, Params, TensorId};

/// Batch sizes: one patch; the grid of the checkpoint's positions; fewer, more, and non-square patches; more tokens
/// than one block of queries.
const SIZES: [(usize, usize, usize); 7] =
    [(1, 4, 4), (1, 20, 20), (2, 12, 8), (3, 24, 16), (5, 8, 28), (2, 36, 36), (1, 4, 44)];

fn network() -> Network {
    by_name("vit-micro").unwrap().with_classes(5)
}

/// Computes the gradients on [`network`].
fn gradient(
    threads: usize,
    passes: Passes,
    images: &Images,
    trains: impl Fn(TensorId) -> bool,
) -> (f32, Params<f32>, cpu::Cpu) {
    common::gradient(&network(), threads, passes, images, trains)
}

type Subset = (&'static str, Box<dyn Fn(TensorId) -> bool>);

/// Returns sets of trained tensors, from all to none: each skips other tasks, buffers and prefixes of the network.
fn subsets() -> Vec<Subset> {
    let named = |name: &'static str| -> Subset {
        let network = network();
        (name, Box::new(move |id| network.tensor(id).name == name))
    };
    let of = |what: &'static str, holds: fn(Role) -> bool| -> Subset {
        let network = network();
        (what, Box::new(move |id| holds(network.tensor(id).role)))
    };
    vec![
        of("all", Role::is_trainable),
        of("head", Role::is_head),
        of("norms' scales", |role| role == Role::NormScale),
        of("LayerScale", |role| role == Role::LayerScale),
        of("biases", |role| role == Role::Bias),
        of("tokens and positions", |role| matches!(role, Role::Token | Role::Positions)),
        named("blocks.1.attn.proj.weight"),
        named("blocks.1.norm2.bias"),
        named("blocks.0.mlp.fc2.weight"),
        named("blocks.0.attn.qkv.weight"),
        named("patch_embed.proj.weight"),
        named("norm.weight"),
        ("nothing", Box::new(|_| false)),
    ]
}

/// Catches: a number of tokens at which a kernel reads or writes the wrong one, positions of another grid, an extra
/// token.
#[test]
fn logits_agree_on_every_size() {
    let network = network();
    let params = params(&network);
    for (count, height, width) in SIZES {
        let images = images(count, height, width);
        let oracle =
            Candle::<f64>::new(&network, candle_core::Device::Cpu).logits(&widen(&network, &params), &images).unwrap();
        let prepared = cpu::PreparedCpu::new(&network, &params, 2).unwrap().logits(&images).unwrap();
        for threads in [1, 2, 3] {
            let fast = cpu::Cpu::new(&network, threads, Passes::of(usize::MAX)).unwrap().logits(&params, &images);
            let fast = fast.unwrap();
            let distance = distance(&fast.values, &oracle.values);
            assert!(distance < 1e-5, "{count}×{height}×{width}, {threads} threads: {distance:e}");
            assert_eq!(fast, prepared, "{count}×{height}×{width}, {threads} threads");
        }
    }
}

/// Catches: a backward kernel that is wrong at an edge, or a tensor's gradient that misses a part.
#[test]
fn every_gradient_agrees_on_every_size() {
    let network = network();
    for (count, height, width) in SIZES {
        let images = images(count, height, width);
        let mut expected = Params::<f64>::zeros_where(&network, |_| true);
        let mut candle = Candle::<f64>::new(&network, candle_core::Device::Cpu);
        let oracle =
            candle.gradient(&widen(&network, &params(&network)), &images, &labels(count), &mut expected).unwrap();
        for threads in [1, 2, 3] {
            let (loss, found, _) = gradient(threads, Passes::of(usize::MAX), &images, |_| true);
            assert!((f64::from(loss) - oracle).abs() < 1e-5 * oracle.abs());
            for (id, spec) in network.tensors() {
                let distance = distance(&found[id], &expected[id]);
                assert!(distance < 1e-4, "{}: {distance:e} at {count}×{height}×{width}, {threads} threads", spec.name);
            }
        }
    }
}

/// Catches: frozen tensors that change the gradients of others, whichever prefix or subset is frozen.
#[test]
fn frozen_tensors_leave_the_rest_as_it_was() {
    let network = network();
    let images = images(3, 16, 24);
    let (_, all, _) = gradient(2, Passes::of(3), &images, |_| true);
    for (name, trains) in subsets() {
        let (_, some, _) = gradient(2, Passes::of(3), &images, &trains);
        for (id, spec) in network.tensors() {
            assert_eq!(some.contains(id), trains(id), "{name}: {}", spec.name);
            // Without the kernel's gradient, LayerScale's is summed in another buffer and order.
            let apart = |(found, all): (&f32, &f32)| (found - all).abs() > 1e-5 * all.abs().max(1.0);
            assert!(!some[id].iter().zip(&all[id]).any(apart), "{name}: {}", spec.name);
            let same = spec.role == Role::LayerScale || some[id].is_empty() || some[id] == all[id];
            assert!(same, "{name}: {}", spec.name);
        }
    }
}

/// Catches: micro-batches that are skipped or counted twice, and gradients that overwrite those of another micro-batch.
#[test]
fn parts_of_a_batch_give_the_batchs_gradients() {
    let network = network();
    for (name, trains) in subsets() {
        for (count, micro_batch) in [(0, 3), (1, 3), (7, 3), (7, 1)] {
            let images = images(count, 8, 12);
            let (loss, whole, _) = gradient(2, Passes::of(usize::MAX), &images, &trains);
            let (found, parts, _) = gradient(2, Passes::of(micro_batch), &images, &trains);
            assert!((found - loss).abs() <= 1e-6 * loss, "{found} for {loss}");
            for (id, spec) in network.tensors() {
                let largest = whole[id].iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                assert!(count == 0 || largest > 0.0 || !trains(id), "{}: nothing to compare", spec.name);
                let gap = whole[id].iter().zip(&parts[id]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(
                    gap <= 5e-5 * largest,
                    "{name}, {}: {gap:e} of {largest:e}, {micro_batch} of {count}",
                    spec.name
                );
            }
        }
    }
}

/// Catches: an activation that is recomputed from another input, work that is partitioned by which thread is free, and
/// a planned footprint that differs from the allocated one.
#[test]
fn what_is_computed_twice_gives_the_same_bits_in_the_planned_memory() {
    let network = network();
    let images = images(5, 16, 12);
    let size = BatchSize { batch: 5, height: 16, width: 12 };
    for (name, trains) in subsets() {
        let (loss, kept, _) = gradient(2, Passes::of(3), &images, &trains);
        for recomputed in 0..=network.graph.sections.len() + 1 {
            let passes = Passes { micro_batch: 3, recomputed };
            let (again, gradients, cpu) = gradient(2, passes, &images, &trains);
            assert_eq!((again, &gradients), (loss, &kept), "{name}, {recomputed} stages");
            let planned = memory::training(&network, &trains, size, passes, 2).unwrap();
            assert_eq!(cpu.footprint(), planned, "{name}, {recomputed} stages");
        }
    }
}

/// Catches: the same for inference, where a second frame must not allocate more.
#[test]
fn prepared_weights_hold_what_was_planned() {
    let network = network();
    let prepared = cpu::PreparedCpu::new(&network, &params(&network), 2).unwrap();
    for _ in 0..2 {
        prepared.logits(&images(3, 8, 28)).unwrap();
        let planned = memory::inference(&network, BatchSize { batch: 3, height: 8, width: 28 }).unwrap();
        assert_eq!(prepared.footprint(), planned);
    }
}

/// Catches: a shortcut that is lost if it starts at the input, a gradient propagated below the split, tokens taken for
/// pixels.
#[test]
fn a_network_cut_in_two_computes_what_it_computes_whole() {
    let network = network();
    let (params, images) = (params(&network), images(3, 12, 16));
    let stages_of = network.section_of_each_tensor();
    for stages in 1..network.graph.sections.len() {
        let trains = |id: TensorId| stages_of[id.index()] >= stages;
        let (loss, expected, mut whole) = gradient(2, Passes::of(2), &images, trains);
        let make = |network: &Network| cpu::Cpu::new(network, 2, Passes::of(2)).unwrap();
        let features = make(&network.before(stages).unwrap()).features(&params, &images).unwrap();
        let shape = network.section_shapes(12, 16).unwrap()[stages - 1];
        let (height, width, channels) = (shape.height, shape.width, shape.channels);
        let inputs = Images { count: 3, height, width, channels, values: features.values };
        let mut rest = make(&network.after(stages).unwrap());
        let mut found = Params::zeros_where(&network, trains);
        assert_eq!(rest.gradient(&params, &inputs, &labels(3), &mut found).unwrap(), loss, "cut after {stages}");
        assert_eq!(found, expected, "cut after {stages}");
        assert_eq!(rest.logits(&params, &inputs).unwrap(), whole.logits(&params, &images).unwrap());
    }
}

/// Catches: images that are not whole patches, of which a part would be ignored.
#[test]
fn parts_of_patches_are_refused() {
    let network = network();
    let params = params(&network);
    let images = images(1, 8, 10);
    let error = cpu::Cpu::new(&network, 1, Passes::default()).unwrap().logits(&params, &images).unwrap_err();
    assert!(error.to_string().contains("8×10"), "{error}");
    assert!(cpu::PreparedCpu::new(&network, &params, 1).unwrap().logits(&images).is_err());
    assert!(Candle::<f64>::new(&network, candle_core::Device::Cpu).logits(&widen(&network, &params), &images).is_err());
}
