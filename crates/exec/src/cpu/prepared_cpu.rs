//! Prepared CPU network: weights folded once, for inference from any number of threads.

use super::arena::Arena;
use super::execution_plan::{CpuOps, ExecutionPlan, cpu_ops};
use super::execution_schedule::{ExecutionSchedule, Source};
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::forward::PassContext;
use super::int8::{Int8Network, Int8Pass, Int8Schedule};
use super::thread_pool::ThreadPool;
use super::{PackedClassifier, fold_all, head};
use crate::executor::{check_images, check_params};
use crate::memory::BatchSize;
use crate::{ExecError, Prepared};
use fieldfit_nets::Network;
use fieldfit_tensor::{ActivationRanges, Images, Params};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Network prepared for CPU inference: folded weights, a thread pool, and reusable workspaces.
pub struct PreparedCpu {
    network: Network,
    ops: CpuOps,
    threads: ThreadPool,
    pub(super) backbone: Backbone,
    pub(super) classifier: PackedClassifier,
    pub(super) head_bias: Vec<f32>,
    /// Idle workspaces: as many as the most concurrent calls so far.
    idle: Mutex<Vec<Workspace>>,
}

/// Weights of the backbone.
pub(super) enum Backbone {
    /// Folded f32 weights, one a node.
    Float(Vec<FoldedWeights>),
    /// Quantised weights.
    Int8(Box<Int8Network>),
}

/// Workspace of one call: the plan and schedule for batches up to a size, and their arena.
pub(super) struct Workspace {
    /// Image size, and the most images.
    size: BatchSize,
    plan: ExecutionPlan,
    schedule: Schedule,
    pub(super) arena: Arena,
}

/// Schedule of a backbone of the same kind.
enum Schedule {
    Float(ExecutionSchedule),
    Int8(Int8Schedule),
}

impl PreparedCpu {
    /// Folds the parameters for inference.
    ///
    /// # Errors
    /// If the parameters do not fit the network, the thread pool cannot start, or an op is unsupported.
    pub fn new(network: &Network, params: &Params<f32>, threads: usize) -> Result<Self, ExecError> {
        Self::with_backbone(network, params, threads, |ops, threads| {
            let mut folded = Vec::new();
            fold_all(threads, ops, params, FoldPurpose::Inference, &mut folded);
            Ok(Backbone::Float(folded))
        })
    }

    /// Quantises the parameters for int8 inference, with activations by their ranges.
    ///
    /// # Errors
    /// As [`new`](Self::new); if a parameter is not finite, or the ranges are another network's.
    pub fn int8(
        network: &Network,
        params: &Params<f32>,
        ranges: &ActivationRanges,
        threads: usize,
    ) -> Result<Self, ExecError> {
        Self::with_backbone(network, params, threads, |ops, threads| {
            Ok(Backbone::Int8(Box::new(Int8Network::new((network, ops), params, ranges, threads)?)))
        })
    }

    fn with_backbone(
        network: &Network,
        params: &Params<f32>,
        threads: usize,
        backbone: impl FnOnce(&CpuOps, &ThreadPool) -> Result<Backbone, ExecError>,
    ) -> Result<Self, ExecError> {
        let ops = cpu_ops(network)?;
        check_params(network, params)?;
        let threads = ThreadPool::new(threads)?;
        let backbone = backbone(&ops, &threads)?;
        let mut classifier = PackedClassifier::default();
        classifier.refill(&network.head, &params[network.head.weight], FoldPurpose::Inference);
        Ok(Self {
            network: network.clone(),
            ops,
            threads,
            backbone,
            classifier,
            head_bias: params[network.head.bias].to_vec(),
            idle: Mutex::default(),
        })
    }

    /// Computes the features of each image, and lends them to `read`; calls `done` as [`run`](Self::run) does.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn with_features(
        &self,
        images: &Images,
        done: impl FnMut(usize) + Send,
        read: impl FnOnce(&[f32]),
    ) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        let mut workspace = self.workspace(images)?;
        self.run(&mut workspace, images, done);
        read(self.features(&workspace, images));
        self.idle().push(workspace);
        Ok(())
    }

    /// Computes [`Prepared::logits_into`]; calls `done` with the position in the graph of each value that is computed, in order.
    /// A value that another op computes with its own is left out. The first is the image's, if int8 converts it.
    ///
    /// # Errors
    /// As [`Prepared::logits_into`].
    pub fn logits_by_value(
        &self,
        images: &Images,
        logits: &mut Vec<f32>,
        done: impl FnMut(usize) + Send,
    ) -> Result<(), ExecError> {
        self.with_features(images, done, |features| {
            if self.network.head.is_dense() {
                logits.clear();
                logits.extend_from_slice(features);
            } else {
                logits.resize(images.count * self.classes(), 0.0);
                head::classify(features, &self.classifier.forward, &self.head_bias, logits);
            }
        })
    }

    /// Computes the backbone and returns the time of each value, in the order of the graph: of its op, and of its conversions
    /// to and from int8. The first is the image's. A value that another op computes with its own takes none.
    ///
    /// # Errors
    /// If the images do not fit the network.
    pub fn profile(&self, images: &Images) -> Result<Vec<Duration>, ExecError> {
        let mut times = vec![Duration::ZERO; self.network.graph.values()];
        let mut last = Instant::now();
        let done = |value: usize| {
            let now = Instant::now();
            times[value] += now - last;
            last = now;
        };
        self.with_features(images, done, |_| {})?;
        Ok(times)
    }

    /// Computes the backbone; calls `done` with the position of each value that is computed.
    fn run(&self, workspace: &mut Workspace, images: &Images, mut done: impl FnMut(usize) + Send) {
        let Workspace { plan, schedule, arena, .. } = workspace;
        let (threads, count, images) = (&self.threads, images.count, &images.values[..]);
        match (&self.backbone, schedule) {
            (Backbone::Float(folded), Schedule::Float(schedule)) => {
                let pass = PassContext { threads, plan, folded, schedule, images, count };
                threads.install(|| pass.infer(arena, |step, _| done(step + 1)));
            }
            (Backbone::Int8(network), Schedule::Int8(schedule)) => {
                let pass = Int8Pass { threads, network, plan, schedule, images, count };
                threads.install(|| pass.run(arena, done));
            }
            (Backbone::Float(_), Schedule::Int8(_)) | (Backbone::Int8(_), Schedule::Float(_)) => {
                unreachable!("a workspace is made for its backbone")
            }
        }
    }

    /// Returns the features that a finished pass left in the workspace.
    fn features<'a>(&'a self, workspace: &'a Workspace, images: &'a Images) -> &'a [f32] {
        let Workspace { schedule, arena, .. } = workspace;
        let features = match schedule {
            Schedule::Float(schedule) => match schedule.features {
                Source::Images => None,
                Source::Buffer(buffer) => Some(schedule.range(buffer, images.count)),
            },
            Schedule::Int8(schedule) => schedule.features(images.count),
        };
        features.map_or(&images.values[..], |range| arena.get(range))
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
        let mut arena = other.map(|other| other.arena).unwrap_or_default();
        let plan = ExecutionPlan::new(&self.network, &self.ops, size.height, size.width)?;
        let schedule = match &self.backbone {
            Backbone::Float(_) => Schedule::Float(ExecutionSchedule::inference(&plan, size.batch)),
            Backbone::Int8(network) => Schedule::Int8(Int8Schedule::new(&plan, &network.lowering, size.batch)),
        };
        arena.fit(match &schedule {
            Schedule::Float(schedule) => schedule.len(),
            Schedule::Int8(schedule) => schedule.len(),
        });
        Ok(Workspace { size, plan, schedule, arena })
    }

    /// Locks the list of idle workspaces.
    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Workspace>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workspace {
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
        let read = |values: &[f32]| {
            features.clear();
            features.extend_from_slice(values);
        };
        self.with_features(images, |_| {}, read)
    }

    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError> {
        self.logits_by_value(images, logits, |_| {})
    }
}
