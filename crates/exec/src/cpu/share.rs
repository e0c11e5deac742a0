//! How a backward pass is shared out to threads, and how their partial sums become one.

use super::finish::{ChannelSums, Upstream};
use super::product::Onto;
use super::threads::{Threads, cut};
use std::ops::Range;

/// What a backward pass over a convolution is asked for, and where it goes.
pub(super) struct Backward<'a> {
    /// The gradient ahead of the activation, `[pixels, out]`.
    pub gradient: &'a [f32],
    /// The convolution's input, `[pixels, in]`.
    pub input: &'a [f32],
    /// The gradient of the unscaled kernel, taps ahead of channels.
    pub kernel: Option<(&'a mut [f32], Onto)>,
    /// The gradient of the input and how it ends.
    pub upstream: Option<(&'a mut [f32], Upstream<'a>)>,
}

/// One thread's share.
pub(super) struct Share<'a> {
    /// Which items are its own.
    pub range: Range<usize>,
    pub gradient: &'a [f32],
    pub input: &'a [f32],
    /// Its partial sum of the kernel's gradient; empty where none is wanted.
    pub kernel: &'a mut [f32],
    /// Its items of the input's gradient, if that is wanted.
    pub target: Option<Target<'a>>,
}

/// Where the input's gradient goes.
pub(super) struct Target<'a> {
    pub values: &'a mut [f32],
    pub upstream: Upstream<'a>,
    pub sums: &'a mut ChannelSums,
}

impl Backward<'_> {
    /// Cuts `items` of `item` input values each among the threads; returns the sums over pixels of the input's
    /// gradient, one for each of `channels`.
    pub fn shared(
        self,
        threads: &Threads,
        (items, item): (usize, usize),
        channels: usize,
        scratch: &mut Vec<f32>,
        work: impl Fn(Share<'_>) + Sync + Send,
    ) -> Vec<f64> {
        let Self { gradient, input, kernel, upstream } = self;
        let ranges = threads.ranges(items);
        let size = kernel.as_ref().map_or(0, |(kernel, _)| kernel.len());
        let scratch = lend(scratch, ranges.len() * size);
        let mut kernels = scratch.chunks_exact_mut(size.max(1));
        let mut sums = vec![ChannelSums::new(channels); ranges.len()];
        let (targets, upstream) = upstream.unzip();
        let mut targets = targets.map(|values| cut(&ranges, item, values).into_iter());
        let shares = ranges.iter().zip(&mut sums).map(|(range, sums)| Share {
            range: range.clone(),
            gradient,
            input,
            kernel: kernels.next().unwrap_or_default(),
            target: targets.as_mut().and_then(Iterator::next).zip(upstream).map(|(values, upstream)| Target {
                values,
                upstream,
                sums,
            }),
        });
        threads.each(shares, work);
        if let Some((kernel, onto)) = kernel {
            reduce(scratch, kernel, onto);
        }
        ChannelSums::merge(sums)
    }
}

/// That many values, whatever they are, from a buffer that grows to it.
pub(super) fn lend(scratch: &mut Vec<f32>, len: usize) -> &mut [f32] {
    scratch.resize(scratch.len().max(len), 0.0);
    &mut scratch[..len]
}

/// Adds the parts up, in their order.
fn reduce(parts: &[f32], total: &mut [f32], onto: Onto) {
    for (index, part) in parts.chunks_exact(total.len()).enumerate() {
        if index == 0 && onto == Onto::Fresh {
            total.copy_from_slice(part);
        } else {
            total.iter_mut().zip(part).for_each(|(total, value)| *total += value);
        }
    }
}
