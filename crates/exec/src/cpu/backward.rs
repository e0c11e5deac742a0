//! Training pass: forward, loss and backward over one micro-batch, task by task of the schedule.

use super::PackedClassifier;
use super::arena::Arena;
use super::epilogue::{BackwardEpilogue, IdentityEpilogue};
use super::execution_plan::{ExecutionPlan, Kernel, Step};
use super::execution_schedule::{BufferId, ExecutionTask, Source};
use super::folded_weights::{FoldedWeights, inverse_std, to_checkpoint_layout, write_gradient};
use super::forward::PassContext;
use super::head::{self, LossAccumulator};
use super::linear;
use super::matmul::{Accumulate, multiply, multiply_transposed};
use super::partition::BackwardOperands;
use super::pointwise;
use super::thread_pool::ThreadPool;
use crate::Objective;
use fieldfit_nets::{Activation, ClassToken, Conv, Head, LayerNorm, Linear, Op, Prologue, Shape};
use fieldfit_tensor::Params;

/// Training pass over one micro-batch: its [`PassContext`], the arena, and the gradients that it accumulates.
pub(super) struct TrainingPass<'a> {
    pub context: PassContext<'a>,
    pub params: &'a Params<f32>,
    pub classifier: &'a PackedClassifier,
    pub objective: &'a dyn Objective<f32>,
    /// Index in the batch of the micro-batch's first image.
    pub first: usize,
    /// Images of the whole batch; the loss is their mean.
    pub batch: usize,
    pub arena: &'a mut Arena,
    pub scratch: &'a mut Vec<f32>,
    /// Gradients by tensor; an empty buffer marks a frozen tensor. Until [`scale`], a kernel's gradient is that of the
    /// unscaled kernel, in the kernels' layout.
    pub gradients: &'a mut Params<f32>,
    /// `Overwrite` for the batch's first micro-batch, `Add` for the others.
    pub accumulate: Accumulate,
    /// Scale terms, see [`terms`].
    pub terms: &'a mut [Vec<f64>],
    /// Loss over the micro-batches so far.
    pub loss_sum: &'a mut LossAccumulator,
}

/// Arguments of one backward step, as in [`ExecutionTask::Backward`].
struct BackwardStep {
    index: usize,
    input: Source,
    gradient: BufferId,
    target: Option<BufferId>,
    shortcut: Option<BufferId>,
    kernel: Option<BufferId>,
    prologue_output: Option<BufferId>,
}

impl TrainingPass<'_> {
    /// Runs every task of the schedule; calls `done` after each.
    pub fn run(&mut self, head: &Head, done: &mut impl FnMut(&ExecutionTask)) {
        // Per channel, the propagated gradient's sum over pixels.
        let mut sums = Vec::new();
        for task in &self.context.schedule.tasks {
            match *task {
                ExecutionTask::Forward { step, input, shortcut, output, token_bias } => {
                    self.context.forward(self.arena, step, (input, shortcut), (output, token_bias));
                }
                ExecutionTask::Head { features, logits, gradient } => self.head(head, features, logits, gradient),
                ExecutionTask::Backward { step, input, gradient, target, shortcut, kernel, prologue_output } => {
                    let backward_step =
                        BackwardStep { index: step, input, gradient, target, shortcut, kernel, prologue_output };
                    let below = self.backward_step(&backward_step, &sums);
                    // A projection has the same gradient as the step that it is added to, which comes next.
                    if !self.context.plan.steps[step].is_projection {
                        sums = below;
                    }
                }
            }
            done(task);
        }
    }

    /// Computes logits, loss, the gradients of the classifier's trained tensors, and the features' gradient.
    fn head(&mut self, head: &Head, features: BufferId, logits: BufferId, gradient: Option<BufferId>) {
        let range = |buffer| self.context.range(buffer);
        let [features, logits, gradient] =
            self.arena.borrow([range(features), range(logits), gradient.map_or(0..0, range)]);
        head::classify(features, &self.classifier.forward, &self.params[head.bias], logits);
        self.loss_sum.add(self.objective, self.first, logits, head.classes, self.batch);
        if self.gradients.contains(head.weight) {
            let (residual, features) = ((&*logits, head.classes), (&*features, head.features));
            multiply_transposed(residual, 0..head.classes, features, &mut self.gradients[head.weight], self.accumulate);
        }
        if self.gradients.contains(head.bias) {
            let sum = |class: usize| logits.iter().skip(class).step_by(head.classes).sum();
            write_gradient(&mut self.gradients[head.bias], (0..head.classes).map(sum), self.accumulate);
        }
        if !gradient.is_empty() {
            multiply(logits, &self.classifier.backward, 0, gradient, &mut IdentityEpilogue);
        }
    }

    /// Computes the gradients of one step's tensors and input; returns the latter's sums over pixels.
    fn backward_step(&mut self, backward_step: &BackwardStep, sums: &[f64]) -> Vec<f64> {
        let PassContext { threads, plan, folded, images, .. } = self.context;
        let BackwardStep { index, input, gradient, target, shortcut, kernel, prologue_output } = *backward_step;
        let (step, folded) = (&plan.steps[index], &folded[index]);
        let range = |buffer| self.context.range(buffer);
        let optional = |buffer: Option<BufferId>| buffer.map_or(0..0, range);
        let separate_shortcut = shortcut.filter(|shortcut| *shortcut != gradient);
        let [read, downward, below, shortcut_gradient, kernel, prologue_output] = self.arena.borrow([
            self.context.source(input),
            range(gradient),
            optional(target),
            optional(separate_shortcut),
            optional(kernel),
            optional(prologue_output),
        ]);
        let (downward, shortcut_gradient) = (&*downward, &*shortcut_gradient);
        let values = if input == Source::Images { images } else { read };
        let input_gradient = target.is_some().then(|| {
            let producer = plan.producer(step.reads).filter(|_| !step.is_projection);
            let activation = producer.map_or(Activation::Identity, Step::activation);
            // For a shortcut around a single op, the shortcut's gradient is the op's own output gradient.
            let shortcut = shortcut.map(|buffer| if buffer == gradient { downward } else { shortcut_gradient });
            (below, BackwardEpilogue { input: values, activation, shortcut })
        });
        let tensors = TensorGradients {
            threads,
            folded,
            params: self.params,
            gradients: self.gradients,
            accumulate: self.accumulate,
        };
        let buffers = BackwardBuffers { sums, terms: &mut self.terms[index], kernel, prologue_output };
        let pass = BackwardOperands { gradient: downward, input: values, kernel: None, input_gradient };
        match (&step.op, &step.kernel) {
            (Op::Conv(conv), kernel) => tensors.conv(conv, kernel, pass, buffers, self.scratch),
            (Op::Linear(linear), _) => tensors.linear(linear, pass, buffers, self.scratch),
            (Op::ClassToken(token), _) => tensors.class_token(token, step.input, pass),
            (_, Kernel::Embed(embedding)) => {
                embedding.backward(threads, downward, values, tensors.gradients, tensors.accumulate);
                Vec::new()
            }
            (_, Kernel::Attention(attention)) => pass
                .input_gradient
                .map_or_else(Vec::new, |(target, _)| attention.backward(threads, downward, values, target)),
            _ => pass.input_gradient.map_or_else(Vec::new, |below| pool_backward(threads, step, downward, below)),
        }
    }
}

/// Auxiliary buffers of one backward step.
struct BackwardBuffers<'a> {
    /// Sums over pixels of the output's gradient.
    sums: &'a [f64],
    /// Scale terms, see [`terms`].
    terms: &'a mut [f64],
    kernel: &'a mut [f32],
    prologue_output: &'a mut [f32],
}

/// The network's parameters and the gradients of its trained tensors.
struct TensorGradients<'a> {
    threads: &'a ThreadPool,
    folded: &'a FoldedWeights,
    params: &'a Params<f32>,
    gradients: &'a mut Params<f32>,
    accumulate: Accumulate,
}

impl TensorGradients<'_> {
    /// Computes a convolution's gradients; returns the sums over pixels of the input's gradient.
    fn conv(
        self,
        conv: &Conv,
        op: &Kernel,
        pass: BackwardOperands<'_>,
        buffers: BackwardBuffers<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let Self { threads, folded, params, gradients, accumulate } = self;
        let BackwardBuffers { sums, terms, kernel, .. } = buffers;
        let trains = gradients.contains(conv.weight);
        let below = {
            // A trained kernel's gradient is accumulated in place; a frozen one's is needed for its scale's gradient.
            let (kernel, accumulate) =
                if trains { (&mut gradients[conv.weight], accumulate) } else { (&mut *kernel, Accumulate::Overwrite) };
            let pass = BackwardOperands { kernel: (!kernel.is_empty()).then_some((&mut *kernel, accumulate)), ..pass };
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
            to_checkpoint_layout(conv, kernel);
            add_products(terms, &params[conv.weight], kernel);
        }
        if gradients.contains(conv.norm.shift) {
            write_gradient(&mut gradients[conv.norm.shift], sums.iter().map(|sum| *sum as f32), accumulate);
        }
        below
    }

    /// Computes a linear layer's gradients; returns the sums over tokens of the input's gradient.
    ///
    /// With G the gradient of the weight W without LayerScale's γ, and b the bias: ∂L/∂W = γ·G, ∂L/∂b = γ·Σdy,
    /// ∂L/∂γ = ⟨W,G⟩ + b·Σdy. [`scale`] completes the first and the last.
    fn linear(
        self,
        linear: &Linear,
        pass: BackwardOperands<'_>,
        buffers: BackwardBuffers<'_>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f64> {
        let BackwardBuffers { sums, terms, kernel, prologue_output, .. } = buffers;
        let trains = self.gradients.contains(linear.weight);
        let input = if prologue_output.is_empty() {
            pass.input
        } else {
            linear::apply_prologue_to_all(self.threads, &linear.prologue, self.folded, pass.input, prologue_output);
            prologue_output
        };
        let wanted = if trains {
            Some((&mut self.gradients[linear.weight][..], self.accumulate))
        } else {
            (!kernel.is_empty()).then_some((&mut *kernel, Accumulate::Overwrite))
        };
        let pass = BackwardOperands { input, kernel: wanted, ..pass };
        let gradients = linear::backward(self.threads, &linear.prologue, self.folded, pass, scratch);
        for ((term, bias), sum) in terms.iter_mut().zip(&self.params[linear.bias]).zip(sums) {
            *term += f64::from(*bias) * sum;
        }
        if !trains {
            add_products(terms, &self.params[linear.weight], kernel);
        }
        if self.gradients.contains(linear.bias) {
            let scale = |unit: usize| self.folded.scale.get(unit).map_or(1.0, |scale| f64::from(*scale));
            let scaled = sums.iter().enumerate().map(|(unit, sum)| (sum * scale(unit)) as f32);
            write_gradient(&mut self.gradients[linear.bias], scaled, self.accumulate);
        }
        if let (Prologue::LayerNorm(norm), Some([scales, shifts])) = (&linear.prologue, &gradients.norm) {
            self.norm(norm, [scales, shifts]);
        }
        gradients.sums
    }

    /// Computes the class token's gradients; all other tokens have a gradient of zero.
    fn class_token(self, token: &ClassToken, input: Shape, pass: BackwardOperands<'_>) -> Vec<f64> {
        let Some((target, _)) = pass.input_gradient else { return Vec::new() };
        let [sums, scales] = self.folded.norm.class_token_backward(pass.gradient, pass.input, input.pixels(), target);
        self.norm(&token.norm, [&scales, &sums_of_rows(pass.gradient, token.width)]);
        sums
    }

    /// Writes the gradients of a layer norm's γ and β if they are trained.
    fn norm(self, norm: &LayerNorm, values: [&[f64]; 2]) {
        for (id, values) in [norm.scale, norm.shift].into_iter().zip(values) {
            if self.gradients.contains(id) {
                write_gradient(&mut self.gradients[id], values.iter().map(|value| *value as f32), self.accumulate);
            }
        }
    }
}

/// Returns the sum over rows of each column.
fn sums_of_rows(values: &[f32], width: usize) -> Vec<f64> {
    let sum = |column: usize| values.iter().skip(column).step_by(width).map(|value| f64::from(*value)).sum();
    (0..width).map(sum).collect()
}

/// Computes the gradient of a pool's input; returns its sums over pixels.
fn pool_backward(
    threads: &ThreadPool,
    step: &Step,
    gradient: &[f32],
    (target, epilogue): (&mut [f32], BackwardEpilogue<'_>),
) -> Vec<f64> {
    match &step.kernel {
        Kernel::MaxPool(pool) => pool.backward(threads, gradient, target, &epilogue),
        _ => head::pool_backward(threads, gradient, step.input.pixels(), step.input.channels, target, &epilogue),
    }
}

/// Allocates the scale terms: `⟨W, G⟩ − μ·Σdz` for each channel of each step with a trained scale.
pub(super) fn terms(plan: &ExecutionPlan, gradients: &Params<f32>) -> Vec<Vec<f64>> {
    let len = |op: &Op| match op {
        Op::Conv(conv) => gradients[conv.norm.scale].len(),
        Op::Linear(Linear { scale: Some(scale), .. }) => gradients[*scale].len(),
        _ => 0,
    };
    plan.steps.iter().map(|step| vec![0.0; len(&step.op)]).collect()
}

/// Completes a batch: converts the accumulated gradients of unscaled kernels to those of the kernels, and computes the
/// scales' gradients.
pub(super) fn scale(
    threads: &ThreadPool,
    plan: &ExecutionPlan,
    folded: &[FoldedWeights],
    params: &Params<f32>,
    terms: &mut [Vec<f64>],
    gradients: &mut Params<f32>,
) {
    let mut buffers: Vec<_> = gradients.buffers_mut().iter_mut().map(Vec::as_mut_slice).collect();
    let products = plan.steps.iter().zip(folded).zip(terms).filter_map(|((step, folded), terms)| match &step.op {
        Op::Conv(conv) => {
            let [kernel, scale] = [conv.weight, conv.norm.scale].map(|id| std::mem::take(&mut buffers[id.index()]));
            Some((conv.weight, Some(conv), folded, terms, kernel, scale))
        }
        Op::Linear(Linear { weight, scale: Some(scale), .. }) => {
            let [kernel, scale] = [*weight, *scale].map(|id| std::mem::take(&mut buffers[id.index()]));
            Some((*weight, None, folded, terms, kernel, scale))
        }
        _ => None,
    });
    threads.for_each(products, |(weight, conv, folded, terms, kernel, scale)| {
        if let Some(conv) = conv.filter(|conv| conv.is_depthwise()) {
            to_checkpoint_layout(conv, kernel);
        }
        // Row by row, while the row is in the cache.
        let len = (kernel.len() / folded.scale.len()).max(1);
        let rows = kernel.chunks_exact_mut(len).zip(params[weight].chunks_exact(len));
        for (unit, ((row, weight), scale)) in rows.zip(&folded.scale).enumerate() {
            if let Some(conv) = conv.filter(|conv| !conv.is_depthwise()) {
                to_checkpoint_layout(conv, row);
            }
            if let Some(term) = terms.get_mut(unit) {
                *term += dot(weight, row);
            }
            row.iter_mut().for_each(|value| *value *= scale);
        }
        for (unit, (scale, term)) in scale.iter_mut().zip(terms).enumerate() {
            let inverse = conv.map_or(1.0, |conv| inverse_std(conv, params[conv.norm.variance][unit]));
            *scale = (*term * f64::from(inverse)) as f32;
        }
    });
}

/// Adds `⟨W, G⟩` of each channel; does nothing if G is empty.
fn add_products(terms: &mut [f64], weight: &[f32], unscaled: &[f32]) {
    let row = unscaled.len() / terms.len().max(1);
    let rows = weight.chunks_exact(row.max(1)).zip(unscaled.chunks_exact(row.max(1)));
    terms.iter_mut().zip(rows).for_each(|(term, (weight, unscaled))| *term += dot(weight, unscaled));
}

/// Returns the dot product in f64.
fn dot(left: &[f32], right: &[f32]) -> f64 {
    let product = |(left, right): (&f32, &f32)| f64::from(*left) * f64::from(*right);
    let (left, right) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    // Independent partial sums hide the latency of additions.
    let mut lanes = [0.0; 8];
    for (left, right) in left.0.iter().zip(right.0) {
        for (lane, pair) in lanes.iter_mut().zip(left.iter().zip(right)) {
            *lane += product(pair);
        }
    }
    lanes.into_iter().chain(left.1.iter().zip(right.1).map(product)).sum()
}
