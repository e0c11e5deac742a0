//! Events: the progress of a run, as the command prints it in JSON lines.

use crate::plan::memory_plan::MemoryPlan;
use fieldfit_data::SkipSummary;
use fieldfit_delta::Fidelity;
use fieldfit_nets::{Network, TensorSpec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Event of a run, as the command prints it: `{"event":"step","step":1,…}`. Accuracies are 0..1, losses nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Plan of the run: slices, steps and image size.
    Plan {
        /// The method's name.
        method: String,
        /// The classes, in the order of their labels.
        classes: Vec<String>,
        /// Images that train weights.
        train: usize,
        /// Images that learn radii and never train weights.
        validation: usize,
        /// Images that decide whether the result is accepted, and do nothing else.
        gate: usize,
        /// Number of images that could not be read when the folder was opened.
        skipped: usize,
        /// Departures of the split from the fractions.
        notes: Vec<String>,
        /// Optimiser steps in all.
        steps: u64,
        /// Side of the images in pixels.
        size: u32,
    },
    /// Files of the data set's folder that were left out, by kind; the first few by name.
    Skipped(SkipSummary),
    /// Image that became unreadable after the folder was opened: the run continues without it.
    Unreadable {
        /// Path of the image.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// Memory plan: how the run will be computed, and its peak, before anything is allocated.
    Memory(MemoryPlan),
    /// Frozen stages at the network's start. Their activations are computed once per view of an image.
    Frozen {
        /// Names of the stages, in the network's order.
        stages: Vec<String>,
        /// Augmented views of each training image.
        views: u32,
        /// Bytes that one image's activation takes.
        image_bytes: u64,
        /// Whether activations are kept in an unnamed file rather than in memory.
        in_file: bool,
    },
    /// Checkpoint found: the run continues from it.
    Resumed {
        /// Steps already done.
        step: u64,
    },
    /// Pause: the run waits, by its control or its guard.
    Paused,
    /// End of a pause.
    Unpaused {
        /// Length of the pause, in seconds.
        seconds: f64,
    },
    /// Progress of a phase without steps.
    Progress {
        /// The phase.
        phase: Phase,
        /// Images or radius steps done.
        done: usize,
        /// Images or radius steps in all.
        total: usize,
    },
    /// Linear probe trained on the untouched base.
    Probe {
        /// L2 penalty with the best validation loss.
        penalty: f64,
        /// Mean cross-entropy of the probe on the training slice.
        loss: f64,
        /// Accuracy of the probe on the validation slice.
        accuracy: f64,
    },
    /// Optimiser step.
    Step {
        /// Number of the step, from 1.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Mean cross-entropy of the batch before the step.
        loss: f64,
        /// The step's learning rate.
        learning_rate: f64,
        /// Norm over all gradients, before clipping.
        gradient: f64,
    },
    /// End of an epoch, a pass over the training slice.
    Epoch {
        /// Number of the epoch, from 1.
        epoch: u32,
        /// Epochs in all.
        epochs: u32,
        /// Mean training loss over the pass.
        loss: f64,
        /// Accuracy on the validation slice.
        accuracy: f64,
    },
    /// Summary of the radii: the ratio of a tensor is the share of its difference that its radius lets through.
    Radii(RadiiSummary),
    /// Share of its difference that each tensor keeps, at the end.
    Shares {
        /// Constrained tensors, in the network's order.
        tensors: Vec<TensorShare>,
    },
    /// Radii that no longer tell tensors apart: every one is closed, and the result is where training started, or every
    /// one is open, and nothing was held back.
    Degenerate {
        /// The observation.
        reason: String,
    },
    /// Training went part of the way back to the base.
    Interpolation {
        /// The share of the difference that is kept, 0..1.
        alpha: f64,
        /// Mean cross-entropy on the validation slice at 0, 0.1, … 1; empty where the share was given.
        losses: Vec<f64>,
    },
    /// Mean of the branches of training: what the run goes on with.
    Branches(BranchMean),
    /// Collapse: the loss is far above that of guessing, or the network predicts one class; nothing will be stored.
    Collapse {
        /// Number of the step, from 1.
        step: u64,
        /// The observation.
        reason: String,
    },
    /// Checkpoint written.
    Checkpoint {
        /// Path of the checkpoint.
        path: PathBuf,
        /// Steps done.
        step: u64,
    },
    /// A checkpoint could not be written. The run goes on; the last checkpoint, if there is one, is still there.
    CheckpointFailed {
        /// Path of the checkpoint.
        path: PathBuf,
        /// Steps done; 0 for a warning before the first.
        step: u64,
        /// The error.
        reason: String,
    },
    /// Training ended early: the accuracy on the validation slice has stopped rising.
    EarlyStop {
        /// The last epoch, from 1.
        epoch: u32,
        /// Number of epochs without a higher accuracy.
        stale: u32,
        /// The highest accuracy, 0..1.
        best: f64,
    },
    /// The smallest file that says what the exact result says is found; this is what storing changed of what the network
    /// says on the validation slice as it is, and in two augmented views.
    Coded(Fidelity),
    /// Verdict on the decoded delta.
    Gate(Gate),
    /// End of the adaptation, reported by the caller that stores the delta.
    Done {
        /// Number of the version in the store.
        version: u32,
        /// Path of the delta file.
        delta: PathBuf,
        /// Size of the delta file, in bytes.
        delta_bytes: u64,
        /// Whether the version runs now.
        active: bool,
        /// Reason of the verdict.
        reason: String,
        /// Figures of the verdict.
        gate: GateFigures,
        /// Wall time of the adaptation, in seconds.
        seconds: f64,
        /// Peak resident memory of the process, in bytes, where the system reports it (Linux).
        peak: Option<u64>,
    },
}

/// Phase of a run without optimiser steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The base's features of the training and validation images.
    Features,
    /// Activations of the frozen stages for a view of the training images.
    Frozen,
    /// The validation slice after an epoch.
    Validation,
    /// Radius steps after training.
    Radii,
    /// The validation slice, once for every share of the difference that is tried.
    Interpolation,
    /// The validation slice, once for every file that is tried.
    Coding,
    /// The gate slice, before and after.
    Gate,
}

/// Summary of what the radii let through, over all constrained tensors that moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RadiiSummary {
    /// Constrained tensors that moved.
    pub tensors: usize,
    /// Mean ratio, 0..1.
    pub mean_ratio: f64,
    /// Tensors that go back to the base: ratio below 0.01.
    pub closed: usize,
    /// Tensors that keep their whole difference: ratio above 0.99.
    pub open: usize,
    /// Loss of the last radius step on its validation batch.
    pub loss: f64,
}

impl RadiiSummary {
    /// A ratio below this counts as closed.
    const CLOSED: f64 = 0.01;
    /// A ratio above this counts as open.
    const OPEN: f64 = 0.99;

    /// Summarises the ratios of the constrained tensors that moved.
    pub(crate) fn of(ratios: &[f64], loss: f64) -> Self {
        Self {
            tensors: ratios.len(),
            mean_ratio: ratios.iter().sum::<f64>() / ratios.len().max(1) as f64,
            closed: ratios.iter().filter(|&&ratio| ratio < Self::CLOSED).count(),
            open: ratios.iter().filter(|&&ratio| ratio > Self::OPEN).count(),
            loss,
        }
    }
}

/// Mean of the branches of training, from where they part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BranchMean {
    /// Number of branches.
    pub branches: u32,
    /// Mean cosine of two branches' differences, −1..1.
    pub cosine: f64,
    /// L2 norm of a branch's difference, the root mean square over branches.
    pub single: f64,
    /// L2 norm of the mean of the differences.
    pub mean: f64,
    /// The network's stages, in its order.
    pub stages: Vec<StageMean>,
}

/// Mean of the branches over a stage's tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageMean {
    /// Name of the stage.
    pub stage: String,
    /// Mean cosine of two branches' differences, −1..1; 0 where nothing moved.
    pub cosine: f64,
    /// The share of the mean that is kept, 0..1.
    pub share: f64,
}

/// The share of a tensor's difference that a method with radii let it keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TensorShare {
    /// The tensor's name.
    pub tensor: String,
    /// Index of its stage in the network, from 0; the head's is the number of stages.
    pub stage: usize,
    /// The share, 0..1; the mean over rows where each has its own.
    pub share: f64,
}

impl TensorShare {
    /// Lists the tensors that have a share; shares are in the network's order.
    pub(crate) fn list(network: &Network, shares: impl Iterator<Item = Option<f64>>) -> Vec<Self> {
        let tensors = network.tensors.iter().zip(network.section_of_each_tensor());
        let share = |((spec, stage), share): ((&TensorSpec, usize), Option<f64>)| {
            Some(Self { tensor: spec.name.clone(), stage, share: share? })
        };
        tensors.zip(shares).filter_map(share).collect()
    }
}

/// Verdict of the gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gate {
    /// Images in the gate slice.
    pub images: usize,
    /// Number of images, or of pixels that count or labels, that the reference classifies correctly.
    pub before: usize,
    /// Number of images, or of pixels that count or labels, that the decoded delta classifies correctly.
    pub after: usize,
    /// Number of pixels that count, of images with masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<usize>,
    /// Number of labels, of images that have any number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<usize>,
    /// Errors of the images' values, of images that have them; `before` and `after` are 0 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<MeanErrors>,
    /// Reference of `before`.
    pub reference: Reference,
    /// Whether the delta may become active: `after ≥ before`, or errors that are no larger than storing alone may make them.
    pub accepted: bool,
    /// The verdict in words.
    pub reason: String,
}

/// Mean errors of values over the gate slice and the targets, in the targets' standard deviations over the training slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanErrors {
    /// The reference's.
    pub before: f64,
    /// The decoded delta's.
    pub after: f64,
}

/// Reference of the gate: what a delta must be at least as good as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The version that runs now, which has these classes.
    Active,
    /// A linear probe on the untouched base.
    Probe,
    /// The base, whose head is kept.
    Base,
}

impl Gate {
    /// A verdict on classes of images, before it is reached.
    pub(crate) const fn counted(images: usize, [before, after]: [usize; 2], reference: Reference) -> Self {
        let (pixels, labels, errors, accepted) = (None, None, None, false);
        Self { images, before, after, pixels, labels, errors, reference, accepted, reason: String::new() }
    }

    /// The verdict with accuracies in 0..1. Of values, 1 / (1 + mean error).
    pub fn figures(&self) -> GateFigures {
        let answers = self.pixels.or(self.labels).unwrap_or(self.images).max(1) as f64;
        let [before, after] = match self.errors {
            None => [self.before, self.after].map(|right| right as f64 / answers),
            Some(MeanErrors { before, after }) => [before, after].map(|error| 1.0 / (1.0 + error)),
        };
        GateFigures { images: self.images, before, after }
    }
}

/// Figures of the gate: accuracies in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateFigures {
    /// Images in the gate slice.
    pub images: usize,
    /// The reference's accuracy.
    pub before: f64,
    /// The decoded delta's accuracy.
    pub after: f64,
}
