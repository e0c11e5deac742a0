//! Parameter stores: the tensors of a training run, in host memory ([`ParamStore`]) or on a device ([`DeviceParams`]).

use crate::{ExecError, Objective};
use fieldfit_tensor::{Images, Norm, Params, Real};

/// Parameter store of a training run: θ0, δ = θ − θ0 and the gradients, with the operations that gradient clipping, a
/// radius step and a projection need.
///
/// Only small values are copied between host and device: norms, ratios, radii. Lists are by tensor
/// ([`TensorId::index`](fieldfit_tensor::TensorId::index)), with an empty entry for a tensor that is frozen or not
/// requested.
pub trait ParamStore<T: Real> {
    /// Computes the objective's mean over the images, in nats, at θ0 + r·δ, and stores its gradients.
    ///
    /// `ratios` has each tensor's r, one for the tensor or one per row; an empty list, for a tensor or for all, means
    /// r = 1.
    ///
    /// # Errors
    /// If images or objective do not fit the network, or the device fails.
    fn gradient(&mut self, ratios: &[Vec<T>], images: &Images, objective: &dyn Objective<T>) -> Result<T, ExecError>;

    /// Computes the L2 norm of each tensor's gradient; `None` for a frozen tensor.
    ///
    /// # Errors
    /// If the device fails.
    fn gradient_norms(&self) -> Result<Vec<Option<f64>>, ExecError>;

    /// Computes the norms of each δ that `wanted` marks, as [`fieldfit_tpgm::distances`] defines them. Replaces the
    /// contents of `out`.
    ///
    /// # Errors
    /// If the device fails.
    fn distances(&self, norm: Norm, wanted: &[bool], out: &mut Vec<Vec<T>>) -> Result<(), ExecError>;

    /// Computes ∂L/∂γ of each tensor that has a radius, as [`fieldfit_tpgm::radius_gradient`] defines it, for the δ
    /// that `distances` was measured of and the gradients of the last [`ParamStore::gradient`].
    ///
    /// # Errors
    /// If the device fails.
    fn radius_gradients(&self, distances: &[Vec<T>], radii: &[Option<T>]) -> Result<Vec<Option<T>>, ExecError>;

    /// Rescales `δ ← r·δ`, with one ratio per tensor or one per row; a tensor without ratios is unchanged.
    ///
    /// # Errors
    /// If the device fails.
    fn rescale(&mut self, ratios: &[Vec<T>]) -> Result<(), ExecError>;
}

/// Parameter store on a device, which also keeps the optimiser's state: no tensor is copied between steps.
pub trait DeviceParams<T: Real>: ParamStore<T> + Send {
    /// Updates δ by the stored gradients, each multiplied by `scale`.
    ///
    /// `rules` is by tensor. Weight decay applies to θ0 + δ.
    ///
    /// # Errors
    /// If the device fails.
    fn step(&mut self, rules: &[UpdateRule], scale: f64) -> Result<(), ExecError>;

    /// Copies state tensors to `values`, for a checkpoint or the result. Tensors with an empty buffer are skipped.
    ///
    /// # Errors
    /// If the device fails.
    fn fetch(&self, part: StateTensor, values: &mut Params<T>) -> Result<(), ExecError>;

    /// Copies state tensors from `values`.
    ///
    /// # Errors
    /// If a tensor has the wrong number of values, or the device fails.
    fn put(&mut self, part: StateTensor, values: &Params<T>) -> Result<(), ExecError>;
}

/// State tensor of a trained tensor, kept between steps; one value per weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateTensor {
    /// δ = θ − θ0.
    Delta,
    /// SGD's momentum; AdamW's mean gradient.
    First,
    /// AdamW's mean squared gradient.
    Second,
}

/// Update rule of one tensor for one step, with the optimiser's schedule and bias corrections applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UpdateRule {
    /// `torch.optim.SGD(nesterov=True)`: `g ← g + λ·θ`, `v ← μ·v + g`, `δ ← δ − η·(g + μ·v)`.
    Sgd {
        /// η.
        rate: f64,
        /// μ.
        momentum: f64,
        /// λ.
        decay: f64,
    },
    /// `torch.optim.AdamW`: `m ← β1·m + (1 − β1)·g`, `s ← β2·s + (1 − β2)·g²`,
    /// `δ ← δ − decay·θ − rate·m / (√s / root + ε)`.
    AdamW {
        /// η over the mean's bias correction.
        rate: f64,
        /// η·λ.
        decay: f64,
        /// Decay of the mean.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// ε, added to the denominator.
        epsilon: f64,
        /// Square root of the mean square's bias correction.
        root: f64,
    },
}

impl UpdateRule {
    /// Creates AdamW's rule for step number `step`, from 1.
    pub fn adamw(rate: f64, (beta1, beta2): (f64, f64), epsilon: f64, decay: f64, step: u64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Self::AdamW {
            rate: rate / correction(beta1),
            decay: rate * decay,
            beta1,
            beta2,
            epsilon,
            root: correction(beta2).sqrt(),
        }
    }
}
