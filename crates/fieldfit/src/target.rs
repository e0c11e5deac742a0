//! Target profiles, and the options that follow from one.

use crate::runtime::cores;
use fieldfit_adapt::Options;
use fieldfit_exec::Device;

pub use fieldfit_target::*;

/// Returns the default options on that target: its memory budget, its threads (at most the machine's cores) and its
/// niceness.
pub fn options_for(target: &TargetProfile) -> Options {
    Options::default()
        .with_device(Device::Cpu { threads: target.duty.threads.min(cores()) })
        .with_nice(target.duty.nice)
        .with_memory_budget(Some(target.memory.adaptation_bytes()))
}
