//! DiGraP (Huang et al., ICLR 2025, arXiv 2502.15895): as LP-FT, but of a gradient that leads straight away from the base a learned
//! share is taken back. Behind any optimiser: it only changes the gradient.

use crate::checkpoint::check::{decode, each, same};
use crate::checkpoint::resume_point::ResumePoint;
use crate::error::{AdaptError, CheckpointDamage};
use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, HostSteps, Method, Steps};
use crate::methods::setting::Setting;
use crate::methods::tensor_pattern::held;
use crate::train::session::HostSession;
use fieldfit_nets::Network;
use fieldfit_tensor::by_tensor;
use fieldfit_tpgm::DirectionalProjection;
use serde::{Deserialize, Serialize};

const RATE: Setting = Setting {
    name: "rate",
    default: Some(0.1),
    range: 0.0..=f64::MAX,
    about: "μ, the learning rate of each tensor's share",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "digrap",
    about: "as lp-ft, but of steps straight away from the base a learned share is taken back",
    settings: &[RATE],
    build: |options, network| Ok(Box::new(Digrap::new(RATE.of(options), &held(options, network)?))),
};

/// DiGraP: its learned shares, one for each tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Digrap {
    rate: f64,
    /// Projections by [`TensorId::index`](fieldfit_tensor::TensorId::index); `None` where the tensor is free.
    #[serde(deserialize_with = "by_tensor")]
    projections: Vec<Option<DirectionalProjection<f32>>>,
}

impl Digrap {
    fn new(rate: f64, held: &[bool]) -> Self {
        Self { rate, projections: held.iter().map(|held| held.then(DirectionalProjection::new)).collect() }
    }

    /// Validates restored shares, which have seen so many steps, beside those of a run at its start.
    fn validate(&self, start: &Self, network: &Network, steps: u64) -> Result<(), CheckpointDamage> {
        let Self { rate, projections } = self;
        same("DiGraP's rate", &start.rate, rate)?;
        for (id, spec, found) in each("shares", network, projections)? {
            let is_held = start.projections[id.index()].is_some();
            same(format_args!("whether `{}` has a share", spec.name), &is_held, &found.is_some())?;
            let Some(found) = found else { continue };
            let length = if steps > 0 { spec.len() } else { 0 };
            same(format_args!("steps of the share of `{}`", spec.name), &steps, &found.step())?;
            same(format_args!("the length of the last difference of `{}`", spec.name), &length, &found.last().len())?;
            same(format_args!("whether the share of `{}` is sound", spec.name), &true, &found.is_sound())?;
        }
        Ok(())
    }
}

impl Method for Digrap {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn state_per_value(&self) -> usize {
        1
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn restore(&mut self, bytes: &[u8], point: &ResumePoint<'_>) -> Result<(), CheckpointDamage> {
        let found: Self = decode("DiGraP's shares", bytes)?;
        found.validate(self, point.network, point.step)?;
        *self = found;
        Ok(())
    }
}

impl HostSteps for Digrap {
    fn before_step(&mut self, session: &mut HostSession<'_>) {
        let tensors = session.gradients.buffers_mut().iter_mut().zip(session.state.delta.buffers());
        for (projection, (gradient, delta)) in self.projections.iter_mut().zip(tensors) {
            if let Some(projection) = projection {
                projection.project(gradient, delta, self.rate);
            }
        }
    }
}
