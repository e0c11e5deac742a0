//! Tensor radii: TPGM's radius step and projection (Tian et al., CVPR 2023, arXiv 2303.10720) on a network.

use crate::checkpoint::check::{each, radius, same};
use crate::error::CheckpointDamage;
use crate::event::{RadiiSummary, TensorShare};
use fieldfit_exec::{ExecError, Objective, ParamStore};
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Norm, Real, TensorId, by_tensor};
use fieldfit_tpgm::{Radius, RadiusAdam, initial_radius, ratios};
use serde::{Deserialize, Serialize};

/// Radius γ of each constrained tensor, and how it is learned.
///
/// A radius starts when its tensor has moved for the first time, at half the least distance among the rows that moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TensorRadii<T> {
    pub(crate) norm: Norm,
    pub(crate) adam: RadiusAdam,
    /// Whether each tensor is constrained, by [`TensorId::index`].
    pub(crate) constrained: Vec<bool>,
    /// Radii by [`TensorId::index`]; `None` where the tensor is free or has not moved yet.
    #[serde(deserialize_with = "by_tensor", bound(deserialize = "T: Deserialize<'de>"))]
    pub(crate) radii: Vec<Option<Radius<T>>>,
    /// Norms of δ when it was last measured, by [`TensorId::index`].
    #[serde(skip)]
    pub(crate) distances: Vec<Vec<T>>,
}

impl<T: Real> TensorRadii<T> {
    /// Radii for the tensors that `constrained` names.
    pub fn new(network: &Network, norm: Norm, adam: RadiusAdam, constrained: impl Fn(TensorId) -> bool) -> Self {
        let constrained: Vec<_> = network.tensors().map(|(id, _)| constrained(id)).collect();
        Self { norm, adam, radii: vec![None; constrained.len()], constrained, distances: Vec::new() }
    }

    /// Norm of distances.
    pub const fn norm(&self) -> Norm {
        self.norm
    }

    /// γ by [`TensorId::index`]; `None` where a tensor is free or has not moved yet.
    pub fn values(&self) -> Vec<Option<T>> {
        self.radii.iter().map(|radius| radius.map(|radius| radius.value)).collect()
    }

    /// One step of Adam on the radii: one forward and backward at the projected weights θ0 + r·δ, on images that never
    /// train weights. δ itself is left as it is.
    ///
    /// The store's gradients are the validation loss's there afterwards. The new radii are not clipped until they are next
    /// used.
    ///
    /// # Errors
    /// If the images don't fit the network, or the device fails.
    pub fn radius_step(
        &mut self,
        store: &mut dyn ParamStore<T>,
        images: &Images,
        objective: &dyn Objective<T>,
    ) -> Result<T, ExecError> {
        self.fit_to(store)?;
        let loss = store.gradient(&self.ratios(), images, objective)?;
        let slopes = store.radius_gradients(&self.distances, &self.values())?;
        for (radius, slope) in self.radii.iter_mut().zip(slopes) {
            if let (Some(radius), Some(slope)) = (radius, slope) {
                radius.update(slope, &self.adam);
            }
        }
        Ok(loss)
    }

    /// Pulls every constrained δ back into its ball.
    ///
    /// # Errors
    /// If the device fails.
    pub fn project(&mut self, store: &mut dyn ParamStore<T>) -> Result<(), ExecError> {
        self.fit_to(store)?;
        store.rescale(&self.ratios())
    }

    /// [`TensorRadii::project`] right after a radius step, whose distances still hold: nothing may have moved δ in between.
    pub(crate) fn project_measured(&mut self, store: &mut dyn ParamStore<T>) -> Result<(), ExecError> {
        for (radius, distances) in self.radii.iter_mut().zip(&self.distances) {
            if let Some(radius) = radius {
                radius.clip(furthest(distances));
            }
        }
        store.rescale(&self.ratios())
    }

    /// Summarises what the radii let through of the δ of the last radius step or projection. `loss` is the radius step's.
    pub fn summary(&self, loss: T) -> RadiiSummary {
        RadiiSummary::of(&self.mean_ratios().flatten().collect::<Vec<_>>(), loss.wide())
    }

    /// Returns the share that each constrained tensor keeps of the δ of the last radius step or projection.
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
    fn fit_to(&mut self, store: &dyn ParamStore<T>) -> Result<(), ExecError> {
        store.distances(self.norm, &self.constrained, &mut self.distances)?;
        for (radius, distances) in self.radii.iter_mut().zip(&self.distances) {
            match radius {
                Some(radius) => radius.clip(furthest(distances)),
                radius => *radius = initial_radius(distances).map(Radius::new),
            }
        }
        Ok(())
    }

    /// r of each tensor that has a radius, by the distances that were measured last.
    fn ratios(&self) -> Vec<Vec<T>> {
        let mut list = Vec::new();
        let tensors = self.radii.iter().zip(&self.distances);
        tensors
            .map(|(radius, distances)| {
                list.clear();
                radius.inspect(|radius| ratios(distances, radius.value, &mut list));
                list.clone()
            })
            .collect()
    }
}

impl TensorRadii<f32> {
    /// Validates restored radii, which have seen at most `most` radius steps, beside those of a run at its start.
    pub(crate) fn validate(&self, start: &Self, network: &Network, most: u64) -> Result<(), CheckpointDamage> {
        let Self { norm, adam, constrained, radii, distances: _ } = self;
        same("the radii's norm", &start.norm, norm)?;
        same("the radii's optimiser", &start.adam, adam)?;
        for (id, spec, constrained) in each("tensors that are constrained or are not", network, constrained)? {
            same(format_args!("whether `{}` is constrained", spec.name), &start.constrained[id.index()], constrained)?;
        }
        for (id, spec, found) in each("radii", network, radii)? {
            let Some(found) = found else { continue };
            same(format_args!("whether `{}` may have a radius", spec.name), &start.constrained[id.index()], &true)?;
            radius(spec, found, 0..=most)?;
        }
        Ok(())
    }
}

fn furthest<T: Real>(distances: &[T]) -> T {
    distances.iter().copied().fold(T::zero(), T::max)
}
