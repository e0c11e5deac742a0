//! CPU executor: SIMD kernels for inference and training on a fixed number of threads.
//!
//! Activations are `[N, H, W, C]`. Convolution, frozen batch norm and activation form one op that keeps only its
//! output; the gradients of kernel and input are computed in one pass over tiles.
//!
//! Any number of nodes may read a value. In the backward pass each adds its gradient to what the others brought; the last
//! of them masks the sum with the activation of the node below (`epilogue::BackwardEpilogue`) while the tile is in the cache,
//! so that a node always receives the gradient before its activation.
//!
//! What the executor asks of an op, and which file implements it, is in `op`.

mod activate;
mod affine;
mod arena;
mod arithmetic;
mod attention;
mod backward;
mod checkpoint_weight;
mod class_token;
mod concat;
mod conv;
mod conv_transpose;
mod dense;
mod depthwise;
mod embedding;
mod epilogue;
mod execution_plan;
mod execution_schedule;
mod folded_weights;
mod footprint;
mod forward;
mod global_pool;
mod group_norm;
mod grouped;
mod head;
mod int8;
mod layer_norm;
mod linear;
mod map;
mod matmul;
mod max_pool;
mod op;
mod parameter;
mod partition;
mod pixel_norm;
mod pointwise;
mod prelu;
mod prepared_cpu;
mod product;
mod rearrange;
mod row_kernel;
mod scratch;
mod tap_plan;
#[cfg(test)]
mod tests;
mod thread_pool;
mod tile;
mod vector;
mod winograd;

use crate::executor::{check, check_gradients, logits_of_image};
use crate::memory::Passes;
use crate::{ExecError, Executor, Objective};
use arena::Arena;
use checkpoint_weight::CheckpointWeight;
use execution_plan::{CpuOps, ExecutionPlan, Step, cpu_ops};
use execution_schedule::{BackwardTask, ExecutionSchedule, ExecutionTask, ForwardTask};
use fieldfit_nets::{Head, Network, Op, Shape};
use fieldfit_tensor::{Images, Matrix, Params, TensorId};
use folded_weights::{FoldPurpose, FoldedWeights};
use forward::PassContext;
use head::LossAccumulator;
use matmul::{Accumulate, PackedMatrix};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thread_pool::ThreadPool;

pub(crate) use footprint::{inference_footprint, int8_footprint, training_footprint};
pub use int8::{Calibrator, Int8Coverage, int8_coverage, int8_instructions};
pub use prepared_cpu::PreparedCpu;

/// CPU executor: computes logits and gradients of a network on a fixed number of threads.
///
/// Same parameters, images, threads and [`Passes`] on the same kind of CPU give the same bits.
pub struct Cpu {
    network: Network,
    ops: CpuOps,
    threads: ThreadPool,
    passes: Passes,
    layout: Layout,
    arena: Arena,
    /// One per step of the plan; empty if the step has no weights.
    folded: Vec<FoldedWeights>,
    classifier: PackedClassifier,
    scratch: Vec<f32>,
}

impl Cpu {
    /// Creates an executor for the network.
    ///
    /// # Errors
    /// If the thread pool cannot start, an op of the network is unsupported, or the micro-batch size is 0.
    pub fn new(network: &Network, threads: usize, passes: Passes) -> Result<Self, ExecError> {
        Ok(Self {
            network: network.clone(),
            ops: cpu_ops(network)?,
            threads: ThreadPool::new(threads)?,
            passes: passes.check()?,
            layout: Layout::default(),
            arena: Arena::default(),
            folded: Vec::new(),
            classifier: PackedClassifier::default(),
            scratch: Vec::new(),
        })
    }

    /// Computes [`Executor::gradient`] and returns the time of each step, summed over the micro-batches.
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
        let plan = ExecutionPlan::new(&self.network, &self.ops, images.height, images.width)?;
        let mut times = vec![[Duration::ZERO; 2]; plan.steps.len()];
        let mut last = Instant::now();
        self.train(params, images, objective, gradients, |task| {
            let now = Instant::now();
            match task {
                ExecutionTask::Forward(ForwardTask { step, .. }) => times[*step][0] += now - last,
                ExecutionTask::Backward(BackwardTask { step, .. }) => times[*step][1] += now - last,
                ExecutionTask::Head { .. } | ExecutionTask::DenseLoss { .. } | ExecutionTask::Join(_) => {}
            }
            last = now;
        })?;
        let step_time = |(step, [forward, backward]): (Step, [Duration; 2])| StepTime {
            op: step.op,
            input: step.shapes.first().copied().unwrap_or(step.output),
            output: step.output,
            forward,
            backward,
        };
        Ok(plan.steps.into_iter().zip(times).map(step_time).collect())
    }

    /// Runs the forward and backward pass for a batch; calls `done` after each task.
    fn train(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        objective: &dyn Objective<f32>,
        gradients: &mut Params<f32>,
        mut done: impl FnMut(&ExecutionTask) + Send,
    ) -> Result<f32, ExecError> {
        check(&self.network, params, images)?;
        objective.check(images.count, logits_of_image(&self.network, images)?)?;
        check_gradients(&self.network, gradients)?;
        let (head, batch) = (self.network.head, images.count);
        let trained: Vec<_> = self.network.tensors().map(|(id, _)| gradients.contains(id)).collect();
        let work = Work { images: self.passes.images(batch), trained: Some(trained) };
        let (plan, schedule) = &self.layout.of((&self.network, &self.ops), images, self.passes, work)?;
        let Self { ops, threads, passes, arena, folded, classifier, scratch, .. } = self;
        let scratch_len =
            footprint::scratch_len(plan, &|id| gradients.contains(id), threads.count(), schedule.images());
        arena.fit(schedule.len());
        scratch.reserve_exact(scratch_len.saturating_sub(scratch.len()));
        let loss = threads.install(|| {
            fold_all(threads, ops, params, FoldPurpose::Training, folded);
            classifier.refill(&head, &params[head.weight], FoldPurpose::Training);
            let mut terms = plan.terms(gradients);
            let mut loss_sum = LossAccumulator::default();
            for (part, (count, values)) in parts(images, passes.micro_batch).enumerate() {
                let mut pass = backward::TrainingPass {
                    context: PassContext { threads, plan, folded, schedule, images: values, count },
                    params,
                    classifier,
                    objective,
                    first: part * passes.micro_batch,
                    batch,
                    arena,
                    scratch,
                    gradients,
                    accumulate: if part == 0 { Accumulate::Overwrite } else { Accumulate::Add },
                    terms: &mut terms,
                    loss_sum: &mut loss_sum,
                };
                pass.run(&head, &mut done);
            }
            backward::complete(threads, plan, folded, params, &mut terms, gradients);
            loss_sum.mean(batch)
        });
        Ok(loss)
    }

    /// Runs the forward pass of each micro-batch; calls `visit` with the output of each step.
    fn infer(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        mut visit: impl FnMut(&ExecutionPlan, usize, &[f32]) + Send,
    ) -> Result<(), ExecError> {
        check(&self.network, params, images)?;
        let work = Work { images: self.passes.images(images.count), trained: None };
        let (plan, schedule) = &self.layout.of((&self.network, &self.ops), images, Passes::default(), work)?;
        let Self { ops, threads, passes, folded, arena, .. } = self;
        threads.install(|| {
            fold_all(threads, ops, params, FoldPurpose::Inference, folded);
            arena.fit(schedule.len());
            for (count, images) in parts(images, passes.micro_batch) {
                let context = PassContext { threads, plan, folded, schedule, images, count };
                context.infer(arena, |step, output| visit(plan, step, output));
            }
        });
        Ok(())
    }
}

/// Time of one op, for a whole batch.
#[derive(Debug, Clone)]
pub struct StepTime {
    /// The op.
    pub op: Op,
    /// Input shape of one image.
    pub input: Shape,
    /// Output shape of one image.
    pub output: Shape,
    /// Forward time, recomputation included. The first op's time includes folding norms and packing weights.
    pub forward: Duration,
    /// Backward time: the gradients of tensors and input.
    pub backward: Duration,
}

/// Cache of the execution plan for the last image size, and of its schedules.
#[derive(Default)]
struct Layout {
    plan: Option<Arc<ExecutionPlan>>,
    schedules: Vec<(Work, Arc<ExecutionSchedule>)>,
}

/// Cache key of a schedule.
#[derive(PartialEq, Eq)]
struct Work {
    /// Images per micro-batch.
    images: usize,
    /// Which tensors are trained; `None` without a backward pass.
    trained: Option<Vec<bool>>,
}

impl Layout {
    /// Returns the cached plan and schedule, or creates them.
    fn of(
        &mut self,
        (network, ops): (&Network, &CpuOps),
        images: &Images,
        passes: Passes,
        work: Work,
    ) -> Result<(Arc<ExecutionPlan>, Arc<ExecutionSchedule>), ExecError> {
        let fits = |plan: &&Arc<ExecutionPlan>| plan.is_for(images.height, images.width);
        let plan = match self.plan.as_ref().filter(fits) {
            Some(plan) => plan.clone(),
            None => {
                self.schedules.clear();
                let plan = ExecutionPlan::new(network, ops, images.height, images.width)?;
                self.plan.insert(Arc::new(plan)).clone()
            }
        };
        if let Some((_, schedule)) = self.schedules.iter().find(|(known, _)| *known == work) {
            return Ok((plan, schedule.clone()));
        }
        let schedule = match &work.trained {
            None => ExecutionSchedule::inference(&plan, work.images),
            Some(trained) => {
                let trains = |id: TensorId| trained[id.index()];
                ExecutionSchedule::training(&plan, network.head, &trains, passes.recomputed, work.images)
            }
        };
        let schedule = Arc::new(schedule);
        self.schedules.push((work, schedule.clone()));
        Ok((plan, schedule))
    }
}

/// The classifier's weight, packed for matrix products.
#[derive(Debug, Default)]
struct PackedClassifier {
    /// `[features, classes]`.
    forward: PackedMatrix,
    /// `[classes, features]`, for training only.
    backward: PackedMatrix,
}

impl PackedClassifier {
    /// Packs the weight of a head behind the graph; that of a dense one is its node's.
    fn refill(&mut self, head: &Head, weight: &[f32], purpose: FoldPurpose) {
        if head.is_dense() {
            return;
        }
        let weight = CheckpointWeight::matrix(weight, head.features);
        weight.pack_forward(&mut self.forward);
        if purpose == FoldPurpose::Training {
            weight.pack_backward(&mut self.backward);
        }
    }
}

/// Splits a batch into micro-batches; returns at least one, which may be empty.
fn parts(images: &Images, micro_batch: usize) -> impl Iterator<Item = (usize, &[f32])> {
    let stride = images.stride();
    let count = images.count.div_ceil(micro_batch).max(1);
    (0..count).map(move |part| {
        let first = part * micro_batch;
        let count = micro_batch.min(images.count - first);
        (count, &images.values[first * stride..][..count * stride])
    })
}

/// Folds the weights of every op, one per step of the plan, into the existing buffers.
fn fold_all(
    threads: &ThreadPool,
    ops: &CpuOps,
    params: &Params<f32>,
    purpose: FoldPurpose,
    folded: &mut Vec<FoldedWeights>,
) {
    folded.resize_with(ops.len(), FoldedWeights::default);
    threads.for_each(ops.iter().zip(folded), |(op, folded)| op.fold(params, purpose, folded));
}

impl Executor<f32> for Cpu {
    fn network(&self) -> &Network {
        &self.network
    }

    fn features(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let shapes = self.network.shapes(images.height, images.width)?;
        let columns = shapes.last().map_or(0, |shape| shape.len());
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
        if head.is_dense() {
            let (columns, values) = (head.classes, features.values);
            return Ok(Matrix { rows: values.len() / columns.max(1), columns, values });
        }
        let mut values = vec![0.0; images.count * head.classes];
        self.classifier.refill(&head, &params[head.weight], FoldPurpose::Inference);
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
        let mut outputs = vec![(Shape::vector(0), Vec::new()); self.network.graph.sections.len()];
        self.infer(params, images, |plan, step, values| {
            if let Some(section) = plan.sections.iter().position(|section| section.end == step + 1) {
                outputs[section].0 = plan.steps[step].output;
                outputs[section].1.extend_from_slice(values);
            }
        })?;
        for (section, (shape, output)) in self.network.graph.sections.iter().zip(&outputs) {
            visit(&section.name, *shape, output);
        }
        Ok(())
    }
}
