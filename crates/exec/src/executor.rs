//! Executor interface: computes a network for training ([`Executor`]) or inference ([`Prepared`]) on a [`Device`].

use crate::{ExecError, Objective};
use fieldfit_nets::{Network, Shape, TensorSpec};
use fieldfit_tensor::{Images, Matrix, Params, Real};

/// Device that computes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU kernels, on that many threads.
    Cpu {
        /// At least 1.
        threads: usize,
    },
    /// candle on a CUDA device (feature `cuda`).
    Cuda {
        /// Index of the device, from 0.
        ordinal: usize,
    },
    /// candle on Apple's GPU (feature `metal`).
    Metal,
    /// candle on the CPU (feature `candle`), for tests without an accelerator; slow.
    Candle,
}

impl Device {
    /// Returns the device's name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Cuda { .. } => "cuda",
            Self::Metal => "metal",
            Self::Candle => "candle",
        }
    }
}

/// Executor of a network: computes features, logits and gradients with weights that may change between calls.
///
/// Batch-norm statistics are frozen: training and evaluation compute the same function.
pub trait Executor<T: Real>: Send {
    /// Returns the network that the executor computes.
    fn network(&self) -> &Network;

    /// Computes the pooled features of each image, `[N, features]`; for a network without its last stages, the output
    /// of its last stage, and for a dense network its logits, `[N, H · W · C]`.
    ///
    /// # Errors
    /// If the images or the parameters do not fit the network, or the device fails.
    fn features(&mut self, params: &Params<T>, images: &Images) -> Result<Matrix<T>, ExecError>;

    /// Computes the logits of each image, `[N, classes]`; of a dense network, of each pixel of its output, `[N · H · W,
    /// classes]`.
    ///
    /// # Errors
    /// As [`Executor::features`].
    fn logits(&mut self, params: &Params<T>, images: &Images) -> Result<Matrix<T>, ExecError>;

    /// Computes the objective's mean over the images, in nats, and its gradient with respect to each tensor with a
    /// buffer in `gradients`.
    ///
    /// A tensor with an empty buffer is frozen: its gradient is not computed, nor are gradients below the first trained
    /// tensor. The buffers are overwritten.
    ///
    /// # Errors
    /// As [`Executor::features`]; if the objective rejects the batch.
    fn gradient(
        &mut self,
        params: &Params<T>,
        images: &Images,
        objective: &dyn Objective<T>,
        gradients: &mut Params<T>,
    ) -> Result<T, ExecError>;

    /// Runs the backbone and calls `visit` with each stage's name, shape and output, `[N, H, W, C]`.
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

/// Network prepared for inference: weights folded and packed once, immutable, shared by threads.
pub trait Prepared: Send + Sync {
    /// Returns the number of logits per image; of a dense network, per pixel.
    fn classes(&self) -> usize;

    /// Computes the features of each image, which the head reads, `[N, features]`, and replaces the contents of `features`.
    /// Reusing a buffer for as many images, or fewer, allocates nothing. A dense network has none apart from its logits.
    ///
    /// # Errors
    /// As [`Prepared::logits_into`].
    fn features_into(&self, images: &Images, features: &mut Vec<f32>) -> Result<(), ExecError>;

    /// Computes the logits of each image, `[N, classes]`, or of each pixel of a dense network's output, `[N, H, W, classes]`,
    /// and replaces the contents of `logits`. Reusing a buffer for as many images, or fewer, allocates nothing.
    ///
    /// # Errors
    /// If the images do not fit the network, or the device fails.
    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError>;

    /// Computes the logits of each image, `[N, classes]`; of a dense network, of each pixel of its output, `[N · H · W,
    /// classes]`.
    ///
    /// # Errors
    /// As [`Prepared::logits_into`].
    fn logits(&self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let mut values = Vec::new();
        self.logits_into(images, &mut values)?;
        let columns = self.classes();
        Ok(Matrix { rows: values.len().checked_div(columns).unwrap_or(images.count), columns, values })
    }
}

/// Returns the number of logits of one image: one a class, or in a dense network one a class and pixel.
pub(crate) fn logits_of_image(network: &Network, images: &Images) -> Result<usize, ExecError> {
    if !network.head.is_dense() {
        return Ok(network.head.classes);
    }
    Ok(network.shapes(images.height, images.width)?.last().map_or(0, |output| output.len()))
}

/// Checks that the batch has the values of its shape, at least one pixel, and the network's channels.
pub(crate) fn check_images(network: &Network, images: &Images) -> Result<(), ExecError> {
    let Images { count, height, width, ref values, .. } = *images;
    let channels = network.channels;
    if height == 0 || width == 0 || images.channels != channels || values.len() != count * images.stride() {
        return Err(ExecError::Images { count, height, width, channels, found: values.len() });
    }
    Ok(())
}

/// Checks images and parameters against the network.
pub(crate) fn check<T>(network: &Network, params: &Params<T>, images: &Images) -> Result<(), ExecError> {
    check_images(network, images)?;
    check_params(network, params)
}

/// Checks that every tensor has the network's number of values.
pub(crate) fn check_params<T>(network: &Network, params: &Params<T>) -> Result<(), ExecError> {
    network.tensors().try_for_each(|(id, spec)| check_tensor(spec, params[id].len()))
}

/// Checks that every gradient buffer is empty or has the tensor's number of values.
pub(crate) fn check_gradients<T>(network: &Network, gradients: &Params<T>) -> Result<(), ExecError> {
    let mut trained = network.tensors().filter(|(id, _)| gradients.contains(*id));
    trained.try_for_each(|(id, spec)| check_tensor(spec, gradients[id].len()))
}

/// Checks a tensor's number of values.
pub(crate) fn check_tensor(spec: &TensorSpec, found: usize) -> Result<(), ExecError> {
    if found == spec.len() {
        return Ok(());
    }
    Err(ExecError::Tensor { name: spec.name.clone(), expected: spec.len(), found })
}
