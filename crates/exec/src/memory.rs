//! Memory of an executor: its footprint, computed from the network before allocation, and the options that reduce it.

use crate::ExecError;
use crate::cpu;
use fieldfit_nets::Network;
use fieldfit_tensor::TensorId;
use std::fmt;

/// Micro-batch size and recomputation of a batch.
///
/// With frozen statistics both are exact: micro-batches give the batch's gradients up to rounding, and recomputed
/// activations have the same bits. Only another `micro_batch` changes the bits of the gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Passes {
    /// Images per micro-batch, at least 1; only activations grow with it.
    pub micro_batch: usize,
    /// Number of first stages that the backward pass recomputes from their inputs (gradient checkpointing). The first
    /// stages have the most pixels; a number beyond the last stage means all.
    pub recomputed: usize,
}

impl Passes {
    /// Default images per micro-batch.
    pub const MICRO_BATCH: usize = 4;

    /// Creates passes of that many images, without recomputation.
    pub const fn of(micro_batch: usize) -> Self {
        Self { micro_batch, recomputed: 0 }
    }

    /// Returns the images per micro-batch of a batch of that size.
    pub(crate) fn images(self, batch: usize) -> usize {
        self.micro_batch.min(batch)
    }

    pub(crate) fn check(self) -> Result<Self, ExecError> {
        if self.micro_batch == 0 { Err(ExecError::MicroBatch) } else { Ok(self) }
    }
}

impl Default for Passes {
    fn default() -> Self {
        Self::of(Self::MICRO_BATCH)
    }
}

impl fmt::Display for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "micro_batch={} recomputed_stages={}", self.micro_batch, self.recomputed)
    }
}

/// Memory footprint of the CPU kernels, in bytes. Parameters, gradients and images belong to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Activations and their gradients, which share one arena.
    pub activations: usize,
    /// Partial sums of a kernel's gradient.
    pub scratch: usize,
    /// Folded and packed weights.
    pub folded: usize,
}

impl Footprint {
    /// Returns the total bytes.
    pub const fn total(&self) -> usize {
        self.activations + self.scratch + self.folded
    }
}

/// Size of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Images.
    pub batch: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

/// Computes the footprint of [`cpu::Cpu`] after a gradient of the tensors that `trains` selects.
///
/// # Errors
/// As [`cpu::Cpu::new`], or if the images have no pixels.
pub fn training(
    network: &Network,
    trains: impl Fn(TensorId) -> bool,
    size: BatchSize,
    passes: Passes,
    threads: usize,
) -> Result<Footprint, ExecError> {
    cpu::training_footprint(network, &trains, size, passes.check()?, threads)
}

/// Computes the footprint of [`cpu::PreparedCpu`] after logits of a batch of that size; that of [`cpu::Cpu`] after
/// features is the same, without the classifier, which `folded` includes.
///
/// # Errors
/// If an op of the network is unsupported, or the images have no pixels.
pub fn inference(network: &Network, size: BatchSize) -> Result<Footprint, ExecError> {
    cpu::inference_footprint(network, size)
}

/// Computes the footprint of [`cpu::PreparedCpu::int8`] after logits of a batch of that size.
///
/// # Errors
/// As [`inference`].
pub fn inference_int8(network: &Network, size: BatchSize) -> Result<Footprint, ExecError> {
    cpu::int8_footprint(network, size)
}
