//! Memory footprint of the CPU kernels: computed from the network before allocation, or measured on an executor.

use super::arena::Arena;
use super::execution_plan::{CpuOps, ExecutionPlan, cpu_ops};
use super::execution_schedule::ExecutionSchedule;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::int8::{Int8Network, Int8Schedule, Lowering};
use super::matmul::PackedMatrix;
use super::prepared_cpu::Backbone;
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

/// Computes the footprint of int8 inference.
pub(crate) fn int8_footprint(network: &Network, size: BatchSize) -> Result<Footprint, ExecError> {
    let ops = cpu_ops(network)?;
    let plan = ExecutionPlan::new(network, &ops, size.height, size.width)?;
    Ok(Footprint {
        activations: Arena::bytes_for(Int8Schedule::new(&plan, &Lowering::new(network), size.batch).len()),
        scratch: 0,
        folded: Int8Network::bytes(network, &ops)
            + F32 * (classifier_len(network, FoldPurpose::Inference) + network.head.classes),
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
    let values: usize = ops.iter().map(|op| op.folded_len(purpose)).sum();
    F32 * (values + classifier_len(network, purpose))
}

/// Values of the packed classifier.
fn classifier_len(network: &Network, purpose: FoldPurpose) -> usize {
    let (features, classes) = (network.head.features, network.head.classes);
    let backward = if purpose == FoldPurpose::Training { PackedMatrix::size(classes, features) } else { 0 };
    if network.head.is_dense() { 0 } else { PackedMatrix::size(features, classes) + backward }
}

/// Bytes allocated for folded weights.
fn held(folded: &[FoldedWeights]) -> usize {
    F32 * folded.iter().map(FoldedWeights::capacity).sum::<usize>()
}

/// Bytes allocated for the classifier.
const fn held_by(classifier: &PackedClassifier) -> usize {
    F32 * (classifier.forward.capacity() + classifier.backward.capacity())
}

impl Cpu {
    /// Returns the bytes allocated so far.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.arena.bytes(),
            scratch: F32 * self.scratch.capacity(),
            folded: held(&self.folded) + held_by(&self.classifier),
        }
    }
}

impl PreparedCpu {
    /// Returns the bytes allocated so far.
    pub fn footprint(&self) -> Footprint {
        let backbone = match &self.backbone {
            Backbone::Float(folded) => held(folded),
            Backbone::Int8(network) => network.allocated(),
        };
        Footprint {
            activations: self.idle().iter().map(|workspace| workspace.arena.bytes()).sum(),
            scratch: 0,
            folded: backbone + held_by(&self.classifier) + F32 * self.head_bias.capacity(),
        }
    }
}
