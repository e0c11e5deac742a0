//! Benchmark of a training step's passes over parameters, without the network: EfficientNet-Lite0's 3.4 million, the
//! base in f16, on one thread, beside the machine's own copy in the same run.
//!
//! `cargo bench -p fieldfit-adapt --bench parameters`
//!
//! GB/s count each byte that a pass must read or write once. No pass finds its values in a cache: each takes another
//! run's than the last.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark: criterion's macros, and panics that end it")]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fieldfit_adapt::{
    HeadParams, HostParams, Optimiser, OptimiserOptions, TensorRadii, TrainingState, clip_global_norm,
};
use fieldfit_exec::{ExecError, Executor, Objective};
use fieldfit_model::Base;
use fieldfit_nets::{Network, Shape};
use fieldfit_tensor::{Images, Matrix, Norm, Params};
use fieldfit_tpgm::RadiusAdam;
use std::hint::black_box;
use std::path::Path;

const CLASSES: usize = 7;
/// Runs in turn: their parameters are more than the last-level cache holds.
const RUNS: usize = 3;

/// A network whose gradients are there already.
struct Still(Network);

impl Executor<f32> for Still {
    fn network(&self) -> &Network {
        &self.0
    }

    fn features(&mut self, _: &Params<f32>, _: &Images) -> Result<Matrix<f32>, ExecError> {
        Ok(Matrix::default())
    }

    fn logits(&mut self, _: &Params<f32>, _: &Images) -> Result<Matrix<f32>, ExecError> {
        Ok(Matrix::default())
    }

    fn gradient(
        &mut self,
        params: &Params<f32>,
        _: &Images,
        _: &dyn Objective<f32>,
        gradients: &mut Params<f32>,
    ) -> Result<f32, ExecError> {
        black_box((params, gradients));
        Ok(0.0)
    }

    fn trace(&mut self, _: &Params<f32>, _: &Images, _: &mut dyn FnMut(&str, Shape, &[f32])) -> Result<(), ExecError> {
        Ok(())
    }
}

struct Run<'a> {
    state: TrainingState<'a, f32>,
    weights: Params<f32>,
    gradients: Params<f32>,
    sgd: Optimiser<f32>,
    adamw: Optimiser<f32>,
    radii: TensorRadii<f32>,
}

impl<'a> Run<'a> {
    fn new(base: &'a Base, norm: Norm) -> Self {
        let network = base.network().with_classes(CLASSES);
        let head = HeadParams { weight: vec![0.01; CLASSES * network.head.features], bias: vec![0.0; CLASSES] };
        let trains = |id| network.tensor(id).role.is_trainable();
        let mut state = TrainingState::new(base, network.clone(), head, trains);
        let wave = |reach: f32| move |i: usize| ((i * 2_654_435_761 % 1999) as f32 / 999.5 - 1.0) * reach;
        let mut gradients = state.delta.clone();
        fill(&mut gradients, wave(1e-2));
        fill(&mut state.delta, wave(1e-3));
        let constrained = |id| trains(id) && !network.tensor(id).role.is_head();
        Self {
            weights: state.weights(),
            sgd: Optimiser::new(OptimiserOptions::sgd(), &network, &state.delta),
            adamw: Optimiser::new(OptimiserOptions::adamw(), &network, &state.delta),
            radii: TensorRadii::new(
                &network,
                norm,
                RadiusAdam { learning_rate: 1e-4, ..RadiusAdam::default() },
                constrained,
            ),
            gradients,
            state,
        }
    }

    fn radius_step(&mut self, executor: &mut Still) {
        let images = Images::zeros(0, 1, 1);
        let Self { state, radii, weights, gradients, .. } = self;
        radii.radius_step(&mut HostParams { state, executor, weights, gradients }, &images, &Vec::new()).unwrap();
    }

    fn project(&mut self, executor: &mut Still) {
        let Self { state, radii, weights, gradients, .. } = self;
        radii.project(&mut HostParams { state, executor, weights, gradients }).unwrap();
    }
}

fn fill(params: &mut Params<f32>, value: impl Fn(usize) -> f32) {
    params.buffers_mut().iter_mut().flatten().enumerate().for_each(|(i, out)| *out = value(i));
}

/// Times `pass` on one run after the other. It must move `bytes` for each parameter.
fn bench<R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runs: &mut [R],
    (name, bytes): (&str, usize),
    parameters: usize,
    mut pass: impl FnMut(&mut R),
) {
    group.throughput(Throughput::BytesDecimal((bytes * parameters) as u64));
    let mut turn = 0;
    group.bench_function(name, |b| {
        b.iter(|| {
            pass(&mut runs[turn]);
            turn = (turn + 1) % RUNS;
        });
    });
}

fn passes(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/efficientnet-lite0");
    let bases: [_; RUNS] = std::array::from_fn(|_| Base::open_copied(&folder).unwrap());
    let mut group = criterion.benchmark_group("parameters");
    group.sample_size(20);
    for norm in [Norm::L2, Norm::Mars] {
        let mut runs: Vec<_> = bases.iter().map(|base| Run::new(base, norm)).collect();
        let count = runs[0].state.delta.len();
        let runs = runs.as_mut_slice();
        if norm == Norm::L2 {
            let mut copies: [_; RUNS] = std::array::from_fn(|_| (vec![1.0_f32; count], vec![0.0_f32; count]));
            bench(&mut group, &mut copies, ("copy", 8), count, |(from, to)| to.copy_from_slice(black_box(from)));
            bench(&mut group, runs, ("merge", 10), count, |run| run.state.merge_into(&mut run.weights));
            bench(&mut group, runs, ("norm", 4), count, |run| {
                black_box(clip_global_norm(&run.gradients, None));
            });
            bench(&mut group, runs, ("sgd without decay", 20), count, |run| {
                run.sgd.step(&mut run.state.delta, &run.weights, &run.gradients, 1e-6);
            });
            bench(&mut group, runs, ("adamw without decay", 28), count, |run| {
                run.adamw.step(&mut run.state.delta, &run.weights, &run.gradients, 1e-6);
            });
        }
        let mut still = Still(runs[0].state.network().clone());
        // Once for θ0 + r·δ, reading θ0 and δ and writing θ, and once for the radii's gradients.
        bench(&mut group, runs, (&format!("{norm:?}/radius step"), 18), count, |run| run.radius_step(&mut still));
        bench(&mut group, runs, (&format!("{norm:?}/projection"), 8), count, |run| run.project(&mut still));
    }
}

criterion_group!(benches, passes);
criterion_main!(benches);
