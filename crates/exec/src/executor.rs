//! The seam between a network and what computes it.

use crate::{ExecError, Objective};
use fieldfit_nets::{Network, Shape, TensorSpec};
use fieldfit_tensor::{Images, Matrix, Params, Real};

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Our kernels, on that many threads.
    Cpu {
        /// At least 1.
        threads: usize,
    },
    /// candle on a CUDA device (feature `cuda`).
    Cuda {
        /// Which device, from 0.
        ordinal: usize,
    },
    /// candle on Apple's GPU (feature `metal`).
    Metal,
    /// candle on the CPU (feature `candle`): what a device computes, and slow. For tests where there is no device.
    Candle,
}

impl Device {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Cuda { .. } => "cuda",
            Self::Metal => "metal",
            Self::Candle => "candle",
        }
    }
}

/// Computes a network with weights that may change between calls, and its gradients.
///
/// Batch-norm statistics are frozen: training and evaluation compute the same function.
pub trait Executor<T: Real>: Send {
    /// What it computes.
    fn network(&self) -> &Network;

    /// The pooled features of each image, `[N, features]`; of a network without its last stages, what its last stage
    /// makes of each, `[N, H · W · C]`.
    ///
    /// # Errors
    /// If the images or the parameters don't fit the network, or the device fails.
    fn features(&mut self, params: &Params<T>, images: &Images) -> Result<Matrix<T>, ExecError>;

    /// The logits of each image, `[N, classes]`.
    ///
    /// # Errors
    /// As [`Executor::features`].
    fn logits(&mut self, params: &Params<T>, images: &Images) -> Result<Matrix<T>, ExecError>;

    /// The objective's mean over the images, in nats, and its gradient with respect to each tensor that `gradients` has
    /// room for.
    ///
    /// A tensor whose buffer in `gradients` is empty is frozen: nothing is computed for it, nor for what lies only
    /// below it. The buffers are overwritten, not added to.
    ///
    /// # Errors
    /// As [`Executor::features`]; if the objective can't judge these images.
    fn gradient(
        &mut self,
        params: &Params<T>,
        images: &Images,
        objective: &dyn Objective<T>,
        gradients: &mut Params<T>,
    ) -> Result<T, ExecError>;

    /// Runs the backbone and shows each stage's output by name: `[N, H, W, C]`.
    ///
    /// # Errors
    /// As [`Executor::features`].
    fn trace(
        &mut self,
        params: &Params<T>,
        images: &Images,
        visit: &mut dyn FnMut(&str, Shape, &[T]),
    ) -> Result<(), ExecError>;
}

/// Weights made ready to infer with: folded and packed once, immutable, shared by threads.
pub trait Prepared: Send + Sync {
    /// Logits an image.
    fn classes(&self) -> usize;

    /// The logits of each image, `[N, classes]`, in place of what `logits` holds. A buffer that is used again, for as
    /// many images, isn't allocated again.
    ///
    /// # Errors
    /// If the images don't fit the network, or the device fails.
    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError>;

    /// The logits of each image.
    ///
    /// # Errors
    /// As [`Prepared::logits_into`].
    fn logits(&self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let mut values = Vec::new();
        self.logits_into(images, &mut values)?;
        Ok(Matrix { rows: images.count, columns: self.classes(), values })
    }
}

/// Checks that the batch has as many values as its shape says, pixels, and the network's channels.
pub(crate) fn check_images(network: &Network, images: &Images) -> Result<(), ExecError> {
    let Images { count, height, width, ref values, .. } = *images;
    let channels = network.channels;
    if height == 0 || width == 0 || images.channels != channels || values.len() != count * images.stride() {
        return Err(ExecError::Images { count, height, width, channels, found: values.len() });
    }
    Ok(())
}

/// Checks what every executor must refuse: images that are no images, tensors of the wrong size.
pub(crate) fn check<T>(network: &Network, params: &Params<T>, images: &Images) -> Result<(), ExecError> {
    check_images(network, images)?;
    check_params(network, params)
}

/// Checks that every tensor has as many values as the network says.
pub(crate) fn check_params<T>(network: &Network, params: &Params<T>) -> Result<(), ExecError> {
    network.tensors().try_for_each(|(id, spec)| check_tensor(spec, params[id].len()))
}

/// Checks that every tensor with room for a gradient has room for all of it.
pub(crate) fn check_gradients<T>(network: &Network, gradients: &Params<T>) -> Result<(), ExecError> {
    let mut trained = network.tensors().filter(|(id, _)| gradients.contains(*id));
    trained.try_for_each(|(id, spec)| check_tensor(spec, gradients[id].len()))
}

pub(crate) fn check_tensor(spec: &TensorSpec, found: usize) -> Result<(), ExecError> {
    if found == spec.len() {
        return Ok(());
    }
    Err(ExecError::Tensor { name: spec.name.clone(), expected: spec.len(), found })
}
