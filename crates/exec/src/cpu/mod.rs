//! Our own kernels on the CPU: activations `[N, H, W, C]`, convolution + frozen norm + activation as one op that keeps
//! only its output, gradients of kernel and input in one pass over tiles.
//!
//! The gradient that travels down is always the one ahead of an activation: each op's backward ends by masking with
//! the op below (`finish::Upstream`), while the tile is in the cache. With G the gradient of the unscaled kernel W
//! and s = γ/√(σ²+ε): ∂L/∂W = s·G, ∂L/∂β = Σdz, ∂L/∂γ = (⟨W,G⟩ − μ·Σdz)/√(σ²+ε).

mod arena;
mod attention;
mod backward;
mod dense;
mod depthwise;
mod embedding;
mod finish;
mod fold;
mod footprint;
mod forward;
mod head;
mod layer_norm;
mod linear;
mod max_pool;
mod plan;
mod pointwise;
mod prepared;
mod product;
mod room;
mod schedule;
mod share;
#[cfg(test)]
mod tests;
mod threads;
mod tile;
mod vector;
mod walk;
mod weight;
mod winograd;

use crate::executor::{check, check_gradients};
use crate::memory::Passes;
use crate::{ExecError, Executor, Objective};
use arena::Arena;
use fieldfit_nets::{Head, Network, Op, Shape};
use fieldfit_tensor::{Images, Matrix, Params, TensorId};
use fold::{Folded, Purpose};
use forward::Context;
use head::Tally;
use plan::{Plan, Step};
use product::{Onto, Packed};
use schedule::{Schedule, Task};
use std::sync::Arc;
use std::time::{Duration, Instant};
use threads::Threads;
use weight::Weight;

pub(crate) use footprint::{inference_footprint, training_footprint};
pub use prepared::PreparedCpu;

/// Runs a network forward and backward on a fixed number of threads.
///
/// Same parameters, images, threads and [`Passes`] on the same kind of CPU give the same bits.
pub struct Cpu {
    network: Network,
    threads: Threads,
    passes: Passes,
    layout: Layout,
    arena: Arena,
    /// One a step of the plan; empty where the step has no kernel.
    folded: Vec<Folded>,
    classifier: Classifier,
    scratch: Vec<f32>,
}

impl Cpu {
    /// # Errors
    /// If the threads can't be started, an op of the network has no kernel here, or the micro-batch has no images.
    pub fn new(network: &Network, threads: usize, passes: Passes) -> Result<Self, ExecError> {
        plan::check_supported(network)?;
        Ok(Self {
            network: network.clone(),
            threads: Threads::new(threads)?,
            passes: passes.check()?,
            layout: Layout::default(),
            arena: Arena::default(),
            folded: Vec::new(),
            classifier: Classifier::default(),
            scratch: Vec::new(),
        })
    }

    /// As [`Executor::gradient`], and how long each step of the network took, all its parts together.
    ///
    /// # Errors
    /// As [`Executor::gradient`].
    pub fn profile(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        objective: &dyn Objective<f32>,
        gradients: &mut Params<f32>,
    ) -> Result<Vec<StepTime>, ExecError> {
        let plan = Plan::new(&self.network, images.height, images.width)?;
        let mut times = vec![[Duration::ZERO; 2]; plan.steps.len()];
        let mut last = Instant::now();
        self.train(params, images, objective, gradients, |task| {
            let now = Instant::now();
            match *task {
                Task::Forward { step, .. } => times[step][0] += now - last,
                Task::Backward { step, .. } => times[step][1] += now - last,
                Task::Head { .. } => {}
            }
            last = now;
        })?;
        let step_time = |(step, [forward, backward]): (Step, [Duration; 2])| StepTime {
            op: step.op,
            input: step.input,
            output: step.output,
            forward,
            backward,
        };
        Ok(plan.steps.into_iter().zip(times).map(step_time).collect())
    }

    /// Forward and backward for a batch; `done` is told of each task.
    fn train(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        objective: &dyn Objective<f32>,
        gradients: &mut Params<f32>,
        mut done: impl FnMut(&Task) + Send,
    ) -> Result<f32, ExecError> {
        check(&self.network, params, images)?;
        objective.check(images.count, self.network.head.classes)?;
        check_gradients(&self.network, gradients)?;
        let (head, batch) = (self.network.head, images.count);
        let trained: Vec<_> = self.network.tensors().map(|(id, _)| gradients.contains(id)).collect();
        let work = Work { images: self.passes.images(batch), trained: Some(trained) };
        let (plan, schedule) = &self.layout.of(&self.network, images, self.passes, work)?;
        let Self { network, threads, passes, arena, folded, classifier, scratch, .. } = self;
        let scratch_len =
            footprint::scratch_len(plan, &|id| gradients.contains(id), threads.count(), schedule.images());
        arena.fit(schedule.len());
        scratch.reserve_exact(scratch_len.saturating_sub(scratch.len()));
        let loss = threads.enter(|| {
            fold_all(threads, network, params, Purpose::Training, folded);
            classifier.refill(&head, &params[head.weight], Purpose::Training);
            let mut terms = backward::terms(plan, gradients);
            let mut tally = Tally::default();
            for (part, (count, values)) in parts(images, passes.micro_batch).enumerate() {
                let mut pass = backward::Pass {
                    context: Context { threads, plan, folded, schedule, images: values, count },
                    params,
                    classifier,
                    objective,
                    first: part * passes.micro_batch,
                    batch,
                    arena,
                    scratch,
                    gradients,
                    onto: if part == 0 { Onto::Fresh } else { Onto::Sum },
                    terms: &mut terms,
                    tally: &mut tally,
                };
                pass.run(&head, &mut done);
            }
            backward::scale(threads, plan, folded, params, &mut terms, gradients);
            tally.mean(batch)
        });
        Ok(loss)
    }

    /// Every micro-batch forward; `visit` sees each step's output for each.
    fn infer(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        mut visit: impl FnMut(&Plan, usize, &[f32]) + Send,
    ) -> Result<(), ExecError> {
        check(&self.network, params, images)?;
        let work = Work { images: self.passes.images(images.count), trained: None };
        let (plan, schedule) = &self.layout.of(&self.network, images, Passes::default(), work)?;
        let Self { network, threads, passes, folded, arena, .. } = self;
        threads.enter(|| {
            fold_all(threads, network, params, Purpose::Inference, folded);
            arena.fit(schedule.len());
            for (count, images) in parts(images, passes.micro_batch) {
                let context = Context { threads, plan, folded, schedule, images, count };
                context.infer(arena, |step, output| visit(plan, step, output));
            }
        });
        Ok(())
    }
}

/// How long one op of a network took, for a whole batch.
#[derive(Debug, Clone, Copy)]
pub struct StepTime {
    /// What was computed.
    pub op: Op,
    /// One image's input.
    pub input: Shape,
    /// One image's output.
    pub output: Shape,
    /// Of the forward pass; what was computed twice counts twice. The first op's has what comes ahead of it, too: folding
    /// norms and packing weights.
    pub forward: Duration,
    /// Of the backward pass: both gradients.
    pub backward: Duration,
}

/// The network laid out for the size of image that came last, and the schedules of the kinds of work that were done.
#[derive(Default)]
struct Layout {
    plan: Option<Arc<Plan>>,
    schedules: Vec<(Work, Arc<Schedule>)>,
}

/// What a schedule is for.
#[derive(PartialEq, Eq)]
struct Work {
    /// Images at once.
    images: usize,
    /// Which tensors train; nothing where there is no backward pass.
    trained: Option<Vec<bool>>,
}

impl Layout {
    /// As it was for the last batch of the kind, or made anew.
    fn of(
        &mut self,
        network: &Network,
        images: &Images,
        passes: Passes,
        work: Work,
    ) -> Result<(Arc<Plan>, Arc<Schedule>), ExecError> {
        let fits = |plan: &&Arc<Plan>| plan.is_for(images.height, images.width);
        let plan = match self.plan.as_ref().filter(fits) {
            Some(plan) => plan.clone(),
            None => {
                self.schedules.clear();
                let plan = Plan::new(network, images.height, images.width)?;
                self.plan.insert(Arc::new(plan)).clone()
            }
        };
        if let Some((_, schedule)) = self.schedules.iter().find(|(known, _)| *known == work) {
            return Ok((plan, schedule.clone()));
        }
        let schedule = match &work.trained {
            None => Schedule::inference(&plan, work.images),
            Some(trained) => {
                let trains = |id: TensorId| trained[id.index()];
                Schedule::training(&plan, network.head, &trains, passes.recomputed, work.images)
            }
        };
        let schedule = Arc::new(schedule);
        self.schedules.push((work, schedule.clone()));
        Ok((plan, schedule))
    }
}

/// The classifier's weight as products read it.
#[derive(Debug, Default)]
struct Classifier {
    /// `[features, classes]`.
    forward: Packed,
    /// `[classes, features]`, where a backward pass follows.
    backward: Packed,
}

impl Classifier {
    fn refill(&mut self, head: &Head, weight: &[f32], purpose: Purpose) {
        let weight = Weight::matrix(weight, head.features);
        weight.pack_forward(&mut self.forward);
        if purpose == Purpose::Training {
            weight.pack_backward(&mut self.backward);
        }
    }
}

/// The images of a batch, some at a time; at least one part, which may be empty.
fn parts(images: &Images, micro_batch: usize) -> impl Iterator<Item = (usize, &[f32])> {
    let stride = images.stride();
    let count = images.count.div_ceil(micro_batch).max(1);
    (0..count).map(move |part| {
        let first = part * micro_batch;
        let count = micro_batch.min(images.count - first);
        (count, &images.values[first * stride..][..count * stride])
    })
}

/// Folds every op of the network, one a step of its plans, into the buffers that there are.
fn fold_all(threads: &Threads, network: &Network, params: &Params<f32>, purpose: Purpose, folded: &mut Vec<Folded>) {
    folded.resize_with(plan::ops(network).count(), Folded::default);
    threads.each(plan::ops(network).zip(folded), |(op, folded)| folded.refill_op(&op, params, purpose));
}

impl Executor<f32> for Cpu {
    fn network(&self) -> &Network {
        &self.network
    }

    fn features(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let shapes = self.network.shapes(images.height, images.width)?;
        let columns = shapes.last().and_then(|stage| stage.last()).map_or(0, |shape| shape.len());
        let mut values = Vec::with_capacity(images.count * columns);
        self.infer(params, images, |plan, step, output| {
            if step + 1 == plan.steps.len() {
                values.extend_from_slice(output);
            }
        })?;
        Ok(Matrix { rows: images.count, columns, values })
    }

    fn logits(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let features = self.features(params, images)?;
        let head = self.network.head;
        let mut values = vec![0.0; images.count * head.classes];
        self.classifier.refill(&head, &params[head.weight], Purpose::Inference);
        head::classify(&features.values, &self.classifier.forward, &params[head.bias], &mut values);
        Ok(Matrix { rows: images.count, columns: head.classes, values })
    }

    fn gradient(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        objective: &dyn Objective<f32>,
        gradients: &mut Params<f32>,
    ) -> Result<f32, ExecError> {
        self.train(params, images, objective, gradients, |_| {})
    }

    fn trace(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        visit: &mut dyn FnMut(&str, Shape, &[f32]),
    ) -> Result<(), ExecError> {
        let mut outputs = vec![(Shape { height: 0, width: 0, channels: 0 }, Vec::new()); self.network.stages.len()];
        self.infer(params, images, |plan, step, values| {
            if let Some(stage) = plan.stages.iter().position(|stage| stage.last == step) {
                outputs[stage].0 = plan.steps[step].output;
                outputs[stage].1.extend_from_slice(values);
            }
        })?;
        for (stage, (shape, output)) in self.network.stages.iter().zip(&outputs) {
            visit(&stage.name, *shape, output);
        }
        Ok(())
    }
}
