//! Training pass: forward, loss and backward over one micro-batch, task by task of the schedule.

use super::PackedClassifier;
use super::arena::Arena;
use super::epilogue::{BackwardEpilogue, IdentityEpilogue};
use super::execution_plan::ExecutionPlan;
use super::execution_schedule::{BackwardTask, BufferId, ExecutionTask, JoinTask};
use super::folded_weights::{FoldedWeights, write_gradient};
use super::forward::PassContext;
use super::head::{self, LossAccumulator};
use super::matmul::{Accumulate, multiply, multiply_transposed};
use super::op::{Backward, Scaled};
use super::thread_pool::ThreadPool;
use crate::Objective;
use fieldfit_nets::{Activation, Head};
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
    /// Gradients by tensor; an empty buffer marks a frozen tensor. Until [`complete`], a kernel's gradient is that of the
    /// unscaled kernel, in the kernels' layout.
    pub gradients: &'a mut Params<f32>,
    /// `Overwrite` for the batch's first micro-batch, `Add` for the others.
    pub accumulate: Accumulate,
    /// Scale terms, see [`ExecutionPlan::terms`].
    pub terms: &'a mut [Vec<f64>],
    /// Loss over the micro-batches so far.
    pub loss_sum: &'a mut LossAccumulator,
}

impl TrainingPass<'_> {
    /// Runs every task of the schedule; calls `done` after each.
    pub fn run(&mut self, head: &Head, done: &mut impl FnMut(&ExecutionTask)) {
        self.clear_shared();
        // Of each value, its gradient's sums over pixels, one a channel.
        let mut sums = vec![Vec::new(); self.context.plan.steps.len() + 1];
        for task in &self.context.schedule.tasks {
            match task {
                ExecutionTask::Forward(task) => self.context.forward(self.arena, task),
                ExecutionTask::Head { features, logits, gradient } => {
                    sums[self.context.plan.steps.len()] = self.head(head, *features, *logits, *gradient);
                }
                ExecutionTask::DenseLoss { logits } => {
                    sums[self.context.plan.steps.len()] = self.dense_loss(*logits);
                }
                ExecutionTask::Backward(task) => {
                    let below = self.backward(task, &sums[task.sums]);
                    if let Some(value) = self.context.plan.steps[task.step].inputs.get(task.input_index) {
                        sums[*value] = below;
                    }
                }
                ExecutionTask::Join(task) => sums[task.value] = self.join(task),
            }
            done(task);
        }
    }

    /// Clears the gradients to which several steps add.
    fn clear_shared(&mut self) {
        if self.accumulate == Accumulate::Add {
            return;
        }
        for id in self.context.plan.steps.iter().filter(|step| step.shares).flat_map(|step| step.op.tensors()) {
            if self.gradients.contains(id) {
                self.gradients[id].fill(0.0);
            }
        }
    }

    /// Computes logits, loss, the gradients of the classifier's trained tensors, and the features' gradient; returns its
    /// sums over pixels.
    fn head(&mut self, head: &Head, features: BufferId, logits: BufferId, gradient: Option<BufferId>) -> Vec<f64> {
        let PassContext { plan, threads, .. } = self.context;
        let ranges = [self.context.range(features), self.context.range(logits), self.context.optional(gradient)];
        let [features, logits, gradient] = self.arena.borrow(ranges);
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
        if gradient.is_empty() {
            return Vec::new();
        }
        multiply(logits, &self.classifier.backward, 0, gradient, &mut IdentityEpilogue);
        let (value, input) = (plan.steps.len(), &*features);
        let epilogue = BackwardEpilogue { activation: plan.activation(value), ..BackwardEpilogue::identity(input) };
        epilogue.finish(threads, plan.channels(value), gradient)
    }

    /// Computes the loss of a dense network's logits and puts its gradient in their place; returns its sums over pixels.
    fn dense_loss(&mut self, logits: BufferId) -> Vec<f64> {
        let PassContext { plan, threads, .. } = self.context;
        let value = plan.steps.len();
        let columns = plan.steps.last().map_or(0, |step| step.output.len());
        let [logits] = self.arena.borrow([self.context.range(logits)]);
        self.loss_sum.add(self.objective, self.first, logits, columns, self.batch);
        BackwardEpilogue::identity(&[]).finish(threads, plan.channels(value), logits)
    }

    /// Computes the gradient of one step's input and those of its tensors; returns the former's sums over pixels.
    fn backward(&mut self, task: &BackwardTask, sums: &[f64]) -> Vec<f64> {
        let PassContext { threads, plan, folded, .. } = self.context;
        let BackwardTask { step: index, input_index, .. } = *task;
        let (step, context) = (&plan.steps[index], &self.context);
        let [target, kernel, prologue_output] = [task.target, task.kernel, task.prologue_output];
        let ([target, kernel, prologue_output], rest) =
            self.arena.split([target, kernel, prologue_output].map(|buffer| context.optional(buffer)));
        let [input, other_input, output] = [task.input, task.other_input, task.output]
            .map(|source| source.map_or(&[][..], |source| context.values(source, |range| rest.get(range))));
        let target = task.target.map(|_| {
            let activation = if task.ends { plan.activation(step.inputs[input_index]) } else { Activation::Identity };
            let shortcut = task.brought.map(|brought| rest.get(context.range(brought)));
            (target, BackwardEpilogue { input, activation, shortcut })
        });
        step.kernel.backward(Backward {
            threads,
            folded: &folded[index],
            params: self.params,
            gradients: self.gradients,
            accumulate: if step.shares { Accumulate::Add } else { self.accumulate },
            gradient: rest.get(context.range(task.gradient)),
            sums,
            input_index,
            input,
            other_input,
            output,
            target,
            terms: &mut self.terms[index],
            kernel,
            prologue_output,
            scratch: self.scratch,
        })
    }

    /// Adds two gradients of a value, or takes one; returns the result's sums over pixels.
    fn join(&mut self, task: &JoinTask) -> Vec<f64> {
        let (PassContext { threads, plan, .. }, context) = (self.context, &self.context);
        let ([target], rest) = self.arena.split([context.range(task.target)]);
        target.copy_from_slice(rest.get(context.range(task.gradient)));
        let input = task.values.map_or(&[][..], |source| context.values(source, |range| rest.get(range)));
        let activation = if task.ends { plan.activation(task.value) } else { Activation::Identity };
        let shortcut = task.brought.map(|brought| rest.get(context.range(brought)));
        BackwardEpilogue { input, activation, shortcut }.finish(threads, plan.channels(task.value), target)
    }
}

/// Completes a batch: converts the accumulated gradients of unscaled kernels to those of the kernels, and computes the
/// scales' gradients.
pub(super) fn complete(
    threads: &ThreadPool,
    plan: &ExecutionPlan,
    folded: &[FoldedWeights],
    params: &Params<f32>,
    terms: &mut [Vec<f64>],
    gradients: &mut Params<f32>,
) {
    let mut buffers: Vec<_> = gradients.buffers_mut().iter_mut().map(Vec::as_mut_slice).collect();
    let mut is_taken = vec![false; buffers.len()];
    let products = plan.steps.iter().zip(folded).zip(terms).filter_map(|((step, folded), terms)| {
        let Scaled { weight, scale } = step.kernel.scaled()?;
        // The kernel of several steps is completed once.
        if std::mem::replace(&mut is_taken[weight.index()], true) {
            return None;
        }
        let mut take = |id: fieldfit_tensor::TensorId| std::mem::take(&mut buffers[id.index()]);
        let gradients = [take(weight), scale.map(take).unwrap_or_default()];
        Some((step, folded, terms, gradients))
    });
    threads.for_each(products, |(step, folded, terms, gradients)| {
        step.kernel.complete(folded, params, terms, gradients);
    });
}
