//! What the kernels hold, from the network as data: planned before there is any of it, or counted.

use super::arena::Arena;
use super::fold::Folded;
use super::plan::{Plan, check_supported, weight_len};
use super::schedule::Schedule;
use super::{Cpu, PreparedCpu};
use crate::ExecError;
use crate::memory::{Footprint, Passes, Size};
use fieldfit_nets::{Network, Op, TensorId};

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
        scratch: F32 * scratch_len(&plan, trains, threads),
        folded: folded(&plan),
    })
}

pub(crate) fn inference_footprint(network: &Network, size: Size) -> Result<Footprint, ExecError> {
    check_supported(network)?;
    let plan = Plan::new(network, size.height, size.width)?;
    let head = network.tensor(network.head.weight).len() + network.head.classes;
    Ok(Footprint {
        activations: Arena::bytes_for(Schedule::inference(&plan, size.batch).len()),
        scratch: 0,
        folded: folded(&plan) + F32 * head,
    })
}

/// Values of the largest kernel whose gradient is wanted, once a thread.
pub(super) fn scratch_len(plan: &Plan, trains: &dyn Fn(TensorId) -> bool, threads: usize) -> usize {
    let kernels = plan.steps.iter().filter_map(|step| match &step.op {
        Op::Conv(conv) if trains(conv.weight) || trains(conv.norm.scale) => Some(weight_len(conv)),
        _ => None,
    });
    threads * kernels.max().unwrap_or(0)
}

/// Kernel, shift and scale of every convolution.
fn folded(plan: &Plan) -> usize {
    let values = plan.steps.iter().map(|step| match &step.op {
        Op::Conv(conv) => weight_len(conv) + 2 * conv.output,
        Op::GlobalAveragePool => 0,
    });
    F32 * values.sum::<usize>()
}

fn held(folded: &[Folded]) -> usize {
    let values = |folded: &Folded| folded.weight.capacity() + folded.bias.capacity() + folded.scale.capacity();
    F32 * folded.iter().map(values).sum::<usize>()
}

impl Cpu {
    /// What it holds by now.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.arena.bytes(),
            scratch: F32 * self.scratch.capacity(),
            folded: held(&self.folded),
        }
    }
}

impl PreparedCpu {
    /// What it holds by now.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            activations: self.spare().iter().map(|workspace| workspace.arena.bytes()).sum(),
            scratch: 0,
            folded: held(&self.folded) + F32 * (self.head_weight.capacity() + self.head_bias.capacity()),
        }
    }
}
