//! Benchmark of frames beside an adaptation in the same process, against frames alone: the median and the 95th and 99th
//! percentile of inference on one thread at thirty frames a second.
//!
//! `cargo bench -p fieldfit --bench duty`, or with the niceness to try: `-- 10`.
//!
//! One adaptation runs throughout, on one thread and at the niceness that the boards' profiles have; turns with it paused
//! and with it running alternate, so that what else the machine does meets both.

#![allow(clippy::unwrap_used, reason = "a benchmark: a panic ends it")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::train::{AdaptError, Control, Options};
use fieldfit::{Device, Error, Frame, Runtime};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const TURNS: usize = 6;
const FRAMES: usize = 150;
const INTERVAL: Duration = Duration::from_millis(33);
/// A pause is obeyed within a step; more than a step's time at 96 px.
const STEP: Duration = Duration::from_millis(1500);

fn main() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let model = repository.join("models/efficientnet-lite0");
    let runtime = Runtime::builder(model).device(Device::Cpu { threads: 1 }).store_or_new(folder.path());
    let runtime = runtime.open().unwrap();
    let images = Dataset::open(&repository.join("tests/data/emoji/google"), &FolderOptions::default()).unwrap();
    let camera = std::fs::read(images.samples[0].image.path().unwrap()).unwrap();
    let asked: Vec<u8> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for nice in if asked.is_empty() { vec![0, 10, 19] } else { asked } {
        let [alone, beside] = measure(&runtime, &images, &camera, nice);
        println!("niceness {nice}: {FRAMES} frames a turn, {TURNS} turns each");
        for share in [0.5, 0.95, 0.99] {
            let (alone, beside) = (percentile(&alone, share), percentile(&beside, share));
            let ratio = beside / alone;
            println!("  p{:<2.0} alone {alone:6.2} ms, beside {beside:6.2} ms, ratio {ratio:.2}", 100.0 * share);
        }
    }
}

/// Milliseconds of each frame, with the adaptation paused and with it running.
fn measure(runtime: &Runtime, images: &Dataset, camera: &[u8], nice: u8) -> [Vec<f64>; 2] {
    let control = Control::new();
    let options = Options::default()
        .with_size(Some(96))
        .with_epochs(10_000)
        .with_device(Device::Cpu { threads: 1 })
        .with_nice(nice);
    thread::scope(|scope| {
        let run = scope.spawn(|| runtime.adaptation(images).options(options).control(&control).run());
        // Past the linear probe.
        thread::sleep(10 * STEP);
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..2 * TURNS {
            if turn % 2 == 0 {
                control.pause()
            } else {
                control.resume()
            }
            thread::sleep(STEP);
            times[turn % 2].extend((0..FRAMES).map(|_| frame(runtime, camera)));
        }
        control.stop();
        assert!(matches!(run.join().unwrap(), Err(Error::Adapt(AdaptError::Interrupted { .. }))), "it ran throughout");
        times
    })
}

/// Milliseconds that one frame takes, then the rest of its interval.
fn frame(runtime: &Runtime, camera: &[u8]) -> f64 {
    let started = Instant::now();
    runtime.infer(&Frame::Encoded(camera)).unwrap();
    let took = started.elapsed();
    thread::sleep(INTERVAL.saturating_sub(took));
    took.as_secs_f64() * 1e3
}

fn percentile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
