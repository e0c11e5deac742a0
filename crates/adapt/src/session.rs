//! What a method works with while it trains.

use crate::feed::Cycle;
use crate::state::State;
use fieldfit_exec::Executor;
use fieldfit_model::Params;

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
}
