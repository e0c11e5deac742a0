//! FTP (Tian et al., NeurIPS 2023, arXiv 2310.19182): as LP-FT, every tensor inside a radius around the base that the
//! training gradient moves, without validation images. Behind any optimiser: it only looks at δ before and after.

use crate::checkpoint::check::{decode, each, radius, same, values};
use crate::checkpoint::resume_point::ResumePoint;
use crate::error::{AdaptError, CheckpointDamage};
use crate::methods::entry::MethodEntry;
use crate::methods::method::{ConstraintSet, HeadStart, HostSteps, Method, Steps};
use crate::methods::setting::Setting;
use crate::methods::tensor_pattern::held;
use crate::train::reporter::Reporter;
use crate::train::session::HostSession;
use crate::train::training_state::TrainingState;
use fieldfit_nets::Network;
use fieldfit_tensor::{Norm, Params, Real, TensorId, by_tensor};
use fieldfit_tpgm::{FastRadius, RadiusAdam};
use serde::{Deserialize, Serialize};

const STRENGTH: Setting = Setting {
    name: "strength",
    default: Some(1.0),
    range: 0.0..=1.0,
    about: "k, how much of a gradient that would shrink a radius counts; 1 holds back most",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "ftp",
    about: "as lp-ft, every tensor inside a radius that the training gradient moves",
    settings: &[STRENGTH],
    build: |options, network| {
        let held = held(options, network)?;
        let adam = RadiusAdam { learning_rate: options.tpgm.learning_rate, ..RadiusAdam::default() };
        Ok(Box::new(Ftp::<f32>::new(STRENGTH.of(options), adam, &held)))
    },
};

/// FTP: its radii, one for each tensor. A step is [`Ftp::learn`], the optimiser's own step, [`Ftp::project`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ftp<T> {
    pub(crate) strength: f64,
    pub(crate) adam: RadiusAdam,
    /// Radii by [`TensorId::index`]; `None` where the tensor is free.
    #[serde(deserialize_with = "by_tensor", bound(deserialize = "T: Deserialize<'de>"))]
    pub(crate) radii: Vec<Option<FastRadius<T>>>,
}

impl<T: Real> Ftp<T> {
    /// Radii at their start, for the tensors that `held` marks by [`TensorId::index`]. `strength` is k, in 0..=1.
    pub fn new(strength: f64, adam: RadiusAdam, held: &[bool]) -> Self {
        Self { strength, adam, radii: held.iter().map(|held| held.then(FastRadius::new)).collect() }
    }

    /// γ of a tensor; `None` where it is free.
    pub fn radius(&self, id: TensorId) -> Option<T> {
        self.radii[id.index()].as_ref().map(FastRadius::value)
    }

    /// One step of Adam on the radii, by the training loss's gradients at θ0 + δ.
    pub fn learn(&mut self, gradients: &Params<T>, delta: &Params<T>) {
        let values = gradients.buffers().iter().zip(delta.buffers());
        for (radius, (gradient, delta)) in self.radii.iter_mut().zip(values) {
            if let Some(radius) = radius {
                radius.learn(gradient, delta, self.strength, &self.adam);
            }
        }
    }

    /// Pulls every held δ back into its ball.
    pub fn project(&mut self, state: &mut TrainingState<'_, T>) {
        for (id, spec, delta) in state.deltas_mut() {
            if let Some(radius) = &mut self.radii[id.index()] {
                radius.project(delta, spec.rows());
            }
        }
    }
}

impl Method for Ftp<f32> {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        let radii = self.radii.iter().map(|radius| radius.as_ref().map(FastRadius::value)).collect();
        Some(ConstraintSet { norm: Norm::Mars, radii })
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn restore(&mut self, bytes: &[u8], point: &ResumePoint<'_>) -> Result<(), CheckpointDamage> {
        let found: Self = decode("FTP's radii", bytes)?;
        found.validate(self, point.network, point.step)?;
        *self = found;
        Ok(())
    }
}

impl HostSteps for Ftp<f32> {
    fn before_step(&mut self, session: &mut HostSession<'_>) {
        self.learn(&session.gradients, &session.state.delta);
    }

    fn after_step(&mut self, _: u64, session: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<(), AdaptError> {
        self.project(&mut session.state);
        Ok(())
    }
}

impl Ftp<f32> {
    /// Validates restored radii, which have seen so many steps, beside those of a run at its start.
    fn validate(&self, start: &Self, network: &Network, steps: u64) -> Result<(), CheckpointDamage> {
        let Self { strength, adam, radii } = self;
        same("FTP's strength", &start.strength, strength)?;
        same("the radii's optimiser", &start.adam, adam)?;
        for (id, spec, found) in each("radii", network, radii)? {
            let is_held = start.radii[id.index()].is_some();
            same(format_args!("whether `{}` has a radius", spec.name), &is_held, &found.is_some())?;
            let Some(found) = found else { continue };
            radius(spec, found.radius(), steps..=steps)?;
            let rows = if found.distances().is_empty() { 0 } else { spec.rows() };
            values(format_args!("distances of the rows of `{}`", spec.name), rows, 0.0..=f32::MAX, found.distances())?;
        }
        Ok(())
    }
}
