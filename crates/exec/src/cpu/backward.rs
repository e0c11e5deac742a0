//! A pass forward and backward over some of a batch's images.

use super::arena::Arena;
use super::finish::Upstream;
use super::fold::{Direction, inverse_deviation, permute};
use super::forward::Context;
use super::head::{self, Tally};
use super::matmul::{Onto, View, matmul};
use super::plan::Kernel;
use super::pointwise;
use super::schedule::{Buffer, Source, Task};
use super::share::Backward;
use fieldfit_model::Params;
use fieldfit_nets::{Activation, Conv, Head, Op};

/// What a pass reads and writes beside its [`Context`].
pub(super) struct Pass<'a> {
    pub context: Context<'a>,
    pub params: &'a Params<f32>,
    pub labels: &'a [u32],
    /// Images of the whole batch, over which the loss is the mean.
    pub batch: usize,
    pub arena: &'a mut Arena,
    pub scratch: &'a mut Vec<f32>,
    /// Tensors without room here are frozen.
    pub gradients: &'a mut Params<f32>,
    /// Whether this is the batch's first pass, whose gradients are written, or another one, whose are added.
    pub onto: Onto,
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
    kernel: Option<[Buffer; 2]>,
}

impl Pass<'_> {
    /// Every task of the schedule.
    pub fn run(&mut self, head: &Head) {
        // Of the gradient that travels down: its sum over pixels for each channel.
        let mut sums = Vec::new();
        for task in &self.context.schedule.tasks {
            match *task {
                Task::Forward { step, input, shortcut, output } => {
                    self.context.forward(self.arena, step, (input, shortcut), output);
                }
                Task::Head { features, logits, gradient } => self.head(head, features, logits, gradient),
                Task::Backward { step, input, gradient, target, shortcut, kernel } => {
                    sums = self.descend(&Descent { index: step, input, gradient, target, shortcut, kernel }, &sums);
                }
            }
        }
    }

    /// The loss, the gradients of the classifier's tensors where they train, and the features' gradient.
    fn head(&mut self, head: &Head, features: Buffer, logits: Buffer, gradient: Option<Buffer>) {
        let rows = self.context.count;
        let range = |buffer| self.context.range(buffer);
        let [features, logits, gradient] =
            self.arena.borrow([range(features), range(logits), gradient.map_or(0..0, range)]);
        let weight = &self.params[head.weight];
        head::classify(features, weight, &self.params[head.bias], logits);
        self.tally.add(logits, self.labels, head.classes, self.batch);
        let residual = View::new(logits, rows, head.classes);
        if self.gradients.contains(head.weight) {
            let features = View::new(features, rows, head.features);
            matmul(residual.transposed(), features, &mut self.gradients[head.weight], self.onto);
        }
        if self.gradients.contains(head.bias) {
            let sum = |class: usize| logits.iter().skip(class).step_by(head.classes).sum();
            put(&mut self.gradients[head.bias], (0..head.classes).map(sum), self.onto);
        }
        if !gradient.is_empty() {
            matmul(residual, View::new(weight, head.classes, head.features), gradient, Onto::Fresh);
        }
    }

    /// One step: its tensors' gradients, and what goes further down; returns the latter's sums over pixels.
    fn descend(&mut self, descent: &Descent, sums: &[f64]) -> Vec<f64> {
        let Context { threads, plan, folded, images, .. } = self.context;
        let Descent { index, input, gradient, target, shortcut, kernel } = *descent;
        let (step, folded) = (&plan.steps[index], &folded[index]);
        let range = |buffer| self.context.range(buffer);
        let optional = |buffer: Option<Buffer>| buffer.map_or(0..0, range);
        let apart = shortcut.filter(|shortcut| *shortcut != gradient);
        let [ours, checkpoint] = kernel.map_or([None; 2], |kernel| kernel.map(Some));
        let [read, downward, below, brought, ours, checkpoint] = self.arena.borrow([
            self.context.source(input),
            range(gradient),
            optional(target),
            optional(apart),
            optional(ours),
            optional(checkpoint),
        ]);
        let (downward, brought) = (&*downward, &*brought);
        let values = if input == Source::Images { images } else { read };
        let upstream = target.is_some().then(|| {
            let activation = index.checked_sub(1).map_or(Activation::Identity, |i| plan.steps[i].activation());
            // Around a single op, the shortcut brings the gradient that the op itself starts from.
            let shortcut = shortcut.map(|buffer| if buffer == gradient { downward } else { brought });
            (below, Upstream { input: values, activation, shortcut })
        });
        let Op::Conv(conv) = &step.op else {
            let (pixels, channels) = (step.input.pixels(), step.input.channels);
            return upstream.map_or_else(Vec::new, |(target, upstream)| {
                head::pool_backward(threads, downward, pixels, channels, target, &upstream)
            });
        };
        let wanted = kernel.is_some();
        let pass = Backward { gradient: downward, input: values, kernel: wanted.then_some(&mut *ours), upstream };
        let below = match step.kernel(*conv) {
            Kernel::Pointwise => pointwise::backward(threads, folded, pass, self.scratch),
            Kernel::Depthwise(depthwise) => depthwise.backward(threads, folded, pass, self.scratch),
            Kernel::Dense(dense) => dense.backward(threads, folded, pass, self.scratch),
        };
        if wanted {
            permute(conv, ours, checkpoint, Direction::ToCheckpoint);
        }
        let unscaled = wanted.then_some(&*checkpoint);
        tensor_gradients(self.gradients, self.onto, self.params, conv, (unscaled, &folded.scale, sums));
        below
    }
}

/// From the gradient G of the unscaled kernel, s and Σdz to the gradients of kernel, scale and shift.
fn tensor_gradients(
    gradients: &mut Params<f32>,
    onto: Onto,
    params: &Params<f32>,
    conv: &Conv,
    (unscaled, scale, sums): (Option<&[f32]>, &[f32], &[f64]),
) {
    let row = super::plan::weight_len(conv) / conv.output;
    if let Some(unscaled) = unscaled.filter(|_| gradients.contains(conv.norm.scale)) {
        let rows = unscaled.chunks_exact(row).zip(params[conv.weight].chunks_exact(row));
        let norms = params[conv.norm.mean].iter().zip(&params[conv.norm.variance]);
        let values = rows.zip(norms).zip(sums).map(|(((unscaled, weight), (mean, variance)), sum)| {
            let inverse = f64::from(inverse_deviation(conv, *variance));
            ((dot(weight, unscaled) - f64::from(*mean) * sum) * inverse) as f32
        });
        put(&mut gradients[conv.norm.scale], values, onto);
    }
    if let Some(unscaled) = unscaled.filter(|_| gradients.contains(conv.weight)) {
        let targets = gradients[conv.weight].chunks_exact_mut(row);
        for ((target, unscaled), scale) in targets.zip(unscaled.chunks_exact(row)).zip(scale) {
            put(target, unscaled.iter().map(|value| scale * value), onto);
        }
    }
    if gradients.contains(conv.norm.shift) {
        put(&mut gradients[conv.norm.shift], sums.iter().map(|sum| *sum as f32), onto);
    }
}

/// Writes the values over the targets, or adds them.
fn put(targets: &mut [f32], values: impl Iterator<Item = f32>, onto: Onto) {
    match onto {
        Onto::Fresh => targets.iter_mut().zip(values).for_each(|(target, value)| *target = value),
        Onto::Sum => targets.iter_mut().zip(values).for_each(|(target, value)| *target += value),
    }
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}
