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
    /// What the run is going to do.
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
        /// What the split did that one would not expect.
        notes: Vec<String>,
        /// Optimiser steps in all.
        steps: u64,
        /// Side of the images in pixels.
        size: u32,
    },
    /// Files of the data set's folder that were left out, by kind; the first few by name.
    Skipped(SkipSummary),
    /// An image that could be read when the folder was opened and can't be any more: the run goes on without it.
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// How the run will be computed and what it will need at its peak, before it takes it.
    Memory(MemoryPlan),
    /// The stages at the network's beginning that stay the base's. What they make of the images is computed once a view.
    Frozen {
        /// Their names, in the network's order.
        stages: Vec<String>,
        /// Augmented views of each training image.
        views: u32,
        /// Bytes that one image's activation takes.
        image_bytes: u64,
        /// Whether activations are kept in an unnamed file rather than in memory.
        in_file: bool,
    },
    /// A checkpoint was found, and the run goes on from it.
    Resumed {
        /// Steps already done.
        step: u64,
    },
    /// The run waits, as its control or its guard wants; nothing is lost.
    Paused,
    /// The run goes on after a pause.
    Unpaused {
        /// How long it waited.
        seconds: f64,
    },
    /// How far a phase without steps has come.
    Progress {
        /// Which one.
        phase: Phase,
        /// Images or radius steps done.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The linear probe on the untouched base is trained.
    Probe {
        /// The L2 penalty that the validation slice preferred.
        penalty: f64,
        /// Its cross-entropy on the training slice.
        loss: f64,
        /// Its accuracy on the validation slice.
        accuracy: f64,
    },
    /// One optimiser step.
    Step {
        /// From 1.
        step: u64,
        /// Of how many.
        steps: u64,
        /// Mean cross-entropy of the batch before the step.
        loss: f64,
        /// The step's learning rate.
        learning_rate: f64,
        /// Norm over all gradients, before clipping.
        gradient: f64,
    },
    /// One pass over the training slice.
    Epoch {
        /// From 1.
        epoch: u32,
        /// Of how many.
        epochs: u32,
        /// Mean training loss over the pass.
        loss: f64,
        /// Accuracy on the validation slice.
        accuracy: f64,
    },
    /// Where the radii stand: the ratio of a tensor is the share of its difference that its radius lets through.
    Radii(RadiiSummary),
    /// What the method let each tensor keep, at the end.
    Shares {
        /// Each constrained tensor.
        tensors: Vec<TensorShare>,
    },
    /// Radii that no longer tell tensors apart: every one is closed, and the result is where training started, or every
    /// one is open, and nothing was held back.
    Degenerate {
        /// What was seen.
        reason: String,
    },
    /// Training went part of the way back to the base.
    Interpolation {
        /// The share of the difference that is kept, 0..1.
        alpha: f64,
        /// Mean cross-entropy on the validation slice at 0, 0.1, … 1; empty where the share was given.
        losses: Vec<f64>,
    },
    /// The loss left the region that can be trained in; nothing will be stored.
    Collapse {
        /// At which step.
        step: u64,
        /// What was seen.
        reason: String,
    },
    /// The run's state is on disk.
    Checkpoint {
        /// Where.
        path: PathBuf,
        /// After that many steps.
        step: u64,
    },
    /// A checkpoint could not be written. The run goes on; the last checkpoint, if there is one, is still there.
    CheckpointFailed {
        /// Where it was to be.
        path: PathBuf,
        /// After that many steps; 0 for a warning before the first.
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
    /// The verdict on the decoded delta.
    Gate(Gate),
    /// The end of it all; sent by whoever stores the delta.
    Done {
        /// Its number in the store.
        version: u32,
        /// Its file.
        delta: PathBuf,
        /// The file's size.
        delta_bytes: u64,
        /// Whether it is what runs now.
        active: bool,
        /// Why, or why not.
        reason: String,
        /// The verdict in figures.
        gate: GateFigures,
        /// Wall time of the whole.
        seconds: f64,
        /// The most memory that the process has ever had resident, in bytes, where the system tells (Linux).
        peak: Option<u64>,
    },
}

/// Phase of a run without optimiser steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The base's features of the training and validation images.
    Features,
    /// What the frozen stages make of a view of the training images.
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

    /// Of the ratios of the constrained tensors that moved.
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

/// The share of a tensor's difference that a method with radii let it keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorShare {
    /// The tensor's name.
    pub tensor: String,
    /// Which stage of the network it belongs to, from 0; the head's is the number of stages.
    pub stage: usize,
    /// The share, 0..1; the mean over rows where each has its own.
    pub share: f64,
}

impl TensorShare {
    /// Of the tensors that have a share, given in the network's order.
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
pub struct Gate {
    /// Images in the gate slice.
    pub images: usize,
    /// How many of them the reference got right.
    pub before: usize,
    /// How many of them the decoded delta gets right.
    pub after: usize,
    /// What `before` is about.
    pub reference: Reference,
    /// Whether the delta may become active: `after ≥ before`.
    pub accepted: bool,
    /// The verdict in words.
    pub reason: String,
}

/// Reference of the gate: what a delta must be at least as good as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The version that runs now, which has these classes.
    Active,
    /// A linear probe on the untouched base.
    Probe,
}

impl Gate {
    /// The verdict with accuracies in 0..1.
    pub fn figures(&self) -> GateFigures {
        let share = |right: usize| right as f64 / self.images.max(1) as f64;
        GateFigures { images: self.images, before: share(self.before), after: share(self.after) }
    }
}

/// Figures of the gate: accuracies in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GateFigures {
    /// Images in the gate slice.
    pub images: usize,
    /// The reference's accuracy.
    pub before: f64,
    /// The decoded delta's accuracy.
    pub after: f64,
}
