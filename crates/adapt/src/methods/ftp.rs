//! FTP (Tian et al., NeurIPS 2023, arXiv 2310.19182): as LP-FT, every tensor inside a radius around the base that the
//! training gradient moves, without validation images. Behind any optimiser: it only looks at δ before and after.

use super::MethodEntry;
use crate::patterns::held;
use crate::{
    AdaptError, ConstraintSet, Damage, HeadStart, Method, Reached, Session, Setting, Tracker, TrainingState, check,
};
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

/// FTP's radii, one a tensor. A step is [`Ftp::learn`], the optimiser's own step, [`Ftp::project`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ftp<T> {
    pub(crate) strength: f64,
    pub(crate) adam: RadiusAdam,
    /// By [`TensorId::index`]; nothing where the tensor is free.
    #[serde(deserialize_with = "by_tensor", bound(deserialize = "T: Deserialize<'de>"))]
    pub(crate) radii: Vec<Option<FastRadius<T>>>,
}

impl<T: Real> Ftp<T> {
    /// Radii at their start, for the tensors that `held` marks by [`TensorId::index`]. `strength` is k, in 0..=1.
    pub fn new(strength: f64, adam: RadiusAdam, held: &[bool]) -> Self {
        Self { strength, adam, radii: held.iter().map(|held| held.then(FastRadius::new)).collect() }
    }

    /// γ of a tensor; nothing where it is free.
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

    fn works_at_home(&self) -> bool {
        true
    }

    fn before_step(&mut self, session: &mut Session<'_>) {
        self.learn(&session.gradients, &session.state.delta);
    }

    fn after_step(&mut self, _: u64, session: &mut Session<'_>, _: &mut Tracker<'_>) -> Result<(), AdaptError> {
        self.project(&mut session.state);
        Ok(())
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        let radii = self.radii.iter().map(|radius| radius.as_ref().map(FastRadius::value)).collect();
        Some(ConstraintSet { norm: Norm::Mars, radii })
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn restore(&mut self, bytes: &[u8], reached: &Reached<'_>) -> Result<(), Damage> {
        let found = check::decode("FTP's radii", bytes)?;
        check::ftp(&found, self, reached.network, reached.step)?;
        *self = found;
        Ok(())
    }
}
