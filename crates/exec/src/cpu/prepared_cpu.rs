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

/// Workspace of one call: the plan and schedule for a batch size, and their arena.
pub(super) struct Workspace {
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
}

impl Prepared for PreparedCpu {
    fn classes(&self) -> usize {
        self.network.head.classes
    }

    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        let size = BatchSize { batch: images.count, height: images.height, width: images.width };
        let idle = self.idle().pop();
        let mut workspace = match idle {
            Some(workspace) if workspace.size == size => workspace,
            other => {
                Workspace::new(&self.network, &self.ops, size, other.map(|other| other.arena).unwrap_or_default())?
            }
        };
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
        let features = context.values(schedule.features, |range| arena.get(range));
        if self.network.head.is_dense() {
            logits.clear();
            logits.extend_from_slice(features);
        } else {
            logits.resize(images.count * self.classes(), 0.0);
            head::classify(features, &self.classifier.forward, &self.head_bias, logits);
        }
        self.idle().push(workspace);
        Ok(())
    }
}
