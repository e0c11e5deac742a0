//! Our own kernels on the CPU: activations `[N, H, W, C]`, convolution + frozen norm + activation as one op that keeps
//! only its output, gradients of kernel and input in one pass over tiles.
//!
//! The gradient that travels down is always the one ahead of an activation: each op's backward ends by masking with
//! the op below (`finish::Upstream`), while the tile is in the cache. With G the gradient of the unscaled kernel W
//! and s = γ/√(σ²+ε): ∂L/∂W = s·G, ∂L/∂β = Σdz, ∂L/∂γ = (⟨W,G⟩ − μ·Σdz)/√(σ²+ε).

mod arena;
mod backward;
mod dense;
mod depthwise;
mod finish;
mod fold;
mod footprint;
mod forward;
mod head;
mod matmul;
mod plan;
mod pointwise;
mod prepared;
mod schedule;
mod share;
mod threads;

use crate::executor::{check, check_gradients};
use crate::memory::Passes;
use crate::{ExecError, Executor, Loss, Matrix};
use arena::Arena;
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Network, Op, Shape};
use fold::Folded;
use forward::Context;
use head::Tally;
use matmul::Onto;
use plan::Plan;
use schedule::Schedule;
use threads::Threads;

pub(crate) use footprint::{inference_footprint, training_footprint};
pub use prepared::PreparedCpu;

/// Runs a network forward and backward on a fixed number of threads.
///
/// Same parameters, images, threads and [`Passes`] on the same kind of CPU give the same bits.
pub struct Cpu {
    network: Network,
    threads: Threads,
    passes: Passes,
    arena: Arena,
    /// One a step of the plan; empty where the step has no kernel.
    folded: Vec<Folded>,
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
            arena: Arena::default(),
            folded: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Lays the network out for the batch and folds the norms into the kernels.
    fn plan(&mut self, params: &Params<f32>, images: &Images, labels: Option<&[u32]>) -> Result<Plan, ExecError> {
        check(&self.network, params, images, labels)?;
        let plan = Plan::new(&self.network, images.height, images.width)?;
        fold_all(&plan, params, &mut self.folded);
        Ok(plan)
    }

    /// Every micro-batch forward; `visit` sees each step's output for each.
    fn infer(&mut self, plan: &Plan, images: &Images, mut visit: impl FnMut(usize, &[f32])) {
        let schedule = &Schedule::inference(plan, self.passes.images(images.count));
        self.arena.fit(schedule.len());
        let Self { threads, folded, arena, .. } = self;
        for (count, images) in parts(images, self.passes.micro_batch) {
            Context { threads, plan, folded, schedule, images, count }.infer(arena, &mut visit);
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

/// Folds every convolution of the plan, into the buffers that there are.
fn fold_all(plan: &Plan, params: &Params<f32>, folded: &mut Vec<Folded>) {
    folded.resize_with(plan.steps.len(), Folded::default);
    for (step, folded) in plan.steps.iter().zip(folded) {
        if let Op::Conv(conv) = &step.op {
            folded.refill(conv, params);
        }
    }
}

impl Executor<f32> for Cpu {
    fn network(&self) -> &Network {
        &self.network
    }

    fn features(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let plan = self.plan(params, images, None)?;
        let columns = self.network.head.features;
        let mut values = Vec::with_capacity(images.count * columns);
        let last = plan.steps.len() - 1;
        self.infer(&plan, images, |step, output| {
            if step == last {
                values.extend_from_slice(output);
            }
        });
        Ok(Matrix { rows: images.count, columns, values })
    }

    fn logits(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let features = self.features(params, images)?;
        let head = self.network.head;
        let mut values = vec![0.0; images.count * head.classes];
        head::classify(&features.values, &params[head.weight], &params[head.bias], &mut values);
        Ok(Matrix { rows: images.count, columns: head.classes, values })
    }

    fn gradient(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        labels: &[u32],
        gradients: &mut Params<f32>,
    ) -> Result<Loss<f32>, ExecError> {
        check_gradients(&self.network, gradients)?;
        let plan = self.plan(params, images, Some(labels))?;
        let (head, batch) = (self.network.head, images.count);
        let Passes { micro_batch, recomputed } = self.passes;
        let trains = |id| gradients.contains(id);
        let schedule = Schedule::training(&plan, head, &trains, recomputed, self.passes.images(batch));
        self.arena.fit(schedule.len());
        let scratch = footprint::scratch_len(&plan, &trains, self.threads.count());
        self.scratch.reserve_exact(scratch.saturating_sub(self.scratch.len()));
        let mut tally = Tally::default();
        for (part, (count, values)) in parts(images, micro_batch).enumerate() {
            let mut pass = backward::Pass {
                context: Context {
                    threads: &self.threads,
                    plan: &plan,
                    folded: &self.folded,
                    schedule: &schedule,
                    images: values,
                    count,
                },
                params,
                labels: &labels[part * micro_batch..][..count],
                batch,
                arena: &mut self.arena,
                scratch: &mut self.scratch,
                gradients,
                onto: if part == 0 { Onto::Fresh } else { Onto::Sum },
                tally: &mut tally,
            };
            pass.run(&head);
        }
        Ok(tally.loss(batch))
    }

    fn trace(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        visit: &mut dyn FnMut(&str, Shape, &[f32]),
    ) -> Result<(), ExecError> {
        let plan = self.plan(params, images, None)?;
        let mut outputs = vec![Vec::new(); plan.stages.len()];
        self.infer(&plan, images, |step, values| {
            if let Some(stage) = plan.stages.iter().position(|stage| stage.last == step) {
                outputs[stage].extend_from_slice(values);
            }
        });
        for (stage, output) in plan.stages.iter().zip(&outputs) {
            visit(&stage.name, plan.steps[stage.last].output, output);
        }
        Ok(())
    }
}
