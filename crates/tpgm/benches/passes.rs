//! Benchmark of TPGM's passes over one tensor of 3.4 million values, about as many as EfficientNet-Lite0 has, on one
//! thread, compared with the machine's copy in the same run.
//!
//! `cargo bench -p fieldfit-tpgm --bench passes`
//!
//! GB/s count each byte that a pass must read or write once. Passes alternate between tensors, so that their values are
//! not cached.

#![allow(missing_docs, reason = "criterion's macros")]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fieldfit_tensor::Norm;
use fieldfit_tpgm::{distances, project, radius_gradient};
use std::hint::black_box;

/// Values of a tensor.
const LENGTH: usize = 3_398_400;
/// Values of a MARS row: a depthwise 3×3 and 5×5, and 1×1 kernels that read 240 and 1152 channels.
const SPANS: [usize; 4] = [9, 25, 240, 1152];
/// Number of tensors: more than the last-level cache holds.
const TENSORS: usize = 8;
const BYTES: u64 = (LENGTH * size_of::<f32>()) as u64;

/// Returns values within ±`reach` that are not integers.
fn tensors(reach: f32) -> Vec<Vec<f32>> {
    let value = |i: usize| ((i * 2_654_435_761 % 1999) as f32 / 999.5 - 1.0) * reach;
    (0..TENSORS).map(|tensor| (0..LENGTH).map(|i| value(i + tensor)).collect()).collect()
}

/// Times `pass` on one tensor after the other.
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bytes: u64, mut pass: impl FnMut(usize)) {
    group.throughput(Throughput::BytesDecimal(bytes));
    let mut turns = (0..TENSORS).cycle();
    group.bench_function(name, |b| b.iter(|| turns.by_ref().take(1).for_each(&mut pass)));
}

fn passes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("passes");
    group.sample_size(20);
    let (mut delta, gradient) = (tensors(1e-3), tensors(1e-2));
    bench(&mut group, "copy", 2 * BYTES, |i| delta[i].copy_from_slice(black_box(&gradient[i])));
    delta = tensors(1e-3);

    let mut norms = Vec::new();
    let mut cases = vec![(Norm::L2, "L2".to_owned(), 1)];
    cases.extend(SPANS.map(|span| (Norm::Mars, format!("MARS/{span}"), LENGTH / span)));
    for (norm, name, rows) in cases {
        bench(&mut group, &format!("distances/{name}"), BYTES, |i| distances(norm, &delta[i], rows, &mut norms));
        let distances = norms.clone();
        let least = norms.iter().copied().fold(f32::INFINITY, f32::min);
        bench(&mut group, &format!("radius_gradient/{name}"), 2 * BYTES, |i| {
            black_box(radius_gradient(&gradient[i], &delta[i], &distances, least));
        });
        bench(&mut group, &format!("project/open/{name}"), BYTES, |i| project(norm, &mut delta[i], rows, f32::MAX));
        // Always a little smaller than the last time: every value is written.
        let mut radius = least;
        bench(&mut group, &format!("project/closed/{name}"), 2 * BYTES, |i| {
            radius *= 0.9999;
            project(norm, &mut delta[i], rows, radius);
        });
        delta = tensors(1e-3);
    }
}

criterion_group!(benches, passes);
criterion_main!(benches);
