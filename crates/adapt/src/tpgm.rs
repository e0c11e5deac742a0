//! TPGM (Tian et al., CVPR 2023, arXiv 2303.10720): the radius step and the projection, on a network.

use crate::{RadiiSummary, State, TensorShare};
use fieldfit_exec::{ExecError, Executor, Objective};
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Network, TensorId};
use fieldfit_tpgm::{Norm, Radius, RadiusAdam, Real, distances, initial_radius, radius_gradient, ratios, rescale};
use serde::{Deserialize, Serialize};

/// A ball for each constrained tensor, and how its radius is learned.
///
/// A radius starts when its tensor has moved for the first time, at half the least distance among the rows that moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Balls<T> {
    norm: Norm,
    adam: RadiusAdam,
    /// By [`TensorId::index`].
    constrained: Vec<bool>,
    /// By [`TensorId::index`]; nothing where the tensor is free or has not moved yet.
    radii: Vec<Option<Radius<T>>>,
    /// By [`TensorId::index`]: the norms of δ when it was last looked at.
    #[serde(skip)]
    distances: Vec<Vec<T>>,
}

impl<T: Real> Balls<T> {
    /// Balls for the tensors that `constrained` names.
    pub fn new(network: &Network, norm: Norm, adam: RadiusAdam, constrained: impl Fn(TensorId) -> bool) -> Self {
        let constrained: Vec<_> = network.tensors().map(|(id, _)| constrained(id)).collect();
        Self { norm, adam, radii: vec![None; constrained.len()], constrained, distances: Vec::new() }
    }

    /// How distances are measured.
    pub const fn norm(&self) -> Norm {
        self.norm
    }

    /// γ by [`TensorId::index`]; nothing where a tensor is free or has not moved yet.
    pub fn values(&self) -> Vec<Option<T>> {
        self.radii.iter().map(|radius| radius.map(|radius| radius.value)).collect()
    }

    /// One step of Adam on the radii: one forward and backward at the projected weights, on images that never train
    /// weights.
    ///
    /// `weights` holds θ0 + r·δ afterwards and `gradients` the validation loss's there; δ itself is left as it is. Both
    /// must have room for the state's trainable tensors. The new radii are not clipped until they are next used.
    ///
    /// # Errors
    /// If the images don't fit the network, or the device fails.
    pub fn radius_step(
        &mut self,
        state: &State<'_, T>,
        executor: &mut dyn Executor<T>,
        (images, objective): (&Images, &dyn Objective<T>),
        weights: &mut Params<T>,
        gradients: &mut Params<T>,
    ) -> Result<T, ExecError> {
        self.fit_to(state);
        state.merge_projected_into(weights, |id, list| self.ratios(id, list));
        let loss = executor.gradient(weights, images, objective, gradients)?;
        for (id, _) in state.network().tensors() {
            if let Some(radius) = &mut self.radii[id.index()] {
                let slope =
                    radius_gradient(&gradients[id], &state.delta[id], &self.distances[id.index()], radius.value);
                radius.update(slope, &self.adam);
            }
        }
        Ok(loss)
    }

    /// Pulls every constrained δ back into its ball.
    pub fn project(&mut self, state: &mut State<'_, T>) {
        self.fit_to(state);
        self.rescale(state);
    }

    /// [`Balls::project`] right after a radius step, whose distances still hold: nothing may have moved δ in between.
    pub(crate) fn project_measured(&mut self, state: &mut State<'_, T>) {
        for (radius, distances) in self.radii.iter_mut().zip(&self.distances) {
            if let Some(radius) = radius {
                radius.clip(furthest(distances));
            }
        }
        self.rescale(state);
    }

    /// What the radii let through of the δ that the last radius step or projection met. `loss` is the radius step's.
    pub fn summary(&self, loss: T) -> RadiiSummary {
        RadiiSummary::of(&self.mean_ratios().flatten().collect::<Vec<_>>(), loss.wide())
    }

    /// What the radii let each constrained tensor keep of the δ that the last radius step or projection met.
    pub fn shares(&self, network: &Network) -> Vec<TensorShare> {
        TensorShare::list(network, self.mean_ratios())
    }

    /// The mean over the rows that moved of what is kept, by [`TensorId::index`].
    fn mean_ratios(&self) -> impl Iterator<Item = Option<f64>> {
        let mut list = Vec::new();
        self.radii.iter().zip(&self.distances).map(move |(radius, distances)| {
            let moved: Vec<_> = distances.iter().copied().filter(|&distance| distance > T::zero()).collect();
            ratios(&moved, (*radius)?.value, &mut list);
            (!list.is_empty()).then(|| list.iter().map(|ratio| ratio.wide()).sum::<f64>() / list.len() as f64)
        })
    }

    /// Measures every constrained δ, starts the radii of those that moved for the first time, and clips the others'.
    fn fit_to(&mut self, state: &State<'_, T>) {
        self.distances.resize(self.radii.len(), Vec::new());
        for (id, spec) in state.network().tensors().filter(|&(id, _)| self.constrained[id.index()]) {
            let norms = &mut self.distances[id.index()];
            distances(self.norm, &state.delta[id], spec.rows(), norms);
            match &mut self.radii[id.index()] {
                Some(radius) => radius.clip(furthest(norms)),
                radius => *radius = initial_radius(norms).map(Radius::new),
            }
        }
    }

    /// δ ← r·δ, by the distances that were measured last.
    fn rescale(&self, state: &mut State<'_, T>) {
        let mut list = Vec::new();
        for ((radius, distances), delta) in self.radii.iter().zip(&self.distances).zip(state.delta.buffers_mut()) {
            if let Some(radius) = radius {
                ratios(distances, radius.value, &mut list);
                rescale(delta, &list);
            }
        }
    }

    fn ratios(&self, id: TensorId, list: &mut Vec<T>) {
        if let Some(radius) = self.radii[id.index()] {
            ratios(&self.distances[id.index()], radius.value, list);
        }
    }
}

fn furthest<T: Real>(distances: &[T]) -> T {
    distances.iter().copied().fold(T::zero(), T::max)
}
