//! Optimisers: SGD with Nesterov momentum and AdamW, on δ, with gradient clipping.

use crate::options::OptimiserOptions;
use crate::train::host_params::l2_norms;
use fieldfit_exec::{DeviceParams, ExecError, StateTensor, UpdateRule};
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Params, Real};
use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// Optimiser with its state. It moves δ = θ − θ0; weight decay looks at θ.
///
/// Decay leaves tensors of one dimension alone: biases and norm affine don't make a model larger, only worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Optimiser<T> {
    pub(crate) options: OptimiserOptions,
    pub(crate) steps: u64,
    /// Whether each tensor is decayed.
    pub(crate) decayed: Vec<bool>,
    /// SGD's momentum; AdamW's mean gradient.
    pub(crate) first: Params<T>,
    /// AdamW's mean squared gradient.
    pub(crate) second: Params<T>,
}

/// Whether weight decay concerns a tensor.
pub(crate) const fn is_decayed(spec: &TensorSpec) -> bool {
    spec.shape.len() > 1
}

impl<T: Real> Optimiser<T> {
    /// An optimiser at rest, for the tensors that `delta` has.
    pub fn new(options: OptimiserOptions, network: &Network, delta: &Params<T>) -> Self {
        let state = |needed: bool| Params::zeros_where(network, |id| needed && delta.contains(id));
        Self {
            options,
            steps: 0,
            decayed: network.tensors().map(|(_, spec)| is_decayed(spec)).collect(),
            first: state(true),
            second: state(matches!(options, OptimiserOptions::AdamW { .. })),
        }
    }

    /// One step of δ. `weights` is θ = θ0 + δ, where `gradients` was taken, and may have further rows of a head;
    /// `learning_rate` is the schedule's.
    ///
    /// # Panics
    /// If the parameters were made for another network.
    pub fn step(&mut self, delta: &mut Params<T>, weights: &Params<T>, gradients: &Params<T>, learning_rate: f64) {
        self.step_scaled(delta, weights, (gradients, 1.0), learning_rate);
    }

    /// [`Optimiser::step`] with every gradient times a factor, [`Clip::scale`], on the same pass.
    ///
    /// # Panics
    /// If the parameters were made for another network.
    pub fn step_scaled(
        &mut self,
        delta: &mut Params<T>,
        weights: &Params<T>,
        (gradients, scale): (&Params<T>, f64),
        learning_rate: f64,
    ) {
        let rules = self.next_rules(learning_rate);
        let arch = Arch::new();
        let states = self.first.buffers_mut().iter_mut().zip(self.second.buffers_mut());
        let inputs = weights.buffers().iter().zip(gradients.buffers());
        let tensors = delta.buffers_mut().iter_mut().zip(inputs).zip(states).zip(rules);
        for (((delta, (weights, gradients)), (first, second)), rule) in tensors {
            if delta.is_empty() {
                continue;
            }
            assert!(delta.len() <= weights.len() && delta.len() == gradients.len(), "parameters of another network");
            let tensor = Tensor { delta, weights, gradients, scale: T::of(scale) };
            match rule {
                UpdateRule::Sgd { rate, momentum, decay } => {
                    let [rate, momentum, decay] = [rate, momentum, decay].map(T::of);
                    arch.dispatch(SgdStep { rate, momentum, decay, tensor, velocities: first });
                }
                UpdateRule::AdamW { rate, decay, beta1, beta2, epsilon, root } => {
                    let [rate, decay, beta1, beta2, epsilon, root] =
                        [rate, decay, beta1, beta2, epsilon, root].map(T::of);
                    let (means, squares) = (first, second);
                    arch.dispatch(AdamWStep { rate, decay, beta1, beta2, epsilon, root, tensor, means, squares });
                }
            }
        }
    }

    /// [`Optimiser::step_scaled`] where δ, gradients and moments live on a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step_on(
        &mut self,
        resident: &mut dyn DeviceParams<T>,
        scale: f64,
        learning_rate: f64,
    ) -> Result<(), ExecError> {
        resident.step(&self.next_rules(learning_rate), scale)
    }

    /// Takes the moments home from the device, for a checkpoint.
    ///
    /// # Errors
    /// If the device fails.
    pub fn fetch(&mut self, resident: &dyn DeviceParams<T>) -> Result<(), ExecError> {
        resident.fetch(StateTensor::First, &mut self.first)?;
        resident.fetch(StateTensor::Second, &mut self.second)
    }

    /// Takes the moments to the device, after a checkpoint.
    ///
    /// # Errors
    /// If the device fails.
    pub fn put(&self, resident: &mut dyn DeviceParams<T>) -> Result<(), ExecError> {
        resident.put(StateTensor::First, &self.first)?;
        resident.put(StateTensor::Second, &self.second)
    }

    /// Counts the next step, and returns its update rule for each tensor.
    fn next_rules(&mut self, learning_rate: f64) -> Vec<UpdateRule> {
        self.steps += 1;
        let rule = |&decayed: &bool| match self.options {
            OptimiserOptions::Sgd { momentum, weight_decay, .. } => {
                UpdateRule::Sgd { rate: learning_rate, momentum, decay: if decayed { weight_decay } else { 0.0 } }
            }
            OptimiserOptions::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                let decay = if decayed { weight_decay } else { 0.0 };
                UpdateRule::adamw(learning_rate, (beta1, beta2), epsilon, decay, self.steps)
            }
        };
        self.decayed.iter().map(rule).collect()
    }
}

/// One tensor of a step.
struct Tensor<'a, T> {
    delta: &'a mut [T],
    weights: &'a [T],
    gradients: &'a [T],
    /// Factor of the gradients.
    scale: T,
}

impl<T: Real> Tensor<'_, T> {
    /// `rule(δ, θ, g, state)` for each value. Where θ doesn't matter it is not read, and stands as 0.
    #[inline(always)]
    fn each<State>(self, reads_weights: bool, states: impl Iterator<Item = State>, rule: impl Fn(&mut T, T, T, State)) {
        let Self { delta, weights, gradients, scale } = self;
        let values = delta.iter_mut().zip(gradients).zip(states);
        if reads_weights {
            for (((delta, &gradient), state), &weight) in values.zip(weights) {
                rule(delta, weight, scale * gradient, state);
            }
        } else {
            for ((delta, &gradient), state) in values {
                rule(delta, T::zero(), scale * gradient, state);
            }
        }
    }
}

/// [`UpdateRule::Sgd`], for the machine's own SIMD.
struct SgdStep<'a, T> {
    rate: T,
    momentum: T,
    decay: T,
    tensor: Tensor<'a, T>,
    velocities: &'a mut [T],
}

impl<T: Real> WithSimd for SgdStep<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rate, momentum, decay, tensor, velocities } = self;
        tensor.each(decay != T::zero(), velocities.iter_mut(), |delta, weight, gradient, velocity| {
            let gradient = gradient + decay * weight;
            *velocity = momentum * *velocity + gradient;
            *delta -= rate * (gradient + momentum * *velocity);
        });
    }
}

/// [`UpdateRule::AdamW`], for the machine's own SIMD.
struct AdamWStep<'a, T> {
    rate: T,
    decay: T,
    beta1: T,
    beta2: T,
    epsilon: T,
    root: T,
    tensor: Tensor<'a, T>,
    means: &'a mut [T],
    squares: &'a mut [T],
}

impl<T: Real> WithSimd for AdamWStep<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rate, decay, beta1, beta2, epsilon, root, tensor, means, squares } = self;
        let states = means.iter_mut().zip(squares);
        tensor.each(decay != T::zero(), states, |delta, weight, gradient, (mean, square)| {
            *mean = beta1 * *mean + (T::one() - beta1) * gradient;
            *square = beta2 * *square + (T::one() - beta2) * gradient * gradient;
            let scale = square.sqrt() / root + epsilon;
            *delta -= decay * weight + rate * *mean / scale;
        });
    }
}

/// Gradient clipping by the global norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// The L2 norm over all gradients; not finite if any gradient isn't.
    pub norm: f64,
    /// Factor that clips them, at most 1; for [`Optimiser::step_scaled`].
    pub scale: f64,
}

impl Clip {
    /// The factor that shortens gradients of these norms, by tensor, together so that their common L2 norm is `largest` at
    /// most, as `torch.nn.utils.clip_grad_norm_`. The gradients stay as they are: the step applies the factor on its own
    /// pass.
    ///
    /// Where the norm is not finite nothing is shortened.
    pub fn of(norms: &[Option<f64>], largest: Option<f64>) -> Self {
        let norm = norms.iter().flatten().map(|norm| norm * norm).sum::<f64>().sqrt();
        let too_long = largest.filter(|&largest| norm.is_finite() && norm > largest);
        Self { norm, scale: too_long.map_or(1.0, |largest| largest / (norm + 1e-6)) }
    }
}

/// [`Clip::of`] the gradients themselves.
pub fn clip_global_norm<T: Real>(gradients: &Params<T>, largest: Option<f64>) -> Clip {
    Clip::of(&l2_norms(gradients), largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_nets::by_name;
    use fieldfit_tensor::TensorId;

    /// Three steps of a 2×2 weight and a bias of two, as `torch.optim` takes them in f64 with the bias undecayed.
    fn run(options: OptimiserOptions) -> Vec<[Vec<f64>; 2]> {
        let network = by_name("efficientnet-tiny").unwrap();
        let (weight, bias) = (network.head.weight, network.head.bias);
        let start = |mut params: Params<f64>, values: [&[f64]; 2]| {
            params.replace(weight, values[0].to_vec());
            params.replace(bias, values[1].to_vec());
            params
        };
        let nothing = Params::zeros_where(&network, |_| false);
        let origin = start(nothing.clone(), [&[0.5, -1.25, 2.0, 0.0], &[0.3, -0.7]]);
        let mut delta = start(nothing.clone(), [&[0.0; 4], &[0.0; 2]]);
        let mut weights = origin.clone();
        let mut optimiser = Optimiser::new(options, &network, &delta);
        optimiser.first = delta.clone();
        if matches!(options, OptimiserOptions::AdamW { .. }) {
            optimiser.second = delta.clone();
        }
        let mut seen = Vec::new();
        for step in 0..3 {
            let s = f64::from(step);
            let slope = [0.1, -0.2, 0.3, 0.4].map(|value| value * (1.0 + 0.5 * s));
            let slope = [slope[0], slope[1] - 0.3 * s, slope[2], slope[3]];
            let gradients = start(nothing.clone(), [&slope, &[1.0 / (s + 1.0), -2.0 / (s + 1.0)]]);
            optimiser.step(&mut delta, &weights, &gradients, 0.1);
            let merged = |id: TensorId| origin[id].iter().zip(&delta[id]).map(|(a, b)| a + b).collect::<Vec<_>>();
            let values = [merged(weight), merged(bias)];
            weights = start(nothing.clone(), [&values[0], &values[1]]);
            seen.push(values);
        }
        seen
    }

    fn assert_close(found: &[[Vec<f64>; 2]], expected: [([f64; 4], [f64; 2]); 3]) {
        for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
            let pairs = found[0].iter().zip(expected.0).chain(found[1].iter().zip(expected.1));
            for (found, expected) in pairs {
                assert!((found - expected).abs() < 1e-12, "step {step}: {found}, not {expected}");
            }
        }
    }

    /// Catches: Nesterov's look-ahead on the wrong buffer, a first step without its momentum, decay that misses θ0 or hits biases.
    #[test]
    fn sgd_steps_as_pytorch_does() {
        let sgd = OptimiserOptions::Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.05 };
        assert_close(
            &run(sgd),
            [
                ([0.47625, -1.200125, 1.924, -0.076], [0.11, -0.32]),
                ([0.433100625, -1.0534613125, 1.787822, -0.221678], [-0.066, 0.032]),
                (
                    [0.3677948565625, -0.7808566737812498, 1.583435491, -0.449024259],
                    [-0.24273333333333336, 0.38546666666666674],
                ),
            ],
        );
    }

    /// Catches: a missing bias correction, ε inside the root, decay that goes through the moments.
    #[test]
    fn adamw_steps_as_pytorch_does() {
        let adamw =
            OptimiserOptions::AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.05 };
        assert_close(
            &run(adamw),
            [
                (
                    [0.397500009999999, -1.1437500049999998, 1.8900000033333333, -0.09999999750000005],
                    [0.20000000099999998, -0.6000000004999999],
                ),
                (
                    [0.2964317912681182, -1.0462531451287804, 1.7814692794535971, -0.19858072202321836],
                    [0.10678203829816106, -0.5067820372085103],
                ),
                (
                    [0.19622494814869118, -0.9491171341887564, 1.67383724466036, -0.2963125073381817],
                    [0.019466186760911428, -0.4194661850228968],
                ),
            ],
        );
    }

    /// Catches: a norm per tensor instead of one over all, a short gradient made longer, a scale that a step leaves out.
    #[test]
    fn clipping_shortens_all_gradients_together() {
        let network = by_name("efficientnet-tiny").unwrap();
        let mut gradients: Params<f64> = Params::zeros_where(&network, |_| false);
        gradients.replace(network.head.weight, vec![3.0, 4.0]);
        gradients.replace(network.head.bias, vec![12.0]);
        let whole = Clip { norm: 13.0, scale: 1.0 };
        assert_eq!(clip_global_norm(&gradients, Some(13.5)), whole);
        assert_eq!(clip_global_norm(&gradients, None), whole);

        let clip = clip_global_norm(&gradients, Some(2.0));
        assert_eq!(clip.norm, 13.0);
        let mut delta = gradients.clone();
        delta.buffers_mut().iter_mut().for_each(|tensor| tensor.fill(0.0));
        let plain = OptimiserOptions::Sgd { learning_rate: 1.0, momentum: 0.0, weight_decay: 0.0 };
        let mut optimiser = Optimiser::new(plain, &network, &delta);
        optimiser.first = delta.clone();
        optimiser.step_scaled(&mut delta, &gradients, (&gradients, clip.scale), 1.0);
        let expected = [0.461538426036, 0.615384568047, 1.846153704142];
        for (found, expected) in delta.buffers().iter().flatten().zip(expected) {
            assert!((found + expected).abs() < 1e-12, "{found}, not -{expected}");
        }
    }
}
