//! Row kernel: a convolution that is computed row by row, straight from the image, as a tap plan says; forward and backward.
//!
//! The forward pass and the input's gradient are the same gathering of taps, with input and output exchanged.

use super::epilogue::{Epilogue, ForwardEpilogue};
use super::partition::{BackwardOperands, Partition};
use super::tap_plan::{Segment, TapPlan};
use super::thread_pool::{ThreadPool, split_rows};
use fieldfit_nets::{Shape, Window};
use std::ops::Range;

/// Rows accumulated in f32 before their sums are added in f64, or to the kernel's gradient; few enough to stay in the L2 cache.
pub(super) const BAND: usize = 8;

/// Tap plans of both directions.
#[derive(Debug)]
pub(super) struct TapPlans {
    /// From input to output.
    pub forward: TapPlan,
    /// From the output's gradient to the input's.
    pub backward: TapPlan,
}

impl TapPlans {
    pub fn new(window: &Window, input: Shape, output: Shape) -> Self {
        Self { forward: TapPlan::forward(window, input, output), backward: TapPlan::backward(window, input, output) }
    }
}

/// A target row, and the part of an image that its taps lie in.
pub(super) struct TargetRow<'a> {
    /// The plan that the segments are of.
    pub plan: &'a TapPlan,
    pub segments: &'a [Segment],
    /// The image from the row's first source row on.
    pub source: &'a [f32],
    /// Index in the activation of the target's first value.
    pub first: usize,
    pub target: &'a mut [f32],
}

/// Convolution kernel that computes one target row at a time.
pub(super) trait RowKernel: Sync {
    fn plans(&self) -> &TapPlans;

    /// Computes `target = epilogue(Σ source[pixels under the target] · weight[taps])`.
    fn gather(&self, row: TargetRow<'_>, weight: &[f32], epilogue: &mut impl Epilogue);

    /// Adds one thread's partial gradient of the kernel to zeros.
    fn correlate(&self, partition: Partition<'_>);
}

/// Computes `output = epilogue(input ⋆ weight)`. Threads split the output's rows.
pub(super) fn forward(
    kernel: &impl RowKernel,
    threads: &ThreadPool,
    (weight, input): (&[f32], &[f32]),
    epilogue: ForwardEpilogue<'_>,
    output: &mut [f32],
) {
    let plan = &kernel.plans().forward;
    let line = plan.target.width * plan.target.channels;
    let ranges = threads.ranges(output.len() / line);
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, line, output));
    threads.for_each(parts, |(range, part): (Range<usize>, &mut [f32])| {
        for (row, target) in range.zip(part.chunks_exact_mut(line)) {
            kernel.gather(target_row(plan, row, input, &mut *target), weight, &mut { epilogue });
            epilogue.finish(target);
        }
    });
}

/// Computes both gradients, the input's by the weight for the backward pass; returns the per-channel sums over pixels of the
/// input's gradient.
pub(super) fn backward(
    kernel: &impl RowKernel,
    threads: &ThreadPool,
    weight: &[f32],
    pass: BackwardOperands<'_>,
    scratch: &mut Vec<f32>,
) -> Vec<f64> {
    let plan = &kernel.plans().backward;
    let TapPlan { target: input, source: output, .. } = *plan;
    let BackwardOperands { gradient, kernel: kernel_gradient, input_gradient, .. } = pass;
    let images = gradient.len() / output.len();
    if kernel_gradient.is_some() {
        let rows = (images * output.height, output.width * output.channels);
        let pass = BackwardOperands { kernel: kernel_gradient, input_gradient: None, ..pass };
        pass.partitioned(threads, rows, input.channels, scratch, |partition| {
            partition.kernel.fill(0.0);
            kernel.correlate(partition);
        });
    }
    let rows = (images * input.height, input.width * input.channels);
    let pass = BackwardOperands { kernel: None, input_gradient, ..pass };
    pass.partitioned(threads, rows, input.channels, scratch, |partition| {
        let Some(target) = partition.target else { return };
        let mut epilogue = target.epilogue.with_sums(target.sums);
        for (row, target) in partition.range.zip(target.values.chunks_exact_mut(rows.1)) {
            kernel.gather(target_row(plan, row, partition.gradient, target), weight, &mut epilogue);
            if row % BAND == 0 {
                epilogue.flush();
            }
        }
        epilogue.flush();
    })
}

/// Returns a row of the target, indexed through the batch.
fn target_row<'a>(plan: &'a TapPlan, row: usize, sources: &'a [f32], target: &'a mut [f32]) -> TargetRow<'a> {
    let image = &sources[row / plan.target.height * plan.source.len()..][..plan.source.len()];
    let (first, segments) = plan.row(row % plan.target.height);
    TargetRow { plan, segments, source: &image[first..], first: row * target.len(), target }
}
