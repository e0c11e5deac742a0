//! Errors: why an adaptation ended without a delta.

mod teach;

pub use teach::TeachError;

use crate::classifier::ClassifierError;
use fieldfit_data::DataError;
use fieldfit_durable::{DurableError, SealError};
use fieldfit_exec::ExecError;
use fieldfit_model::ModelError;
use fieldfit_tensor::Task;
use fieldfit_tensor::text::escape;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of an adaptation, which ended without a delta. Nothing is stored then, but for the checkpoint that the error names.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdaptError {
    /// An unknown method.
    #[error("unknown method `{name}`: use one of {}", .known.join(", "))]
    Method {
        /// The requested name.
        name: String,
        /// The names of the known methods.
        known: Vec<&'static str>,
    },
    /// An entry of a custom method that is malformed, or whose name another method has.
    #[error("the entry of the method `{name}` is invalid: {reason}")]
    MethodEntry {
        /// Name of the method or the tensor.
        name: String,
        /// The defect of the entry, and what to do.
        reason: String,
    },
    /// A custom method that failed: what it returns where no other error fits.
    #[error("method `{method}` failed: {source}")]
    CustomMethod {
        /// Name of the method.
        method: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting that the method does not have.
    #[error("method `{method}` has no setting `{name}`: {}", listed(.known))]
    UnknownSetting {
        /// The method.
        method: &'static str,
        /// The given name.
        name: String,
        /// The settings of the method.
        known: Vec<String>,
    },
    /// A setting whose value is out of range.
    #[error("setting `{name}` of method `{method}` is {found}: give {expected}; {}", listed(.known))]
    Setting {
        /// The method.
        method: &'static str,
        /// The setting.
        name: &'static str,
        /// The given value.
        found: f64,
        /// The allowed values.
        expected: String,
        /// The settings of the method.
        known: Vec<String>,
    },
    /// An option whose value is invalid.
    #[error("option `{name}` is {found}: give {expected}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// The given value.
        found: String,
        /// The allowed values.
        expected: &'static str,
    },
    /// Images that are labelled for another task than the base's.
    #[error(
        "the images are labelled for {dataset}, but the base does {base}: {}",
        match dataset {
            Task::Classification => "give each image a mask, in a folder `masks` beside `images`",
            Task::Segmentation => "sort the images into one folder a class, or adapt a base that classifies pixels",
            Task::Regression | Task::MultiLabel => "adapt a base that classifies whole images",
        }
    )]
    OtherTask {
        /// Task of the images.
        dataset: Task,
        /// Task of the base.
        base: Task,
    },
    /// A target that has one value on every training image.
    #[error(
        "target `{}` is {value} on each of {images} training images: there is nothing to learn of it; leave it out, or add images",
        escape(target)
    )]
    ConstantTarget {
        /// The target.
        target: String,
        /// Its value.
        value: f64,
        /// Training images.
        images: usize,
    },
    /// A name that is none of the images' targets.
    #[error("there is no target `{}`: expected one of {}", escape(name), escape(&known.join(", ")))]
    UnknownTarget {
        /// The given name.
        name: String,
        /// The targets.
        known: Vec<String>,
    },
    /// Something that is not available for a task.
    #[error("{what} is not available for {task}: leave it out, or use images of another task")]
    Task {
        /// What was asked for.
        what: &'static str,
        /// The task.
        task: Task,
    },
    /// A class that cannot be taught or removed.
    #[error(transparent)]
    Teach(#[from] TeachError),
    /// Images of a class that the base does not have, whose head is to be kept.
    #[error(
        "the base, whose head is to be kept, has no class `{}`{} (nearest: {}): rename the folder to the label that it \
         means, or learn a new head in place of the base's",
        escape(class),
        if *.others == 0 { String::new() } else { format!(" and {} more", .others) },
        nearest.iter().map(|label| format!("`{}`", escape(label))).collect::<Vec<_>>().join(", ")
    )]
    NotALabel {
        /// The first such class.
        class: String,
        /// Number of further ones.
        others: usize,
        /// Labels of the base that are spelled much like it.
        nearest: Vec<String>,
    },
    /// A version to start at that changes a tensor which would not train, and so would be lost.
    #[error(
        "the active version, which training is to start at, changes `{}`, which would not train: take a method that trains it, \
         freeze no stage that holds it, or start at the base",
        escape(name)
    )]
    UntrainedStart {
        /// Name of the tensor.
        name: String,
    },
    /// A stage that cannot be frozen.
    #[error("no stage `{name}` can be frozen: use one of {}; to train the head alone, use linear-probe", .known.join(", "))]
    Stage {
        /// The given name.
        name: String,
        /// The stages that can be frozen.
        known: Vec<String>,
    },
    /// A file of frozen stages' activations that cannot be created, written or read.
    #[error(
        "cannot keep the frozen stages' activations in a file in {} ({source}): free some space there, or raise the memory budget",
        folder.display()
    )]
    ActivationCache {
        /// Folder of the file.
        folder: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A niceness that the system rejects.
    #[error("cannot lower the run's priority by {nice}: {reason}")]
    Nice {
        /// The requested niceness.
        nice: u8,
        /// The system's error.
        reason: String,
    },
    /// An exclude pattern that is not a valid glob.
    #[error("exclude pattern `{pattern}` cannot be read: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The syntax error.
        reason: String,
    },
    /// An exclude pattern that matches no tensor, and so would exclude none.
    #[error("exclude pattern `{pattern}` matches no tensor: names look like `{example}`")]
    PatternMatchesNothing {
        /// The pattern.
        pattern: String,
        /// A tensor name of this network.
        example: String,
    },
    /// A loss or a gradient that is not finite.
    #[error("the run diverged at step {step}: {what} is not finite; nothing was stored; lower the learning rate")]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The value that is not finite: the loss or the gradient.
        what: &'static str,
    },
    /// A loss far above that of guessing, or a network that predicts one class.
    #[error(
        "the run collapsed at step {step}: {reason}; nothing was stored; lower the learning rate or warm up longer"
    )]
    Collapsed {
        /// The step, from 1.
        step: u64,
        /// The observation.
        reason: String,
    },
    /// A trainable tensor that receives no gradient.
    #[error(
        "tensor `{name}` is trainable but received no gradient: the network does not use it, or its activations are dead"
    )]
    NoGradient {
        /// Name of the method or the tensor.
        name: String,
    },
    /// A run that was stopped on request.
    #[error("stopped on request; {}", resume_hint(.checkpoint.as_ref()))]
    Interrupted {
        /// The checkpoint; `None` if none was requested, or the run was stopped before its first step.
        checkpoint: Option<PathBuf>,
    },
    /// A run that failed after its first step and left a checkpoint.
    #[error("{source}; {}", resume_hint(Some(.checkpoint)))]
    Failed {
        /// The cause.
        source: Box<AdaptError>,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
    /// A disk without free space for a checkpoint beside the result.
    #[error(
        "no space for the checkpoint {}: {} are needed with the result, {} are free; free some space", path.display(),
        mebibytes(*needed), mebibytes(*free)
    )]
    CheckpointSpace {
        /// Path of the checkpoint.
        path: PathBuf,
        /// Bytes needed, the result included.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// A missing checkpoint.
    #[error("no checkpoint at {}: start without resuming", path.display())]
    NoCheckpoint {
        /// Path of the checkpoint.
        path: PathBuf,
    },
    /// A checkpoint that was truncated or altered.
    #[error("the checkpoint {} is damaged ({damage}), and there is no whole one before it: delete it and start again", path.display())]
    DamagedCheckpoint {
        /// The file.
        path: PathBuf,
        /// The damage.
        damage: CheckpointDamage,
    },
    /// A checkpoint of another run.
    #[error(
        "the checkpoint {} was made with other {what}: resume with the same, or start without resuming", path.display()
    )]
    OtherCheckpoint {
        /// The file.
        path: PathBuf,
        /// The part that differs: the base, the images or the options.
        what: &'static str,
    },
    /// A memory budget that no plan of the run keeps within.
    #[error(
        "a memory budget of {} is too small: the least that this run takes is {}, {micro_batch} image(s) at once and \
         {recomputed_stages} stages computed twice; raise the budget, or take smaller images, fewer a step, or SGD",
        mebibytes(*budget), mebibytes(*least)
    )]
    Budget {
        /// The budget, in bytes.
        budget: u64,
        /// The smallest plan, in bytes.
        least: u64,
        /// Images per micro-batch in the smallest plan.
        micro_batch: usize,
        /// Stages that the smallest plan computes twice.
        recomputed_stages: usize,
    },
    /// An image size that the network cannot take.
    #[error("{0}")]
    Shape(#[from] fieldfit_nets::ShapeError),
    /// Images that cannot be read or split.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A network that cannot be computed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// An invalid base or delta.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An invalid delta file.
    #[error(transparent)]
    Delta(#[from] fieldfit_delta::DeltaError),
    /// A checkpoint that cannot be written or read.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A state that cannot be encoded.
    #[error("the run's state cannot be encoded: {0}")]
    Encode(#[from] postcard::Error),
}

impl AdaptError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::CheckpointSpace { path, .. }
            | Self::NoCheckpoint { path }
            | Self::DamagedCheckpoint { path, .. }
            | Self::OtherCheckpoint { path, .. } => Some(path),
            Self::ActivationCache { folder, .. } => Some(folder),
            Self::Interrupted { checkpoint } => checkpoint.as_deref(),
            Self::Failed { source, checkpoint } => source.path().or(Some(checkpoint)),
            Self::Data(error) => error.path(),
            Self::Model(error) => error.path(),
            Self::Durable(error) => error.path(),
            Self::Method { .. }
            | Self::MethodEntry { .. }
            | Self::CustomMethod { .. }
            | Self::UnknownSetting { .. }
            | Self::Setting { .. }
            | Self::Option { .. }
            | Self::OtherTask { .. }
            | Self::ConstantTarget { .. }
            | Self::UnknownTarget { .. }
            | Self::Task { .. }
            | Self::Teach(_)
            | Self::NotALabel { .. }
            | Self::UntrainedStart { .. }
            | Self::Stage { .. }
            | Self::Nice { .. }
            | Self::Pattern { .. }
            | Self::PatternMatchesNothing { .. }
            | Self::Diverged { .. }
            | Self::Collapsed { .. }
            | Self::NoGradient { .. }
            | Self::Budget { .. }
            | Self::Shape(_)
            | Self::Exec(_)
            | Self::Delta(_)
            | Self::Encode(_) => None,
        }
    }
}

impl From<ClassifierError> for AdaptError {
    fn from(error: ClassifierError) -> Self {
        match error {
            ClassifierError::Data(error) => Self::Data(error),
            ClassifierError::Exec(error) => Self::Exec(error),
            ClassifierError::Model(error) => Self::Model(error),
        }
    }
}

impl AdaptError {
    /// The same error with the checkpoint that the run has left, if it has one and the error doesn't say so already.
    pub(crate) fn with_checkpoint(self, checkpoint: Option<PathBuf>) -> Self {
        match (self, checkpoint) {
            (error @ (Self::Interrupted { .. } | Self::Failed { .. }), _) | (error, None) => error,
            (error, Some(checkpoint)) => Self::Failed { source: Box::new(error), checkpoint },
        }
    }

    /// Whether resuming from the state that the run ended in is pointless.
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
    /// A file that is not what was written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Bytes that are not the state of a run, or end too early.
    #[error("expected the state of a run, found other bytes: {0}")]
    Layout(#[from] postcard::Error),
    /// An intact state that this run cannot have been in.
    #[error("{what}: expected {expected}, found {found}")]
    Contents {
        /// The part of the state.
        what: String,
        /// The values that the network, the options and the plan allow.
        expected: String,
        /// The value in the checkpoint.
        found: String,
    },
}

/// Formats bytes as MiB, rounded up.
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
