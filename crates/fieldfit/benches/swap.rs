//! Benchmark of frames beside swaps: thirty a second of Lite0 at 224 px, while another thread activates a version,
//! rolls it back and is refused a poisoned one, a call a second; without an adaptation beside it, and with one.
//!
//! `cargo bench -p fieldfit --bench swap`, on one thread; on two: `-- 2`.
//!
//! A frame is late if it is answered after the next one was due. A swap falls on the frames between whose being due and being
//! answered any of its call lies: reading, preparing and checking the version are part of it.

#![allow(clippy::unwrap_used, reason = "a benchmark: a panic ends it")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::train::{AdaptError, Control, Event, Options};
use fieldfit::{Device, Error, Frame, Runtime, Version};
use fieldfit_tests::deltas;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const FRAMES: u32 = 750;
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
const BETWEEN_CALLS: Duration = Duration::from_secs(1);

fn main() {
    let threads = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (folder, model) = (tempfile::tempdir().unwrap(), repository.join("models/efficientnet-lite0"));
    let runtime = Runtime::builder(model).device(Device::Cpu { threads }).store_or_new(folder.path());
    let runtime = runtime.without_trials().open().unwrap();
    let images = Dataset::open(&repository.join("tests/data/emoji/google"), &FolderOptions::default()).unwrap();
    let camera = std::fs::read(images.samples[0].image.path().unwrap()).unwrap();
    fill(&runtime, &images);
    println!("{FRAMES} frames a turn, inference on {threads} thread(s)");
    report("without adaptation", &turn(&runtime, &camera));
    report("beside an adaptation", &beside_adaptation(&runtime, &images, || turn(&runtime, &camera)));
}

/// Two versions that are confirmed, the first of them active, and a poisoned one.
fn fill(runtime: &Runtime, images: &Dataset) {
    let options = Options::default().with_method("linear-probe").with_size(Some(224)).with_epochs(1);
    assert!(runtime.adapt(images, &options).unwrap().active, "the probe beats the base");
    let store = runtime.store().unwrap();
    store.add(&store.read(1).unwrap()).unwrap();
    [2, 1].iter().for_each(|&version| {
        runtime.activate(version).unwrap();
        runtime.confirm().unwrap();
    });
    store.add(&deltas::poisoned(runtime.base().id().0)).unwrap();
}

/// Calls `measure` while an adaptation trains, one thread of it at the boards' niceness.
fn beside_adaptation(runtime: &Runtime, images: &Dataset, measure: impl FnOnce() -> Turn) -> Turn {
    let (control, trains) = (Control::new(), AtomicBool::new(false));
    let device = Device::Cpu { threads: 1 };
    let options = Options::default().with_size(Some(96)).with_epochs(10_000).with_nice(19).with_device(device);
    let listen = |event| {
        if let Event::Step { .. } = event {
            trains.store(true, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let run = scope.spawn(|| runtime.adaptation(images).options(options).control(&control).on_event(listen).run());
        while !trains.load(Ordering::Relaxed) && !run.is_finished() {
            thread::sleep(INTERVAL);
        }
        let measured = measure();
        control.stop();
        assert!(matches!(run.join().unwrap(), Err(Error::Adapt(AdaptError::Interrupted { .. }))), "it ran throughout");
        measured
    })
}

/// What was measured of some seconds of frames.
struct Turn {
    frames: Vec<Shot>,
    /// From the call to its return.
    swaps: Vec<Range<Instant>>,
}

struct Shot {
    due: Instant,
    begun: Instant,
    answered: Instant,
}

impl Shot {
    fn is_late(&self) -> bool {
        self.answered > self.due + INTERVAL
    }

    fn is_met_by(&self, swap: &Range<Instant>) -> bool {
        swap.start < self.answered && self.due < swap.end
    }
}

fn turn(runtime: &Runtime, camera: &[u8]) -> Turn {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let swaps = scope.spawn(|| swap(runtime, &is_over));
        let start = Instant::now();
        let frames = (0..FRAMES).map(|number| frame(runtime, camera, start + number * INTERVAL)).collect();
        is_over.store(true, Ordering::Relaxed);
        Turn { frames, swaps: swaps.join().unwrap() }
    })
}

/// Answers the frame that is due then, or as soon as the one before it is answered.
fn frame(runtime: &Runtime, camera: &[u8], due: Instant) -> Shot {
    thread::sleep(due.saturating_duration_since(Instant::now()));
    let begun = Instant::now();
    runtime.infer(&Frame::Encoded(camera)).unwrap();
    Shot { due, begun, answered: Instant::now() }
}

/// Activates, rolls back and is refused in turn, until the frames are over.
fn swap(runtime: &Runtime, is_over: &AtomicBool) -> Vec<Range<Instant>> {
    let calls: [&dyn Fn(); 3] =
        [&|| runtime.activate(2).unwrap(), &|| assert_eq!(runtime.rollback().unwrap(), Version::Stored(1)), &|| {
            assert!(runtime.activate(3).is_err(), "the poisoned version runs")
        }];
    let turns = calls.iter().cycle().map(|call| {
        thread::sleep(BETWEEN_CALLS);
        let called = Instant::now();
        call();
        called..Instant::now()
    });
    turns.take_while(|_| !is_over.load(Ordering::Relaxed)).collect()
}

fn report(name: &str, Turn { frames, swaps }: &Turn) {
    let is_at_swap = |shot: &&Shot| swaps.iter().any(|swap| shot.is_met_by(swap));
    let (at_swaps, others): (Vec<&Shot>, Vec<&Shot>) = frames.iter().partition(is_at_swap);
    let late = |shots: &[&Shot]| shots.iter().filter(|shot| shot.is_late()).count();
    let pauses = frames.windows(2).filter(|pair| is_at_swap(&&pair[1])).map(|pair| pair[1].answered - pair[0].answered);
    let mut times: Vec<Duration> = frames.iter().map(|shot| shot.answered - shot.begun).collect();
    times.sort_unstable();
    println!("{name}: {} frames, {} swaps (a third of them refused)", frames.len(), swaps.len());
    println!(
        "  late: {} of {} frames at a swap, {} of the other {}",
        late(&at_swaps),
        at_swaps.len(),
        late(&others),
        others.len()
    );
    println!("  longest from one answer to the next at a swap: {:.1?}", pauses.max().unwrap_or_default());
    println!("  median frame: {:.2?}", times[times.len() / 2]);
}
