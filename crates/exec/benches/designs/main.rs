//! The experiment that decided how a training step is computed: EfficientNet-Lite0's gradient three ways over the same
//! kernels, beside two compositions of candle ops. Each design runs in a process of its own, whose peak memory is read.
//!
//! `cargo bench -p fieldfit-exec --features candle --bench designs`

#![allow(clippy::unwrap_used, reason = "a benchmark: a panic ends it")]
#![allow(dead_code, unused_imports, reason = "the kernels are compiled in whole, since the crate keeps them to itself")]

#[path = "../../src/cpu/dense.rs"]
mod dense;
#[path = "../../src/cpu/depthwise.rs"]
mod depthwise;
#[path = "../../src/cpu/finish.rs"]
mod finish;
#[path = "../../src/cpu/fold.rs"]
mod fold;
#[path = "../../src/cpu/head.rs"]
mod head;
#[path = "../../src/cpu/matmul.rs"]
mod matmul;
#[path = "../../src/cpu/plan.rs"]
mod plan;
#[path = "../../src/cpu/pointwise.rs"]
mod pointwise;
#[path = "../../src/cpu/share.rs"]
mod share;
#[path = "../../src/cpu/threads.rs"]
mod threads;

mod convolutions;
mod custom_ops;
mod kernel;
mod tape;

use fieldfit_exec::{ExecError, Executor, Loss, Passes, candle::Candle, cpu::Cpu};
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Network, Role, by_name};
use std::process::Command;
use std::time::{Duration, Instant};

const THREADS: usize = 2;
const BATCH: usize = 8;
const SIDE: usize = 128;
/// Passes of which the fastest counts, after one that warms up; fewer where they take longer than [`PATIENCE`].
const PASSES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// What every design is given.
struct Work {
    network: Network,
    params: Params<f32>,
    images: Images,
    labels: Vec<u32>,
}

/// Computes the loss and every trainable tensor's gradient.
type Gradient = Box<dyn FnMut(&Work, &mut Params<f32>) -> f32>;

struct Design {
    name: &'static str,
    /// What it needs beside the kernels and the description of the network.
    source: &'static [&'static str],
    open: fn(&Work) -> Gradient,
}

const DESIGNS: &[Design] = &[
    Design {
        name: "(a) candle's autograd over our kernels",
        source: &[include_str!("custom_ops.rs"), include_str!("kernel.rs")],
        open: custom_ops::open,
    },
    Design {
        name: "(b) a tape over our kernels",
        source: &[include_str!("tape.rs"), include_str!("kernel.rs")],
        open: tape::open,
    },
    Design {
        name: "(c) the network as data: exec::cpu",
        source: &[
            include_str!("../../src/cpu/forward.rs"),
            include_str!("../../src/cpu/backward.rs"),
            include_str!("../../src/cpu/arena.rs"),
            include_str!("../../src/cpu/schedule.rs"),
            include_str!("../../src/cpu/mod.rs"),
        ],
        open: |work| executor(Cpu::new(&work.network, THREADS, Passes::of(usize::MAX)).unwrap()),
    },
    Design {
        name: "candle, slices and products: exec::candle",
        source: &[include_str!("../../src/candle/graph.rs"), include_str!("../../src/candle/mod.rs")],
        open: |work| executor(Candle::new(&work.network, candle_core::Device::Cpu)),
    },
    Design {
        name: "candle, its own convolutions",
        source: &[include_str!("convolutions.rs")],
        open: convolutions::open,
    },
];

fn executor(mut executor: impl Executor<f32> + 'static) -> Gradient {
    Box::new(move |work, gradients| {
        executor.gradient(&work.params, &work.images, &work.labels, gradients).unwrap().mean
    })
}

impl Work {
    fn new() -> Self {
        let network = by_name("efficientnet-lite0").unwrap().with_classes(7);
        let mut params = Params::zeros(&network);
        for (id, spec) in network.tensors() {
            let fan_in = (spec.len() / spec.rows()).max(1) as f32;
            for (index, value) in params[id].iter_mut().enumerate() {
                *value = match spec.role {
                    Role::NormScale | Role::RunningVariance => 1.0,
                    _ => (((index * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0) / fan_in.sqrt(),
                };
            }
        }
        let mut images = Images::zeros(BATCH, SIDE, SIDE);
        images.values.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.37).sin());
        Self { network, params, images, labels: (0..BATCH as u32).map(|label| label % 7).collect() }
    }

    fn gradients(&self) -> Params<f32> {
        Params::zeros_where(&self.network, |id| self.network.tensor(id).role.is_trainable())
    }
}

/// Milliseconds by the clock and of both cores, MiB at the peak, loss and the gradient's L2 norm: the last two show that all compute the same.
fn measure(design: &Design) -> String {
    let work = Work::new();
    let mut gradients = work.gradients();
    let mut gradient = (design.open)(&work);
    let mut loss = gradient(&work, &mut gradients);
    let mut best = f64::MAX;
    let (began, busy) = (Instant::now(), cpu_milliseconds());
    let mut passes = 0;
    while passes < PASSES && (passes == 0 || began.elapsed() < PATIENCE) {
        passes += 1;
        let start = Instant::now();
        loss = gradient(&work, &mut gradients);
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    let busy = (cpu_milliseconds() - busy) / passes as f64;
    let norm = gradients.buffers().iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    format!("{best:8.0} {busy:8.0} {:8.0} {loss:9.5} {norm:9.5}", peak_mib())
}

/// Time that the process's threads have computed, which other processes disturb less than they do the clock.
fn cpu_milliseconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Lines of code, without blank ones, comments and tests.
fn lines(sources: &[&str]) -> usize {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    sources
        .iter()
        .map(|source| source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().filter(code).count())
        .sum()
}

fn main() {
    if let Ok(index) = std::env::var("FIELDFIT_DESIGN") {
        println!("{}", measure(&DESIGNS[index.parse::<usize>().unwrap()]));
        return;
    }
    println!("{BATCH} images of {SIDE} px, {THREADS} threads, forward and backward");
    println!("{:42} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6}", "design", "ms", "cpu ms", "MiB", "loss", "‖grad‖", "lines");
    for (index, design) in DESIGNS.iter().enumerate() {
        let child = Command::new(std::env::current_exe().unwrap()).env("FIELDFIT_DESIGN", index.to_string()).output();
        let output = child.unwrap();
        assert!(output.status.success(), "{}: {}", design.name, String::from_utf8_lossy(&output.stderr));
        let figures = String::from_utf8_lossy(&output.stdout);
        println!("{:42} {} {:6}", design.name, figures.trim_end(), lines(design.source));
    }
}
