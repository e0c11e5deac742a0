//! Trainer: fine-tunes a base on labelled images, encodes the result as a delta, and judges it on a gate slice.
//!
//! [`adapt`] divides the images in three slices: **train** moves weights, **validation** learns radii and never moves
//! weights, **gate** does neither and decides. It trains a linear probe on the untouched base, runs a [`Method`] over the
//! training loop, encodes the difference from the base, decodes it again and counts the gate images that the decoded delta
//! classifies correctly, against the active version. Progress is reported as [`Event`]s; a [`Control`] pauses and stops the
//! run, and a resumed checkpoint ends in the same bits.
//!
//! The trainer's state is δ = θ − θ0 ([`TrainingState`]), never θ. The parts of a step are public and generic over the
//! scalar, so that tests run the same code in f64: [`Optimiser`], [`clip_global_norm`], [`TensorRadii`] for TPGM's radius
//! step and projection, [`RelativeRadii`], [`Ftp`] and [`Spd`].
//!
//! | module | content |
//! |---|---|
//! | `adaptation` | [`adapt`]: the run from request to outcome |
//! | `train` | trainer, session, optimiser, learning rate, batch source, frozen prefix, probe, control |
//! | `methods` | the [`Method`] trait, one file for each method, and their list [`METHODS`] |
//! | `plan` | the decisions that follow from a request, and the memory plan |
//! | `checkpoint` | the run's state on disk, and its validation |
//! | `encode` | delta encoding, codec search, sensitivity, provenance |
//! | `classifier`, [`metrics`] | [`Classifier`], which every prediction of the workspace comes from, and the one place that counts them |
//! | `heads` | the base's own head on an adapted backbone |
//! | `kept_head` | the base's head where it is adapted, not replaced |
//! | `run_labels` | the classes of a run, where they are not those of its images |
//! | `start` | the weights that training starts at: the base's, or the active version's |
//! | `teach` | [`teach()`]: a class by its mean features, without training |
//! | [`novelty`], `covariance` | the distance that tells unknown images, and the statistics that it is measured by |
//! | `features` | features of frames and images by a version's backbone |
//! | `gate` | the verdict, and [`gate_again`] against another reference |
//!
//! The crate stores nothing but its checkpoint, activates nothing, and prints nothing. Modules import each other by their
//! full path and without a circle. A new method is one file in `methods/` and its lines in `methods/mod.rs`.

mod adaptation;
mod checkpoint;
mod classifier;
mod covariance;
mod encode;
mod error;
mod event;
mod features;
mod gate;
mod heads;
mod kept_head;
mod methods;
pub mod metrics;
pub mod novelty;
mod options;
mod outcome;
mod plan;
mod request;
mod run_labels;
mod start;
mod teach;
mod train;

pub use adaptation::adapt;
pub use checkpoint::resume_point::ResumePoint;
pub use checkpoint::snapshot::remove_checkpoint;
pub use classifier::{Classifier, ClassifierError, ExtraOutputs, FrameBuffers, Outputs, Placement};
pub use encode::activation_ranges::calibrate;
pub use error::{AdaptError, CheckpointDamage, TeachError};
pub use event::{BranchMean, Event, Gate, GateFigures, Phase, RadiiSummary, Reference, StageMean, TensorShare};
pub use gate::{MEAN_ERROR_RESOLUTION, gate_again};
pub use heads::under_base_head;
pub use methods::entry::MethodEntry;
pub use methods::ftp::Ftp;
pub use methods::method::{ConstraintSet, HeadStart, HostSteps, Method, Requirements, Steps, StoreSteps};
pub use methods::relative_radii::RelativeRadii;
pub use methods::setting::Setting;
pub use methods::spd::Spd;
pub use methods::tensor_radii::TensorRadii;
pub use methods::{METHODS, method};
pub use options::{
    BranchAverage, Branches, ClassWeights, Coding, Freeze, HeadMode, OptimiserOptions, Options, ScheduleOptions,
    Sharing, StartPoint, TpgmOptions,
};
pub use outcome::Outcome;
pub use plan::memory::{forget_peak_memory, peak_memory, plan_memory};
pub use plan::memory_plan::MemoryPlan;
pub use request::{AdaptRequest, Checkpointing};
pub use teach::{TeachRequest, remove_taught, teach};
pub use train::batch_source::{Batches, Cycle};
pub use train::control::{Control, Pace};
pub use train::host_params::HostParams;
pub use train::images::open_images;
pub use train::lr_schedule::LrSchedule;
pub use train::optimiser::{Clip, Optimiser, clip_global_norm};
pub use train::reporter::Reporter;
pub use train::session::{HostSession, Session};
pub use train::target_loss::{TargetLoss, WeightedPixels};
pub use train::target_scaling::{TargetScaling, WeightedLabels};
pub use train::training_state::{HeadParams, TrainingState};
