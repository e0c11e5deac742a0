//! Thread pool with a fixed number of threads, and deterministic partition of work among them.

use crate::ExecError;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use std::ops::Range;
use std::sync::Arc;

/// Maximum number of parts.
const MAX_PARTS: usize = 64;

/// List of parts without a heap allocation: each frame creates some hundred.
pub(super) type Parts<P> = heapless::Vec<P, MAX_PARTS>;

/// Thread pool of one executor, so that adaptation and concurrent inference do not share threads.
#[derive(Clone)]
pub(super) struct ThreadPool {
    pool: Arc<rayon::ThreadPool>,
    count: usize,
}

impl ThreadPool {
    pub fn new(count: usize) -> Result<Self, ExecError> {
        let failed = |reason: String| ExecError::Threads { threads: count, reason };
        if count == 0 {
            return Err(failed("at least 1 is required".into()));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("fieldfit-exec-{index}"))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { pool: Arc::new(pool), count })
    }

    /// Number of threads.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Splits `0..items` into at most as many ranges as threads, of nearly equal length, in order.
    pub fn ranges(&self, items: usize) -> Parts<Range<usize>> {
        let parts = self.count.min(items).clamp(1, MAX_PARTS);
        (0..parts).map(|part| part * items / parts..(part + 1) * items / parts).collect()
    }

    /// Runs `work` inside the pool: installing once costs less than once per op.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs `work` on every part, one per thread. Allocates nothing.
    pub fn for_each<P: Send>(&self, parts: impl IntoIterator<Item = P>, work: impl Fn(P) + Sync + Send) {
        let mut parts = parts.into_iter().map(Some);
        loop {
            let mut some: Parts<Option<P>> = parts.by_ref().take(MAX_PARTS).collect();
            match &mut some[..] {
                [] => return,
                [part] => part.take().into_iter().for_each(&work),
                some => self.pool.install(|| {
                    some.par_iter_mut().with_max_len(1).for_each(|part| part.take().into_iter().for_each(&work));
                }),
            }
        }
    }
}

/// Splits a matrix of `width` values per row by ranges of its rows.
pub(super) fn split_rows<'a, T>(ranges: &[Range<usize>], width: usize, values: &'a mut [T]) -> Parts<&'a mut [T]> {
    split_lengths(ranges.iter().map(|range| range.len() * width), values)
}

/// Splits off consecutive parts of those lengths.
pub(super) fn split_lengths<T>(lengths: impl Iterator<Item = usize>, mut values: &mut [T]) -> Parts<&mut [T]> {
    lengths.map(|length| values.split_off_mut(..length).unwrap_or_default()).collect()
}

/// Splits a range into tiles of that size; the last may be smaller.
pub(super) fn tiles(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}
