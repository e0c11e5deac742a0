//! Memory: an hour of frames at 30 a second, in simulated time, takes no more memory at its end than after its start.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{NOW, TestClock, jpeg};
use fieldfit_collect::{Collector, CollectorOptions, Label, Limits, ModelOutput, Origin, Span};
use fieldfit_data::Frame;
use fieldfit_durable::Disk;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts the bytes that are allocated, and the most that were since the peak was last read.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FRAMES: u64 = 108_000;

/// Catches: a buffer, a list of recent images or a log that grows with the length of a drive.
#[test]
fn an_hour_of_frames_takes_flat_memory() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits::NONE.with_bytes(40_000).with_per_class(30);
    let options = CollectorOptions::default().with_limits(limits).with_buffer(Duration::from_secs(10), 100_000);
    let path = folder.path().join("collection");
    let clock = TestClock::at(NOW);
    let collector = Collector::open_on(Arc::new(Disk), &path, options, Box::new(clock.clone())).unwrap();
    let scenes: Vec<Vec<u8>> = (0..200).map(jpeg).collect();
    let mut peaks = Vec::new();
    for frame in 0..FRAMES {
        let scene = &scenes[(frame / 40) as usize % scenes.len()];
        let at = Duration::from_secs_f64(frame as f64 / 30.0);
        collector.observe(&Frame::Encoded(scene), at, ModelOutput::default()).unwrap();
        assert!(collector.buffered_bytes() <= 100_000);
        if frame % 900 == 899 {
            clock.pass(30);
            let class = ["mud", "grass", "gravel"][(frame / 900) as usize % 3];
            collector.label(Span::Last(Duration::from_secs(5)), &Label::new(class, Origin::Operator)).unwrap();
        }
        if frame % (FRAMES / 8) == FRAMES / 8 - 1 {
            peaks.push(PEAK.swap(LIVE.load(Ordering::Relaxed), Ordering::Relaxed));
        }
    }
    // The second eighth has filled the buffer, the collection and the lists of recent images.
    let allowed = peaks[1] + peaks[1] / 10;
    assert!(peaks[2..].iter().all(|peak| *peak <= allowed), "{peaks:?}");
    let statistics = collector.statistics();
    assert!(statistics.bytes <= limits.bytes && statistics.images > 20, "{statistics:?}");
}
