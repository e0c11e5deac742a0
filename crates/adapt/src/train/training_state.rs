//! Training state: δ = θ − θ0 of every trainable tensor, and where each tensor started.

use fieldfit_model::Base;
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Params, Real, TensorId, TensorView};
use serde::{Deserialize, Serialize};

/// Start of a new classifier head, which has no origin in the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadParams {
    /// Weight, `[classes, features]`.
    pub weight: Vec<f32>,
    /// Bias, `[classes]`.
    pub bias: Vec<f32>,
}

/// The trainer's state: the difference of every trainable tensor from its start.
///
/// The start θ0 of the backbone is read from the base's map in its stored type; that of the head is its probe or its
/// random values. θ itself is only ever materialised: recovering δ from f32 weights would drown in rounding where the
/// ball is small.
#[derive(Debug)]
pub struct TrainingState<'a, T> {
    base: &'a Base,
    network: Network,
    head: HeadParams,
    /// θ − θ0 of each trainable tensor; a frozen tensor has none.
    pub delta: Params<T>,
}

impl<'a, T: Real> TrainingState<'a, T> {
    /// Creates the state at the start: every δ is 0. `trains` says which tensors have one.
    ///
    /// `network` is the base's under a head of the classes that `head` has.
    ///
    /// # Panics
    /// If the head doesn't fit the network.
    pub fn new(base: &'a Base, network: Network, head: HeadParams, trains: impl Fn(TensorId) -> bool) -> Self {
        assert_eq!(
            head.weight.len(),
            network.head.classes * network.head.features,
            "a weight for each class and feature"
        );
        assert_eq!(head.bias.len(), network.head.classes, "a bias for each class");
        let delta = Params::zeros_where(&network, trains);
        Self { base, network, head, delta }
    }

    /// Returns the network, under the new head.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the base, θ0.
    pub const fn base(&self) -> &'a Base {
        self.base
    }

    /// Returns the head's start.
    pub const fn head(&self) -> &HeadParams {
        &self.head
    }

    /// Returns θ0 of a tensor.
    pub fn start(&self, id: TensorId) -> TensorView<'_> {
        if id == self.network.head.weight {
            TensorView::from_f32(&self.head.weight)
        } else if id == self.network.head.bias {
            TensorView::from_f32(&self.head.bias)
        } else {
            self.base.tensor(id)
        }
    }

    /// Returns every trainable tensor's δ, to be written in place.
    pub fn deltas_mut(&mut self) -> impl Iterator<Item = (TensorId, &TensorSpec, &mut [T])> {
        let tensors = self.network.tensors().zip(self.delta.buffers_mut());
        tensors.filter(|(_, delta)| !delta.is_empty()).map(|((id, spec), delta)| (id, spec, delta.as_mut_slice()))
    }

    /// Computes every tensor's θ0 + δ.
    pub fn weights(&self) -> Params<T> {
        let mut weights = Params::zeros(&self.network);
        for (id, _) in self.network.tensors() {
            if !self.delta.contains(id) {
                self.start(id).copy_into(&mut weights[id]);
            }
        }
        self.merge_into(&mut weights);
        weights
    }

    /// Writes θ0 + δ of every trainable tensor to `weights`, and leaves the frozen ones as they are.
    pub fn merge_into(&self, weights: &mut Params<T>) {
        self.merge_projected_into(weights, |_, _| {});
    }

    /// Writes θ0 + r·δ of every trainable tensor to `weights`, where a head may have further rows, which stay.
    ///
    /// `ratios` puts a tensor's r into the list it is given: one value for the tensor, or one a row, or none for r = 1.
    pub fn merge_projected_into(&self, weights: &mut Params<T>, mut ratios: impl FnMut(TensorId, &mut Vec<T>)) {
        let mut list = Vec::new();
        for (id, _) in self.network.tensors().filter(|&(id, _)| self.delta.contains(id)) {
            list.clear();
            ratios(id, &mut list);
            let list = if list.is_empty() { &[T::one()] } else { list.as_slice() };
            let delta = &self.delta[id];
            self.start(id).merge_into(delta, list, &mut weights[id][..delta.len()]);
        }
    }
}

impl TrainingState<'_, f32> {
    /// Returns whether any tensor but the head's has left its start.
    pub fn has_moved(&self) -> bool {
        self.network.tensors().any(|(id, spec)| !spec.role.is_head() && self.delta.has_moved(id))
    }

    /// Computes θ0 + δ of the head.
    pub fn moved_head(&self) -> HeadParams {
        let moved = |id: TensorId| {
            let mut values = vec![0.0; self.network.tensor(id).len()];
            self.start(id).copy_into(&mut values);
            values.iter_mut().zip(&self.delta[id]).for_each(|(value, delta)| *value += delta);
            values
        };
        HeadParams { weight: moved(self.network.head.weight), bias: moved(self.network.head.bias) }
    }
}
