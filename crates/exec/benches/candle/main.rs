//! Benchmark of EfficientNet-Lite0's gradient: the CPU kernels, the candle executor, and candle's own convolutions.
//! Each runs in its own process, to measure its peak memory.
//!
//! `cargo bench -p fieldfit-exec --features candle --bench candle`

#![allow(clippy::unwrap_used, reason = "a benchmark: a panic ends it")]

mod convolutions;

use fieldfit_exec::{Executor, Passes, candle::Candle, cpu::Cpu};
use fieldfit_nets::{Network, Role, by_name};
use fieldfit_tensor::{Images, Params};
use std::process::Command;
use std::time::{Duration, Instant};

const THREADS: usize = 2;
const BATCH: usize = 8;
const SIDE: usize = 128;
/// Passes, of which the fastest counts, after a warm-up pass; fewer if they take longer than [`PATIENCE`].
const PASSES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// Inputs of every variant.
struct Work {
    network: Network,
    params: Params<f32>,
    images: Images,
    labels: Vec<u32>,
}

/// Computes the loss and every trainable tensor's gradient.
type Gradient = Box<dyn FnMut(&Work, &mut Params<f32>) -> f32>;

struct Variant {
    name: &'static str,
    open: fn(&Work) -> Gradient,
}

const VARIANTS: &[Variant] = &[
    Variant {
        name: "exec::cpu",
        open: |work| executor(Cpu::new(&work.network, THREADS, Passes::of(usize::MAX)).unwrap()),
    },
    Variant {
        name: "exec::candle: slices and products",
        open: |work| executor(Candle::new(&work.network, candle_core::Device::Cpu)),
    },
    Variant { name: "candle, its own convolutions", open: convolutions::open },
];

fn executor(mut executor: impl Executor<f32> + 'static) -> Gradient {
    Box::new(move |work, gradients| executor.gradient(&work.params, &work.images, &work.labels, gradients).unwrap())
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

/// Measures wall and CPU milliseconds, peak MiB, loss and the gradient's L2 norm; the last two show that all variants
/// agree.
fn measure(variant: &Variant) -> String {
    let work = Work::new();
    let mut gradients = work.gradients();
    let mut gradient = (variant.open)(&work);
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

/// Returns the CPU time of the process, which other processes disturb less than wall time.
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

fn main() {
    if let Ok(index) = std::env::var("FIELDFIT_WAY") {
        println!("{}", measure(&VARIANTS[index.parse::<usize>().unwrap()]));
        return;
    }
    println!("{BATCH} images of {SIDE} px, {THREADS} threads, forward and backward");
    println!("{:34} {:>8} {:>8} {:>8} {:>9} {:>9}", "", "ms", "cpu ms", "MiB", "loss", "‖grad‖");
    for (index, variant) in VARIANTS.iter().enumerate() {
        let child = Command::new(std::env::current_exe().unwrap()).env("FIELDFIT_WAY", index.to_string()).output();
        let output = child.unwrap();
        assert!(output.status.success(), "{}: {}", variant.name, String::from_utf8_lossy(&output.stderr));
        println!("{:34} {}", variant.name, String::from_utf8_lossy(&output.stdout).trim_end());
    }
}
