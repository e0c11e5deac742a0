//! What a method works with while it trains.

use crate::AdaptError;
use crate::feed::Cycle;
use crate::state::State;
use fieldfit_exec::{Device, Executor, Passes, executor};
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
    pub(crate) device: Device,
    pub(crate) passes: Passes,
}

impl Session<'_> {
    /// Computes another network from here on, as that before it was computed.
    ///
    /// # Errors
    /// If the device can't.
    pub(crate) fn compute(&mut self, network: &Network) -> Result<(), AdaptError> {
        self.executor = executor(self.device, network, self.passes)?;
        Ok(())
    }
}
