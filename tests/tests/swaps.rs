//! Test of memory over a thousand swaps: guards against weights that stay after they were replaced. The only test
//! here, since it counts what the whole process has allocated.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

use fieldfit::delta::Codec;
use fieldfit::train::Norm;
use fieldfit::{Device, Frame, PixelFormat, Pixels, Runtime, Version};
use fieldfit_delta::Provenance;
use fieldfit_model::{TrainingResult, encode_delta};
use fieldfit_tensor::Params;
use fieldfit_tests::tiny;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

/// Counts the bytes that are allocated and not freed.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Catches: weights, buffers or threads that a swap leaves behind.
#[test]
fn memory_is_where_it_was_after_a_thousand_swaps() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny::base(folder.path(), 1);
    let builder = Runtime::builder(&model).device(Device::Cpu { threads: 1 }).store_or_new(folder.path().join("store"));
    let runtime = builder.open().unwrap();
    let store = runtime.store().unwrap();
    let network = runtime.base().network();
    let change = TrainingResult {
        delta: &Params::zeros(network),
        radii: &vec![None; network.tensors.len()],
        norm: Norm::Mars,
        head_weight: &vec![0.25; 2 * network.head.features],
        head_bias: &[0.0, 1.0],
        labels: &["one".to_owned(), "two".to_owned()],
        input_size: 32,
        crop: 0.875,
        codecs: &vec![Codec::F16; network.tensors.len()],
    };
    let delta = encode_delta(runtime.base(), &change, Provenance::default(), None).unwrap();
    for _ in 0..2 {
        store.add(&delta).unwrap();
    }
    let data = vec![128; 40 * 32 * 3];
    let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 40, 32));
    let swap = |times: u32| {
        for turn in 0..times {
            let version = turn % 2 + 1;
            runtime.activate(version).unwrap();
            assert_eq!(runtime.infer(&frame).unwrap().version(), Version::Stored(version));
        }
        LIVE.load(Ordering::Relaxed)
    };
    let weights: usize = network.tensors().map(|(_, spec)| 4 * spec.len()).sum();
    let before = swap(10);
    let after = swap(1000);
    let grown = after - before;
    println!("{grown} bytes more after 1000 swaps; one set of weights has {weights}");
    assert!(grown < weights as isize / 2, "{grown} bytes more, and one set of weights has {weights}");
}
