//! A frame that allocates is a frame that may come late.

use fieldfit_exec::{Prepared, cpu::PreparedCpu};
use fieldfit_model::{Images, Params};
use fieldfit_nets::by_name;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is asked of the system's allocator, by any thread.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A kernel, a schedule or a buffer that is made anew for each frame. Ten frames, since the queue by which a frame enters
/// the pool of threads takes a block of memory every 63.
#[test]
fn a_frame_allocates_nothing() {
    let network = by_name("efficientnet-lite0").unwrap();
    let prepared = PreparedCpu::new(&network, &Params::zeros(&network), 2).unwrap();
    let (images, mut logits) = (Images::zeros(1, 96, 96), Vec::new());
    for _ in 0..3 {
        prepared.logits_into(&images, &mut logits).unwrap();
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..10 {
        prepared.logits_into(&images, &mut logits).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations over 10 frames");
}
