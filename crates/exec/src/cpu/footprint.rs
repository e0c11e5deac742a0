//! Memory footprint of the CPU kernels: computed from the network before allocation, or measured on an executor.

use super::arena::Arena;
use super::execution_plan::{CpuOps, ExecutionPlan, cpu_ops};
use super::execution_schedule::ExecutionSchedule;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::matmul::PackedMatrix;
use super::{Cpu, PackedClassifier, PreparedCpu};
use crate::ExecError;
use crate::memory::{BatchSize, Footprint, Passes};
use fieldfit_nets::Network;
use fieldfit_tensor::TensorId;

const F32: usize = size_of::<f32>();

/// Computes the footprint of training.
pub(crate) fn training_footprint(
    network: &Network,
    trains: &dyn Fn(TensorId) -> bool,
    size: BatchSize,
    passes: Passes,
    threads: usize,
) -> Result<Footprint, ExecError> {
    let ops = cpu_ops(network)?;
    let plan = ExecutionPlan::new(network, &ops, size.height, size.width)?;
    let schedule =
        ExecutionSchedule::training(&plan, network.head, trains, passes.recomputed, passes.images(size.batch));
    Ok(Footprint {
        activations: Arena::bytes_for(schedule.len()),
        scratch: F32 * scratch_len(&plan, trains, threads, schedule.images()),
        folded: folded(&ops, network, FoldPurpose::Training),
    })
}

/// Computes the footprint of inference.
pub(crate) fn inference_footprint(network: &Network, size: BatchSize) -> Result<Footprint, ExecError> {
    let ops = cpu_ops(network)?;
    let plan = ExecutionPlan::new(network, &ops, size.height, size.width)?;
    Ok(Footprint {
        activations: Arena::bytes_for(ExecutionSchedule::inference(&plan, size.batch).len()),
        scratch: 0,
        folded: folded(&ops, network, FoldPurpose::Inference) + F32 * network.head.classes,
    })
}

/// Values of the largest scratch buffer for a kernel's gradient: per-thread partial sums, or Winograd's transformed
/// sums.
pub(super) fn scratch_len(
    plan: &ExecutionPlan,
    trains: &dyn Fn(TensorId) -> bool,
    threads: usize,
    images: usize,
) -> usize {
    plan.steps.iter().map(|step| step.kernel.scratch_len(trains, threads, images)).max().unwrap_or(0)
}

/// Bytes of the folded weights of every op and of the classifier.
fn folded(ops: &CpuOps, network: &Network, purpose: FoldPurpose) -> usize {
    let (features, classes) = (network.head.features, network.head.classes);
    let backward = if purpose == FoldPurpose::Training { PackedMatrix::size(classes, features) } else { 0 };
    let values: usize = ops.iter().map(|op| op.folded_len(purpose)).sum();
    let classifier = if network.head.is_dense() { 0 } else { PackedMatrix::size(features, classes) + backward };
    F32 * (values + classifier)
}

/// Bytes allocated for folded weights.
fn held(folded: &[FoldedWeights], classifier: &PackedClassifier) -> usize {
    let classifier = classifier.forward.capacity() + classifier.backward.capacity();
    F32 * (folded.iter().map(FoldedWeights::capacity).sum::<usize>() + classifier)
}

impl Cpu {
    /// Returns the bytes allocated so far.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.arena.bytes(),
            scratch: F32 * self.scratch.capacity(),
            folded: held(&self.folded, &self.classifier),
        }
    }
}

impl PreparedCpu {
    /// Returns the bytes allocated so far.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.idle().iter().map(|workspace| workspace.arena.bytes()).sum(),
            scratch: 0,
            folded: held(&self.folded, &self.classifier) + F32 * self.head_bias.capacity(),
        }
    }
}
