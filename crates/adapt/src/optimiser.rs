//! How gradients become steps.

use crate::OptimiserOptions;
use fieldfit_model::Params;
use fieldfit_nets::Network;
use fieldfit_tpgm::Real;
use serde::{Deserialize, Serialize};

/// An optimiser with its state. It moves δ = θ − θ0; weight decay looks at θ.
///
/// Decay leaves tensors of one dimension alone: biases and norm affine don't make a model larger, only worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Optimiser<T> {
    options: OptimiserOptions,
    steps: u64,
    /// Which tensors are decayed.
    decayed: Vec<bool>,
    /// SGD's momentum; AdamW's mean gradient.
    first: Params<T>,
    /// AdamW's mean squared gradient.
    second: Params<T>,
}

impl<T: Real> Optimiser<T> {
    /// An optimiser at rest, for the tensors that `delta` has.
    pub fn new(options: OptimiserOptions, network: &Network, delta: &Params<T>) -> Self {
        let state = |needed: bool| Params::zeros_where(network, |id| needed && delta.contains(id));
        Self {
            options,
            steps: 0,
            decayed: network.tensors().map(|(_, spec)| spec.shape.len() > 1).collect(),
            first: state(true),
            second: state(matches!(options, OptimiserOptions::AdamW { .. })),
        }
    }

    /// One step of δ. `weights` is θ = θ0 + δ, where `gradients` was taken; `learning_rate` is the schedule's.
    ///
    /// # Panics
    /// If the parameters were made for another network.
    pub fn step(&mut self, delta: &mut Params<T>, weights: &Params<T>, gradients: &Params<T>, learning_rate: f64) {
        self.steps += 1;
        let states = self.first.buffers_mut().iter_mut().zip(self.second.buffers_mut());
        let inputs = weights.buffers().iter().zip(gradients.buffers());
        let tensors = delta.buffers_mut().iter_mut().zip(inputs).zip(states).zip(&self.decayed);
        for (((delta, (weights, gradients)), (first, second)), &decayed) in tensors {
            if delta.is_empty() {
                continue;
            }
            assert!(delta.len() == weights.len() && delta.len() == gradients.len(), "parameters of another network");
            let decay = |decay: f64| if decayed { decay } else { 0.0 };
            match self.options {
                OptimiserOptions::Sgd { momentum, weight_decay, .. } => {
                    let sgd = Sgd::new(learning_rate, momentum, decay(weight_decay));
                    sgd.step(delta, weights, gradients, first);
                }
                OptimiserOptions::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                    let adam = AdamW::new(learning_rate, (beta1, beta2), epsilon, decay(weight_decay), self.steps);
                    adam.step(delta, weights, gradients, (first, second));
                }
            }
        }
    }
}

/// One step of `torch.optim.SGD(nesterov=True)`: `v ← μ·v + g`, `θ ← θ − η·(g + μ·v)`, with `g` decayed.
struct Sgd<T> {
    rate: T,
    momentum: T,
    decay: T,
}

impl<T: Real> Sgd<T> {
    fn new(rate: f64, momentum: f64, decay: f64) -> Self {
        Self { rate: T::of(rate), momentum: T::of(momentum), decay: T::of(decay) }
    }

    fn step(&self, delta: &mut [T], weights: &[T], gradients: &[T], velocities: &mut [T]) {
        let inputs = weights.iter().zip(gradients);
        for ((delta, (&weight, &gradient)), velocity) in delta.iter_mut().zip(inputs).zip(velocities) {
            let gradient = gradient + self.decay * weight;
            *velocity = self.momentum * *velocity + gradient;
            *delta -= self.rate * (gradient + self.momentum * *velocity);
        }
    }
}

/// One step of `torch.optim.AdamW`.
struct AdamW<T> {
    /// η over the mean's bias correction.
    rate: T,
    /// η·λ.
    decay: T,
    beta1: T,
    beta2: T,
    epsilon: T,
    /// Root of the mean square's bias correction.
    root: T,
}

impl<T: Real> AdamW<T> {
    fn new(rate: f64, (beta1, beta2): (f64, f64), epsilon: f64, decay: f64, steps: u64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        Self {
            rate: T::of(rate / correction(beta1)),
            decay: T::of(rate * decay),
            beta1: T::of(beta1),
            beta2: T::of(beta2),
            epsilon: T::of(epsilon),
            root: T::of(correction(beta2).sqrt()),
        }
    }

    fn step(&self, delta: &mut [T], weights: &[T], gradients: &[T], (means, squares): (&mut [T], &mut [T])) {
        let inputs = weights.iter().zip(gradients);
        let states = means.iter_mut().zip(squares);
        for ((delta, (&weight, &gradient)), (mean, square)) in delta.iter_mut().zip(inputs).zip(states) {
            *mean = self.beta1 * *mean + (T::one() - self.beta1) * gradient;
            *square = self.beta2 * *square + (T::one() - self.beta2) * gradient * gradient;
            let scale = square.sqrt() / self.root + self.epsilon;
            *delta -= self.decay * weight + self.rate * *mean / scale;
        }
    }
}

/// Shortens the gradients together so that their common L2 norm is `largest` at most, as `torch.nn.utils.clip_grad_norm_`.
///
/// Returns the norm before, which is not finite if any gradient isn't; nothing is shortened then.
pub fn clip_global_norm<T: Real>(gradients: &mut Params<T>, largest: Option<f64>) -> f64 {
    let square = |value: &T| value.wide() * value.wide();
    let norm = gradients.buffers().iter().flatten().map(square).sum::<f64>().sqrt();
    if let Some(largest) = largest.filter(|&largest| norm.is_finite() && norm > largest) {
        let scale = T::of(largest / (norm + 1e-6));
        gradients.buffers_mut().iter_mut().flatten().for_each(|value| *value *= scale);
    }
    norm
}
