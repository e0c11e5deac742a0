//! Linear layer kernel with a fused prologue: applies layer norm or GELU to tiles of tokens, then computes the matrix
//! products of [`pointwise`]. For a weight's gradient, the prologue's output is computed as a whole.

use super::epilogue::{BackwardEpilogue, ChannelSums, ForwardEpilogue};
use super::folded_weights::FoldedWeights;
use super::layer_norm::ROWS;
use super::matmul::multiply;
use super::partition::BackwardOperands;
use super::pointwise::{self, tile_rows};
use super::scratch::with_scratch;
use super::thread_pool::{ThreadPool, split_rows};
use super::vector::{gelu, gelu_slope, vectorized};
use fieldfit_nets::Prologue;
use std::ops::Range;

/// Computes `output = epilogue(prologue(input) · weightᵀ)`.
pub(super) fn forward(
    threads: &ThreadPool,
    prologue: &Prologue,
    folded: &FoldedWeights,
    input: &[f32],
    epilogue: ForwardEpilogue<'_>,
    output: &mut [f32],
) {
    if *prologue == Prologue::Identity {
        return pointwise::forward(threads, folded, input, epilogue, output);
    }
    let (inputs, outputs) = (folded.forward.depth(), folded.forward.columns());
    let ranges = threads.ranges(output.len() / outputs);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, outputs, output));
    let tile = tile_rows(inputs, outputs);
    threads.for_each(parts, |(range, part): (Range<usize>, &mut [f32])| {
        for (index, out) in part.chunks_mut(tile * outputs).enumerate() {
            let (first, rows) = (range.start + index * tile, out.len() / outputs);
            with_scratch([rows * inputs], |[tile]| {
                apply_prologue(prologue, folded, &input[first * inputs..][..rows * inputs], tile);
                multiply(tile, &folded.forward, first, out, &mut { epilogue });
            });
        }
    });
}

/// Applies the prologue to whole rows.
fn apply_prologue(prologue: &Prologue, folded: &FoldedWeights, input: &[f32], output: &mut [f32]) {
    match prologue {
        Prologue::Identity => output.copy_from_slice(input),
        Prologue::LayerNorm(_) => folded.norm.forward(input, output),
        Prologue::Gelu => vectorized(
            #[inline(always)]
            || {
                for (output, input) in output.iter_mut().zip(input) {
                    *output = gelu(*input);
                }
            },
        ),
    }
}

/// Applies the prologue to a whole activation. Threads split the rows.
pub(super) fn apply_prologue_to_all(
    threads: &ThreadPool,
    prologue: &Prologue,
    folded: &FoldedWeights,
    input: &[f32],
    output: &mut [f32],
) {
    let inputs = folded.forward.depth();
    let ranges = threads.ranges(input.len() / inputs);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, inputs, output));
    threads.for_each(parts, |(range, part)| {
        apply_prologue(prologue, folded, &input[range.start * inputs..range.end * inputs], part);
    });
}

/// Sums of a linear layer's backward pass.
#[derive(Default)]
pub(super) struct LinearGradients {
    /// Sums over tokens of the input's gradient.
    pub sums: Vec<f64>,
    /// Gradients of the layer norm's γ and β.
    pub norm: Option<[Vec<f64>; 2]>,
}

/// Computes both gradients. `pass.input` is the product's input; the epilogue's input is the op's.
pub(super) fn backward(
    threads: &ThreadPool,
    prologue: &Prologue,
    folded: &FoldedWeights,
    pass: BackwardOperands<'_>,
    scratch: &mut Vec<f32>,
) -> LinearGradients {
    let BackwardOperands { gradient, input, kernel, input_gradient } = pass;
    if *prologue == Prologue::Identity {
        let pass = BackwardOperands { gradient, input, kernel, input_gradient };
        return LinearGradients { sums: pointwise::backward(threads, folded, pass, scratch), norm: None };
    }
    let Some((target, epilogue)) = input_gradient else {
        pointwise::backward(
            threads,
            folded,
            BackwardOperands { gradient, input, kernel, input_gradient: None },
            scratch,
        );
        return LinearGradients::default();
    };
    let inner = Some((&mut *target, BackwardEpilogue::identity(epilogue.input)));
    let shifts = pointwise::backward(
        threads,
        folded,
        BackwardOperands { gradient, input, kernel, input_gradient: inner },
        scratch,
    );
    if let Prologue::LayerNorm(_) = prologue {
        let [sums, scales] = folded.norm.backward(threads, target, &epilogue);
        return LinearGradients { sums, norm: Some([scales, shifts]) };
    }
    LinearGradients { sums: gelu_backward(threads, folded.forward.depth(), target, &epilogue), norm: None }
}

/// Computes, in place, the gradient of GELU's input from that of its output; returns its sums over rows.
fn gelu_backward(threads: &ThreadPool, width: usize, target: &mut [f32], epilogue: &BackwardEpilogue<'_>) -> Vec<f64> {
    let ranges = threads.ranges(target.len() / width);
    let mut sums = vec![ChannelSums::new(width); ranges.len()];
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, width, target)).zip(&mut sums);
    threads.for_each(parts, |((range, part), sums): ((Range<usize>, &mut [f32]), &mut ChannelSums)| {
        for (index, rows) in part.chunks_mut(ROWS * width).enumerate() {
            let first = (range.start + index * ROWS) * width;
            let input = &epilogue.input[first..][..rows.len()];
            vectorized(
                #[inline(always)]
                || {
                    for (gradient, input) in rows.iter_mut().zip(input) {
                        *gradient *= gelu_slope(*input);
                    }
                },
            );
            epilogue.with_sums(sums).apply_rows(first, rows);
        }
    });
    ChannelSums::merge(sums)
}
