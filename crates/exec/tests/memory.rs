//! Memory: micro-batches and recomputation leave the gradients unchanged, and the planned footprint is the allocated
//! one.

#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

mod common;

use common::{images, networks, params};
use fieldfit_exec::memory::{self, BatchSize, Footprint};
use fieldfit_exec::{ExecError, Passes, Prepared, cpu};
use fieldfit_nets::{Network, Role, by_name};
use fieldfit_tensor::{Params, TensorId};

const THREADS: usize = 2;

/// Kernels inside a residual block.
const INSIDE: [&str; 2] = ["_blocks.2._project_conv.weight", "layer2.0.conv2.weight"];

type Subset<'a> = Box<dyn Fn(TensorId) -> bool + 'a>;

/// Returns sets of trained tensors, from all to none: each skips other tasks, buffers and prefixes of the network.
fn subsets(network: &Network) -> Vec<(&'static str, Subset<'_>)> {
    let spec = move |id| network.tensor(id);
    vec![
        ("all", Box::new(move |id| spec(id).role.is_trainable())),
        ("head", Box::new(move |id| spec(id).role.is_head())),
        ("shifts", Box::new(move |id| spec(id).role == Role::NormShift)),
        ("inside a block", Box::new(move |id| INSIDE.contains(&spec(id).name.as_str()))),
        ("a projection", Box::new(move |id| spec(id).name == "layer2.0.downsample.0.weight")),
        ("nothing", Box::new(|_| false)),
    ]
}

fn gradient(
    network: &Network,
    passes: Passes,
    count: usize,
    trains: impl Fn(TensorId) -> bool,
) -> (f32, Params<f32>, Footprint) {
    let (loss, gradients, cpu) = common::gradient(network, THREADS, passes, &images(count, 33, 26), trains);
    (loss, gradients, cpu.footprint())
}

/// Catches: micro-batches that are skipped or counted twice, a mean over a micro-batch instead of the batch, and
/// gradients that overwrite those of another micro-batch. Batches are multiples of the micro-batch, others, smaller
/// ones and empty ones.
#[test]
fn parts_of_a_batch_give_the_batchs_gradients() {
    for network in networks() {
        for (name, trains) in subsets(&network) {
            for (count, micro_batch) in [(0, 3), (1, 1), (1, 3), (6, 3), (7, 3), (7, 1)] {
                let (loss, whole, _) = gradient(&network, Passes::of(usize::MAX), count, &trains);
                let (found, parts, _) = gradient(&network, Passes::of(micro_batch), count, &trains);
                assert!((found - loss).abs() <= 1e-6 * loss, "{found} for {loss}");
                for (id, spec) in network.tensors() {
                    assert_eq!(parts.contains(id), trains(id));
                    let largest = whole[id].iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                    assert!(count == 0 || largest > 0.0 || !trains(id), "{}: nothing to compare", spec.name);
                    let gap = whole[id].iter().zip(&parts[id]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(
                        gap <= 2e-5 * largest,
                        "{name}, {}: {gap:e} of {largest:e}, {micro_batch} of {count}",
                        spec.name
                    );
                }
            }
        }
    }
}

/// Catches: an activation that is recomputed from another input, or overwritten before its backward step.
#[test]
fn what_is_computed_twice_gives_the_same_bits() {
    for network in networks() {
        for (name, trains) in subsets(&network) {
            let (loss, kept, _) = gradient(&network, Passes::of(3), 7, &trains);
            for recomputed in 1..=network.graph.sections.len() + 1 {
                let (again, gradients, _) = gradient(&network, Passes { micro_batch: 3, recomputed }, 7, &trains);
                assert_eq!((again, &gradients), (loss, &kept), "{name}, {recomputed} stages");
            }
        }
    }
}

/// Catches: work that is partitioned by which thread is free, across micro-batches or within one.
#[test]
fn the_same_passes_give_the_same_bits() {
    for network in networks() {
        let passes = Passes { micro_batch: 2, recomputed: 2 };
        let trains = |id| network.tensor(id).role.is_trainable();
        let (loss, gradients, _) = gradient(&network, passes, 5, trains);
        for _ in 0..3 {
            let (again, same, _) = gradient(&network, passes, 5, trains);
            assert_eq!((again, same), (loss, gradients.clone()));
        }
    }
}

/// Catches: a planned footprint that differs from the allocated one, in either direction.
#[test]
fn the_executor_holds_what_was_planned() {
    for network in networks() {
        for (name, trains) in subsets(&network) {
            for (count, passes) in [
                (5, Passes::of(usize::MAX)),
                (5, Passes::of(2)),
                (1, Passes::of(4)),
                (5, Passes { micro_batch: 2, recomputed: 99 }),
            ] {
                let size = BatchSize { batch: count, height: 33, width: 26 };
                let planned = memory::training(&network, &trains, size, passes, THREADS).unwrap();
                let (_, _, held) = gradient(&network, passes, count, &trains);
                assert_eq!(held, planned, "{name}, {count} images, {passes}");
            }
        }
    }
}

/// Catches: the same for inference, where a second frame must not allocate more.
#[test]
fn prepared_weights_hold_what_was_planned() {
    for network in networks() {
        let prepared = cpu::PreparedCpu::new(&network, &params(&network), THREADS).unwrap();
        for _ in 0..2 {
            prepared.logits(&images(3, 33, 26)).unwrap();
            let planned = memory::inference(&network, BatchSize { batch: 3, height: 33, width: 26 }).unwrap();
            assert_eq!(prepared.footprint(), planned);
        }
    }
}

/// Catches: options that save no memory, on EfficientNet-Lite0 at its native size.
#[test]
fn each_way_to_save_memory_saves_some() {
    let network = by_name("efficientnet-lite0").unwrap();
    let trains = |id| network.tensor(id).role.is_trainable();
    let activations = |passes: Passes| {
        let size = BatchSize { batch: 16, height: 224, width: 224 };
        memory::training(&network, trains, size, passes, THREADS).unwrap().activations
    };
    let (whole, four) = (activations(Passes::of(16)), activations(Passes::of(4)));
    // Everything but the gradients of kernels is a quarter.
    assert!(2 * whole > 7 * four, "{four} for a quarter of {whole}");
    let recomputed: Vec<usize> = (0..=network.graph.sections.len())
        .map(|recomputed| activations(Passes { micro_batch: 4, recomputed }))
        .collect();
    assert!(recomputed.is_sorted_by(|a, b| a >= b), "{recomputed:?}");
    assert!(2 * recomputed[network.graph.sections.len()] < four, "{recomputed:?}");
}

/// Catches: a micro-batch of 0 images, which would not terminate or divide by zero.
#[test]
fn no_images_at_once_are_refused() {
    let refused = cpu::Cpu::new(&networks()[0], THREADS, Passes::of(0));
    assert!(matches!(refused.err(), Some(ExecError::MicroBatch)));
}
