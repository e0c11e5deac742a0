//! What computing a network takes, known from the network as data before anything is allocated, and how to make it less.

use crate::ExecError;
use crate::cpu;
use fieldfit_nets::Network;
use fieldfit_tensor::TensorId;
use std::fmt;

/// How a batch is computed: in how many parts, and what is computed twice.
///
/// With frozen statistics both are exact: parts of a batch give the batch's gradients up to rounding, and what is
/// computed twice gives the same bits twice. Another `Passes` gives other bits if its `micro_batch` differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Passes {
    /// Images that are computed at once, at least 1; activations grow with it, and nothing else does.
    pub micro_batch: usize,
    /// Of that many of the first stages, the backward pass keeps the inputs alone, and computes what is inside them
    /// again. The first stages have the most pixels; a number beyond the last stage stands for all.
    pub recomputed: usize,
}

impl Passes {
    /// Images at once where nobody says otherwise.
    pub const MICRO_BATCH: usize = 4;

    /// That many images at once, nothing computed twice.
    pub const fn of(micro_batch: usize) -> Self {
        Self { micro_batch, recomputed: 0 }
    }

    /// Images at once of a batch of that many.
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

/// Bytes that our kernels hold to compute a network. Parameters, gradients and images are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Activations and the gradients on their way down, which take turns in one block of memory.
    pub activations: usize,
    /// Each thread's own sum of a kernel's gradient.
    pub scratch: usize,
    /// The weights as the kernels read them: norms folded in, reordered.
    pub folded: usize,
}

impl Footprint {
    /// All of it.
    pub const fn total(&self) -> usize {
        self.activations + self.scratch + self.folded
    }
}

/// A batch to be computed, by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Images.
    pub batch: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

/// What [`cpu::Cpu`] holds after a gradient of the tensors that `trains` names.
///
/// # Errors
/// As [`cpu::Cpu::new`], or if the images have no pixels.
pub fn training(
    network: &Network,
    trains: impl Fn(TensorId) -> bool,
    size: Size,
    passes: Passes,
    threads: usize,
) -> Result<Footprint, ExecError> {
    cpu::training_footprint(network, &trains, size, passes.check()?, threads)
}

/// What [`cpu::PreparedCpu`] holds after logits of a batch of that size; [`cpu::Cpu`] holds as much after features, but
/// for the classifier, which `folded` includes.
///
/// # Errors
/// If the network can't be computed, or the images have no pixels.
pub fn inference(network: &Network, size: Size) -> Result<Footprint, ExecError> {
    cpu::inference_footprint(network, size)
}
