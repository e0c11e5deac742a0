//! Benchmark of int8 inference beside f32: time of a frame of EfficientNet-Lite0, ResNet-18 and DeiT-Ti, and of each of
//! their ops, with its rate in GOP/s. Turns alternate, so that both see the same machine.
//!
//! `cargo bench -p fieldfit-exec --bench int8`

#![allow(clippy::unwrap_used, reason = "a benchmark: a panic ends it")]

mod formula;

use fieldfit_exec::Prepared;
use fieldfit_exec::cpu::{Calibrator, PreparedCpu, int8_coverage, int8_instructions};
use fieldfit_nets::{Network, by_name};
use formula::{image, kind, params};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const THREADS: usize = 2;
const SIDE: usize = 224;
/// Turns of each precision.
const TURNS: usize = 12;
/// Frames of a turn.
const FRAMES: usize = 10;

fn main() {
    println!(
        "{THREADS} threads, {SIDE} px, int8 by {}; medians of {TURNS} turns, least in brackets\n",
        int8_instructions()
    );
    for architecture in ["efficientnet-lite0", "resnet18", "deit-tiny"] {
        compare(&by_name(architecture).unwrap());
    }
}

fn compare(network: &Network) {
    let (params, images) = (params(network), image(SIDE));
    let mut calibrator = Calibrator::new(network, THREADS).unwrap();
    calibrator.add(&params, &images).unwrap();
    let ranges = calibrator.finish().unwrap();
    let start = Instant::now();
    let float = PreparedCpu::new(network, &params, THREADS).unwrap();
    let prepared = start.elapsed();
    let int8 = PreparedCpu::int8(network, &params, &ranges, THREADS).unwrap();
    let quantised = start.elapsed() - prepared;
    let both = [float, int8];
    let mut frames = [Vec::new(), Vec::new()];
    let mut best = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (index, prepared) in both.iter().enumerate() {
            for _ in 0..FRAMES {
                let start = Instant::now();
                prepared.logits(&images).unwrap();
                frames[index].push(start.elapsed());
            }
            let times = prepared.profile(&images).unwrap();
            best[index] = match &best[index][..] {
                [] => times,
                best => best.iter().zip(times).map(|(best, now)| now.min(*best)).collect(),
            };
        }
    }
    let [float, int8] = frames.map(|mut frames| {
        frames.sort_unstable();
        [frames[frames.len() / 2], frames[0]].map(|time| time.as_secs_f64() * 1e3)
    });
    println!("{}: {}", network.architecture, int8_coverage(network, SIDE, SIDE).unwrap());
    println!(
        "  f32 {:.2} ({:.2}) ms, int8 {:.2} ({:.2}) ms: {:.2} times as fast; prepared in {:.1} and {:.1} ms",
        float[0],
        float[1],
        int8[0],
        int8[1],
        float[0] / int8[0],
        prepared.as_secs_f64() * 1e3,
        quantised.as_secs_f64() * 1e3
    );
    by_op(network, &best);
}

/// Prints the least time of each kind of op.
fn by_op(network: &Network, [float, int8]: &[Vec<Duration>; 2]) {
    let shapes = network.shapes(SIDE, SIDE).unwrap();
    let mut rows: BTreeMap<_, (f64, [Duration; 2])> = BTreeMap::new();
    rows.insert((0, "quantise image".to_owned()), (0.0, [float[0], int8[0]]));
    for (index, node) in network.graph.nodes.iter().enumerate() {
        let input = node.inputs.first().map_or(shapes[0], |input| shapes[input.index()]);
        let row = rows.entry((usize::MAX - input.width, kind(&node.op))).or_default();
        row.0 += 2.0 * node.op.multiplications(input, shapes[index + 1]) as f64;
        [float, int8].into_iter().zip(&mut row.1).for_each(|(times, time)| *time += times[index + 1]);
    }
    println!(
        "  {:>5} {:24} {:>8} {:>8} {:>9} {:>8} {:>9} {:>6}",
        "side", "op", "MOP", "f32 ms", "GOP/s", "int8 ms", "GOP/s", "ratio"
    );
    for ((side, kind), (ops, times)) in rows {
        let [float, int8] = times.map(|time| time.as_secs_f64());
        let rate = |seconds: f64| if seconds > 0.0 { ops / seconds / 1e9 } else { 0.0 };
        println!(
            "  {:5} {kind:24} {:8.1} {:8.3} {:9.0} {:8.3} {:9.0} {:6.2}",
            if side == 0 { SIDE } else { usize::MAX - side },
            ops / 1e6,
            float * 1e3,
            rate(float),
            int8 * 1e3,
            rate(int8),
            float / int8.max(1e-9)
        );
    }
    println!();
}
