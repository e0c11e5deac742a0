//! What a method works with while it trains.

use crate::AdaptError;
use crate::feed::Cycle;
use crate::host::Host;
use crate::state::State;
use crate::{Clip, Optimiser};
use fieldfit_exec::{Device, ExecError, Executor, Part, Passes, Place, Resident, executor};
use fieldfit_model::Params;
use fieldfit_nets::Network;

/// The moving parts of a run.
pub struct Session<'a> {
    /// δ and where it starts.
    pub state: State<'a, f32>,
    /// Computes the network.
    pub executor: Box<dyn Executor<f32>>,
    /// Where θ is materialised. The trainable tensors are written anew before each training step.
    pub weights: Params<f32>,
    /// Gradients of the trainable tensors.
    pub gradients: Params<f32>,
    /// Images that never train weights: for radii and the like.
    pub validation: Cycle<'a>,
    /// Images without labels, on which the base's predictions are to stay what they are, if the options name some.
    pub retained: Option<Cycle<'a>>,
    /// How many images training looks at in all, each as often as it is looked at.
    pub trained_images: u64,
    /// The place on a device where training goes on; nothing where it goes on in `state` itself. While there is one, what
    /// `state`, `weights` and `gradients` hold is of the last [`Session::fetch`].
    pub(crate) resident: Option<Box<dyn Resident<f32>>>,
    pub(crate) device: Device,
    pub(crate) passes: Passes,
}

impl Session<'_> {
    /// Where δ lives and gradients are taken.
    pub fn in_place<R>(&mut self, act: impl FnOnce(&mut dyn Place<f32>) -> R) -> R {
        let Self { state, executor, weights, gradients, resident, .. } = self;
        match resident {
            Some(resident) => act(resident.as_mut()),
            None => act(&mut Host { state, executor: executor.as_mut(), weights, gradients }),
        }
    }

    /// One optimiser step by the gradients at hand.
    pub(crate) fn step(&mut self, optimiser: &mut Optimiser<f32>, clip: Clip, rate: f64) -> Result<(), ExecError> {
        let Self { state, weights, gradients, resident, .. } = self;
        match resident {
            Some(resident) => optimiser.step_on(resident.as_mut(), clip.scale, rate)?,
            None => optimiser.step_scaled(&mut state.delta, weights, (gradients, clip.scale), rate),
        }
        Ok(())
    }

    /// Takes δ and the optimiser's state home from the device, where they live on one.
    pub(crate) fn fetch(&mut self, optimiser: &mut Optimiser<f32>) -> Result<(), ExecError> {
        let Some(resident) = &self.resident else { return Ok(()) };
        resident.fetch(Part::Delta, &mut self.state.delta)?;
        optimiser.fetch(resident.as_ref())
    }

    /// Takes δ and the optimiser's state to the device, where they are to live on one.
    pub(crate) fn put(&mut self, optimiser: &Optimiser<f32>) -> Result<(), ExecError> {
        let Some(resident) = &mut self.resident else { return Ok(()) };
        resident.put(Part::Delta, &self.state.delta)?;
        optimiser.put(resident.as_mut())
    }

    /// Computes another network from here on, as that before it was computed.
    ///
    /// # Errors
    /// If the device can't.
    pub(crate) fn compute(&mut self, network: &Network) -> Result<(), AdaptError> {
        self.executor = executor(self.device, network, self.passes)?;
        Ok(())
    }
}
