//! Our own kernels on the CPU: activations `[N, H, W, C]`, convolution + frozen norm + activation as one op that keeps
//! only its output, gradients of kernel and input in one pass over tiles.
//!
//! The gradient that travels down is always the one ahead of an activation: each op's backward ends by masking with
//! the op below (`finish::Upstream`), while the tile is in the cache. With G the gradient of the unscaled kernel W
//! and s = γ/√(σ²+ε): ∂L/∂W = s·G, ∂L/∂β = Σdz, ∂L/∂γ = (⟨W,G⟩ − μ·Σdz)/√(σ²+ε).

mod backward;
mod buffers;
mod dense;
mod depthwise;
mod finish;
mod fold;
mod forward;
mod head;
mod plan;
mod pointwise;
mod prepared;
mod product;
mod share;
mod threads;
mod tile;
mod walk;

use crate::executor::{check, check_gradients};
use crate::{ExecError, Executor, Loss, Matrix};
use buffers::Buffers;
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Head, Network, Op, Shape};
use fold::{Folded, Purpose};
use forward::Keep;
use plan::Plan;
use product::Packed;
use threads::Threads;

pub use prepared::PreparedCpu;

/// Runs a network forward and backward on a fixed number of threads.
///
/// Same parameters, images and threads on the same kind of CPU give the same bits.
pub struct Cpu {
    network: Network,
    threads: Threads,
    buffers: Buffers,
    /// One a step of the plan; empty where the step has no kernel.
    folded: Vec<Folded>,
    scratch: Vec<f32>,
}

impl Cpu {
    /// # Errors
    /// If the threads can't be started, or an op of the network has no kernel here.
    pub fn new(network: &Network, threads: usize) -> Result<Self, ExecError> {
        plan::check_supported(network)?;
        Ok(Self {
            network: network.clone(),
            threads: Threads::new(threads)?,
            buffers: Buffers::default(),
            folded: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Lays the network out for the batch and folds the norms into the kernels.
    fn plan(&mut self, params: &Params<f32>, images: &Images, labels: Option<&[u32]>) -> Result<Plan, ExecError> {
        check(&self.network, params, images, labels)?;
        let plan = Plan::new(&self.network, images.height, images.width)?;
        fold_all(&self.threads, &plan, params, Purpose::Training, &mut self.folded);
        Ok(plan)
    }

    /// Every activation that `keep` says, by position; the last are the pooled features.
    fn run(&mut self, plan: &Plan, images: &Images, keep: Keep) -> Vec<Vec<f32>> {
        forward::run(&self.threads, plan, &self.folded, images, keep, &mut self.buffers)
    }

    fn give_back(&mut self, activations: Vec<Vec<f32>>) {
        activations.into_iter().for_each(|buffer| self.buffers.give(buffer));
    }
}

/// The classifier's weight, `[features, classes]`.
fn pack_head(head: &Head, weight: &[f32]) -> Packed {
    let mut packed = Packed::default();
    packed.refill(head.features, head.classes, |feature, classes, row| {
        row.iter_mut().zip(classes).for_each(|(value, class)| *value = weight[class * head.features + feature]);
    });
    packed
}

/// Folds every convolution of the plan, into the buffers that there are.
fn fold_all(
    threads: &Threads,
    plan: &Plan,
    params: &Params<f32>,
    purpose: Purpose,
    folded: &mut Vec<Folded>,
) {
    folded.resize_with(plan.steps.len(), Folded::default);
    threads.each(plan.steps.iter().zip(folded).collect(), |(step, folded)| {
        if let Op::Conv(conv) = &step.op {
            folded.refill(conv, params, purpose);
        }
    });
}

impl Executor<f32> for Cpu {
    fn network(&self) -> &Network {
        &self.network
    }

    fn features(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let plan = self.plan(params, images, None)?;
        let mut activations = self.run(&plan, images, Keep::Last);
        let values = activations.pop().unwrap_or_default();
        self.give_back(activations);
        Ok(Matrix { rows: images.count, columns: self.network.head.features, values })
    }

    fn logits(&mut self, params: &Params<f32>, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let features = self.features(params, images)?;
        let head = self.network.head;
        let mut values = vec![0.0; images.count * head.classes];
        head::classify(&features.values, &pack_head(&head, &params[head.weight]), &params[head.bias], &mut values);
        self.buffers.give(features.values);
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
        let activations = self.run(&plan, images, Keep::All);
        let head = self.network.head;
        let features = &activations[plan.steps.len()];
        let mut logits = self.buffers.take(images.count * head.classes);
        head::classify(features, &pack_head(&head, &params[head.weight]), &params[head.bias], &mut logits);
        let loss = head::cross_entropy(&mut logits, labels, head.classes);
        let mut pass = backward::Pass {
            threads: &self.threads,
            plan: &plan,
            folded: &self.folded,
            params,
            images,
            activations: &activations,
            buffers: &mut self.buffers,
            scratch: &mut self.scratch,
            gradients,
        };
        pass.run(&head, &logits);
        self.buffers.give(logits);
        self.give_back(activations);
        Ok(loss)
    }

    fn trace(
        &mut self,
        params: &Params<f32>,
        images: &Images,
        visit: &mut dyn FnMut(&str, Shape, &[f32]),
    ) -> Result<(), ExecError> {
        let plan = self.plan(params, images, None)?;
        let activations = self.run(&plan, images, Keep::All);
        for (name, last) in &plan.stages {
            visit(name, plan.steps[*last].output, &activations[last + 1]);
        }
        self.give_back(activations);
        Ok(())
    }
}
