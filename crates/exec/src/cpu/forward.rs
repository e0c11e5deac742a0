//! Forward pass: dispatches each step of a plan to its kernel.

use super::arena::Arena;
use super::epilogue::ForwardEpilogue;
use super::execution_plan::{ExecutionPlan, Kernel, Step};
use super::execution_schedule::{BufferId, ExecutionSchedule, ExecutionTask, Source};
use super::folded_weights::FoldedWeights;
use super::head;
use super::linear;
use super::pointwise;
use super::thread_pool::ThreadPool;

/// Inputs of a pass: the plan, its schedule, the folded weights and the images of a micro-batch.
#[derive(Clone, Copy)]
pub(super) struct PassContext<'a> {
    pub threads: &'a ThreadPool,
    pub plan: &'a ExecutionPlan,
    pub folded: &'a [FoldedWeights],
    pub schedule: &'a ExecutionSchedule,
    /// `[count, H, W, 3]`.
    pub images: &'a [f32],
    pub count: usize,
}

impl PassContext<'_> {
    /// Returns a buffer's range in the arena.
    pub fn range(&self, buffer: BufferId) -> std::ops::Range<usize> {
        self.schedule.range(buffer, self.count)
    }

    /// Returns a source's range in the arena; empty for the images.
    pub fn source(&self, source: Source) -> std::ops::Range<usize> {
        match source {
            Source::Images => 0..0,
            Source::Buffer(buffer) => self.range(buffer),
        }
    }

    /// Runs the forward tasks of a schedule; calls `visit` with the output of each step.
    pub fn infer(&self, arena: &mut Arena, mut visit: impl FnMut(usize, &[f32])) {
        for task in &self.schedule.tasks {
            if let ExecutionTask::Forward { step, input, shortcut, output, token_bias } = *task {
                self.forward(arena, step, (input, shortcut), (output, token_bias));
                visit(step, arena.get(self.range(output)));
            }
        }
    }

    /// Computes one step into its output buffer.
    pub fn forward(
        &self,
        arena: &mut Arena,
        index: usize,
        (input, shortcut): (Source, Option<Source>),
        (output, token_bias): (BufferId, Option<BufferId>),
    ) {
        let separate_shortcut = shortcut.filter(|shortcut| *shortcut != input);
        let [read, added, output, token_bias] = arena.borrow([
            self.source(input),
            separate_shortcut.map_or(0..0, |source| self.source(source)),
            self.range(output),
            token_bias.map_or(0..0, |token_bias| self.range(token_bias)),
        ]);
        let values = if input == Source::Images { self.images } else { read };
        let shortcut = shortcut.map(|source| match source {
            // A shortcut around a single op adds the op's own input.
            source if source == input => values,
            Source::Images => self.images,
            Source::Buffer(_) => added,
        });
        compute(self.threads, &self.plan.steps[index], &self.folded[index], (values, shortcut), (output, token_bias));
    }
}

/// Calls the kernel of a step.
fn compute(
    threads: &ThreadPool,
    step: &Step,
    folded: &FoldedWeights,
    (input, shortcut): (&[f32], Option<&[f32]>),
    (output, token_bias): (&mut [f32], &mut [f32]),
) {
    let epilogue = ForwardEpilogue { bias: &folded.bias, activation: step.activation(), shortcut };
    match &step.kernel {
        Kernel::Pointwise => pointwise::forward(threads, folded, input, epilogue, output),
        Kernel::Depthwise(depthwise) => depthwise.forward(threads, folded, input, epilogue, output),
        Kernel::Dense(dense) => dense.forward(threads, folded, input, epilogue, output),
        Kernel::Winograd(winograd) => winograd.forward(threads, folded, input, epilogue, output),
        Kernel::MaxPool(pool) => pool.forward(threads, input, output),
        Kernel::Pool => head::pool(input, step.input.pixels(), step.input.channels, output),
        Kernel::Embed(embedding) => {
            embedding.write_token_bias(folded, token_bias);
            embedding.forward(threads, folded, input, token_bias, output);
        }
        Kernel::Linear(linear) => linear::forward(threads, &linear.prologue, folded, input, epilogue, output),
        Kernel::Attention(attention) => attention.forward(threads, input, output),
        Kernel::ClassToken => folded.norm.class_token(input, step.input.pixels(), output),
    }
}
