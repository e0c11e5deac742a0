//! One step forward.

use super::arena::Arena;
use super::finish::Finish;
use super::fold::Folded;
use super::head;
use super::linear;
use super::plan::{Kernel, Plan, Step};
use super::pointwise;
use super::schedule::{Buffer, Schedule, Source, Task};
use super::threads::Threads;

/// What both passes read: the network laid out, its weights, and the images that are computed now.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub threads: &'a Threads,
    pub plan: &'a Plan,
    pub folded: &'a [Folded],
    pub schedule: &'a Schedule,
    /// `[count, H, W, 3]`.
    pub images: &'a [f32],
    pub count: usize,
}

impl Context<'_> {
    /// Where a buffer lies now.
    pub fn range(&self, buffer: Buffer) -> std::ops::Range<usize> {
        self.schedule.range(buffer, self.count)
    }

    /// Where a source lies; an empty range for the images.
    pub fn source(&self, source: Source) -> std::ops::Range<usize> {
        match source {
            Source::Images => 0..0,
            Source::Buffer(buffer) => self.range(buffer),
        }
    }

    /// Runs every step of a schedule without a backward pass; `visit` sees each step's output.
    pub fn infer(&self, arena: &mut Arena, mut visit: impl FnMut(usize, &[f32])) {
        for task in &self.schedule.tasks {
            if let Task::Forward { step, input, shortcut, output, placed } = *task {
                self.forward(arena, step, (input, shortcut), (output, placed));
                visit(step, arena.get(self.range(output)));
            }
        }
    }

    /// One step, into its output's buffer.
    pub fn forward(
        &self,
        arena: &mut Arena,
        index: usize,
        (input, shortcut): (Source, Option<Source>),
        (output, placed): (Buffer, Option<Buffer>),
    ) {
        let apart = shortcut.filter(|shortcut| *shortcut != input);
        let [read, added, output, placed] = arena.borrow([
            self.source(input),
            apart.map_or(0..0, |source| self.source(source)),
            self.range(output),
            placed.map_or(0..0, |placed| self.range(placed)),
        ]);
        let values = if input == Source::Images { self.images } else { read };
        let shortcut = shortcut.map(|source| match source {
            // Around a single op, what it adds is what it reads.
            source if source == input => values,
            Source::Images => self.images,
            Source::Buffer(_) => added,
        });
        compute(self.threads, &self.plan.steps[index], &self.folded[index], (values, shortcut), (output, placed));
    }
}

fn compute(
    threads: &Threads,
    step: &Step,
    folded: &Folded,
    (input, shortcut): (&[f32], Option<&[f32]>),
    (output, placed): (&mut [f32], &mut [f32]),
) {
    let finish = Finish { bias: &folded.bias, activation: step.activation(), shortcut };
    match &step.kernel {
        Kernel::Pointwise => pointwise::forward(threads, folded, input, finish, output),
        Kernel::Depthwise(depthwise) => depthwise.forward(threads, folded, input, finish, output),
        Kernel::Dense(dense) => dense.forward(threads, folded, input, finish, output),
        Kernel::Winograd(winograd) => winograd.forward(threads, folded, input, finish, output),
        Kernel::MaxPool(pooling) => pooling.forward(threads, input, output),
        Kernel::Pool => head::pool(input, step.input.pixels(), step.input.channels, output),
        Kernel::Embed(embedding) => {
            embedding.place(folded, placed);
            embedding.forward(threads, folded, input, placed, output);
        }
        Kernel::Linear(linear) => linear::forward(threads, &linear.entry, folded, input, finish, output),
        Kernel::Attention(attention) => attention.forward(threads, input, output),
        Kernel::ClassToken => folded.norm.take(input, step.input.pixels(), output),
    }
}
