//! 1×1 convolutions: matrix products over channels, `[pixels, in] · [in, out]`.

use super::finish::Finish;
use super::fold::Folded;
use super::matmul::{Onto, View, matmul};
use super::share::Backward;
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

/// Both gradients in one pass over tiles; returns the sums over pixels of the input's gradient, a channel each.
pub(super) fn backward(threads: &Threads, folded: &Folded, pass: Backward<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
    let outputs = folded.bias.len();
    let inputs = folded.weight.len() / outputs;
    let weight = View::new(&folded.weight, outputs, inputs);
    let tile = tile_rows(inputs, outputs);
    let rows = pass.gradient.len() / outputs;
    pass.shared(threads, (rows, inputs), inputs, scratch, |mut share| {
        share.kernel.fill(0.0);
        for first in share.range.clone().step_by(tile) {
            let rows = tile.min(share.range.end - first);
            let gradient = View::new(&share.gradient[first * outputs..][..rows * outputs], rows, outputs);
            if !share.kernel.is_empty() {
                let input = View::new(&share.input[first * inputs..][..rows * inputs], rows, inputs);
                matmul(gradient.transposed(), input, share.kernel, Onto::Sum);
            }
            if let Some(target) = &mut share.target {
                let out = &mut target.values[(first - share.range.start) * inputs..][..rows * inputs];
                matmul(gradient, weight, out, Onto::Fresh);
                target.upstream.apply(first * inputs, out, target.sums);
            }
        }
    })
}
