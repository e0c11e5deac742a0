//! Partition of a backward pass among threads, and reduction of their partial sums.

use super::epilogue::{BackwardEpilogue, ChannelSums};
use super::matmul::Accumulate;
use super::thread_pool::{ThreadPool, split_rows};
use std::ops::Range;

/// Operands of a backward kernel: the gradients to compute, and the values that they depend on.
pub(super) struct BackwardOperands<'a> {
    /// The gradient before the activation, `[pixels, out]`.
    pub gradient: &'a [f32],
    /// The convolution's input, `[pixels, in]`.
    pub input: &'a [f32],
    /// Buffer of the unscaled kernel's gradient, `[out, taps, in]` or `[taps, C]`.
    pub kernel: Option<(&'a mut [f32], Accumulate)>,
    /// Buffer of the input's gradient, and its epilogue.
    pub input_gradient: Option<(&'a mut [f32], BackwardEpilogue<'a>)>,
}

/// One thread's partition of a backward pass.
pub(super) struct Partition<'a> {
    /// Range of its items.
    pub range: Range<usize>,
    pub gradient: &'a [f32],
    pub input: &'a [f32],
    /// Its partial sum of the kernel's gradient; empty if none is computed.
    pub kernel: &'a mut [f32],
    /// Its items of the input's gradient; `None` if none is computed.
    pub target: Option<InputGradient<'a>>,
}

/// One thread's part of the input's gradient, with its epilogue and channel sums.
pub(super) struct InputGradient<'a> {
    pub values: &'a mut [f32],
    pub epilogue: BackwardEpilogue<'a>,
    pub sums: &'a mut ChannelSums,
}

impl BackwardOperands<'_> {
    /// Splits `items` of `item` input values each among the threads and runs `work` on each partition; returns the sums
    /// over pixels of the input's gradient, one for each of `channels`.
    pub fn partitioned(
        self,
        threads: &ThreadPool,
        (items, item): (usize, usize),
        channels: usize,
        scratch: &mut Vec<f32>,
        work: impl Fn(Partition<'_>) + Sync + Send,
    ) -> Vec<f64> {
        let Self { gradient, input, kernel, input_gradient } = self;
        let ranges = threads.ranges(items);
        let size = kernel.as_ref().map_or(0, |(kernel, _)| kernel.len());
        let scratch = grow_to(scratch, ranges.len() * size);
        let mut kernels = scratch.chunks_exact_mut(size.max(1));
        let mut sums = vec![ChannelSums::new(channels); ranges.len()];
        let (targets, epilogue) = input_gradient.unzip();
        let mut targets = targets.map(|values| split_rows(&ranges, item, values).into_iter());
        let partitions = ranges.iter().zip(&mut sums).map(|(range, sums)| Partition {
            range: range.clone(),
            gradient,
            input,
            kernel: kernels.next().unwrap_or_default(),
            target: targets.as_mut().and_then(Iterator::next).zip(epilogue).map(|(values, epilogue)| InputGradient {
                values,
                epilogue,
                sums,
            }),
        });
        threads.for_each(partitions, work);
        if let Some((kernel, accumulate)) = kernel {
            reduce(scratch, kernel, accumulate);
        }
        ChannelSums::merge(sums)
    }
}

/// Returns the first `len` values of a buffer, which is grown if needed; their contents are unspecified.
pub(super) fn grow_to(scratch: &mut Vec<f32>, len: usize) -> &mut [f32] {
    scratch.resize(scratch.len().max(len), 0.0);
    &mut scratch[..len]
}

/// Adds the partial sums, in order.
fn reduce(parts: &[f32], total: &mut [f32], accumulate: Accumulate) {
    for (index, part) in parts.chunks_exact(total.len()).enumerate() {
        if index == 0 && accumulate == Accumulate::Overwrite {
            total.copy_from_slice(part);
        } else {
            total.iter_mut().zip(part).for_each(|(total, value)| *total += value);
        }
    }
}
