//! Method: the trait that distinguishes one way of fine-tuning from another.

use crate::checkpoint::check;
use crate::checkpoint::resume_point::ResumePoint;
use crate::error::{AdaptError, CheckpointDamage};
use crate::train::reporter::Reporter;
use crate::train::session::{HostSession, Session};
use crate::train::training_state::TrainingState;
use fieldfit_data::Batch;
use fieldfit_nets::TensorSpec;
use fieldfit_tensor::Norm;
use std::ops::ControlFlow;

/// Start of a new head. Where the base's is [kept](crate::HeadMode::Keep), it starts as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStart {
    /// The linear probe on the base's features.
    Probe,
    /// Small random values, from the run's seed.
    Random,
}

/// Constraints of a method's result: what the delta file states and a reader checks.
#[derive(Debug, Clone, PartialEq)]
pub struct ConstraintSet {
    /// Norm of the distances.
    pub norm: Norm,
    /// γ by [`TensorId::index`](fieldfit_tensor::TensorId::index); `None` where a tensor is free or did not move.
    pub radii: Vec<Option<f32>>,
}

/// Requirements of a method, which the trainer and the memory plan provide for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Whether it draws batches of validation images between steps.
    pub validation_batches: bool,
    /// Whether it compares with the base's own predictions.
    pub base_predictions: bool,
    /// Whether it asks the base about the training images as they are.
    pub clean_predictions: bool,
    /// Whether it looks at the images of [`Options::retain`](crate::Options::retain).
    pub retained_images: bool,
    /// Whether weights, δ and gradients must live in the program's memory while steps are made. It follows from
    /// [`Method::steps`]: only [`HostSteps`] are given a session with tensors.
    host_tensors: bool,
}

impl Requirements {
    /// Returns the requirements with or without batches of validation images between steps.
    #[must_use]
    pub const fn with_validation_batches(self, validation_batches: bool) -> Self {
        Self { validation_batches, ..self }
    }

    /// Returns the requirements with or without the base's own predictions.
    #[must_use]
    pub const fn with_base_predictions(self, base_predictions: bool) -> Self {
        Self { base_predictions, ..self }
    }

    /// Returns the requirements with or without the base's own predictions for the training images as they are.
    #[must_use]
    pub const fn with_clean_predictions(self, clean_predictions: bool) -> Self {
        Self { clean_predictions, ..self }
    }

    /// The same with or without the images of [`Options::retain`](crate::Options::retain).
    #[must_use]
    pub const fn with_retained_images(self, retained_images: bool) -> Self {
        Self { retained_images, ..self }
    }

    /// Returns all that a method requires, what its steps take included.
    pub fn of(method: &mut dyn Method) -> Self {
        let host_tensors = matches!(method.steps(), Steps::Host(_));
        Self { host_tensors, ..method.requirements() }
    }

    /// Whether weights, δ and gradients must live in the program's memory while steps are made.
    pub const fn host_tensors(self) -> bool {
        self.host_tensors
    }
}

/// Steps of a method: what it does at each optimiser step, and with which session.
pub enum Steps<'m> {
    /// Plain descent on the labels.
    Plain,
    /// Steps that work wherever tensors live.
    Store(&'m mut dyn StoreSteps),
    /// Steps that work on tensors in the program's memory.
    Host(&'m mut dyn HostSteps),
}

impl Steps<'_> {
    /// Whether a step depends on earlier ones by more than δ and the optimiser.
    pub(crate) fn keep_state(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Store(_) => true,
            Self::Host(steps) => steps.keeps_state(),
        }
    }
}

/// Steps of a method that works wherever tensors live, by [`Session::in_place`].
pub trait StoreSteps {
    /// Acts after an optimiser step, counted from 1.
    ///
    /// # Errors
    /// If images can't be loaded, or the network can't be computed.
    fn after_step(
        &mut self,
        step: u64,
        session: &mut Session<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), AdaptError>;
}

/// Steps of a method that reads or writes tensors itself: they then live in the program's memory, whatever computes the
/// network.
pub trait HostSteps {
    /// Whether a step depends on earlier ones by more than δ and the optimiser, as it does if nothing else is said. Such steps
    /// can't train [branches](crate::Branches), which each start anew.
    fn keeps_state(&self) -> bool {
        true
    }

    /// Computes the training loss of a batch at θ0 + δ, in nats, and its gradients.
    ///
    /// # Errors
    /// If the network can't be computed.
    fn descend(&mut self, session: &mut HostSession<'_>, batch: &Batch) -> Result<f64, AdaptError> {
        session.descend_labels(batch)
    }

    /// Acts before an optimiser step: the gradients at hand are the training loss's, unclipped, and may be added to.
    fn before_step(&mut self, _session: &mut HostSession<'_>) {}

    /// Acts after an optimiser step, counted from 1. May change δ, and overwrite `session.weights` and
    /// `session.gradients`.
    ///
    /// # Errors
    /// If images can't be loaded, or the network can't be computed.
    fn after_step(
        &mut self,
        _step: u64,
        _session: &mut HostSession<'_>,
        _reporter: &mut Reporter<'_>,
    ) -> Result<(), AdaptError> {
        Ok(())
    }
}

/// Fine-tuning method. The trainer calls it at each turn; what it leaves alone is plain fine-tuning.
///
/// A method keeps between steps only what [`Method::save`] saves.
pub trait Method: Send {
    /// Returns the start of the new head.
    fn head(&self) -> HeadStart;

    /// Whether a trainable tensor trains. If none does, there are no steps and the result is the head's start. It is not
    /// asked for running statistics, which never train.
    fn trains(&self, spec: &TensorSpec) -> bool {
        spec.role.is_trainable()
    }

    /// Returns the requirements that the trainer must provide, beside what follows from [`Method::steps`].
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }

    /// Number of values of state that it keeps for each trained value, which the memory plan adds up.
    fn state_per_value(&self) -> usize {
        0
    }

    /// Returns the steps of the method: what it does at each optimiser step.
    fn steps(&mut self) -> Steps<'_> {
        Steps::Plain
    }

    /// Number of batches of validation images that it has drawn after that many steps, those of [`Method::finish`]
    /// included where it counts them in its state. A checkpoint is only written where the number is right.
    fn drawn(&self, _step: u64) -> u64 {
        0
    }

    /// Acts before the first step, and again before a resumed run's next one: every δ is still 0.
    fn begin(&mut self, _state: &TrainingState<'_, f32>) {}

    /// Acts after the last step. Leaves in `session.state.delta` what is to be stored; breaks, with nothing lost, as soon
    /// as the reporter says that the run is stopped.
    ///
    /// # Errors
    /// If images can't be loaded, or the network can't be computed.
    fn finish(
        &mut self,
        _session: &mut HostSession<'_>,
        _reporter: &mut Reporter<'_>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the constraints of the result, if the method has any.
    fn constraint(&self) -> Option<ConstraintSet> {
        None
    }

    /// Returns the state that a checkpoint must hold to go on to the same bits.
    ///
    /// # Errors
    /// If it can't be encoded.
    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(Vec::new())
    }

    /// Restores the state that [`Method::save`] returned, if the method can have saved it by then.
    ///
    /// # Errors
    /// If these bytes are another method's, another run's, or no method's.
    fn restore(&mut self, bytes: &[u8], _point: &ResumePoint<'_>) -> Result<(), CheckpointDamage> {
        check::decode("no state", bytes)
    }
}
