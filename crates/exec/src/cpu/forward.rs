//! Forward pass: calls the kernel of each step of a plan.

use super::arena::Arena;
use super::execution_plan::ExecutionPlan;
use super::execution_schedule::{BufferId, ExecutionSchedule, ExecutionTask, ForwardTask, Source};
use super::folded_weights::FoldedWeights;
use super::op::{Forward, Inputs};
use super::thread_pool::ThreadPool;
use std::ops::Range;

/// Inputs of a pass: the plan, its schedule, the folded weights and the images of a micro-batch.
#[derive(Clone, Copy)]
pub(super) struct PassContext<'a> {
    pub threads: &'a ThreadPool,
    pub plan: &'a ExecutionPlan,
    pub folded: &'a [FoldedWeights],
    pub schedule: &'a ExecutionSchedule,
    /// `[count, H, W, C]`.
    pub images: &'a [f32],
    pub count: usize,
}

impl<'a> PassContext<'a> {
    /// Returns a buffer's range in the arena.
    pub fn range(&self, buffer: BufferId) -> Range<usize> {
        self.schedule.range(buffer, self.count)
    }

    /// Returns a buffer's range in the arena; an empty one for none.
    pub fn optional(&self, buffer: Option<BufferId>) -> Range<usize> {
        buffer.map_or(0..0, |buffer| self.range(buffer))
    }

    /// Returns the values of a source: the images, or what `read` returns of its range in the arena.
    pub fn values<'b>(&self, source: Source, read: impl FnOnce(Range<usize>) -> &'b [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match source {
            Source::Images => self.images,
            Source::Buffer(buffer) => read(self.range(buffer)),
        }
    }

    /// Runs the forward tasks of a schedule; calls `visit` with the output of each step.
    pub fn infer(&self, arena: &mut Arena, mut visit: impl FnMut(usize, &[f32])) {
        for task in &self.schedule.tasks {
            if let ExecutionTask::Forward(task) = task {
                self.forward(arena, task);
                visit(task.value - 1, arena.get(self.range(task.output)));
            }
        }
    }

    /// Computes one step into its output buffer.
    pub fn forward(&self, arena: &mut Arena, task: &ForwardTask) {
        let ForwardTask { step, inputs, output, buffer, function, .. } = task;
        let ([output, buffer], rest) = arena.split([self.range(*output), self.optional(*buffer)]);
        let inputs: Inputs<'_> = inputs.iter().map(|source| self.values(*source, |range| rest.get(range))).collect();
        let (threads, folded, function) = (self.threads, &self.folded[*step], *function);
        self.plan.steps[*step].kernel.forward(Forward { threads, folded, inputs, output, buffer, function });
    }
}
