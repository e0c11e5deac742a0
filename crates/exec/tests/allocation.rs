//! Heap allocations of inference: a frame must not allocate, since an allocation can delay it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use fieldfit_exec::{Prepared, cpu::PreparedCpu};
use fieldfit_nets::by_name;
use fieldfit_tensor::{Images, Params};
use fieldfit_tests::allocation::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Batches measured, each twice.
const FRAMES: usize = 120;
/// Allocations that are not the frames' own: the thread pool's queue allocates a block for every 63 jobs, and a thread
/// that runs its first part of a kernel, on a busy machine long after the first frame, allocates its scratch memory.
const OTHERS: usize = 2 * FRAMES / 63 + 16;

/// Catches: a kernel, a schedule or a buffer that is allocated for each frame, also where single frames and batches alternate.
#[test]
fn a_frame_allocates_nothing() {
    for (architecture, side) in [("efficientnet-lite0", 96), ("vit-micro", 24)] {
        let network = by_name(architecture).unwrap();
        let prepared = PreparedCpu::new(&network, &Params::zeros(&network), 2).unwrap();
        let (image, batch) = (Images::zeros(1, side, side), Images::zeros(3, side, side));
        let (mut logits, mut features) = (Vec::new(), Vec::new());
        let mut compute = |frame: usize| {
            let images = if frame.is_multiple_of(3) { &batch } else { &image };
            prepared.logits_into(images, &mut logits).unwrap();
            prepared.features_into(images, &mut features).unwrap();
        };
        (0..3).for_each(&mut compute);
        let before = ALLOCATOR.allocations();
        (0..FRAMES).for_each(&mut compute);
        let allocations = ALLOCATOR.allocations() - before;
        assert!(allocations <= OTHERS, "{architecture}: {allocations} allocations over {FRAMES} frames");
    }
}
