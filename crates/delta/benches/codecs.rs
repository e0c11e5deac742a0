//! Benchmark of writing, verifying and decoding a delta of 3.4 million values, as many as EfficientNet-Lite0 has, on
//! one thread, compared with the machine's copy in the same run. GB/s are of f32 values.
//!
//! `cargo bench -p fieldfit-delta --bench codecs`

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark: criterion's macros, and panics that end it")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fieldfit_delta::{Codec, Delta, HeadDescription, Header, Provenance, Task, TensorData, TensorKind, encode};
use std::hint::black_box;

/// Tensors of a file, about as Lite0's.
const TENSORS: usize = 118;
/// Their shape: a 1×1 kernel's.
const SHAPE: [usize; 2] = [120, 240];
const LENGTH: usize = SHAPE[0] * SHAPE[1];

fn header() -> Header {
    Header {
        base: [7; 32],
        parent: None,
        task: Task::Classification,
        input_size: 128,
        crop: 0.875,
        classes: 2,
        tensors: 0,
        provenance: Provenance::default(),
        head: HeadDescription::default(),
    }
}

fn codecs(criterion: &mut Criterion) {
    let values: Vec<f32> = (0..LENGTH).map(|i| ((i * 2_654_435_761 % 1999) as f32 / 999.5 - 1.0) * 1e-3).collect();
    let names: Vec<_> = (0..TENSORS).map(|tensor| format!("blocks.{tensor}.conv.weight")).collect();
    let mut group = criterion.benchmark_group("codecs");
    group.sample_size(20);
    let from = vec![1.0_f32; TENSORS * LENGTH];
    let mut to = from.clone();
    group.throughput(Throughput::BytesDecimal(2 * size_of_val(from.as_slice()) as u64));
    group.bench_function("copy", |b| b.iter(|| to.copy_from_slice(black_box(&from))));

    group.throughput(Throughput::BytesDecimal(size_of_val(from.as_slice()) as u64));
    for codec in Codec::ALL {
        let tensor = |name| TensorData {
            name,
            shape: &SHAPE,
            kind: TensorKind::Difference,
            constraint: None,
            codec,
            values: &values,
        };
        let tensors: Vec<_> = names.iter().map(|name| tensor(name)).collect();
        let file = encode(&header(), &["cat", "dog"], &tensors).unwrap();
        group.bench_function(format!("encode/{codec:?}"), |b| {
            b.iter(|| encode(&header(), &["cat", "dog"], black_box(&tensors)).unwrap());
        });
        group.bench_function(format!("parse/{codec:?}"), |b| b.iter(|| Delta::parse(black_box(&file)).unwrap()));
        let delta = Delta::parse(&file).unwrap();
        group.bench_function(format!("decode/{codec:?}"), |b| {
            b.iter(|| {
                for (record, out) in delta.records().zip(to.chunks_exact_mut(LENGTH)) {
                    record.decode_into(out).unwrap();
                }
            });
        });
    }
}

criterion_group!(benches, codecs);
criterion_main!(benches);
