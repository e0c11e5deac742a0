//! The seam between a network and what computes it.

use crate::ExecError;
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Network, Shape, TensorSpec};
use fieldfit_tpgm::Real;

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
}

impl Device {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Cuda { .. } => "cuda",
            Self::Metal => "metal",
        }
    }
}

/// Values of a batch, one row an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix<T> {
    /// One an image.
    pub rows: usize,
    /// Values an image: classes or features.
    pub columns: usize,
    /// `[rows, columns]`.
    pub values: Vec<T>,
}

impl<T> Matrix<T> {
    /// The values of one image.
    pub fn row(&self, row: usize) -> &[T] {
        &self.values[row * self.columns..][..self.columns]
    }
}

impl<T: PartialOrd> Matrix<T> {
    /// How many rows have their largest value, the first of equals, in the labelled column.
    pub fn correct(&self, labels: &[u32]) -> usize {
        let largest =
            |row: &[T]| (1..row.len()).fold(0, |best, column| if row[column] > row[best] { column } else { best });
        labels.iter().enumerate().filter(|&(row, &label)| largest(self.row(row)) == label as usize).count()
    }
}

/// What one pass over a labelled batch gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss<T> {
    /// Mean cross-entropy in nats.
    pub mean: T,
    /// How many images had their label as the largest logit.
    pub correct: usize,
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

    /// Mean cross-entropy of the labels, and its gradient with respect to each tensor that `gradients` has room for.
    ///
    /// A tensor whose buffer in `gradients` is empty is frozen: nothing is computed for it, nor for what lies only
    /// below it. The buffers are overwritten, not added to.
    ///
    /// # Errors
    /// As [`Executor::features`]; if a label is not a class; if there is not one label an image.
    fn gradient(
        &mut self,
        params: &Params<T>,
        images: &Images,
        labels: &[u32],
        gradients: &mut Params<T>,
    ) -> Result<Loss<T>, ExecError>;

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

/// Checks what every executor must refuse: images that are no images, tensors of the wrong size, labels out of range.
pub(crate) fn check<T>(
    network: &Network,
    params: &Params<T>,
    images: &Images,
    labels: Option<&[u32]>,
) -> Result<(), ExecError> {
    check_images(network, images)?;
    check_params(network, params)?;
    let Some(labels) = labels else { return Ok(()) };
    if labels.len() != images.count {
        return Err(ExecError::LabelCount { images: images.count, labels: labels.len() });
    }
    match labels.iter().position(|&label| label as usize >= network.head.classes) {
        Some(position) => Err(ExecError::Label { position, found: labels[position], classes: network.head.classes }),
        None => Ok(()),
    }
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

fn check_tensor(spec: &TensorSpec, found: usize) -> Result<(), ExecError> {
    if found == spec.len() {
        return Ok(());
    }
    Err(ExecError::Tensor { name: spec.name.clone(), expected: spec.len(), found })
}
