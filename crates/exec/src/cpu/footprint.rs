//! Memory footprint of the CPU kernels: computed from the network before allocation, or measured on an executor.

use super::arena::Arena;
use super::execution_plan::{ExecutionPlan, Kernel, check_supported, weight_len};
use super::execution_schedule::ExecutionSchedule;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::matmul::PackedMatrix;
use super::{Cpu, PackedClassifier, PreparedCpu, pointwise, winograd};
use crate::ExecError;
use crate::memory::{BatchSize, Footprint, Passes};
use fieldfit_nets::{Linear, Network, Op, Prologue};
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
    check_supported(network)?;
    let plan = ExecutionPlan::new(network, size.height, size.width)?;
    let schedule =
        ExecutionSchedule::training(&plan, network.head, trains, passes.recomputed, passes.images(size.batch));
    Ok(Footprint {
        activations: Arena::bytes_for(schedule.len()),
        scratch: F32 * scratch_len(&plan, trains, threads, schedule.images()),
        folded: folded(&plan, network, FoldPurpose::Training),
    })
}

/// Computes the footprint of inference.
pub(crate) fn inference_footprint(network: &Network, size: BatchSize) -> Result<Footprint, ExecError> {
    check_supported(network)?;
    let plan = ExecutionPlan::new(network, size.height, size.width)?;
    Ok(Footprint {
        activations: Arena::bytes_for(ExecutionSchedule::inference(&plan, size.batch).len()),
        scratch: 0,
        folded: folded(&plan, network, FoldPurpose::Inference) + F32 * network.head.classes,
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
    let kernels = plan.steps.iter().filter_map(|step| match &step.op {
        Op::Conv(conv) if matches!(step.kernel, Kernel::Winograd(_)) => {
            (trains(conv.weight) || trains(conv.norm.scale)).then(|| winograd::scratch_len(conv))
        }
        Op::Linear(Linear { weight, scale, input, output, .. }) if trains(*weight) || scale.is_some_and(trains) => {
            let is_whole = pointwise::is_partitioned_by_rows(input * output, images * step.input.len());
            (!is_whole).then_some(threads * input * output)
        }
        Op::Conv(conv) if trains(conv.weight) || trains(conv.norm.scale) => {
            let is_whole = matches!(step.kernel, Kernel::Pointwise | Kernel::Dense(_))
                && pointwise::is_partitioned_by_rows(weight_len(conv), images * step.input.len());
            (!is_whole).then_some(threads * weight_len(conv))
        }
        _ => None,
    });
    kernels.max().unwrap_or(0)
}

/// Bytes of the folded weights of every op and of the classifier.
fn folded(plan: &ExecutionPlan, network: &Network, purpose: FoldPurpose) -> usize {
    let both = |depth: usize, columns: usize| {
        let backward = if purpose == FoldPurpose::Training { PackedMatrix::size(columns, depth) } else { 0 };
        PackedMatrix::size(depth, columns) + backward
    };
    let values = plan.steps.iter().map(|step| match &step.op {
        Op::Conv(conv) if conv.is_depthwise() => weight_len(conv) + 2 * conv.output,
        Op::Conv(conv) if winograd::supports(conv) => {
            let backward =
                if purpose == FoldPurpose::Training { winograd::packed_len(conv.output, conv.input) } else { 0 };
            winograd::packed_len(conv.input, conv.output) + backward + 2 * conv.output
        }
        Op::Conv(conv) => both(weight_len(conv) / conv.output, conv.output) + 2 * conv.output,
        Op::Linear(Linear { prologue, scale, input, output, .. }) => {
            let norm = if let Prologue::LayerNorm(_) = prologue { 2 * input } else { 0 };
            both(*input, *output) + norm + output * (1 + usize::from(scale.is_some()))
        }
        Op::Embed(embed) => {
            let tokens = embed.prefix + embed.grid * embed.grid;
            PackedMatrix::size(embed.patch_len(), embed.width) + (1 + tokens) * embed.width
        }
        Op::ClassToken(token) => 2 * token.width,
        Op::MaxPool(_) | Op::GlobalAveragePool | Op::Attention(_) => 0,
    });
    F32 * (values.sum::<usize>() + both(network.head.features, network.head.classes))
}

/// Bytes allocated for folded weights.
fn held(folded: &[FoldedWeights], classifier: &PackedClassifier) -> usize {
    let values = |folded: &FoldedWeights| {
        folded.taps.capacity()
            + folded.forward.capacity()
            + folded.backward.capacity()
            + folded.bias.capacity()
            + folded.scale.capacity()
            + folded.norm.scale.capacity()
            + folded.norm.shift.capacity()
            + folded.tokens.capacity()
    };
    let classifier = classifier.forward.capacity() + classifier.backward.capacity();
    F32 * (folded.iter().map(values).sum::<usize>() + classifier)
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
