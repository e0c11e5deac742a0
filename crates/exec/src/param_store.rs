//! The seam between how weights are moved and where they live.

use crate::{ExecError, Objective};
use fieldfit_tensor::{Images, Norm, Params, Real};

/// Where θ0, δ = θ − θ0 and the gradients live, and where the network is computed: what a method asks of them between
/// steps. A clip, a radius step and a projection need no more.
///
/// One such place is the program's own memory; another is a device, which keeps all of it ([`DeviceParams`]). What is small
/// goes between them: norms, ratios, radii. Lists are by tensor ([`TensorId::index`](fieldfit_tensor::TensorId::index)),
/// with an empty entry for a tensor that is frozen or not asked for.
pub trait ParamStore<T: Real> {
    /// The objective's mean over the images, in nats, at θ0 + r·δ; its gradients stay here.
    ///
    /// `ratios` has each tensor's r, one for the tensor or one a row; nothing stands for r = 1, for a tensor or for all.
    ///
    /// # Errors
    /// If images and objective don't fit the network, or the device fails.
    fn gradient(&mut self, ratios: &[Vec<T>], images: &Images, objective: &dyn Objective<T>) -> Result<T, ExecError>;

    /// The L2 norm of each tensor's gradient; nothing where it is frozen.
    ///
    /// # Errors
    /// If the device fails.
    fn gradient_norms(&self) -> Result<Vec<Option<f64>>, ExecError>;

    /// The norms of each δ that `wanted` marks, as [`fieldfit_tpgm::distances`] defines them. Replaces what `out` held.
    ///
    /// # Errors
    /// If the device fails.
    fn distances(&self, norm: Norm, wanted: &[bool], out: &mut Vec<Vec<T>>) -> Result<(), ExecError>;

    /// ∂L/∂γ of each tensor that has a radius, as [`fieldfit_tpgm::radius_gradient`] defines it, for the δ that
    /// `distances` was measured of and the gradients of the last [`ParamStore::gradient`].
    ///
    /// # Errors
    /// If the device fails.
    fn radius_gradients(&self, distances: &[Vec<T>], radii: &[Option<T>]) -> Result<Vec<Option<T>>, ExecError>;

    /// `δ ← r·δ`, with one ratio for a tensor or one a row; a tensor without any stays as it is.
    ///
    /// # Errors
    /// If the device fails.
    fn rescale(&mut self, ratios: &[Vec<T>]) -> Result<(), ExecError>;
}

/// A place on a device, which keeps the optimiser's state, too: between steps, no tensor leaves it.
pub trait DeviceParams<T: Real>: ParamStore<T> + Send {
    /// One step of δ by the gradients that are here, each first times `scale`.
    ///
    /// `rules` is by tensor. A rule that decays looks at θ0 + δ.
    ///
    /// # Errors
    /// If the device fails.
    fn step(&mut self, rules: &[Rule], scale: f64) -> Result<(), ExecError>;

    /// Copies a part of the state out, for a checkpoint or the result. What `values` has no room for stays here.
    ///
    /// # Errors
    /// If the device fails.
    fn fetch(&self, part: StateTensor, values: &mut Params<T>) -> Result<(), ExecError>;

    /// Copies a part of the state in.
    ///
    /// # Errors
    /// If a tensor has another number of values, or the device fails.
    fn put(&mut self, part: StateTensor, values: &Params<T>) -> Result<(), ExecError>;
}

/// What of a training run is kept from one step to the next, one value a trained weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateTensor {
    /// δ = θ − θ0.
    Delta,
    /// SGD's momentum; AdamW's mean gradient.
    First,
    /// AdamW's mean squared gradient.
    Second,
}

/// How one step moves one tensor: what is left of an optimiser once its schedule and its bias corrections are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
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
        /// Keeps a step finite where gradients vanish.
        epsilon: f64,
        /// The root of the mean square's bias correction.
        root: f64,
    },
}

impl Rule {
    /// AdamW's rule for its step of that number, counted from 1.
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
