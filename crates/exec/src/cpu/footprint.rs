//! What the kernels hold, from the network as data: planned before there is any of it, or counted.

use super::arena::Arena;
use super::fold::{Folded, Purpose};
use super::plan::{Kernel, Plan, check_supported, weight_len};
use super::product::Packed;
use super::schedule::Schedule;
use super::{Classifier, Cpu, PreparedCpu, pointwise, winograd};
use crate::ExecError;
use crate::memory::{Footprint, Passes, Size};
use fieldfit_nets::{Entry, Linear, Network, Op};
use fieldfit_tensor::TensorId;

const F32: usize = size_of::<f32>();

pub(crate) fn training_footprint(
    network: &Network,
    trains: &dyn Fn(TensorId) -> bool,
    size: Size,
    passes: Passes,
    threads: usize,
) -> Result<Footprint, ExecError> {
    check_supported(network)?;
    let plan = Plan::new(network, size.height, size.width)?;
    let schedule = Schedule::training(&plan, network.head, trains, passes.recomputed, passes.images(size.batch));
    Ok(Footprint {
        activations: Arena::bytes_for(schedule.len()),
        scratch: F32 * scratch_len(&plan, trains, threads, schedule.images()),
        folded: folded(&plan, network, Purpose::Training),
    })
}

pub(crate) fn inference_footprint(network: &Network, size: Size) -> Result<Footprint, ExecError> {
    check_supported(network)?;
    let plan = Plan::new(network, size.height, size.width)?;
    Ok(Footprint {
        activations: Arena::bytes_for(Schedule::inference(&plan, size.batch).len()),
        scratch: 0,
        folded: folded(&plan, network, Purpose::Inference) + F32 * network.head.classes,
    })
}

/// Values of the largest kernel's gradient of which each thread has a sum of its own, once a thread, or that has another form.
pub(super) fn scratch_len(plan: &Plan, trains: &dyn Fn(TensorId) -> bool, threads: usize, images: usize) -> usize {
    let kernels = plan.steps.iter().filter_map(|step| match &step.op {
        Op::Conv(conv) if matches!(step.kernel, Kernel::Winograd(_)) => {
            (trains(conv.weight) || trains(conv.norm.scale)).then(|| winograd::scratch_len(conv))
        }
        Op::Linear(Linear { weight, scale, input, output, .. }) if trains(*weight) || scale.is_some_and(trains) => {
            let is_whole = pointwise::is_shared_by_rows(input * output, images * step.input.len());
            (!is_whole).then_some(threads * input * output)
        }
        Op::Conv(conv) if trains(conv.weight) || trains(conv.norm.scale) => {
            let is_whole = matches!(step.kernel, Kernel::Pointwise | Kernel::Dense(_))
                && pointwise::is_shared_by_rows(weight_len(conv), images * step.input.len());
            (!is_whole).then_some(threads * weight_len(conv))
        }
        _ => None,
    });
    kernels.max().unwrap_or(0)
}

/// Kernel, shift and scale of every convolution, and the classifier.
fn folded(plan: &Plan, network: &Network, purpose: Purpose) -> usize {
    let both = |depth: usize, columns: usize| {
        let backward = if purpose == Purpose::Training { Packed::size(columns, depth) } else { 0 };
        Packed::size(depth, columns) + backward
    };
    let values = plan.steps.iter().map(|step| match &step.op {
        Op::Conv(conv) if conv.is_depthwise() => weight_len(conv) + 2 * conv.output,
        Op::Conv(conv) if winograd::suits(conv) => {
            let backward = if purpose == Purpose::Training { winograd::packed_len(conv.output, conv.input) } else { 0 };
            winograd::packed_len(conv.input, conv.output) + backward + 2 * conv.output
        }
        Op::Conv(conv) => both(weight_len(conv) / conv.output, conv.output) + 2 * conv.output,
        Op::Linear(Linear { entry, scale, input, output, .. }) => {
            let norm = if let Entry::LayerNorm(_) = entry { 2 * input } else { 0 };
            both(*input, *output) + norm + output * (1 + usize::from(scale.is_some()))
        }
        Op::Embed(embed) => {
            let tokens = embed.prefix + embed.grid * embed.grid;
            Packed::size(embed.patch_len(), embed.width) + (1 + tokens) * embed.width
        }
        Op::ClassToken(token) => 2 * token.width,
        Op::MaxPool(_) | Op::GlobalAveragePool | Op::Attention(_) => 0,
    });
    F32 * (values.sum::<usize>() + both(network.head.features, network.head.classes))
}

fn held(folded: &[Folded], classifier: &Classifier) -> usize {
    let values = |folded: &Folded| {
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
    /// What it holds by now.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.arena.bytes(),
            scratch: F32 * self.scratch.capacity(),
            folded: held(&self.folded, &self.classifier),
        }
    }
}

impl PreparedCpu {
    /// What it holds by now.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.spare().iter().map(|workspace| workspace.arena.bytes()).sum(),
            scratch: 0,
            folded: held(&self.folded, &self.classifier) + F32 * self.head_bias.capacity(),
        }
    }
}
