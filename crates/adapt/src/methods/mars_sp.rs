//! MARS-SP (Gouk et al., ICLR 2021, arXiv 2002.08253): as LP-FT, every tensor inside a radius around the base that stays
//! what it is from the first step to the last. Weights are projected after every step.
//!
//! The radius is **relative**: γ = ρ·‖θ0‖, with ‖θ0‖ the base's own largest absolute row sum, so that one ρ serves kernels
//! of 9 and of 1280 values a row. A tensor whose base is 0 throughout stays there.

use crate::error::AdaptError;
use crate::methods::entry::MethodEntry;
use crate::methods::method::{ConstraintSet, HeadStart, HostSteps, Method, Steps};
use crate::methods::setting::Setting;
use crate::methods::tensor_pattern::held;
use crate::train::reporter::Reporter;
use crate::train::session::HostSession;
use crate::train::training_state::TrainingState;
use fieldfit_tensor::Norm;
use fieldfit_tpgm::{MINIMUM_RADIUS, distances, project};

const RADIUS: Setting = Setting {
    name: "radius",
    default: Some(0.02),
    range: 0.0..=f64::MAX,
    about: "ρ, how far a row may move, as a share of the tensor's largest row sum in the base",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "mars-sp",
    about: "as lp-ft, every tensor inside a fixed radius around the base",
    settings: &[RADIUS],
    build: |options, network| {
        let held = held(options, network)?;
        Ok(Box::new(MarsSp { share: RADIUS.of(options), radii: vec![None; held.len()], held }))
    },
};

struct MarsSp {
    /// ρ.
    share: f64,
    held: Vec<bool>,
    /// γ by tensor, once the base was looked at.
    radii: Vec<Option<f32>>,
}

impl Method for MarsSp {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }

    fn begin(&mut self, state: &TrainingState<'_, f32>) {
        let (mut start, mut norms) = (Vec::new(), Vec::new());
        for (id, spec) in state.network().tensors().filter(|(id, _)| self.held[id.index()]) {
            start.resize(spec.len(), 0.0);
            state.start(id).copy_into(&mut start);
            distances(Norm::Mars, &start, spec.rows(), &mut norms);
            let largest = norms.iter().copied().fold(0.0, f32::max);
            let radius = (self.share * f64::from(largest)).max(MINIMUM_RADIUS);
            self.radii[id.index()] = Some(radius as f32);
        }
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        Some(ConstraintSet { norm: Norm::Mars, radii: self.radii.clone() })
    }
}

impl HostSteps for MarsSp {
    fn keeps_state(&self) -> bool {
        false
    }

    fn after_step(&mut self, _: u64, session: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<(), AdaptError> {
        for (id, spec, delta) in session.state.deltas_mut() {
            if let Some(radius) = self.radii[id.index()] {
                project(Norm::Mars, delta, spec.rows(), radius);
            }
        }
        Ok(())
    }
}
