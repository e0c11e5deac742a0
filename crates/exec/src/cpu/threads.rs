//! A fixed number of threads and work cut into as many parts, so that the same threads give the same bits.

use crate::ExecError;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use std::ops::Range;
use std::sync::Arc;

/// Parts that work is cut into, at most.
const MOST: usize = 64;

/// A part a thread, without an allocation: a frame passes here some hundred times.
pub(super) type Parts<P> = heapless::Vec<P, MOST>;

/// A pool of its own, so that an adaptation and an inference beside it don't share threads by accident.
#[derive(Clone)]
pub(super) struct Threads {
    pool: Arc<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    pub fn new(count: usize) -> Result<Self, ExecError> {
        let failed = |reason: String| ExecError::Threads { threads: count, reason };
        if count == 0 {
            return Err(failed("at least one is needed".into()));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("fieldfit-exec-{index}"))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { pool: Arc::new(pool), count })
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// `0..items` cut into at most as many ranges as there are threads, of nearly equal length, in order.
    pub fn ranges(&self, items: usize) -> Parts<Range<usize>> {
        let parts = self.count.min(items).clamp(1, MOST);
        (0..parts).map(|part| part * items / parts..(part + 1) * items / parts).collect()
    }

    /// Runs `work` on one of the threads: entering once costs less than once an op.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs `work` on every part, one a thread. Allocates nothing.
    pub fn each<P: Send>(&self, parts: impl IntoIterator<Item = P>, work: impl Fn(P) + Sync + Send) {
        let mut parts = parts.into_iter().map(Some);
        loop {
            let mut some: Parts<Option<P>> = parts.by_ref().take(MOST).collect();
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

/// Cuts a matrix of `width` values a row along ranges of its rows.
pub(super) fn cut<'a, T>(ranges: &[Range<usize>], width: usize, values: &'a mut [T]) -> Parts<&'a mut [T]> {
    cut_at(ranges.iter().map(|range| range.len() * width), values)
}

/// Cuts off parts of those lengths, one after another.
pub(super) fn cut_at<T>(lengths: impl Iterator<Item = usize>, mut values: &mut [T]) -> Parts<&mut [T]> {
    lengths.map(|length| values.split_off_mut(..length).unwrap_or_default()).collect()
}

/// The range in parts of that many, the last of which may be smaller.
pub(super) fn tiles(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}
