//! SPD (Tian et al., NeurIPS 2024, arXiv 2411.01713): as LP-FT, but a tensor that the loss calls back towards the base
//! doesn't get further away from it. Behind any optimiser: it only looks at δ before and after.

use crate::error::AdaptError;
use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, HostSteps, Method, Steps};
use crate::methods::setting::Setting;
use crate::methods::tensor_pattern::held;
use crate::train::reporter::Reporter;
use crate::train::session::HostSession;
use fieldfit_tensor::{Params, Real};
use fieldfit_tpgm::{selected_distance, selective_decay};

const STRENGTH: Setting = Setting {
    name: "strength",
    default: Some(1.0),
    range: 0.0..=f64::MAX,
    about: "λ, how much of a selected tensor's growth is taken back; 1 takes back all of it",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "spd",
    about: "as lp-ft, but what the loss calls back gets no further from the base",
    settings: &[STRENGTH],
    build: |options, network| Ok(Box::new(Spd::<f32>::new(STRENGTH.of(options), held(options, network)?))),
};

/// SPD: its choice of tensors. A step is [`Spd::select`], the optimiser's own step, [`Spd::decay`]; between steps it keeps
/// nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Spd<T> {
    /// λ of each tensor, by [`TensorId::index`](fieldfit_tensor::TensorId::index); `None` where it is left alone.
    strengths: Vec<Option<f64>>,
    /// Distances before the step; nothing where a tensor is left alone.
    selected: Vec<Option<T>>,
}

impl<T: Real> Spd<T> {
    /// Decay of the tensors that `held` marks by [`TensorId::index`](fieldfit_tensor::TensorId::index). `strength` is λ.
    pub fn new(strength: f64, held: Vec<bool>) -> Self {
        Self::with_strengths(held.into_iter().map(|held| held.then_some(strength)).collect())
    }

    /// Decay of each tensor by its own λ; `None` where it is left alone.
    pub(crate) fn with_strengths(strengths: Vec<Option<f64>>) -> Self {
        Self { selected: vec![None; strengths.len()], strengths }
    }

    /// Chooses the tensors of this step, by the training loss's gradients at θ0 + δ.
    pub fn select(&mut self, gradients: &Params<T>, delta: &Params<T>) {
        let values = gradients.buffers().iter().zip(delta.buffers());
        for ((selected, strength), (gradient, delta)) in self.selected.iter_mut().zip(&self.strengths).zip(values) {
            *selected = strength.and_then(|_| selected_distance(gradient, delta));
        }
    }

    /// Holds the chosen ones back.
    pub fn decay(&self, delta: &mut Params<T>) {
        let chosen = self.selected.iter().zip(&self.strengths);
        for (delta, (selected, strength)) in delta.buffers_mut().iter_mut().zip(chosen) {
            if let (Some(before), Some(strength)) = (*selected, *strength) {
                selective_decay(delta, before, strength);
            }
        }
    }
}

impl Method for Spd<f32> {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }
}

impl HostSteps for Spd<f32> {
    fn keeps_state(&self) -> bool {
        false
    }

    fn before_step(&mut self, session: &mut HostSession<'_>) {
        self.select(&session.gradients, &session.state.delta);
    }

    fn after_step(&mut self, _: u64, session: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<(), AdaptError> {
        self.decay(&mut session.state.delta);
        Ok(())
    }
}
