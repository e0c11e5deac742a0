//! A pass forward and backward over some of a batch's images.

use super::Classifier;
use super::arena::Arena;
use super::finish::{AsItIs, Upstream};
use super::fold::{Folded, inverse_deviation, put, to_checkpoint};
use super::forward::Context;
use super::head::{self, Tally};
use super::linear;
use super::plan::{Kernel, Plan, Step};
use super::pointwise;
use super::product::{Onto, multiply, outer};
use super::schedule::{Buffer, Source, Task};
use super::share::Backward;
use super::threads::Threads;
use crate::Objective;
use fieldfit_nets::{Activation, ClassToken, Conv, Entry, Head, LayerNorm, Linear, Op, Shape};
use fieldfit_tensor::Params;

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
    /// Tensors without room here are frozen. Those of kernels are of the unscaled ones, in our order, until [`scale`] ends
    /// them.
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
    kernel: Option<Buffer>,
    entered: Option<Buffer>,
}

impl Pass<'_> {
    /// Every task of the schedule; `done` is told of each.
    pub fn run(&mut self, head: &Head, done: &mut impl FnMut(&Task)) {
        // Of the gradient that travels down: its sum over pixels for each channel.
        let mut sums = Vec::new();
        for task in &self.context.schedule.tasks {
            match *task {
                Task::Forward { step, input, shortcut, output, placed } => {
                    self.context.forward(self.arena, step, (input, shortcut), (output, placed));
                }
                Task::Head { features, logits, gradient } => self.head(head, features, logits, gradient),
                Task::Backward { step, input, gradient, target, shortcut, kernel, entered } => {
                    let descent = Descent { index: step, input, gradient, target, shortcut, kernel, entered };
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
        let Descent { index, input, gradient, target, shortcut, kernel, entered } = *descent;
        let (step, folded) = (&plan.steps[index], &folded[index]);
        let range = |buffer| self.context.range(buffer);
        let optional = |buffer: Option<Buffer>| buffer.map_or(0..0, range);
        let apart = shortcut.filter(|shortcut| *shortcut != gradient);
        let [read, downward, below, brought, kernel, entered] = self.arena.borrow([
            self.context.source(input),
            range(gradient),
            optional(target),
            optional(apart),
            optional(kernel),
            optional(entered),
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
        let tensors = Tensors { threads, folded, params: self.params, gradients: self.gradients, onto: self.onto };
        let apart = Apart { sums, terms: &mut self.terms[index], kernel, entered };
        let pass = Backward { gradient: downward, input: values, kernel: None, upstream };
        match (&step.op, &step.kernel) {
            (Op::Conv(conv), kernel) => tensors.conv(conv, kernel, pass, apart, self.scratch),
            (Op::Linear(linear), _) => tensors.linear(linear, pass, apart, self.scratch),
            (Op::ClassToken(token), _) => tensors.class_token(token, step.input, pass),
            (_, Kernel::Embed(embedding)) => {
                embedding.backward(threads, downward, values, tensors.gradients, tensors.onto);
                Vec::new()
            }
            (_, Kernel::Attention(attention)) => {
                pass.upstream.map_or_else(Vec::new, |(target, _)| attention.backward(threads, downward, values, target))
            }
            _ => pass.upstream.map_or_else(Vec::new, |upstream| pool_backward(threads, step, downward, upstream)),
        }
    }
}

/// What a step's backward pass has beside the gradients on their way down.
struct Apart<'a> {
    /// The sums over pixels of the gradient that it starts from.
    sums: &'a [f64],
    /// As [`terms`] made them.
    terms: &'a mut [f64],
    kernel: &'a mut [f32],
    entered: &'a mut [f32],
}

/// A network's tensors, and the room for their gradients.
struct Tensors<'a> {
    threads: &'a Threads,
    folded: &'a Folded,
    params: &'a Params<f32>,
    gradients: &'a mut Params<f32>,
    onto: Onto,
}

impl Tensors<'_> {
    /// One convolution: its tensors' gradients, and its input's; returns the latter's sums over pixels.
    fn conv(self, conv: &Conv, op: &Kernel, pass: Backward<'_>, apart: Apart<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
        let Self { threads, folded, params, gradients, onto } = self;
        let Apart { sums, terms, kernel, .. } = apart;
        let trains = gradients.contains(conv.weight);
        let below = {
            // A kernel that trains has its gradient summed up where it belongs; another one's is wanted for its scale.
            let (kernel, onto) = if trains { (&mut gradients[conv.weight], onto) } else { (&mut *kernel, Onto::Fresh) };
            let pass = Backward { kernel: (!kernel.is_empty()).then_some((&mut *kernel, onto)), ..pass };
            match op {
                Kernel::Pointwise => pointwise::backward(threads, folded, pass, scratch),
                Kernel::Depthwise(depthwise) => depthwise.backward(threads, folded, pass, scratch),
                Kernel::Dense(dense) => dense.backward(threads, folded, pass, scratch),
                Kernel::Winograd(winograd) => winograd.backward(threads, folded, pass, scratch),
                _ => Vec::new(),
            }
        };
        for (channel, term) in terms.iter_mut().enumerate() {
            *term -= f64::from(params[conv.norm.mean][channel]) * sums[channel];
        }
        if !trains {
            to_checkpoint(conv, kernel);
            add_products(terms, &params[conv.weight], kernel);
        }
        if gradients.contains(conv.norm.shift) {
            put(&mut gradients[conv.norm.shift], sums.iter().map(|sum| *sum as f32), onto);
        }
        below
    }

    /// One linear map: its tensors' gradients, and its input's; returns the latter's sums over tokens.
    ///
    /// With G the gradient of the weight W without LayerScale's γ, and b the bias: ∂L/∂W = γ·G, ∂L/∂b = γ·Σdy,
    /// ∂L/∂γ = ⟨W,G⟩ + b·Σdy. [`scale`] ends the first and the last.
    fn linear(self, linear: &Linear, pass: Backward<'_>, apart: Apart<'_>, scratch: &mut Vec<f32>) -> Vec<f64> {
        let Apart { sums, terms, kernel, entered, .. } = apart;
        let trains = self.gradients.contains(linear.weight);
        let input = if entered.is_empty() {
            pass.input
        } else {
            linear::enter_all(self.threads, &linear.entry, self.folded, pass.input, entered);
            entered
        };
        let wanted = if trains {
            Some((&mut self.gradients[linear.weight][..], self.onto))
        } else {
            (!kernel.is_empty()).then_some((&mut *kernel, Onto::Fresh))
        };
        let pass = Backward { input, kernel: wanted, ..pass };
        let descended = linear::backward(self.threads, &linear.entry, self.folded, pass, scratch);
        for ((term, bias), sum) in terms.iter_mut().zip(&self.params[linear.bias]).zip(sums) {
            *term += f64::from(*bias) * sum;
        }
        if !trains {
            add_products(terms, &self.params[linear.weight], kernel);
        }
        if self.gradients.contains(linear.bias) {
            let scale = |unit: usize| self.folded.scale.get(unit).map_or(1.0, |scale| f64::from(*scale));
            let scaled = sums.iter().enumerate().map(|(unit, sum)| (sum * scale(unit)) as f32);
            put(&mut self.gradients[linear.bias], scaled, self.onto);
        }
        if let (Entry::LayerNorm(norm), Some([scales, shifts])) = (&linear.entry, &descended.norm) {
            self.norm(norm, [scales, shifts]);
        }
        descended.sums
    }

    /// Every other token's gradient is zero.
    fn class_token(self, token: &ClassToken, input: Shape, pass: Backward<'_>) -> Vec<f64> {
        let Some((target, _)) = pass.upstream else { return Vec::new() };
        let [sums, scales] = self.folded.norm.take_backward(pass.gradient, pass.input, input.pixels(), target);
        self.norm(&token.norm, [&scales, &sums_of_rows(pass.gradient, token.width)]);
        sums
    }

    /// The gradients of a layer norm's γ and β, where they train.
    fn norm(self, norm: &LayerNorm, values: [&[f64]; 2]) {
        for (id, values) in [norm.scale, norm.shift].into_iter().zip(values) {
            if self.gradients.contains(id) {
                put(&mut self.gradients[id], values.iter().map(|value| *value as f32), self.onto);
            }
        }
    }
}

/// The sums over rows.
fn sums_of_rows(values: &[f32], width: usize) -> Vec<f64> {
    let sum = |column: usize| values.iter().skip(column).step_by(width).map(|value| f64::from(*value)).sum();
    (0..width).map(sum).collect()
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
        Op::Linear(Linear { scale: Some(scale), .. }) => gradients[*scale].len(),
        _ => 0,
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
    let products = plan.steps.iter().zip(folded).zip(terms).filter_map(|((step, folded), terms)| match &step.op {
        Op::Conv(conv) => {
            let [kernel, scale] = [conv.weight, conv.norm.scale].map(|id| std::mem::take(&mut room[id.index()]));
            Some((conv.weight, Some(conv), folded, terms, kernel, scale))
        }
        Op::Linear(Linear { weight, scale: Some(scale), .. }) => {
            let [kernel, scale] = [*weight, *scale].map(|id| std::mem::take(&mut room[id.index()]));
            Some((*weight, None, folded, terms, kernel, scale))
        }
        _ => None,
    });
    threads.each(products, |(weight, conv, folded, terms, kernel, scale)| {
        if let Some(conv) = conv.filter(|conv| conv.is_depthwise()) {
            to_checkpoint(conv, kernel);
        }
        // What is done to a row is done while it is in the cache.
        let len = (kernel.len() / folded.scale.len()).max(1);
        let rows = kernel.chunks_exact_mut(len).zip(params[weight].chunks_exact(len));
        for (unit, ((row, weight), scale)) in rows.zip(&folded.scale).enumerate() {
            if let Some(conv) = conv.filter(|conv| !conv.is_depthwise()) {
                to_checkpoint(conv, row);
            }
            if let Some(term) = terms.get_mut(unit) {
                *term += dot(weight, row);
            }
            row.iter_mut().for_each(|value| *value *= scale);
        }
        for (unit, (scale, term)) in scale.iter_mut().zip(terms).enumerate() {
            let inverse = conv.map_or(1.0, |conv| inverse_deviation(conv, params[conv.norm.variance][unit]));
            *scale = (*term * f64::from(inverse)) as f32;
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
    let product = |(left, right): (&f32, &f32)| f64::from(*left) * f64::from(*right);
    let (left, right) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    // Sums of their own, so that one addition needn't wait for the one before.
    let mut lanes = [0.0; 8];
    for (left, right) in left.0.iter().zip(right.0) {
        for (lane, pair) in lanes.iter_mut().zip(left.iter().zip(right)) {
            *lane += product(pair);
        }
    }
    lanes.into_iter().chain(left.1.iter().zip(right.1).map(product)).sum()
}
