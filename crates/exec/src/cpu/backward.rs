//! A pass forward and backward over some of a batch's images.

use super::Classifier;
use super::arena::Arena;
use super::finish::{AsItIs, Upstream};
use super::fold::{Folded, inverse_deviation, put, to_checkpoint};
use super::forward::Context;
use super::head::{self, Tally};
use super::plan::{Kernel, Plan, Step};
use super::pointwise;
use super::product::{Onto, multiply, outer};
use super::schedule::{Buffer, Source, Task};
use super::share::Backward;
use super::threads::Threads;
use crate::Objective;
use fieldfit_model::Params;
use fieldfit_nets::{Activation, Head, Op};

/// What a pass reads and writes beside its [`Context`].
pub(super) struct Pass<'a> {
    pub context: Context<'a>,
    pub params: &'a Params<f32>,
    pub classifier: &'a Classifier,
    pub objective: &'a dyn Objective<f32>,
    /// Which image of the batch is this pass's first.
    pub first: usize,
    /// Images of the whole batch, over which the loss is the mean.
    pub batch: usize,
    pub arena: &'a mut Arena,
    pub scratch: &'a mut Vec<f32>,
    /// Tensors without room here are frozen. Those of kernels are of the unscaled ones, until [`scale`] ends them.
    pub gradients: &'a mut Params<f32>,
    /// Whether this is the batch's first pass, whose gradients are written, or another one, whose are added.
    pub onto: Onto,
    /// As [`terms`] made them.
    pub terms: &'a mut [Vec<f64>],
    /// The loss so far.
    pub tally: &'a mut Tally,
}

/// One step's part of a backward pass, as in [`Task::Backward`].
struct Descent {
    index: usize,
    input: Source,
    gradient: Buffer,
    target: Option<Buffer>,
    shortcut: Option<Buffer>,
    taps: Option<Buffer>,
    kernel: Option<Buffer>,
}

impl Pass<'_> {
    /// Every task of the schedule; `done` is told of each.
    pub fn run(&mut self, head: &Head, done: &mut impl FnMut(&Task)) {
        // Of the gradient that travels down: its sum over pixels for each channel.
        let mut sums = Vec::new();
        for task in &self.context.schedule.tasks {
            match *task {
                Task::Forward { step, input, shortcut, output } => {
                    self.context.forward(self.arena, step, (input, shortcut), output);
                }
                Task::Head { features, logits, gradient } => self.head(head, features, logits, gradient),
                Task::Backward { step, input, gradient, target, shortcut, taps, kernel } => {
                    let descent = Descent { index: step, input, gradient, target, shortcut, taps, kernel };
                    let below = self.descend(&descent, &sums);
                    // Of a projection, the step that it is added to has the same gradient, and comes next.
                    if !self.context.plan.steps[step].is_projection {
                        sums = below;
                    }
                }
            }
            done(task);
        }
    }

    /// The loss, the gradients of the classifier's tensors where they train, and the features' gradient.
    fn head(&mut self, head: &Head, features: Buffer, logits: Buffer, gradient: Option<Buffer>) {
        let range = |buffer| self.context.range(buffer);
        let [features, logits, gradient] =
            self.arena.borrow([range(features), range(logits), gradient.map_or(0..0, range)]);
        head::classify(features, &self.classifier.forward, &self.params[head.bias], logits);
        self.tally.add(self.objective, self.first, logits, head.classes, self.batch);
        if self.gradients.contains(head.weight) {
            let (residual, features) = ((&*logits, head.classes), (&*features, head.features));
            outer(residual, 0..head.classes, features, &mut self.gradients[head.weight], self.onto);
        }
        if self.gradients.contains(head.bias) {
            let sum = |class: usize| logits.iter().skip(class).step_by(head.classes).sum();
            put(&mut self.gradients[head.bias], (0..head.classes).map(sum), self.onto);
        }
        if !gradient.is_empty() {
            multiply(logits, &self.classifier.backward, 0, gradient, &mut AsItIs);
        }
    }

    /// One step: its tensors' gradients, and what goes further down; returns the latter's sums over pixels.
    fn descend(&mut self, descent: &Descent, sums: &[f64]) -> Vec<f64> {
        let Context { threads, plan, folded, images, .. } = self.context;
        let Descent { index, input, gradient, target, shortcut, taps, kernel } = *descent;
        let (step, folded) = (&plan.steps[index], &folded[index]);
        let range = |buffer| self.context.range(buffer);
        let optional = |buffer: Option<Buffer>| buffer.map_or(0..0, range);
        let apart = shortcut.filter(|shortcut| *shortcut != gradient);
        let [read, downward, below, brought, taps, kernel] = self.arena.borrow([
            self.context.source(input),
            range(gradient),
            optional(target),
            optional(apart),
            optional(taps),
            optional(kernel),
        ]);
        let (downward, brought) = (&*downward, &*brought);
        let values = if input == Source::Images { images } else { read };
        let upstream = target.is_some().then(|| {
            let writer = plan.writer(step.reads).filter(|_| !step.is_projection);
            let activation = writer.map_or(Activation::Identity, Step::activation);
            // Around a single op, the shortcut brings the gradient that the op itself starts from.
            let shortcut = shortcut.map(|buffer| if buffer == gradient { downward } else { brought });
            (below, Upstream { input: values, activation, shortcut })
        });
        let Op::Conv(conv) = &step.op else {
            return upstream.map_or_else(Vec::new, |upstream| pool_backward(threads, step, downward, upstream));
        };
        let (trains, onto) = (self.gradients.contains(conv.weight), self.onto);
        let below = {
            // A kernel that trains has its gradient summed up where it belongs; another one's is wanted for its scale.
            let (kernel, onto) =
                if trains { (&mut self.gradients[conv.weight], onto) } else { (&mut *kernel, Onto::Fresh) };
            let direct = if taps.is_empty() { (&mut *kernel, onto) } else { (&mut *taps, Onto::Fresh) };
            let wanted = (!direct.0.is_empty()).then_some(direct);
            let pass = Backward { gradient: downward, input: values, kernel: wanted, upstream };
            let below = match &step.kernel {
                Kernel::Pointwise => pointwise::backward(threads, folded, pass, self.scratch),
                Kernel::Depthwise(depthwise) => depthwise.backward(threads, folded, pass, self.scratch),
                Kernel::Dense(dense) => dense.backward(threads, folded, pass, self.scratch),
                Kernel::MaxPool(_) | Kernel::Pool => Vec::new(),
            };
            if !taps.is_empty() {
                to_checkpoint(conv, taps, kernel, onto);
            }
            below
        };
        for (channel, term) in self.terms[index].iter_mut().enumerate() {
            *term -= f64::from(self.params[conv.norm.mean][channel]) * sums[channel];
        }
        if !trains {
            add_products(&mut self.terms[index], &self.params[conv.weight], kernel);
        }
        if self.gradients.contains(conv.norm.shift) {
            put(&mut self.gradients[conv.norm.shift], sums.iter().map(|sum| *sum as f32), onto);
        }
        below
    }
}

/// The gradient of what a pool reads; returns its sums over pixels.
fn pool_backward(
    threads: &Threads,
    step: &Step,
    gradient: &[f32],
    (target, upstream): (&mut [f32], Upstream<'_>),
) -> Vec<f64> {
    match &step.kernel {
        Kernel::MaxPool(pooling) => pooling.backward(threads, gradient, target, &upstream),
        _ => head::pool_backward(threads, gradient, step.input.pixels(), step.input.channels, target, &upstream),
    }
}

/// Room for the `⟨W, G⟩ − μ·Σdz` of each step's channels whose scale trains.
pub(super) fn terms(plan: &Plan, gradients: &Params<f32>) -> Vec<Vec<f64>> {
    let room = |op: &Op| match op {
        Op::Conv(conv) => gradients[conv.norm.scale].len(),
        Op::MaxPool(_) | Op::GlobalAveragePool => 0,
    };
    plan.steps.iter().map(|step| vec![0.0; room(&step.op)]).collect()
}

/// Ends a batch: turns the gradients of unscaled kernels, summed over its parts, into those of the kernels, and gives
/// the scales theirs.
pub(super) fn scale(
    threads: &Threads,
    plan: &Plan,
    folded: &[Folded],
    params: &Params<f32>,
    terms: &mut [Vec<f64>],
    gradients: &mut Params<f32>,
) {
    let mut room: Vec<_> = gradients.buffers_mut().iter_mut().map(Vec::as_mut_slice).collect();
    let convolutions = plan.steps.iter().zip(folded).zip(terms).filter_map(|((step, folded), terms)| match &step.op {
        Op::Conv(conv) => {
            let [kernel, scale] = [conv.weight, conv.norm.scale].map(|id| std::mem::take(&mut room[id.index()]));
            Some((conv, folded, terms, kernel, scale))
        }
        Op::MaxPool(_) | Op::GlobalAveragePool => None,
    });
    threads.each(convolutions, |(conv, folded, terms, kernel, scale)| {
        add_products(terms, &params[conv.weight], kernel);
        let variances = params[conv.norm.variance].iter();
        for ((scale, term), variance) in scale.iter_mut().zip(terms).zip(variances) {
            *scale = (*term * f64::from(inverse_deviation(conv, *variance))) as f32;
        }
        let row = kernel.len() / conv.output;
        for (row, scale) in kernel.chunks_exact_mut(row.max(1)).zip(&folded.scale) {
            row.iter_mut().for_each(|value| *value *= scale);
        }
    });
}

/// Adds `⟨W, G⟩` of each channel, if there is a G.
fn add_products(terms: &mut [f64], weight: &[f32], unscaled: &[f32]) {
    let row = unscaled.len() / terms.len().max(1);
    let rows = weight.chunks_exact(row.max(1)).zip(unscaled.chunks_exact(row.max(1)));
    terms.iter_mut().zip(rows).for_each(|(term, (weight, unscaled))| *term += dot(weight, unscaled));
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}
