//! Scratch memory per thread for intermediate values of kernels: patches, normalised tokens, attention scores.

use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with scratch buffers of those sizes and unspecified contents, from memory that the thread keeps.
///
/// # Panics
/// If called from inside `work`.
pub(super) fn with_scratch<const N: usize>(sizes: [usize; N], work: impl FnOnce([&mut [f32]; N])) {
    SCRATCH.with_borrow_mut(|scratch| {
        let missing = sizes.iter().sum::<usize>().saturating_sub(scratch.len());
        scratch.reserve_exact(missing);
        scratch.resize(scratch.len() + missing, 0.0);
        let mut rest = scratch.as_mut_slice();
        work(sizes.map(|size| rest.split_off_mut(..size).unwrap_or_default()));
    });
}
