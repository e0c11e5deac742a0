//! Linear layer op with a fused prologue: applies layer norm or GELU to tiles of tokens, then computes the matrix products of
//! [`pointwise`]. For a weight's gradient, the prologue's output is computed as a whole.
//!
//! With G the gradient of the weight W without LayerScale's γ, and b the bias: ∂L/∂W = γ·G, ∂L/∂b = γ·Σdy,
//! ∂L/∂γ = ⟨W,G⟩ + b·Σdy.

use super::checkpoint_weight::CheckpointWeight;
use super::epilogue::{BackwardEpilogue, ChannelSums, ForwardEpilogue};
use super::folded_weights::{FoldPurpose, FoldedWeights, add_products, dot, refill, write_gradient};
use super::layer_norm::{LayerNormKernel, ROWS, write_norm_gradients};
use super::matmul::{Accumulate, PackedMatrix, multiply};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs, Scaled};
use super::partition::BackwardOperands;
use super::pointwise::{self, tile_rows};
use super::scratch::with_scratch;
use super::thread_pool::{ThreadPool, split_rows};
use super::vector::{gelu, gelu_slope, vectorized};
use fieldfit_nets::{Activation, Linear, Prologue, Shape};
use fieldfit_tensor::{Params, TensorId};
use std::ops::Range;

/// Linear layer at any image size.
pub(super) struct LinearOp(pub Linear);

impl CpuOp for LinearOp {
    fn folded_len(&self, purpose: FoldPurpose) -> usize {
        let Linear { prologue, scale, input, output, .. } = self.0;
        let norm = if let Prologue::LayerNorm(_) = prologue { 2 * input } else { 0 };
        let backward = if purpose == FoldPurpose::Training { PackedMatrix::size(output, input) } else { 0 };
        PackedMatrix::size(input, output) + backward + norm + output * (1 + usize::from(scale.is_some()))
    }

    fn fold(&self, params: &Params<f32>, purpose: FoldPurpose, folded: &mut FoldedWeights) {
        let linear = &self.0;
        fold_affine(linear, params, folded);
        let weight = CheckpointWeight::matrix(&params[linear.weight], linear.input);
        let weight = CheckpointWeight { scale: &folded.scale, ..weight };
        weight.pack_forward(&mut folded.forward);
        if purpose == FoldPurpose::Training {
            weight.pack_backward(&mut folded.backward);
        }
    }

    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(LinearKernel { linear: self.0, input: inputs[0] })
    }
}

/// Copies the prologue's norm, and folds LayerScale into the bias.
pub(super) fn fold_affine(linear: &Linear, params: &Params<f32>, folded: &mut FoldedWeights) {
    if let Prologue::LayerNorm(norm) = &linear.prologue {
        folded.refill_norm(norm, params);
    }
    match linear.bias {
        Some(bias) => refill(&mut folded.bias, &params[bias]),
        None => folded.bias.resize(linear.output, 0.0),
    }
    refill(&mut folded.scale, linear.scale.map_or(&[], |scale| &params[scale]));
    folded.bias.iter_mut().zip(&folded.scale).for_each(|(bias, scale)| *bias *= scale);
}

/// Linear layer at one image size.
struct LinearKernel {
    linear: Linear,
    input: Shape,
}

impl LinearKernel {
    /// Whether the weight's gradient is needed: for the weight, or for LayerScale's γ.
    fn needs_weight(&self, trains: &dyn Fn(TensorId) -> bool) -> bool {
        trains(self.linear.weight) || self.linear.scale.is_some_and(trains)
    }
}

impl Kernel for LinearKernel {
    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, .. } = pass;
        let shortcut = inputs.get(1).copied();
        let epilogue =
            ForwardEpilogue { bias: &folded.bias, activation: Activation::Identity, shortcut, function: None };
        forward(threads, &self.linear.prologue, folded, inputs[0], epilogue, output);
    }

    fn passes_gradient(&self, input: usize) -> bool {
        input == 1
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        let Linear { prologue, weight, input, output, .. } = self.linear;
        let is_scale_alone = self.needs_weight(trains) && !trains(weight);
        Needs {
            input_gradient: matches!(prologue, Prologue::LayerNorm(norm) if trains(norm.scale) || trains(norm.shift)),
            kernel: if is_scale_alone { input * output } else { 0 },
            prologue_output: prologue != Prologue::Identity && self.needs_weight(trains),
            input: true,
            ..Needs::default()
        }
    }

    fn scratch_len(&self, trains: &dyn Fn(TensorId) -> bool, threads: usize, images: usize) -> usize {
        let weight = self.linear.input * self.linear.output;
        let is_whole = pointwise::is_partitioned_by_rows(weight, images * self.input.len());
        if self.needs_weight(trains) && !is_whole { threads * weight } else { 0 }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, params, gradients, accumulate, gradient, sums, input, terms, .. } = pass;
        let Backward { target, kernel, prologue_output, scratch, .. } = pass;
        let linear = &self.linear;
        let trains = gradients.contains(linear.weight);
        let input = if prologue_output.is_empty() {
            input
        } else {
            apply_prologue_to_all(threads, &linear.prologue, folded, input, prologue_output);
            prologue_output
        };
        let wanted = if trains {
            Some((&mut gradients[linear.weight][..], accumulate))
        } else {
            (!kernel.is_empty()).then_some((&mut *kernel, Accumulate::Overwrite))
        };
        let pass = BackwardOperands { gradient, input, kernel: wanted, input_gradient: target };
        let products = backward(threads, &linear.prologue, folded, pass, scratch);
        if let Some(bias) = linear.bias {
            for ((term, bias), sum) in terms.iter_mut().zip(&params[bias]).zip(sums) {
                *term += f64::from(*bias) * sum;
            }
            if gradients.contains(bias) {
                let scaled = sums.iter().enumerate().map(|(unit, sum)| (sum * folded.scale_of(unit)) as f32);
                write_gradient(&mut gradients[bias], scaled, accumulate);
            }
        }
        if !trains {
            add_products(terms, &params[linear.weight], kernel);
        }
        if let (Prologue::LayerNorm(norm), Some([scales, shifts])) = (&linear.prologue, &products.norm) {
            write_norm_gradients(norm, [scales, shifts], gradients, accumulate);
        }
        products.sums
    }

    fn scaled(&self) -> Option<Scaled> {
        self.linear.scale.map(|scale| Scaled { weight: self.linear.weight, scale: Some(scale) })
    }

    fn complete(&self, folded: &FoldedWeights, params: &Params<f32>, terms: &mut [f64], gradients: [&mut [f32]; 2]) {
        let [kernel, scale] = gradients;
        let rows =
            kernel.chunks_exact_mut(self.linear.input).zip(params[self.linear.weight].chunks_exact(self.linear.input));
        for (unit, ((row, weight), factor)) in rows.zip(&folded.scale).enumerate() {
            if let Some(term) = terms.get_mut(unit) {
                *term += dot(weight, row);
            }
            row.iter_mut().for_each(|value| *value *= factor);
        }
        scale.iter_mut().zip(terms).for_each(|(scale, term)| *scale = *term as f32);
    }
}

/// Computes `output = epilogue(prologue(input) · weightᵀ)`.
fn forward(
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
                apply_prologue(prologue, &folded.norm, &input[first * inputs..][..rows * inputs], tile);
                multiply(tile, &folded.forward, first, out, &mut { epilogue });
            });
        }
    });
}

/// Applies the prologue to whole rows.
pub(super) fn apply_prologue(prologue: &Prologue, norm: &LayerNormKernel, input: &[f32], output: &mut [f32]) {
    match prologue {
        Prologue::Identity => output.copy_from_slice(input),
        Prologue::LayerNorm(_) => norm.forward(input, output),
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
fn apply_prologue_to_all(
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
        apply_prologue(prologue, &folded.norm, &input[range.start * inputs..range.end * inputs], part);
    });
}

/// Sums of a linear layer's backward pass.
#[derive(Default)]
struct LinearGradients {
    /// Sums over tokens of the input's gradient.
    sums: Vec<f64>,
    /// Gradients of the layer norm's γ and β.
    norm: Option<[Vec<f64>; 2]>,
}

/// Computes both gradients. `pass.input` is the product's input; the epilogue's input is the op's.
fn backward(
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
