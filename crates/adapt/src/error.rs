//! Errors: why an adaptation ended without a delta.

use fieldfit_data::DataError;
use fieldfit_durable::{DurableError, SealError};
use fieldfit_exec::ExecError;
use fieldfit_model::ModelError;
use std::path::PathBuf;
use thiserror::Error;

/// Error of an adaptation, which ended without a delta. Nothing is stored then, but for the checkpoint that the error names.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdaptError {
    /// A method that there isn't.
    #[error("no method is called `{name}`: use one of {}", .known.join(", "))]
    Method {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// A setting that the method doesn't have.
    #[error("method `{method}` has no setting `{name}`: {}", listed(.known))]
    UnknownSetting {
        /// The method.
        method: &'static str,
        /// The name that was given.
        name: String,
        /// The settings that it has.
        known: Vec<String>,
    },
    /// A setting that the method can't go by.
    #[error("setting `{name}` of method `{method}` is {found}: give {expected}; {}", listed(.known))]
    Setting {
        /// The method.
        method: &'static str,
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What it may be.
        expected: String,
        /// The settings that the method has.
        known: Vec<String>,
    },
    /// A number that no run can go by.
    #[error("option `{name}` is {found}: give {expected}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A stage that can't be frozen.
    #[error("no stage `{name}` can be frozen: use one of {}; to train the head alone, use linear-probe", .known.join(", "))]
    Stage {
        /// The name that was given.
        name: String,
        /// Those that can be.
        known: Vec<String>,
    },
    /// A file of frozen stages' activations that can't be made, written or read.
    #[error(
        "can't keep the frozen stages' activations in a file in {} ({source}): free some room there, or give more memory",
        folder.display()
    )]
    ActivationCache {
        /// Where it was to be.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A priority that the system doesn't give.
    #[error("can't lower the run's priority by {nice}: {reason}")]
    Nice {
        /// By how much.
        nice: u8,
        /// What the system said.
        reason: String,
    },
    /// A pattern that is no glob.
    #[error("exclude pattern `{pattern}` can't be read: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern that matches nothing would silently constrain what it was meant to spare.
    #[error("exclude pattern `{pattern}` matches no tensor: names look like `{example}`")]
    PatternMatchesNothing {
        /// The pattern.
        pattern: String,
        /// A name of this network.
        example: String,
    },
    /// The loss is no number any more, or so is a gradient.
    #[error("the run diverged at step {step}: {what} is not finite; nothing was stored; lower the learning rate")]
    Diverged {
        /// From 1.
        step: u64,
        /// What stopped being finite.
        what: &'static str,
    },
    /// The loss left the region that can be trained in.
    #[error(
        "the run collapsed at step {step}: {reason}; nothing was stored; lower the learning rate or warm up longer"
    )]
    Collapsed {
        /// From 1.
        step: u64,
        /// What was seen.
        reason: String,
    },
    /// A tensor that is meant to train but doesn't.
    #[error(
        "tensor `{name}` is trainable but received no gradient: the network doesn't use it, or its activations are dead"
    )]
    NoGradient {
        /// Its name.
        name: String,
    },
    /// Somebody asked the run to stop.
    #[error("stopped on request; {}", resume_hint(.checkpoint.as_ref()))]
    Interrupted {
        /// Where the run's state is; nothing when it was asked to keep none, or stopped before its first step.
        checkpoint: Option<PathBuf>,
    },
    /// The run failed after its first step, and its state is in a checkpoint.
    #[error("{source}; {}", resume_hint(Some(.checkpoint)))]
    Failed {
        /// Why.
        source: Box<AdaptError>,
        /// Where the state is.
        checkpoint: PathBuf,
    },
    /// A disk without room for a checkpoint beside the result.
    #[error(
        "no room for the checkpoint {}: it needs {} with the result, and {} are free; free some", path.display(),
        mebibytes(*needed), mebibytes(*free)
    )]
    CheckpointSpace {
        /// Where it was to be.
        path: PathBuf,
        /// Bytes that it needs, those of the result included.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// There is nothing to resume from.
    #[error("no checkpoint at {}: start without resuming", path.display())]
    NoCheckpoint {
        /// Where it should be.
        path: PathBuf,
    },
    /// A checkpoint that was cut short or altered.
    #[error("the checkpoint {} is damaged ({damage}), and there is no whole one before it: delete it and start again", path.display())]
    DamagedCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: CheckpointDamage,
    },
    /// A checkpoint of another run.
    #[error(
        "the checkpoint {} was made with other {what}: resume with the same, or start without resuming", path.display()
    )]
    OtherCheckpoint {
        /// The file.
        path: PathBuf,
        /// What differs: the base, the images, the options.
        what: &'static str,
    },
    /// No way to compute the run keeps within the budget.
    #[error(
        "a memory budget of {} is too small: the least that this run takes is {}, {micro_batch} image(s) at once and \
         {recomputed_stages} stages computed twice; raise the budget, or take smaller images, fewer a step, or SGD",
        mebibytes(*budget), mebibytes(*least)
    )]
    Budget {
        /// Bytes that were allowed.
        budget: u64,
        /// Bytes of the smallest plan.
        least: u64,
        /// Images at once in that plan.
        micro_batch: usize,
        /// Stages that it computes twice.
        recomputed_stages: usize,
    },
    /// A network that can't take images of that size.
    #[error("{0}")]
    Shape(#[from] fieldfit_nets::ShapeError),
    /// The images can't be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network can't be computed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The base or the delta is not right.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The decoded delta is not right.
    #[error(transparent)]
    Delta(#[from] fieldfit_delta::DeltaError),
    /// The checkpoint can't be written or read.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The state can't be put into bytes.
    #[error("the run's state can't be encoded: {0}")]
    Encode(#[from] postcard::Error),
}

impl AdaptError {
    /// The same error with the checkpoint that the run has left, if it has one and the error doesn't say so already.
    pub(crate) fn with_checkpoint(self, checkpoint: Option<PathBuf>) -> Self {
        match (self, checkpoint) {
            (error @ (Self::Interrupted { .. } | Self::Failed { .. }), _) | (error, None) => error,
            (error, Some(checkpoint)) => Self::Failed { source: Box::new(error), checkpoint },
        }
    }

    /// Whether nothing can be won by going on from the state that the run ended in.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Interrupted { .. } | Self::Diverged { .. } | Self::Collapsed { .. } | Self::NoGradient { .. }
        )
    }
}

/// Damage of a checkpoint.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CheckpointDamage {
    /// It is not what was written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It is no state of a run, or one that ends too early.
    #[error("expected the state of a run, found what can't be read as one: {0}")]
    Layout(#[from] postcard::Error),
    /// It is whole, but no state that this run can have been in.
    #[error("{what}: expected {expected}, found {found}")]
    Contents {
        /// Which part of it.
        what: String,
        /// What the network, the options and the plan ask for.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// As a person reads it, rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", (bytes as f64 / f64::from(1 << 20) * 10.0).ceil() / 10.0)
}

fn listed(settings: &[String]) -> String {
    if settings.is_empty() { "it has none".into() } else { format!("it has {}", settings.join("; ")) }
}

fn resume_hint(checkpoint: Option<&PathBuf>) -> String {
    checkpoint.map_or_else(
        || "there is no checkpoint to resume from".into(),
        |path| format!("the state is in {}: resume to go on from it", path.display()),
    )
}
