//! 1×1 convolutions: matrix products over channels, `[pixels, in] · [in, out]`.

use super::finish::Finish;
use super::fold::Folded;
use super::product::{Onto, multiply, outer};
use super::share::Backward;
use super::threads::{Threads, cut};

/// Bytes of a tile's input and output that stay in the second-level cache while each panel of weights passes over them.
const TILE_BYTES: usize = 256 * 1024;

/// Rows a tile.
pub(super) fn tile_rows(input: usize, output: usize) -> usize {
    (TILE_BYTES / (4 * (input + output))).next_multiple_of(64)
}

/// `output = finish(input · weightᵀ)`.
pub(super) fn forward(threads: &Threads, folded: &Folded, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
    let (inputs, outputs) = (folded.forward.depth(), folded.forward.columns());
    let ranges = threads.ranges(output.len() / outputs);
    let parts = ranges.iter().cloned().zip(cut(&ranges, outputs, output));
    let tile = tile_rows(inputs, outputs);
    threads.each(parts, |(range, part)| {
        for (index, out) in part.chunks_mut(tile * outputs).enumerate() {
            let (first, rows) = (range.start + index * tile, out.len() / outputs);
            multiply(&input[first * inputs..][..rows * inputs], &folded.forward, first, out, &mut { finish });
        }
    });
}

/// Whether each thread has a share of a kernel's gradient rather than of the pixels, and no partial sums of it.
pub(super) const fn is_shared_by_rows(kernel: usize, input: usize) -> bool {
    kernel > input
}

/// Both gradients; returns the sums over pixels of the input's gradient, a channel each.
///
/// They are made in one pass over tiles, of which each thread has its share; a large kernel's is made ahead of it.
pub(super) fn backward(threads: &Threads, folded: &Folded, mut pass: Backward<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
    let (inputs, outputs) = (folded.forward.depth(), folded.forward.columns());
    if let Some((kernel, onto)) = pass.kernel.take_if(|kernel| is_shared_by_rows(kernel.0.len(), pass.input.len())) {
        let ranges = threads.ranges(outputs);
        threads.each(ranges.iter().cloned().zip(cut(&ranges, inputs, kernel)), |(range, kernel)| {
            outer((pass.gradient, outputs), range, (pass.input, inputs), kernel, onto);
        });
    }
    let tile = tile_rows(inputs, outputs);
    let rows = pass.gradient.len() / outputs;
    pass.shared(threads, (rows, inputs), inputs, scratch, |mut share| {
        let start = share.range.start;
        for first in share.range.clone().step_by(tile) {
            let rows = tile.min(share.range.end - first);
            let gradient = &share.gradient[first * outputs..][..rows * outputs];
            if !share.kernel.is_empty() {
                let input = &share.input[first * inputs..][..rows * inputs];
                let onto = if first == start { Onto::Fresh } else { Onto::Sum };
                outer((gradient, outputs), 0..outputs, (input, inputs), share.kernel, onto);
            }
            if let Some(target) = &mut share.target {
                let out = &mut target.values[(first - start) * inputs..][..rows * inputs];
                let mut ending = target.upstream.summing(target.sums);
                multiply(gradient, &folded.backward, first, out, &mut ending);
                ending.flush();
            }
        }
    })
}
