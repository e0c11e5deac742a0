//! Counting allocator: counts what the whole process asks of the heap.
//!
//! A test program installs it with `#[global_allocator]`, and has one test, so that no other allocates beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// System allocator that counts the allocations of all threads, and their bytes.
#[derive(Debug)]
pub struct CountingAllocator {
    allocations: AtomicUsize,
    bytes: AtomicUsize,
}

impl CountingAllocator {
    /// Creates an allocator that has counted nothing.
    #[allow(clippy::new_without_default, reason = "a static is made by `new`")]
    pub const fn new() -> Self {
        Self { allocations: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Returns the number of allocations so far.
    pub fn allocations(&self) -> usize {
        self.allocations.load(Ordering::Relaxed)
    }

    /// Returns the bytes asked for so far, freed or not.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
