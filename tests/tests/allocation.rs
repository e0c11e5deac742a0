//! Test of the heap allocations of frames, through the whole runtime. The only test here, since it counts what the whole process
//! allocates.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

use fieldfit::{Device, Frame, PixelFormat, Pixels, Runtime};
use fieldfit_data::Preprocessor;
use fieldfit_tests::allocation::CountingAllocator;
use fieldfit_tests::tiny;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Rounds measured.
const ROUNDS: usize = 300;
/// Passes of a round.
const PASSES: usize = 4;
/// Allocations that are not the frames' own: the thread pool's queue allocates a block for every 63 jobs, and a thread
/// that runs its first part of a kernel, on a busy machine long after the first frame, allocates its scratch memory.
const OTHERS: usize = PASSES * ROUNDS / 63 + 16;

/// Catches: a call that allocates for each frame: buffers that the calls do not share, predictions on the heap, workspaces that
/// are made anew where frames and batches alternate. The resampler's coefficients, which its crate allocates for each frame, are
/// counted apart.
#[test]
fn no_call_of_a_frame_allocates_but_the_resampler() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::builder(tiny::base(folder.path(), 1)).device(Device::Cpu { threads: 2 }).open().unwrap();
    let images: Vec<Vec<u8>> = (0..5).map(|image| vec![40 * image; 40 * 32 * 3]).collect();
    let frames: Vec<Frame<'_>> =
        images.iter().map(|data| Frame::Pixels(Pixels::packed(data, PixelFormat::Rgb8, 40, 32))).collect();
    let mut scores = vec![0.0; runtime.labels().len()];
    let mut features = vec![0.0; runtime.embedding_len()];
    let mut predictions = Vec::new();
    let mut round = |round: usize| {
        runtime.infer(&frames[0]).unwrap();
        runtime.scores(&frames[1], &mut scores).unwrap();
        runtime.embed(&frames[2], &mut features).unwrap();
        runtime.infer_batch(&frames[..frames.len() - round % 2], &mut predictions).unwrap();
    };
    let size = runtime.base().preprocessing().size;
    let mut preprocessor = Preprocessor::new(runtime.base().preprocessing(), size, 0.875).unwrap();
    let mut input = vec![0.0; preprocessor.values()];
    // The frames of a round, as `round` takes them.
    let mut preprocess = |round: usize| {
        for frame in [0, 1, 2].into_iter().chain(0..frames.len() - round % 2) {
            preprocessor.prepare(&frames[frame], &mut input).unwrap();
        }
    };
    let resampled = allocations_over_rounds(&mut preprocess);
    let allocated = allocations_over_rounds(&mut round);
    let own = allocated.saturating_sub(resampled);
    assert!(
        own <= OTHERS,
        "{own} allocations over {ROUNDS} rounds of {PASSES} passes, beside {resampled} of the resampler"
    );
}

/// Allocations of so many rounds, once buffers have grown.
fn allocations_over_rounds(round: &mut dyn FnMut(usize)) -> usize {
    (0..3).for_each(&mut *round);
    let before = ALLOCATOR.allocations();
    (0..ROUNDS).for_each(&mut *round);
    ALLOCATOR.allocations() - before
}
