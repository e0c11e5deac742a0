//! Memory plan: the bytes that an adaptation needs at its peak, by part.

use fieldfit_exec::Passes;
use serde::{Deserialize, Serialize};

/// Memory plan of an adaptation: the bytes of each part, and how many images are computed at once. `total` is the most that is there at one time.
///
/// Exact but for `process`, and for compressed images while they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Images that are computed at once.
    pub micro_batch: usize,
    /// Number of first stages whose activations are computed twice instead of kept.
    pub recomputed_stages: usize,
    /// The program itself, by estimate.
    pub process: u64,
    /// θ0's file as it is mapped; the system may take it back under pressure.
    pub base: u64,
    /// The weights that answer frames meanwhile, and one frame's activations.
    pub running: u64,
    /// θ − θ0.
    pub delta: u64,
    /// While training: the merged weights, f32.
    pub weights: u64,
    /// While training: the gradients.
    pub gradients: u64,
    /// While training: the optimiser's state.
    pub optimiser: u64,
    /// While training: weights with norms folded in, as the kernels read them, and each thread's sums of gradients.
    pub kernels: u64,
    /// While training: activations and the gradients on their way down, for one micro-batch.
    pub activations: u64,
    /// While training: batches in use, ready, and in the making.
    pub images: u64,
    /// While training: the base's own head beside the new one, and its answers to the validation images, where a method
    /// asks for them.
    pub retention: u64,
    /// While training: what computes the frozen stages, and their activations unless a file holds them.
    pub frozen: u64,
    /// Not memory: the unnamed file that holds the frozen stages' activations; 0 where there is none.
    pub frozen_file: u64,
    /// While training: δ and the optimiser's state on their way into a checkpoint.
    pub checkpoint: u64,
    /// Bytes before training: the probe's features, and the weights and activations that make them.
    pub probing: u64,
    /// Bytes after training: the delta file, the weights that it decodes to, the same made ready to run, and the images that a
    /// result for int8 is calibrated on. A swap takes as much, without these.
    pub judging: u64,
    /// All that is there at the peak: what is always there, and the largest of probing, training and judging.
    pub total: u64,
}

impl MemoryPlan {
    /// Returns the passes by which the executor computes.
    pub const fn passes(&self) -> Passes {
        Passes { micro_batch: self.micro_batch, recomputed: self.recomputed_stages }
    }

    /// Returns the bytes that are resident during steps, beside those that always are.
    pub const fn training(&self) -> u64 {
        self.weights
            + self.gradients
            + self.optimiser
            + self.kernels
            + self.activations
            + self.images
            + self.retention
            + self.frozen
            + self.checkpoint
    }

    /// Returns the bytes that are resident throughout.
    pub const fn always(&self) -> u64 {
        self.process + self.base + self.running + self.delta
    }
}
