//! Prepared CPU network: weights folded once, for inference from any number of threads.

use super::arena::Arena;
use super::execution_plan::{CpuOps, ExecutionPlan, cpu_ops};
use super::execution_schedule::ExecutionSchedule;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::forward::PassContext;
use super::thread_pool::ThreadPool;
use super::{PackedClassifier, fold_all, head};
use crate::executor::{check_images, check_params};
use crate::memory::BatchSize;
use crate::{ExecError, Prepared};
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Params};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Network prepared for CPU inference: folded weights, a thread pool, and reusable workspaces.
pub struct PreparedCpu {
    network: Network,
    ops: CpuOps,
    threads: ThreadPool,
    pub(super) folded: Vec<FoldedWeights>,
    pub(super) classifier: PackedClassifier,
    pub(super) head_bias: Vec<f32>,
    /// Idle workspaces: as many as the most concurrent calls so far.
    idle: Mutex<Vec<Workspace>>,
}

/// Workspace of one call: the plan and schedule for batches up to a size, and their arena.
pub(super) struct Workspace {
    /// Image size, and the most images.
    size: BatchSize,
    plan: ExecutionPlan,
    schedule: ExecutionSchedule,
    pub(super) arena: Arena,
}

impl PreparedCpu {
    /// Folds the parameters for inference.
    ///
    /// # Errors
    /// If the parameters do not fit the network, the thread pool cannot start, or an op is unsupported.
    pub fn new(network: &Network, params: &Params<f32>, threads: usize) -> Result<Self, ExecError> {
        let ops = cpu_ops(network)?;
        check_params(network, params)?;
        let mut folded = Vec::new();
        let threads = ThreadPool::new(threads)?;
        fold_all(&threads, &ops, params, FoldPurpose::Inference, &mut folded);
        let mut classifier = PackedClassifier::default();
        classifier.refill(&network.head, &params[network.head.weight], FoldPurpose::Inference);
        Ok(Self {
            network: network.clone(),
            ops,
            threads,
            folded,
            classifier,
            head_bias: params[network.head.bias].to_vec(),
            idle: Mutex::default(),
        })
    }

    /// Computes the features of each image, and lends them to `read`.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn with_features(&self, images: &Images, read: impl FnOnce(&[f32])) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        let mut workspace = self.workspace(images)?;
        let Workspace { plan, schedule, arena, .. } = &mut workspace;
        let context = PassContext {
            threads: &self.threads,
            plan,
            folded: &self.folded,
            schedule,
            images: &images.values,
            count: images.count,
        };
        self.threads.install(|| context.infer(arena, |_, _| {}));
        read(context.values(schedule.features, |range| arena.get(range)));
        self.idle().push(workspace);
        Ok(())
    }

    /// Takes the smallest idle workspace that has room for those images, or makes one from the arena of another.
    fn workspace(&self, images: &Images) -> Result<Workspace, ExecError> {
        let size = BatchSize { batch: images.count, height: images.height, width: images.width };
        let other = {
            let mut idle = self.idle();
            let fitting = idle.iter().enumerate().filter(|(_, workspace)| workspace.fits(size));
            match fitting.min_by_key(|(_, workspace)| workspace.size.batch).map(|(index, _)| index) {
                Some(index) => return Ok(idle.swap_remove(index)),
                None => idle.pop(),
            }
        };
        Workspace::new(&self.network, &self.ops, size, other.map(|other| other.arena).unwrap_or_default())
    }

    /// Locks the list of idle workspaces.
    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Workspace>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workspace {
    /// Creates a workspace for batches of that size, reusing an arena.
    fn new(network: &Network, ops: &CpuOps, size: BatchSize, mut arena: Arena) -> Result<Self, ExecError> {
        let plan = ExecutionPlan::new(network, ops, size.height, size.width)?;
        let schedule = ExecutionSchedule::inference(&plan, size.batch);
        arena.fit(schedule.len());
        Ok(Self { size, plan, schedule, arena })
    }

    /// Whether a batch of that size can be computed in it.
    const fn fits(&self, batch: BatchSize) -> bool {
        self.size.height == batch.height && self.size.width == batch.width && self.size.batch >= batch.batch
    }
}

impl Prepared for PreparedCpu {
    fn classes(&self) -> usize {
        self.network.head.classes
    }

    fn features_into(&self, images: &Images, features: &mut Vec<f32>) -> Result<(), ExecError> {
        self.with_features(images, |values| {
            features.clear();
            features.extend_from_slice(values);
        })
    }

    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError> {
        self.with_features(images, |features| {
            logits.resize(images.count * self.classes(), 0.0);
            head::classify(features, &self.classifier.forward, &self.head_bias, logits);
        })
    }
}
