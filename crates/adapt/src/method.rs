//! What distinguishes one way of fine-tuning from another.

use crate::{AdaptError, Damage, Reached, Session, Tracker, TrainingState, check};
use fieldfit_data::Batch;
use fieldfit_nets::TensorSpec;
use fieldfit_tensor::Norm;
use std::ops::ControlFlow;

/// Where the new head starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStart {
    /// At the linear probe on the base's features.
    Probe,
    /// At small random values, from the run's seed.
    Random,
}

/// The balls that a method kept its result in: what the delta file states and a reader checks.
#[derive(Debug, Clone, PartialEq)]
pub struct ConstraintSet {
    /// How distances are measured.
    pub norm: Norm,
    /// γ by [`TensorId::index`](fieldfit_tensor::TensorId::index); nothing where a tensor is free or did not move.
    pub radii: Vec<Option<f32>>,
}

/// One way of fine-tuning. The loop asks it at each turn; what it leaves alone is plain fine-tuning.
///
/// A method keeps between steps only what [`Method::save`] saves.
pub trait Method: Send {
    /// Where the new head starts.
    fn head(&self) -> HeadStart;

    /// Whether a tensor trains. If none does, there are no steps and the result is the head's start.
    fn trains(&self, spec: &TensorSpec) -> bool {
        spec.role.is_trainable()
    }

    /// Whether it draws validation images between steps, which the memory plan makes room for.
    fn draws_validation(&self) -> bool {
        false
    }

    /// How many batches of validation images it has drawn after that many steps.
    fn drawn(&self, _step: u64) -> u64 {
        0
    }

    /// Whether it compares with the base's own predictions, which the memory plan makes room for.
    fn asks_base(&self) -> bool {
        false
    }

    /// Whether what it does at a step reads or writes weights, δ or gradients in the session itself, and not by
    /// [`Session::in_place`]: then they live in the program's memory, whatever computes the network.
    fn works_at_home(&self) -> bool {
        false
    }

    /// Whether it looks at the images of [`Options::retain`](crate::Options::retain).
    fn looks_at_retained(&self) -> bool {
        false
    }

    /// Before the first step, and again before a resumed run's next one: every δ is still 0.
    fn begin(&mut self, _state: &TrainingState<'_, f32>) {}

    /// The training loss of a batch at θ0 + δ, in nats, whose gradients are then at hand: see [`Session::in_place`].
    ///
    /// # Errors
    /// If the network can't be computed.
    fn descend(&mut self, session: &mut Session<'_>, batch: &Batch) -> Result<f64, AdaptError> {
        session.descend_labels(batch)
    }

    /// Before an optimiser step: the gradients at hand are the training loss's, unclipped, and may be added to.
    fn before_step(&mut self, _session: &mut Session<'_>) {}

    /// After an optimiser step, counted from 1. May change δ, and use `session.weights` and `session.gradients` as it
    /// likes.
    ///
    /// # Errors
    /// If images can't be had, or the network can't be computed.
    fn after_step(
        &mut self,
        _step: u64,
        _session: &mut Session<'_>,
        _tracker: &mut Tracker<'_>,
    ) -> Result<(), AdaptError> {
        Ok(())
    }

    /// After the last step. Leaves in `session.state.delta` what is to be stored; breaks, with nothing lost, as soon as
    /// the tracker is told to stop.
    ///
    /// # Errors
    /// If images can't be had, or the network can't be computed.
    fn finish(
        &mut self,
        _session: &mut Session<'_>,
        _tracker: &mut Tracker<'_>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        Ok(ControlFlow::Continue(()))
    }

    /// The balls of the result, if the method has any.
    fn constraint(&self) -> Option<ConstraintSet> {
        None
    }

    /// What a checkpoint must hold to go on to the same bits.
    ///
    /// # Errors
    /// If it can't be encoded.
    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(Vec::new())
    }

    /// Takes back what [`Method::save`] gave, where that is what it can have saved by then.
    ///
    /// # Errors
    /// If these bytes are another method's, another run's, or nobody's.
    fn restore(&mut self, bytes: &[u8], _reached: &Reached<'_>) -> Result<(), Damage> {
        check::decode("nothing", bytes)
    }
}
