//! Linear maps of tokens, with what comes ahead of them: the matrix products of [`pointwise`], whose left operand is normed
//! or passed through GELU tile by tile on the way forward, and as a whole for a weight's gradient.

use super::finish::{ChannelSums, Finish, Upstream};
use super::fold::Folded;
use super::layer_norm::ROWS;
use super::pointwise::{self, tile_rows};
use super::product::multiply;
use super::room::with_room;
use super::share::Backward;
use super::threads::{Threads, cut};
use super::vector::{gelu, gelu_slope, vectorized};
use fieldfit_nets::Entry;
use std::ops::Range;

/// `output = finish(entry(input) · weightᵀ)`.
pub(super) fn forward(
    threads: &Threads,
    entry: &Entry,
    folded: &Folded,
    input: &[f32],
    finish: Finish<'_>,
    output: &mut [f32],
) {
    if *entry == Entry::AsItIs {
        return pointwise::forward(threads, folded, input, finish, output);
    }
    let (inputs, outputs) = (folded.forward.depth(), folded.forward.columns());
    let ranges = threads.ranges(output.len() / outputs);
    let parts = ranges.iter().cloned().zip(cut(&ranges, outputs, output));
    let tile = tile_rows(inputs, outputs);
    threads.each(parts, |(range, part): (Range<usize>, &mut [f32])| {
        for (index, out) in part.chunks_mut(tile * outputs).enumerate() {
            let (first, rows) = (range.start + index * tile, out.len() / outputs);
            with_room([rows * inputs], |[tile]| {
                enter(entry, folded, &input[first * inputs..][..rows * inputs], tile);
                multiply(tile, &folded.forward, first, out, &mut { finish });
            });
        }
    });
}

/// What the product reads, of whole rows.
fn enter(entry: &Entry, folded: &Folded, input: &[f32], output: &mut [f32]) {
    match entry {
        Entry::AsItIs => output.copy_from_slice(input),
        Entry::LayerNorm(_) => folded.norm.forward(input, output),
        Entry::Gelu => vectorized(
            #[inline(always)]
            || {
                for (output, input) in output.iter_mut().zip(input) {
                    *output = gelu(*input);
                }
            },
        ),
    }
}

/// What the product read, of a whole activation.
pub(super) fn enter_all(threads: &Threads, entry: &Entry, folded: &Folded, input: &[f32], output: &mut [f32]) {
    let inputs = folded.forward.depth();
    let ranges = threads.ranges(input.len() / inputs);
    let parts = ranges.iter().cloned().zip(cut(&ranges, inputs, output));
    threads.each(parts, |(range, part)| {
        enter(entry, folded, &input[range.start * inputs..range.end * inputs], part);
    });
}

/// What a backward pass over a linear map leaves beside its kernel's gradient and its input's.
#[derive(Default)]
pub(super) struct Descended {
    /// The input's gradient, summed over tokens.
    pub sums: Vec<f64>,
    /// The gradients of the norm's γ and β.
    pub norm: Option<[Vec<f64>; 2]>,
}

/// Both gradients. In `pass`, the input is what went into the product; `upstream` has what went into the op.
pub(super) fn backward(
    threads: &Threads,
    entry: &Entry,
    folded: &Folded,
    pass: Backward<'_>,
    scratch: &mut Vec<f32>,
) -> Descended {
    let Backward { gradient, input, kernel, upstream } = pass;
    if *entry == Entry::AsItIs {
        let pass = Backward { gradient, input, kernel, upstream };
        return Descended { sums: pointwise::backward(threads, folded, pass, scratch), norm: None };
    }
    let Some((target, upstream)) = upstream else {
        pointwise::backward(threads, folded, Backward { gradient, input, kernel, upstream: None }, scratch);
        return Descended::default();
    };
    let inner = Some((&mut *target, Upstream::open(upstream.input)));
    let shifts = pointwise::backward(threads, folded, Backward { gradient, input, kernel, upstream: inner }, scratch);
    if let Entry::LayerNorm(_) = entry {
        let [sums, scales] = folded.norm.backward(threads, target, &upstream);
        return Descended { sums, norm: Some([scales, shifts]) };
    }
    Descended { sums: gelu_backward(threads, folded.forward.depth(), target, &upstream), norm: None }
}

/// In place: the gradient of GELU's result becomes that of its input; returns its sums over rows.
fn gelu_backward(threads: &Threads, width: usize, target: &mut [f32], upstream: &Upstream<'_>) -> Vec<f64> {
    let ranges = threads.ranges(target.len() / width);
    let mut sums = vec![ChannelSums::new(width); ranges.len()];
    let parts = ranges.iter().cloned().zip(cut(&ranges, width, target)).zip(&mut sums);
    threads.each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), &mut ChannelSums)| {
        for (index, rows) in part.chunks_mut(ROWS * width).enumerate() {
            let first = (range.start + index * ROWS) * width;
            let input = &upstream.input[first..][..rows.len()];
            vectorized(
                #[inline(always)]
                || {
                    for (gradient, input) in rows.iter_mut().zip(input) {
                        *gradient *= gelu_slope(*input);
                    }
                },
            );
            upstream.summing(sums).apply(first, rows);
        }
    });
    ChannelSums::merge(sums)
}
