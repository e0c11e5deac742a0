//! The trainer: what turns a base and a folder of labelled images into a delta, and judges it.
//!
//! [`adapt`] divides the images in three: **train** moves weights, **validation** learns radii and never moves weights,
//! **gate** does neither and decides. It trains a linear probe on the untouched base, then runs a [`Method`] over the
//! loop, encodes the difference from the base, decodes it again and counts what the decoded delta gets right on the
//! gate slice, against what runs now. All the while it tells what happens as [`Event`]s; a [`Control`] pauses and stops it, and a
//! checkpoint lets it go on to the same bits.
//!
//! The trainer's state is δ = θ − θ0 ([`TrainingState`]), never θ. The parts of a step are public and generic over the scalar,
//! so that tests can run the very same code in f64: [`Optimiser`], [`clip_global_norm`], [`Balls`] for TPGM's
//! radius step and projection, [`Shares`] for relative radii, [`Ftp`] and [`Spd`].
//!
//! Stages at the network's beginning may be [frozen](Freeze): what they make of the images is then computed once a view, kept
//! in memory or in an unnamed file, and read from there by whatever asks for a batch ([`Batches`]).
//!
//! What this crate is not: it stores nothing but its checkpoint, activates nothing, and prints nothing.
//!
//! A new method is one file in `methods/` and one line in its list; see [`Method`] for what the loop asks of it.

mod adapt;
mod check;
mod checkpoint;
mod coding;
mod control;
mod duty;
mod error;
mod evaluate;
mod event;
mod feed;
mod frozen;
mod gate;
mod host;
mod memory;
mod method;
mod methods;
mod optimiser;
mod options;
mod patterns;
mod plan;
mod probe;
mod retention;
mod schedule;
mod sensitivity;
mod session;
mod setting;
mod shares;
mod state;
mod tpgm;
mod tracker;
mod trainer;
mod watch;

pub use adapt::{Checkpointing, Outcome, Request, adapt};
pub use check::Reached;
pub use checkpoint::remove_checkpoint;
pub use coding::Coding;
pub use control::{Control, Pace};
pub use error::{AdaptError, Damage};
pub use evaluate::{ClassScore, Evaluation, agreement, evaluate, largest, under_base_head, under_both_heads};
pub use event::{Event, Gate, GateFigures, Phase, RadiiSummary, Reference, TensorShare};
pub use feed::{Batches, Cycle};
pub use host::HostParams;
pub use memory::{MemoryPlan, forget_peak_memory, peak_memory, plan_memory};
pub use method::{ConstraintSet, HeadStart, Method};
pub use methods::{Ftp, METHODS, MethodEntry, Spd, method};
pub use optimiser::{Clip, Optimiser, clip_global_norm};
pub use options::{Freeze, OptimiserOptions, Options, ScheduleOptions, Sharing, TpgmOptions};
pub use schedule::Schedule;
pub use session::Session;
pub use setting::Setting;
pub use shares::Shares;
pub use state::{HeadParams, TrainingState};
pub use tpgm::Balls;
pub use tracker::Tracker;
