//! Pointwise (1×1) convolution kernel: matrix products over channels, `[pixels, in] · [in, out]`.

use super::epilogue::ForwardEpilogue;
use super::folded_weights::FoldedWeights;
use super::matmul::{Accumulate, multiply, multiply_transposed};
use super::partition::BackwardOperands;
use super::thread_pool::{ThreadPool, split_rows};

/// Bytes of a tile's input and output, which stay in the L2 cache while each panel of weights is applied.
const TILE_BYTES: usize = 256 * 1024;

/// Returns the rows per tile.
pub(super) fn tile_rows(input: usize, output: usize) -> usize {
    (TILE_BYTES / (4 * (input + output))).next_multiple_of(64)
}

/// Computes `output = epilogue(input · weightᵀ)`.
pub(super) fn forward(
    threads: &ThreadPool,
    folded: &FoldedWeights,
    input: &[f32],
    epilogue: ForwardEpilogue<'_>,
    output: &mut [f32],
) {
    let (inputs, outputs) = (folded.forward.depth(), folded.forward.columns());
    let ranges = threads.ranges(output.len() / outputs);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, outputs, output));
    let tile = tile_rows(inputs, outputs);
    threads.for_each(parts, |(range, part)| {
        for (index, out) in part.chunks_mut(tile * outputs).enumerate() {
            let (first, rows) = (range.start + index * tile, out.len() / outputs);
            multiply(&input[first * inputs..][..rows * inputs], &folded.forward, first, out, &mut { epilogue });
            epilogue.finish(out);
        }
    });
}

/// Whether threads split the rows of a kernel's gradient instead of the pixels, without partial sums.
pub(super) const fn is_partitioned_by_rows(kernel: usize, input: usize) -> bool {
    kernel > input
}

/// Computes both gradients; returns the per-channel sums over pixels of the input's gradient.
///
/// Both are computed in one pass over tiles, which threads split; a large kernel's gradient is computed first.
pub(super) fn backward(
    threads: &ThreadPool,
    folded: &FoldedWeights,
    mut pass: BackwardOperands<'_>,
    scratch: &mut Vec<f32>,
) -> Vec<f64> {
    let (inputs, outputs) = (folded.forward.depth(), folded.forward.columns());
    if let Some((kernel, accumulate)) =
        pass.kernel.take_if(|kernel| is_partitioned_by_rows(kernel.0.len(), pass.input.len()))
    {
        let ranges = threads.ranges(outputs);
        threads.for_each(ranges.iter().cloned().zip(split_rows(&ranges, inputs, kernel)), |(range, kernel)| {
            multiply_transposed((pass.gradient, outputs), range, (pass.input, inputs), kernel, accumulate);
        });
    }
    let tile = tile_rows(inputs, outputs);
    let rows = pass.gradient.len() / outputs;
    pass.partitioned(threads, (rows, inputs), inputs, scratch, |mut partition| {
        let start = partition.range.start;
        for first in partition.range.clone().step_by(tile) {
            let rows = tile.min(partition.range.end - first);
            let gradient = &partition.gradient[first * outputs..][..rows * outputs];
            if !partition.kernel.is_empty() {
                let input = &partition.input[first * inputs..][..rows * inputs];
                let accumulate = if first == start { Accumulate::Overwrite } else { Accumulate::Add };
                multiply_transposed((gradient, outputs), 0..outputs, (input, inputs), partition.kernel, accumulate);
            }
            if let Some(target) = &mut partition.target {
                let out = &mut target.values[(first - start) * inputs..][..rows * inputs];
                let mut epilogue = target.epilogue.with_sums(target.sums);
                multiply(gradient, &folded.backward, first, out, &mut epilogue);
                epilogue.flush();
            }
        }
    })
}
