//! Everything that a pass does, in order, and where in memory each of its buffers lies: known before it starts.
//!
//! A buffer lives from the first task that names it to the last, and buffers that never live together may share memory.
//! The largest are placed first, each at the lowest place that is free all its life (greedy by size: Pisarchyk and Lee,
//! "Efficient memory management for deep neural net inference", arXiv 2001.03288).

use super::arena::LINE;
use super::plan::{Kernel, Plan, weight_len};
use fieldfit_nets::{Entry, Head, Linear, Op};
use fieldfit_tensor::TensorId;
use std::ops::Range;

/// A buffer of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer(usize);

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The images, which are lent.
    Images,
    /// Another step's output.
    Buffer(Buffer),
}

/// One thing to do. Steps are by position in [`Plan::steps`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// A step of the plan.
    Forward {
        step: usize,
        input: Source,
        shortcut: Option<Source>,
        output: Buffer,
        /// What each token has beside its patch, where the step embeds.
        placed: Option<Buffer>,
    },
    /// Logits, the loss, the head's gradients, and that of the features where something below the head trains.
    Head { features: Buffer, logits: Buffer, gradient: Option<Buffer> },
    /// A step's gradients.
    Backward {
        step: usize,
        input: Source,
        /// The gradient ahead of the step's activation.
        gradient: Buffer,
        /// The same of the step that writes the input, where something below this step trains; a projection's is that of
        /// the input itself.
        target: Option<Buffer>,
        /// The gradient that a shortcut brings to the step's input.
        shortcut: Option<Buffer>,
        /// The gradient of the unscaled kernel, where the scale trains and the kernel, whose gradient's room it would have,
        /// doesn't.
        kernel: Option<Buffer>,
        /// What goes into the step's product, where that isn't the input and the product's kernel has a gradient.
        entered: Option<Buffer>,
    },
}

impl Task {
    /// The buffers that it reads or writes.
    fn buffers(&self) -> impl Iterator<Item = Buffer> {
        let read = |source| if let Source::Buffer(buffer) = source { Some(buffer) } else { None };
        let named = match *self {
            Self::Forward { input, shortcut, output, placed, .. } => {
                [read(input), shortcut.and_then(read), Some(output), placed, None, None]
            }
            Self::Head { features, logits, gradient } => [Some(features), Some(logits), gradient, None, None, None],
            Self::Backward { input, gradient, target, shortcut, kernel, entered, .. } => {
                [read(input), Some(gradient), target, shortcut, kernel, entered]
            }
        };
        named.into_iter().flatten()
    }
}

/// Where a buffer lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    size: Size,
}

/// How many values a buffer has.
#[derive(Debug, Clone, Copy)]
enum Size {
    /// That many an image.
    Image(usize),
    /// That many in all.
    Whole(usize),
}

impl Size {
    const fn of(self, images: usize) -> usize {
        match self {
            Self::Image(len) => len * images,
            Self::Whole(len) => len,
        }
    }
}

/// The tasks of a pass over up to a fixed number of images.
pub(super) struct Schedule {
    pub tasks: Vec<Task>,
    /// What the last step leaves.
    pub features: Source,
    places: Vec<Place>,
    len: usize,
    images: usize,
}

impl Schedule {
    /// Forward alone.
    pub fn inference(plan: &Plan, images: usize) -> Self {
        let mut writer = Writer::default();
        let activations = writer.forward(plan);
        writer.place(activations[plan.steps.len()], images)
    }

    /// Forward and backward, for the tensors that train. Of the first `recomputed` stages only their inputs are kept
    /// for the backward pass, which computes what is inside them again.
    pub fn training(
        plan: &Plan,
        head: Head,
        trains: &dyn Fn(TensorId) -> bool,
        recomputed: usize,
        images: usize,
    ) -> Self {
        let mut writer = Writer::default();
        let activations = writer.forward(plan);
        let features = activations[plan.steps.len()];
        let wanted = plan.wanted(trains);
        if let Some(gradient) = writer.head(head, features, wanted[plan.steps.len()]) {
            let mut gradients = vec![None; activations.len()];
            gradients[plan.steps.len()] = Some(gradient);
            let mut descent = Descent { plan, wanted, trains, activations, gradients };
            writer.backward(&mut descent, recomputed);
        }
        writer.place(features, images)
    }

    /// Images at once, at most.
    pub const fn images(&self) -> usize {
        self.images
    }

    /// Values that its arena must have room for.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Where a buffer lies in the arena in a pass over that many images.
    pub fn range(&self, buffer: Buffer, images: usize) -> Range<usize> {
        let Place { start, size } = self.places[buffer.0];
        start..start + size.of(images)
    }
}

/// A backward pass on its way down.
struct Descent<'a> {
    plan: &'a Plan,
    /// Which activations' gradients are.
    wanted: Vec<bool>,
    trains: &'a dyn Fn(TensorId) -> bool,
    activations: Vec<Source>,
    /// Of each activation what is there of its gradient: once the step that writes it is reached, the gradient ahead of
    /// that step's activation; before that, what a shortcut brings.
    gradients: Vec<Option<Buffer>>,
}

/// Writes a schedule down.
#[derive(Default)]
struct Writer {
    tasks: Vec<Task>,
    sizes: Vec<Size>,
}

impl Writer {
    fn buffer(&mut self, size: Size) -> Buffer {
        self.sizes.push(size);
        Buffer(self.sizes.len() - 1)
    }

    /// Every step; returns every activation.
    fn forward(&mut self, plan: &Plan) -> Vec<Source> {
        let mut activations = vec![Source::Images];
        for step in 0..plan.steps.len() {
            let output = self.step(plan, step, &activations);
            activations.push(output);
        }
        activations
    }

    /// One step forward, into a buffer of its own.
    fn step(&mut self, plan: &Plan, step: usize, activations: &[Source]) -> Source {
        let output = self.buffer(Size::Image(plan.steps[step].output.len()));
        let shortcut = plan.steps[step].shortcut.map(|position| activations[position]);
        let placed = if let Kernel::Embed(embedding) = &plan.steps[step].kernel {
            Some(self.buffer(Size::Whole(embedding.placed_len())))
        } else {
            None
        };
        self.tasks.push(Task::Forward { step, input: activations[plan.steps[step].reads], shortcut, output, placed });
        Source::Buffer(output)
    }

    /// Returns the gradient of the features, if that is wanted.
    fn head(&mut self, head: Head, features: Source, is_wanted: bool) -> Option<Buffer> {
        // A network without steps has no features but its images, which no head takes.
        let Source::Buffer(features) = features else { return None };
        let logits = self.buffer(Size::Image(head.classes));
        let gradient = is_wanted.then(|| self.buffer(Size::Image(head.features)));
        self.tasks.push(Task::Head { features, logits, gradient });
        gradient
    }

    /// Stage by stage from the top, as far down as gradients are wanted.
    fn backward(&mut self, descent: &mut Descent<'_>, recomputed: usize) {
        let plan = descent.plan;
        for (index, stage) in plan.stages.iter().enumerate().rev() {
            if !descent.wanted[stage.last + 1] {
                return;
            }
            let steps = (stage.first..=stage.last).filter(|&step| !plan.steps[step].is_projection);
            if index < recomputed {
                for step in steps.clone().filter(|&step| step < stage.last) {
                    descent.activations[step + 1] = self.step(plan, step, &descent.activations);
                }
            }
            for step in steps.rev() {
                if let Some(gradient) = descent.gradients[step + 1] {
                    self.shortcut(descent, step, gradient);
                    self.descend(descent, step, gradient);
                }
            }
        }
    }

    /// Passes a step's gradient to what its shortcut adds. A projection's comes ahead of the step's own, whose channels'
    /// sums it shares.
    fn shortcut(&mut self, descent: &mut Descent<'_>, step: usize, gradient: Buffer) {
        let added = descent.plan.steps[step].shortcut.filter(|&activation| descent.wanted[activation]);
        let Some(activation) = added else { return };
        match descent.plan.writer(activation) {
            Some(writer) if writer.is_projection => self.descend(descent, activation - 1, gradient),
            _ => descent.gradients[activation] = Some(gradient),
        }
    }

    /// One step's gradients, that of its input among them if it is wanted.
    fn descend(&mut self, descent: &mut Descent<'_>, index: usize, gradient: Buffer) {
        let step = &descent.plan.steps[index];
        let is_wanted = descent.wanted[step.reads];
        let has_target = is_wanted || trains_norm_ahead(&step.op, descent.trains);
        let target = has_target.then(|| self.buffer(Size::Image(step.input.len())));
        let shortcut = descent.gradients[step.reads].filter(|_| target.is_some());
        let kernel = self.kernel(&step.op, descent.trains);
        let is_entered = has_entry_to_keep(&step.op, descent.trains);
        let entered = is_entered.then(|| self.buffer(Size::Image(step.input.len())));
        let input = descent.activations[step.reads];
        self.tasks.push(Task::Backward { step: index, input, gradient, target, shortcut, kernel, entered });
        descent.gradients[step.reads] = target.filter(|_| is_wanted);
    }

    /// Room for the gradient of the unscaled kernel.
    fn kernel(&mut self, op: &Op, trains: &dyn Fn(TensorId) -> bool) -> Option<Buffer> {
        let (weight, scale, len) = match op {
            Op::Conv(conv) => (conv.weight, conv.norm.scale, weight_len(conv)),
            Op::Linear(Linear { weight, scale: Some(scale), input, output, .. }) => (*weight, *scale, input * output),
            _ => return None,
        };
        (trains(scale) && !trains(weight)).then(|| self.buffer(Size::Whole(len)))
    }

    /// Finds every buffer a place.
    fn place(self, features: Source, images: usize) -> Schedule {
        let lives = self.lives();
        let Self { tasks, sizes } = self;
        let room = |index: usize| sizes[index].of(images).next_multiple_of(LINE);
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(room(index)));
        let mut places: Vec<Place> = sizes.iter().map(|&size| Place { start: 0, size }).collect();
        for (done, &index) in order.iter().enumerate() {
            let beside = order[..done].iter().filter(|&&other| lives[other].overlaps(lives[index]));
            let mut taken: Vec<Range<usize>> =
                beside.map(|&other| places[other].start..places[other].start + room(other)).collect();
            taken.sort_by_key(|taken| taken.start);
            places[index].start = lowest_gap(&taken, room(index));
        }
        let len = (0..sizes.len()).map(|index| places[index].start + room(index)).max().unwrap_or(0);
        Schedule { tasks, features, places, len, images }
    }

    /// From when to when each buffer is named.
    fn lives(&self) -> Vec<Life> {
        let mut lives = vec![Life { first: usize::MAX, last: 0 }; self.sizes.len()];
        for (time, task) in self.tasks.iter().enumerate() {
            for Buffer(index) in task.buffers() {
                let life = &mut lives[index];
                (life.first, life.last) = (life.first.min(time), time);
            }
        }
        lives
    }
}

/// Whether a norm that comes first in an op has gradients, which need that of the op's input to be made.
fn trains_norm_ahead(op: &Op, trains: &dyn Fn(TensorId) -> bool) -> bool {
    match op {
        Op::Linear(Linear { entry: Entry::LayerNorm(norm), .. }) => trains(norm.scale) || trains(norm.shift),
        Op::ClassToken(token) => trains(token.norm.scale) || trains(token.norm.shift),
        _ => false,
    }
}

/// Whether what goes into an op's product is wanted for a gradient, and isn't the op's input.
fn has_entry_to_keep(op: &Op, trains: &dyn Fn(TensorId) -> bool) -> bool {
    match op {
        Op::Linear(Linear { entry, weight, scale, .. }) => {
            *entry != Entry::AsItIs && (trains(*weight) || scale.is_some_and(trains))
        }
        _ => false,
    }
}

/// The first and the last task that name a buffer.
#[derive(Debug, Clone, Copy)]
struct Life {
    first: usize,
    last: usize,
}

impl Life {
    const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The lowest start of that many values that touch none of the ranges, which are sorted by their starts.
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
