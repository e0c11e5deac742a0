//! Relative radii: which share of its δ each tensor may keep.

use crate::checkpoint::check::{each, same, values, within};
use crate::error::CheckpointDamage;
use crate::event::{RadiiSummary, TensorShare};
use crate::options::Sharing;
use crate::train::training_state::TrainingState;
use fieldfit_nets::Network;
use fieldfit_tensor::{Norm, Params, Real, TensorId, by_tensor};
use fieldfit_tpgm::{MINIMUM_RADIUS, distances, radius_gradient, rescale};
use serde::{Deserialize, Serialize};

/// Initial value of every share: all of δ is kept.
const START: f64 = 1.0;
/// A root mean square slope below this, in nats a share, is no slope.
const FLAT: f64 = 1e-12;

/// Relative radii: shares ρ = γ/n, 0..1, of the L2 norm n that each tensor's δ has: TPGM's radii (arXiv 2303.10720) in units in which a
/// step is as much for a kernel as for a norm's scale.
///
/// n is the norm where training ended, and stays what it is while shares are learned, so that δ ← ρ·δ is the projection
/// onto the ball of γ = ρ·n. Measured against a norm that the projection itself shrinks, γ would decay instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelativeRadii {
    /// Index of each tensor's share, by [`TensorId::index`]; `None` where the tensor is free.
    #[serde(deserialize_with = "by_tensor")]
    pub(crate) groups: Vec<Option<usize>>,
    pub(crate) shares: Vec<f64>,
    /// Sum of each share's values since [`RelativeRadii::remember`] was first called.
    pub(crate) sums: Vec<f64>,
    pub(crate) remembered: u64,
}

impl RelativeRadii {
    /// Shares of 1, for the tensors that `constrained` names.
    pub fn new(network: &Network, sharing: Sharing, constrained: impl Fn(TensorId) -> bool) -> Self {
        let stages = network.section_of_each_tensor();
        let group = |id: TensorId| match sharing {
            Sharing::Tensor => id.index(),
            Sharing::Stage => stages[id.index()],
            Sharing::Network => 0,
        };
        let groups: Vec<_> = network.tensors().map(|(id, _)| constrained(id).then(|| group(id))).collect();
        let count = groups.iter().flatten().max().map_or(0, |last| last + 1);
        Self { groups, shares: vec![START; count], sums: vec![0.0; count], remembered: 0 }
    }

    /// ρ of a tensor; `None` where it is free.
    pub fn of(&self, id: TensorId) -> Option<f64> {
        self.groups[id.index()].map(|group| self.shares[group])
    }

    /// Writes θ0 + ρ·δ of every trainable tensor to `weights`.
    pub fn merge_into<T: Real>(&self, state: &TrainingState<'_, T>, weights: &mut Params<T>) {
        state.merge_projected_into(weights, |id, ratios| ratios.extend(self.of(id).map(T::of)));
    }

    /// ∂L/∂ρ of each share, `Σ n·∂L/∂γ` over its tensors, with `gradients` those of L at θ0 + ρ·δ. Adds `weight` times as
    /// much to `slopes`, one a share.
    ///
    /// # Panics
    /// If `gradients` has no room for a constrained tensor, or `slopes` not for every share.
    pub fn add_slopes<T: Real>(
        &self,
        state: &TrainingState<'_, T>,
        gradients: &Params<T>,
        weight: f64,
        slopes: &mut [f64],
    ) {
        let mut norms = Vec::new();
        for (id, group) in self.constrained(state) {
            let delta = &state.delta[id];
            distances(Norm::L2, delta, 1, &mut norms);
            let radius = T::of(self.shares[group]) * norms[0];
            let slope = radius_gradient(&gradients[id][..delta.len()], delta, &norms, radius);
            slopes[group] += weight * norms[0].wide() * slope.wide();
        }
    }

    /// Number of shares.
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// One step against ∂L/∂ρ, whose root mean square over the shares that have a slope is `length`; what would leave
    /// 0..1 stays at its end.
    ///
    /// The slopes are clipped as one: a share moves in proportion to its own, where Adam would move each by the same and
    /// close or open for next to nothing.
    pub fn step(&mut self, slopes: &[f64], length: f64) {
        let sloping = slopes.iter().filter(|slope| **slope != 0.0).count().max(1) as f64;
        let typical = (slopes.iter().map(|slope| slope * slope).sum::<f64>() / sloping).sqrt();
        for (share, slope) in self.shares.iter_mut().zip(slopes) {
            *share = (*share - length * slope / typical.max(FLAT)).clamp(MINIMUM_RADIUS, 1.0);
        }
    }

    /// Counts the shares as they are in the mean that [`RelativeRadii::settle`] ends with.
    pub fn remember(&mut self) {
        self.sums.iter_mut().zip(&self.shares).for_each(|(sum, share)| *sum += share);
        self.remembered += 1;
    }

    /// Every share becomes the mean of those that were remembered, if any were.
    pub fn settle(&mut self) {
        for (share, sum) in self.shares.iter_mut().zip(&self.sums) {
            if self.remembered > 0 {
                *share = sum / self.remembered as f64;
            }
        }
    }

    /// δ ← ρ·δ. Returns γ = ρ·n by [`TensorId::index`]; `None` where a tensor is free or did not move.
    pub fn project(&self, state: &mut TrainingState<'_, f32>) -> Vec<Option<f32>> {
        let mut norms = Vec::new();
        let mut radii = vec![None; self.groups.len()];
        for (id, _, delta) in state.deltas_mut() {
            let Some(share) = self.of(id) else { continue };
            distances(Norm::L2, delta, 1, &mut norms);
            rescale(delta, &[share as f32]);
            radii[id.index()] = Some(share as f32 * norms[0]).filter(|&radius| radius > 0.0);
        }
        radii
    }

    /// Every constrained tensor's share.
    pub fn list(&self, network: &Network) -> Vec<TensorShare> {
        TensorShare::list(network, network.tensors().map(|(id, _)| self.of(id)))
    }

    /// Summarises what the shares let through of the tensors that trained. `loss` is what the last step descended.
    pub fn summary<T: Real>(&self, state: &TrainingState<'_, T>, loss: f64) -> RadiiSummary {
        let shares: Vec<f64> = self.constrained(state).map(|(_, group)| self.shares[group]).collect();
        RadiiSummary::of(&shares, loss)
    }

    fn constrained<T: Real>(&self, state: &TrainingState<'_, T>) -> impl Iterator<Item = (TensorId, usize)> {
        let tensors = state.network().tensors().filter(|&(id, _)| state.delta.contains(id));
        tensors.filter_map(|(id, _)| Some((id, self.groups[id.index()]?)))
    }

    /// Validates restored shares, remembered at most `most` times, beside those of a run at its start.
    pub(crate) fn validate(&self, start: &Self, network: &Network, most: u64) -> Result<(), CheckpointDamage> {
        let Self { groups, shares, sums, remembered } = self;
        for (id, spec, group) in each("shares by tensor", network, groups)? {
            same(format_args!("which share is that of `{}`", spec.name), &start.groups[id.index()], group)?;
        }
        within("shares remembered", 0..=most, remembered)?;
        values("shares", start.shares.len(), MINIMUM_RADIUS..=1.0, shares)?;
        values("sums of shares", start.shares.len(), 0.0..=*remembered as f64, sums)
    }
}
