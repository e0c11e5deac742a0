//! The trainer: methods, optimisers, events, checkpoints and the gate.

mod adapt;
mod control;
mod error;
mod event;
mod options;

pub use adapt::{Checkpointing, Outcome, Request, adapt};
pub use control::Control;
pub use error::AdaptError;
pub use event::{Event, Gate, GateFigures, MemoryPlan, Phase, RadiiSummary, Reference};
pub use options::{Mode, OptimiserOptions, Options, ScheduleOptions, TpgmOptions};
