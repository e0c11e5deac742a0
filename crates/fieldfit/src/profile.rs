//! What a board's profile means for an adaptation.

use crate::runtime::cores;
use fieldfit_adapt::Options;
use fieldfit_exec::Device;
use fieldfit_target::TargetProfile;

/// The defaults on that board: its memory budget, its threads (at most the machine's cores) and its niceness.
pub fn options_for(board: &TargetProfile) -> Options {
    Options {
        device: Device::Cpu { threads: board.duty.threads.min(cores()) },
        nice: board.duty.nice,
        memory_budget: Some(board.memory.adaptation_bytes()),
        ..Options::default()
    }
}
