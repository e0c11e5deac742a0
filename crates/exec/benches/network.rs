//! Benchmark of inference and training passes of EfficientNet-Lite0 on two threads, and of the machine's matrix product
//! in the same run.
//!
//! `cargo bench -p fieldfit-exec --bench network`

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark: criterion's macros, and panics that end it")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fieldfit_exec::{Executor, Passes, Prepared, cpu};
use fieldfit_nets::{Network, Role, by_name};
use fieldfit_tensor::{Images, Params};
use std::hint::black_box;

const THREADS: usize = 2;

/// Returns parameters that keep activations within ReLU6's range.
fn params(network: &Network) -> Params<f32> {
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let fan_in = (spec.len() / spec.rows()).max(1) as f32;
        let wave = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        for (i, value) in params[id].iter_mut().enumerate() {
            *value = match spec.role {
                Role::NormScale | Role::RunningVariance => 1.0,
                _ => wave(i) / fan_in.sqrt(),
            };
        }
    }
    params
}

fn images(count: usize, side: usize) -> Images {
    let mut images = Images::zeros(count, side, side);
    images.values.iter_mut().enumerate().for_each(|(i, value)| *value = ((i % 255) as f32 - 127.0) / 128.0);
    images
}

fn inference(criterion: &mut Criterion) {
    let network = by_name("efficientnet-lite0").unwrap();
    let prepared = cpu::PreparedCpu::new(&network, &params(&network), THREADS).unwrap();
    let images = images(1, 224);
    criterion.bench_function("inference/1x224", |b| b.iter(|| prepared.logits(black_box(&images)).unwrap()));
}

fn training(criterion: &mut Criterion) {
    let network = by_name("efficientnet-lite0").unwrap().with_classes(7);
    let params = params(&network);
    let mut cpu = cpu::Cpu::new(&network, THREADS, Passes::default()).unwrap();
    let labels: Vec<u32> = (0..16).map(|i| i % 7).collect();
    let mut gradients = Params::zeros_where(&network, |id| network.tensor(id).role.is_trainable());
    let mut group = criterion.benchmark_group("gradient");
    group.sample_size(10);
    for side in [128, 224] {
        let images = images(16, side);
        group.bench_function(format!("16x{side}"), |b| {
            b.iter(|| cpu.gradient(&params, black_box(&images), &labels, &mut gradients).unwrap());
        });
    }
}

fn machine(criterion: &mut Criterion) {
    let side = 1024;
    let operand = vec![1.0f32; side * side];
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(2 * (side * side * side) as u64));
    group.sample_size(10);
    group.bench_function("gemm/1024", |b| {
        b.iter_batched_ref(
            || vec![0.0f32; side * side],
            |out| {
                let (s, a) = (side as isize, operand.as_ptr());
                // SAFETY: all three are square matrices of that side, stored row by row.
                unsafe {
                    gemm::gemm(
                        side,
                        side,
                        side,
                        out.as_mut_ptr(),
                        1,
                        s,
                        false,
                        a,
                        1,
                        s,
                        a,
                        1,
                        s,
                        1.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::Rayon(THREADS),
                    );
                }
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, machine, inference, training);
criterion_main!(benches);
