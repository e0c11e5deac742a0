//! 1×1 convolutions: matrix products over channels, `[pixels, in] · [in, out]`.

use super::finish::{ChannelSums, Finish, Upstream};
use super::fold::Folded;
use super::matmul::{Onto, View, matmul};
use super::threads::{Threads, cut};

/// Bytes of a tile's input and output that stay in the second-level cache until the tile is finished.
const TILE_BYTES: usize = 256 * 1024;
/// Fewer rows than this don't pay for packing the weights, which each product does anew.
const LEAST_ROWS: usize = 256;

/// Rows a tile.
const fn tile_rows(input: usize, output: usize) -> usize {
    let fitting = TILE_BYTES / (4 * (input + output)) / 16 * 16;
    if fitting < LEAST_ROWS { LEAST_ROWS } else { fitting }
}

/// `output = finish(input · weightᵀ)`.
pub(super) fn forward(threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
    let outputs = folded.bias.len();
    let inputs = folded.weight.len() / outputs;
    let weight = View::new(&folded.weight, outputs, inputs).transposed();
    let ranges = threads.ranges(output.len() / outputs);
    let parts = ranges.iter().cloned().zip(cut(&ranges, outputs, output)).collect();
    let tile = tile_rows(inputs, outputs);
    threads.each(parts, |(range, part)| {
        for (index, out) in part.chunks_mut(tile * outputs).enumerate() {
            let (first, rows) = (range.start + index * tile, out.len() / outputs);
            let values = View::new(&input[first * inputs..][..rows * inputs], rows, inputs);
            matmul(values, weight, out, Onto::Fresh);
            finish.apply(first * outputs, out);
        }
    });
}

/// What a backward pass over a convolution is asked for, and where it goes.
pub(super) struct Backward<'a> {
    /// The gradient ahead of the activation, `[pixels, out]`.
    pub gradient: &'a [f32],
    /// The convolution's input, `[pixels, in]`.
    pub input: &'a [f32],
    /// The gradient of the unscaled kernel, in the layout of [`Folded::weight`]; overwritten.
    pub kernel: Option<&'a mut [f32]>,
    /// The gradient of the input and how it ends.
    pub upstream: Option<(&'a mut [f32], Upstream<'a>)>,
}

/// Both gradients in one pass over tiles; returns the sums over pixels of the input's gradient, a channel each.
pub(super) fn backward(threads: &Threads, folded: &Folded, pass: Backward<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
    let outputs = folded.bias.len();
    let inputs = folded.weight.len() / outputs;
    let weight = View::new(&folded.weight, outputs, inputs);
    let ranges = threads.ranges(pass.gradient.len() / outputs);
    let size = folded.weight.len();
    let kernels = accumulators(scratch, pass.kernel.is_some(), ranges.len(), size);
    let (targets, upstream) = match pass.upstream {
        Some((values, upstream)) => (cut(&ranges, inputs, values), Some(upstream)),
        None => (ranges.iter().map(|_| Default::default()).collect(), None),
    };
    let mut sums = vec![ChannelSums::new(inputs); ranges.len()];
    let tile = tile_rows(inputs, outputs);
    let parts = ranges.iter().cloned().zip(kernels).zip(targets).zip(&mut sums).collect();
    threads.each(
        parts,
        |(((range, kernel), target), sums): (((std::ops::Range<usize>, &mut [f32]), &mut [f32]), _)| {
            for first in range.clone().step_by(tile) {
                let rows = tile.min(range.end - first);
                let gradient = View::new(&pass.gradient[first * outputs..][..rows * outputs], rows, outputs);
                if !kernel.is_empty() {
                    let input = View::new(&pass.input[first * inputs..][..rows * inputs], rows, inputs);
                    let onto = if first == range.start { Onto::Fresh } else { Onto::Sum };
                    matmul(gradient.transposed(), input, kernel, onto);
                }
                if let Some(upstream) = &upstream {
                    let out = &mut target[(first - range.start) * inputs..][..rows * inputs];
                    matmul(gradient, weight, out, Onto::Fresh);
                    upstream.apply(first * inputs, out, sums);
                }
            }
        },
    );
    if let Some(kernel) = pass.kernel {
        reduce(scratch, kernel);
    }
    ChannelSums::merge(sums)
}

/// One buffer of `size` a part for partial sums of a kernel's gradient, or empty ones where none is wanted.
pub(super) fn accumulators(scratch: &mut Vec<f32>, wanted: bool, parts: usize, size: usize) -> Vec<&mut [f32]> {
    if !wanted {
        return (0..parts).map(|_| Default::default()).collect();
    }
    scratch.resize(parts * size, 0.0);
    scratch.chunks_exact_mut(size).collect()
}

/// Adds the parts up, in their order.
pub(super) fn reduce(parts: &[f32], total: &mut [f32]) {
    let mut parts = parts.chunks_exact(total.len());
    if let Some(first) = parts.next() {
        total.copy_from_slice(first);
    }
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, value)| *total += value);
    }
}
