//! Execution schedule: the tasks of a pass in order, and the arena offset of each buffer, planned before the pass.
//!
//! A buffer is live from the first task that uses it to the last; buffers with disjoint live ranges may share memory.
//! The largest buffers are allocated first, each at the lowest offset that is free during its live range (greedy by
//! size: Pisarchyk and Lee, "Efficient memory management for deep neural net inference", arXiv 2001.03288).

use super::arena::LINE;
use super::execution_plan::{ExecutionPlan, Kernel, weight_len};
use fieldfit_nets::{Head, Linear, Op, Prologue};
use fieldfit_tensor::TensorId;
use std::ops::Range;

/// Identifier of a schedule's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BufferId(usize);

/// Input of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The images, which are outside the arena.
    Images,
    /// The output of another step.
    Buffer(BufferId),
}

/// Task of a schedule. `step` is an index of [`ExecutionPlan::steps`].
#[derive(Debug, Clone, Copy)]
pub(super) enum ExecutionTask {
    /// Computes a step's output.
    Forward {
        step: usize,
        input: Source,
        shortcut: Option<Source>,
        output: BufferId,
        /// Token bias, for a patch embedding.
        token_bias: Option<BufferId>,
    },
    /// Computes logits, loss, the head's gradients, and the features' gradient if a tensor below the head is trained.
    Head { features: BufferId, logits: BufferId, gradient: Option<BufferId> },
    /// Computes a step's gradients.
    Backward {
        step: usize,
        input: Source,
        /// The gradient before the step's activation.
        gradient: BufferId,
        /// The gradient before the activation of the step that writes the input, if a tensor below this step is
        /// trained; for a projection, the gradient of the input itself.
        target: Option<BufferId>,
        /// The gradient of a shortcut that reads the step's input.
        shortcut: Option<BufferId>,
        /// The gradient of the unscaled kernel, if the scale is trained and the kernel is not.
        kernel: Option<BufferId>,
        /// The output of the linear layer's prologue, if the weight's gradient needs it.
        prologue_output: Option<BufferId>,
    },
}

impl ExecutionTask {
    /// Iterates over the buffers that the task reads or writes.
    fn buffers(&self) -> impl Iterator<Item = BufferId> {
        let read = |source| if let Source::Buffer(buffer) = source { Some(buffer) } else { None };
        let named = match *self {
            Self::Forward { input, shortcut, output, token_bias, .. } => {
                [read(input), shortcut.and_then(read), Some(output), token_bias, None, None]
            }
            Self::Head { features, logits, gradient } => [Some(features), Some(logits), gradient, None, None, None],
            Self::Backward { input, gradient, target, shortcut, kernel, prologue_output, .. } => {
                [read(input), Some(gradient), target, shortcut, kernel, prologue_output]
            }
        };
        named.into_iter().flatten()
    }
}

/// Arena allocation of a buffer.
#[derive(Debug, Clone, Copy)]
struct Allocation {
    start: usize,
    size: BufferSize,
}

/// Size of a buffer, in values.
#[derive(Debug, Clone, Copy)]
enum BufferSize {
    /// Values per image.
    Image(usize),
    /// Values in total.
    Whole(usize),
}

impl BufferSize {
    const fn of(self, images: usize) -> usize {
        match self {
            Self::Image(len) => len * images,
            Self::Whole(len) => len,
        }
    }
}

/// Execution schedule of a pass over at most a fixed number of images.
pub(super) struct ExecutionSchedule {
    pub tasks: Vec<ExecutionTask>,
    /// The output of the last step.
    pub features: Source,
    allocations: Vec<Allocation>,
    len: usize,
    images: usize,
}

impl ExecutionSchedule {
    /// Schedules a forward pass.
    pub fn inference(plan: &ExecutionPlan, images: usize) -> Self {
        let mut builder = ScheduleBuilder::default();
        let activations = builder.forward(plan);
        builder.allocate(activations[plan.steps.len()], images)
    }

    /// Schedules a forward and backward pass for the trained tensors. The backward pass recomputes the first
    /// `recomputed` stages from their inputs.
    pub fn training(
        plan: &ExecutionPlan,
        head: Head,
        trains: &dyn Fn(TensorId) -> bool,
        recomputed: usize,
        images: usize,
    ) -> Self {
        let mut builder = ScheduleBuilder::default();
        let activations = builder.forward(plan);
        let features = activations[plan.steps.len()];
        let needs_gradient = plan.needs_gradient(trains);
        if let Some(gradient) = builder.head(head, features, needs_gradient[plan.steps.len()]) {
            let mut gradients = vec![None; activations.len()];
            gradients[plan.steps.len()] = Some(gradient);
            let mut state = BackwardState { plan, needs_gradient, trains, activations, gradients };
            builder.backward(&mut state, recomputed);
        }
        builder.allocate(features, images)
    }

    /// Maximum number of images per pass.
    pub const fn images(&self) -> usize {
        self.images
    }

    /// Values that the arena must hold.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns a buffer's arena range in a pass over that many images.
    pub fn range(&self, buffer: BufferId, images: usize) -> Range<usize> {
        let Allocation { start, size } = self.allocations[buffer.0];
        start..start + size.of(images)
    }
}

/// State while a backward pass is scheduled, from the last step to the first.
struct BackwardState<'a> {
    plan: &'a ExecutionPlan,
    /// Activations whose gradients are computed.
    needs_gradient: Vec<bool>,
    trains: &'a dyn Fn(TensorId) -> bool,
    activations: Vec<Source>,
    /// Gradient buffer of each activation: before the step that writes it is reached, the gradient of a shortcut; then
    /// the gradient before that step's activation.
    gradients: Vec<Option<BufferId>>,
}

/// Builder of a schedule: appends tasks, then allocates their buffers.
#[derive(Default)]
struct ScheduleBuilder {
    tasks: Vec<ExecutionTask>,
    sizes: Vec<BufferSize>,
}

impl ScheduleBuilder {
    fn buffer(&mut self, size: BufferSize) -> BufferId {
        self.sizes.push(size);
        BufferId(self.sizes.len() - 1)
    }

    /// Schedules every step; returns every activation.
    fn forward(&mut self, plan: &ExecutionPlan) -> Vec<Source> {
        let mut activations = vec![Source::Images];
        for step in 0..plan.steps.len() {
            let output = self.step(plan, step, &activations);
            activations.push(output);
        }
        activations
    }

    /// Schedules one step with a new output buffer.
    fn step(&mut self, plan: &ExecutionPlan, step: usize, activations: &[Source]) -> Source {
        let output = self.buffer(BufferSize::Image(plan.steps[step].output.len()));
        let shortcut = plan.steps[step].shortcut.map(|position| activations[position]);
        let token_bias = if let Kernel::Embed(embedding) = &plan.steps[step].kernel {
            Some(self.buffer(BufferSize::Whole(embedding.token_bias_len())))
        } else {
            None
        };
        self.tasks.push(ExecutionTask::Forward {
            step,
            input: activations[plan.steps[step].reads],
            shortcut,
            output,
            token_bias,
        });
        Source::Buffer(output)
    }

    /// Schedules the head; returns the buffer of the features' gradient if it is needed.
    fn head(&mut self, head: Head, features: Source, needs_gradient: bool) -> Option<BufferId> {
        // The features of a network without steps are its images, which no head accepts.
        let Source::Buffer(features) = features else { return None };
        let logits = self.buffer(BufferSize::Image(head.classes));
        let gradient = needs_gradient.then(|| self.buffer(BufferSize::Image(head.features)));
        self.tasks.push(ExecutionTask::Head { features, logits, gradient });
        gradient
    }

    /// Schedules the backward pass, stage by stage from the last, as far as gradients are needed.
    fn backward(&mut self, state: &mut BackwardState<'_>, recomputed: usize) {
        let plan = state.plan;
        for (index, stage) in plan.stages.iter().enumerate().rev() {
            if !state.needs_gradient[stage.last + 1] {
                return;
            }
            let steps = (stage.first..=stage.last).filter(|&step| !plan.steps[step].is_projection);
            if index < recomputed {
                for step in steps.clone().filter(|&step| step < stage.last) {
                    state.activations[step + 1] = self.step(plan, step, &state.activations);
                }
            }
            for step in steps.rev() {
                if let Some(gradient) = state.gradients[step + 1] {
                    self.shortcut(state, step, gradient);
                    self.backward_step(state, step, gradient);
                }
            }
        }
    }

    /// Passes a step's gradient to its shortcut. A projection is scheduled before the step itself, as it uses the same
    /// channel sums.
    fn shortcut(&mut self, state: &mut BackwardState<'_>, step: usize, gradient: BufferId) {
        let added = state.plan.steps[step].shortcut.filter(|&activation| state.needs_gradient[activation]);
        let Some(activation) = added else { return };
        match state.plan.producer(activation) {
            Some(producer) if producer.is_projection => self.backward_step(state, activation - 1, gradient),
            _ => state.gradients[activation] = Some(gradient),
        }
    }

    /// Schedules one step's gradients, including its input's if needed.
    fn backward_step(&mut self, state: &mut BackwardState<'_>, index: usize, gradient: BufferId) {
        let step = &state.plan.steps[index];
        let needs_gradient = state.needs_gradient[step.reads];
        let has_target = needs_gradient || trains_leading_norm(&step.op, state.trains);
        let target = has_target.then(|| self.buffer(BufferSize::Image(step.input.len())));
        let shortcut = state.gradients[step.reads].filter(|_| target.is_some());
        let kernel = self.kernel(&step.op, state.trains);
        let keeps_prologue_output = needs_prologue_output(&step.op, state.trains);
        let prologue_output = keeps_prologue_output.then(|| self.buffer(BufferSize::Image(step.input.len())));
        let input = state.activations[step.reads];
        self.tasks.push(ExecutionTask::Backward {
            step: index,
            input,
            gradient,
            target,
            shortcut,
            kernel,
            prologue_output,
        });
        state.gradients[step.reads] = target.filter(|_| needs_gradient);
    }

    /// Creates the buffer of the unscaled kernel's gradient if needed.
    fn kernel(&mut self, op: &Op, trains: &dyn Fn(TensorId) -> bool) -> Option<BufferId> {
        let (weight, scale, len) = match op {
            Op::Conv(conv) => (conv.weight, conv.norm.scale, weight_len(conv)),
            Op::Linear(Linear { weight, scale: Some(scale), input, output, .. }) => (*weight, *scale, input * output),
            _ => return None,
        };
        (trains(scale) && !trains(weight)).then(|| self.buffer(BufferSize::Whole(len)))
    }

    /// Allocates every buffer in the arena.
    fn allocate(self, features: Source, images: usize) -> ExecutionSchedule {
        let live_ranges = self.live_ranges();
        let Self { tasks, sizes } = self;
        let len_of = |index: usize| sizes[index].of(images).next_multiple_of(LINE);
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(len_of(index)));
        let mut allocations: Vec<Allocation> = sizes.iter().map(|&size| Allocation { start: 0, size }).collect();
        for (done, &index) in order.iter().enumerate() {
            let beside = order[..done].iter().filter(|&&other| live_ranges[other].overlaps(live_ranges[index]));
            let mut taken: Vec<Range<usize>> =
                beside.map(|&other| allocations[other].start..allocations[other].start + len_of(other)).collect();
            taken.sort_by_key(|taken| taken.start);
            allocations[index].start = lowest_gap(&taken, len_of(index));
        }
        let len = (0..sizes.len()).map(|index| allocations[index].start + len_of(index)).max().unwrap_or(0);
        ExecutionSchedule { tasks, features, allocations, len, images }
    }

    /// Returns the live range of each buffer.
    fn live_ranges(&self) -> Vec<LiveRange> {
        let mut live_ranges = vec![LiveRange { first: usize::MAX, last: 0 }; self.sizes.len()];
        for (time, task) in self.tasks.iter().enumerate() {
            for BufferId(index) in task.buffers() {
                let live_range = &mut live_ranges[index];
                (live_range.first, live_range.last) = (live_range.first.min(time), time);
            }
        }
        live_ranges
    }
}

/// Whether an op starts with a trained norm, whose gradients require the op's input gradient.
fn trains_leading_norm(op: &Op, trains: &dyn Fn(TensorId) -> bool) -> bool {
    match op {
        Op::Linear(Linear { prologue: Prologue::LayerNorm(norm), .. }) => trains(norm.scale) || trains(norm.shift),
        Op::ClassToken(token) => trains(token.norm.scale) || trains(token.norm.shift),
        _ => false,
    }
}

/// Whether the weight's gradient needs the output of a prologue other than the identity.
fn needs_prologue_output(op: &Op, trains: &dyn Fn(TensorId) -> bool) -> bool {
    match op {
        Op::Linear(Linear { prologue, weight, scale, .. }) => {
            *prologue != Prologue::Identity && (trains(*weight) || scale.is_some_and(trains))
        }
        _ => false,
    }
}

/// Live range of a buffer: the first and the last task that use it.
#[derive(Debug, Clone, Copy)]
struct LiveRange {
    first: usize,
    last: usize,
}

impl LiveRange {
    const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Returns the lowest offset of a gap of that many values between ranges sorted by their starts.
fn lowest_gap(taken: &[Range<usize>], len: usize) -> usize {
    let mut start = 0;
    for taken in taken {
        if taken.start >= start + len {
            break;
        }
        start = start.max(taken.end);
    }
    start
}
