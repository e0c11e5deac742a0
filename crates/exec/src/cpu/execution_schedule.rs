//! Execution schedule: the tasks of a pass in order, and the arena offset of each buffer, planned before the pass.
//!
//! A buffer is live from the first task that uses it to the last; buffers with disjoint live ranges may share memory.
//! The largest buffers are allocated first, each at the lowest offset that is free during its live range (greedy by
//! size: Pisarchyk and Lee, "Efficient memory management for deep neural net inference", arXiv 2001.03288).

use super::arena::LINE;
use super::execution_plan::{ExecutionPlan, Step};
use fieldfit_nets::{Activation, Function, Head};
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

/// Task of a schedule. `step` is an index of [`ExecutionPlan::steps`], `value` one of its activations.
#[derive(Debug, Clone)]
pub(super) enum ExecutionTask {
    /// Computes a step's output.
    Forward(ForwardTask),
    /// Computes logits, loss, the head's gradients, and the features' gradient if a tensor below the head is trained.
    Head { features: BufferId, logits: BufferId, gradient: Option<BufferId> },
    /// Computes the loss of a dense network's output, its logits, which the loss's gradient replaces: no step reads its own
    /// output there, see [`fieldfit_nets::Graph::dense_head`].
    DenseLoss { logits: BufferId },
    /// Computes the gradient of one input of a step and, with the first, those of its tensors.
    Backward(BackwardTask),
    /// Adds two gradients of a value, or takes one, and completes the value's gradient if no other is to come.
    Join(JoinTask),
}

/// Operands of [`ExecutionTask::Forward`].
#[derive(Debug, Clone)]
pub(super) struct ForwardTask {
    pub step: usize,
    pub inputs: Box<[Source]>,
    /// The value that it writes: the step's, or that of the function which ends it.
    pub value: usize,
    pub output: BufferId,
    /// See [`Kernel::forward_buffer`](super::op::Kernel::forward_buffer).
    pub buffer: Option<BufferId>,
    /// See [`Forward::function`](super::op::Forward::function).
    pub function: Option<Function>,
}

/// Operands of [`ExecutionTask::Backward`].
#[derive(Debug, Clone, Copy)]
pub(super) struct BackwardTask {
    pub step: usize,
    /// Position among the step's inputs.
    pub input_index: usize,
    pub input: Option<Source>,
    pub other_input: Option<Source>,
    pub output: Option<Source>,
    /// The gradient before the step's activation.
    pub gradient: BufferId,
    /// The value whose gradient has the same sums over pixels: the step's output, or one that passed its gradient on.
    pub sums: usize,
    /// The input's gradient, if a tensor below this step is trained.
    pub target: Option<BufferId>,
    /// What other readers of the input brought so far.
    pub brought: Option<BufferId>,
    /// Whether no other reader's gradient is to come: then the target is the gradient before the activation of the step that
    /// writes the input.
    pub ends: bool,
    /// The gradient of the unscaled kernel, if the scale is trained and the kernel is not.
    pub kernel: Option<BufferId>,
    /// The output of the prologue, if the weight's gradient needs it.
    pub prologue_output: Option<BufferId>,
}

impl BackwardTask {
    /// Creates the task of a step without inputs.
    const fn of_tensors(step: usize, gradient: BufferId, sums: usize) -> Self {
        Self {
            step,
            input_index: 0,
            input: None,
            other_input: None,
            output: None,
            gradient,
            sums,
            target: None,
            brought: None,
            ends: false,
            kernel: None,
            prologue_output: None,
        }
    }
}

/// Operands of [`ExecutionTask::Join`].
#[derive(Debug, Clone, Copy)]
pub(super) struct JoinTask {
    pub value: usize,
    /// The value itself, if its activation's slope follows from it.
    pub values: Option<Source>,
    pub gradient: BufferId,
    /// What other readers of the value brought so far.
    pub brought: Option<BufferId>,
    pub target: BufferId,
    /// See [`BackwardTask::ends`].
    pub ends: bool,
}

impl ExecutionTask {
    /// Iterates over the buffers that the task reads or writes.
    fn buffers(&self) -> impl Iterator<Item = BufferId> {
        let read = |source| if let Source::Buffer(buffer) = source { Some(buffer) } else { None };
        let (listed, named): (&[Source], [Option<BufferId>; 8]) = match self {
            Self::Forward(ForwardTask { inputs, output, buffer, .. }) => {
                (inputs, [Some(*output), *buffer, None, None, None, None, None, None])
            }
            Self::Head { features, logits, gradient } => {
                (&[], [Some(*features), Some(*logits), *gradient, None, None, None, None, None])
            }
            Self::DenseLoss { logits } => (&[], [Some(*logits), None, None, None, None, None, None, None]),
            Self::Backward(task) => {
                let BackwardTask {
                    input, other_input, output, gradient, target, brought, kernel, prologue_output, ..
                } = *task;
                let [input, other_input, output] = [input, other_input, output].map(|source| source.and_then(read));
                (&[], [input, other_input, output, Some(gradient), target, brought, kernel, prologue_output])
            }
            Self::Join(JoinTask { values, gradient, brought, target, .. }) => {
                (&[], [values.and_then(read), Some(*gradient), *brought, Some(*target), None, None, None, None])
            }
        };
        listed.iter().copied().filter_map(read).chain(named.into_iter().flatten())
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
        let mut activations = vec![Source::Images];
        for (step, function) in plan.ending_functions().into_iter().enumerate() {
            let output = match function {
                Some(function) => builder.end_with(step, function),
                None => builder.step(plan, step, &activations),
            };
            activations.push(output);
        }
        builder.allocate(activations[plan.steps.len()], images)
    }

    /// Schedules a forward and backward pass for the trained tensors. The backward pass recomputes the first
    /// `recomputed` sections from the values that enter them.
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
            let mut descent = Descent::new(plan, trains, needs_gradient, activations);
            descent.gradients[plan.steps.len()] = Some(gradient);
            builder.backward(&mut descent, recomputed);
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
struct Descent<'a> {
    plan: &'a ExecutionPlan,
    trains: &'a dyn Fn(TensorId) -> bool,
    /// Values whose gradients are computed.
    needs_gradient: Vec<bool>,
    activations: Vec<Source>,
    /// The sum of the gradients that the readers of each value have brought; complete once no reader remains.
    gradients: Vec<Option<BufferId>>,
    /// The value whose gradient has the same sums over pixels.
    sums: Vec<usize>,
    /// Readers of each value whose gradient is to come.
    remaining: Vec<usize>,
}

impl<'a> Descent<'a> {
    fn new(
        plan: &'a ExecutionPlan,
        trains: &'a dyn Fn(TensorId) -> bool,
        needs_gradient: Vec<bool>,
        activations: Vec<Source>,
    ) -> Self {
        let mut remaining = vec![0; activations.len()];
        for (step, _) in plan.steps.iter().zip(&needs_gradient[1..]).filter(|(_, needs_gradient)| **needs_gradient) {
            step.inputs.iter().for_each(|input| remaining[*input] += 1);
        }
        let (gradients, sums) = (vec![None; activations.len()], (0..activations.len()).collect());
        Self { plan, trains, needs_gradient, gradients, sums, activations, remaining }
    }
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

    /// Creates a buffer of that many values for all images together; none of 0 values.
    fn whole(&mut self, len: usize) -> Option<BufferId> {
        (len > 0).then(|| self.buffer(BufferSize::Whole(len)))
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
        let Step { inputs, output, kernel, .. } = &plan.steps[step];
        let output = self.buffer(BufferSize::Image(output.len()));
        let buffer = self.whole(kernel.forward_buffer());
        let inputs = inputs.iter().map(|input| activations[*input]).collect();
        let (value, function) = (step + 1, None);
        self.tasks.push(ExecutionTask::Forward(ForwardTask { step, inputs, value, output, buffer, function }));
        Source::Buffer(output)
    }

    /// Lets the last task end with the function of the step behind it, whose output it then writes.
    fn end_with(&mut self, step: usize, function: Function) -> Source {
        match self.tasks.last_mut() {
            Some(ExecutionTask::Forward(task)) => {
                (task.value, task.function) = (step + 1, Some(function));
                Source::Buffer(task.output)
            }
            _none_before => unreachable!("a function ends the task of the step before it"),
        }
    }

    /// Schedules the head; returns the buffer of the output's gradient if it is needed.
    fn head(&mut self, head: Head, features: Source, needs_gradient: bool) -> Option<BufferId> {
        // The features of a network without steps are its images, which no head accepts.
        let Source::Buffer(features) = features else { return None };
        if head.is_dense() {
            self.tasks.push(ExecutionTask::DenseLoss { logits: features });
            return needs_gradient.then_some(features);
        }
        let logits = self.buffer(BufferSize::Image(head.classes));
        let gradient = needs_gradient.then(|| self.buffer(BufferSize::Image(head.features)));
        self.tasks.push(ExecutionTask::Head { features, logits, gradient });
        gradient
    }

    /// Schedules the backward pass, section by section from the last, as far as gradients are needed.
    fn backward(&mut self, descent: &mut Descent<'_>, recomputed: usize) {
        let plan = descent.plan;
        for (index, section) in plan.sections.iter().enumerate().rev() {
            if !section.clone().any(|step| descent.needs_gradient[step + 1]) {
                continue;
            }
            if index < recomputed {
                for step in recomputed_steps(descent, section) {
                    descent.activations[step + 1] = self.step(plan, step, &descent.activations);
                }
            }
            for step in section.clone().rev() {
                if let Some(gradient) = descent.gradients[step + 1] {
                    self.backward_step(descent, step, gradient);
                }
            }
        }
    }

    /// Passes a step's gradient to its inputs, shortcuts first.
    fn backward_step(&mut self, descent: &mut Descent<'_>, index: usize, gradient: BufferId) {
        let step = &descent.plan.steps[index];
        let is_passed = |input: &usize| step.kernel.passes_gradient(*input);
        for input_index in (0..step.inputs.len()).filter(is_passed) {
            self.pass_gradient(descent, step.inputs[input_index], (index + 1, gradient));
        }
        if step.inputs.is_empty() {
            self.tasks.push(ExecutionTask::Backward(BackwardTask::of_tensors(
                index,
                gradient,
                descent.sums[index + 1],
            )));
        }
        let mut computes_tensors = true;
        for input_index in (0..step.inputs.len()).filter(|input| !is_passed(input)) {
            self.backward_input(descent, index, input_index, computes_tensors, gradient);
            computes_tensors = false;
        }
    }

    /// Hands a gradient to a value as it is: shared if nothing else is to be done with it.
    fn pass_gradient(&mut self, descent: &mut Descent<'_>, value: usize, (from, gradient): (usize, BufferId)) {
        descent.remaining[value] -= 1;
        if !descent.needs_gradient[value] {
            return;
        }
        let (ends, brought) = (descent.remaining[value] == 0, descent.gradients[value]);
        let is_masked = ends && descent.plan.activation(value) != Activation::Identity;
        descent.gradients[value] = if brought.is_none() && !is_masked {
            descent.sums[value] = descent.sums[from];
            Some(gradient)
        } else {
            descent.sums[value] = value;
            let len = value.checked_sub(1).map_or(0, |step| descent.plan.steps[step].output.len());
            let target = self.buffer(BufferSize::Image(len));
            let values = is_masked.then(|| descent.activations[value]);
            self.tasks.push(ExecutionTask::Join(JoinTask { value, values, gradient, brought, target, ends }));
            Some(target)
        };
    }

    /// Schedules the gradient of one input of a step, if it is needed, and, with the first, those of its tensors.
    fn backward_input(
        &mut self,
        descent: &mut Descent<'_>,
        index: usize,
        input_index: usize,
        computes_tensors: bool,
        gradient: BufferId,
    ) {
        let step = &descent.plan.steps[index];
        let value = step.inputs[input_index];
        descent.remaining[value] -= 1;
        let (needs_gradient, needs) = (descent.needs_gradient[value], step.kernel.needs(descent.trains));
        let trains = step.op.tensors().into_iter().any(descent.trains);
        let is_needed = needs_gradient || (computes_tensors && trains);
        if !is_needed {
            return;
        }
        let len = step.shapes[input_index].len();
        let target = (needs_gradient || needs.input_gradient).then(|| self.buffer(BufferSize::Image(len)));
        let ends = descent.remaining[value] == 0;
        let is_masked = ends && target.is_some() && descent.plan.activation(value) != Activation::Identity;
        let kernel = if computes_tensors { self.whole(needs.kernel) } else { None };
        let prologue_output = needs.prologue_output.then(|| self.buffer(BufferSize::Image(len)));
        let other = step.inputs.iter().enumerate().find(|(other, _)| *other != input_index);
        self.tasks.push(ExecutionTask::Backward(BackwardTask {
            step: index,
            input_index,
            input: (needs.input || is_masked).then(|| descent.activations[value]),
            other_input: other.filter(|_| needs.other_input).map(|(_, value)| descent.activations[*value]),
            output: needs.output.then(|| descent.activations[index + 1]),
            gradient,
            sums: descent.sums[index + 1],
            target,
            brought: descent.gradients[value].filter(|_| target.is_some()),
            ends,
            kernel,
            prologue_output,
        }));
        if needs_gradient {
            descent.gradients[value] = target;
            descent.sums[value] = value;
        }
    }

    /// Allocates every buffer in the arena.
    fn allocate(self, features: Source, images: usize) -> ExecutionSchedule {
        let live_ranges = self.live_ranges();
        let Self { tasks, sizes } = self;
        let lengths: Vec<usize> = sizes.iter().map(|size| size.of(images).next_multiple_of(LINE)).collect();
        let (starts, len) = allocate(&lengths, &live_ranges);
        let allocations = starts.into_iter().zip(sizes).map(|(start, size)| Allocation { start, size }).collect();
        ExecutionSchedule { tasks, features, allocations, len, images }
    }

    /// Returns the live range of each buffer.
    fn live_ranges(&self) -> Vec<LiveRange> {
        let mut live_ranges = vec![LiveRange::NONE; self.sizes.len()];
        for (time, task) in self.tasks.iter().enumerate() {
            for BufferId(index) in task.buffers() {
                live_ranges[index].extend(time);
            }
        }
        live_ranges
    }
}

/// Returns the steps of a section that its backward pass computes again: all but those whose values later sections read,
/// which were kept.
fn recomputed_steps(descent: &Descent<'_>, section: &Range<usize>) -> Vec<usize> {
    let steps = &descent.plan.steps;
    let is_kept = |step: usize| {
        step + 1 == steps.len() || steps[section.end..].iter().any(|later| later.inputs.contains(&(step + 1)))
    };
    // A value is needed if a step of the section reads it otherwise than as a shortcut.
    let is_read = |step: usize| {
        let reads = |later: &Step| {
            let read = |(index, input): (usize, &usize)| *input == step + 1 && !later.kernel.passes_gradient(index);
            later.inputs.iter().enumerate().any(read)
        };
        steps[step + 1..section.end].iter().any(reads)
    };
    let mut needed = vec![false; section.len()];
    for step in section.clone().rev() {
        needed[step - section.start] |= is_read(step);
        if needed[step - section.start] && !is_kept(step) {
            let inputs = steps[step].inputs.iter().filter_map(|value| value.checked_sub(1));
            inputs.filter(|input| section.contains(input)).for_each(|input| needed[input - section.start] = true);
        }
    }
    section.clone().filter(|step| needed[step - section.start] && !is_kept(*step)).collect()
}

/// Live range of a buffer: the first and the last task that use it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LiveRange {
    first: usize,
    last: usize,
}

impl LiveRange {
    /// The range of a buffer that no task uses.
    pub const NONE: Self = Self { first: usize::MAX, last: 0 };

    /// Adds a task, which must be later than those before.
    pub fn extend(&mut self, task: usize) {
        (self.first, self.last) = (self.first.min(task), task);
    }

    const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Returns the offset of each buffer, and the length of an arena that holds them: the largest first, each at the lowest
/// offset that is free during its live range.
pub(super) fn allocate(lengths: &[usize], live_ranges: &[LiveRange]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut starts = vec![0; lengths.len()];
    for (done, &index) in order.iter().enumerate() {
        let beside = order[..done].iter().filter(|&&other| live_ranges[other].overlaps(live_ranges[index]));
        let mut taken: Vec<Range<usize>> = beside.map(|&other| starts[other]..starts[other] + lengths[other]).collect();
        taken.sort_by_key(|taken| taken.start);
        starts[index] = lowest_gap(&taken, lengths[index]);
    }
    let len = starts.iter().zip(lengths).map(|(start, length)| start + length).max().unwrap_or(0);
    (starts, len)
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
