//! Custom methods: the [`Method`] trait, and the types that a method trains with.
//!
//! A custom method is a [`MethodEntry`] that [`Adaptation::method`](super::Adaptation::method) sets for a run, and
//! [`Comparison::with_methods`](super::Comparison::with_methods) adds to a comparison. The trainer calls it at each
//! step; what it does not override is plain fine-tuning from the linear probe. The `custom_method` example has a
//! whole one.
//!
//! | a method | implements |
//! |---|---|
//! | selects the tensors that train | [`Method::trains`] |
//! | changes the loss, the gradients or δ = θ − θ0 of a step | [`HostSteps`], returned by [`Method::steps`] as [`Steps::Host`] |
//! | constrains δ without reading it, also on a GPU | [`StoreSteps`], as [`Steps::Store`] |
//! | changes δ after training | [`Method::finish`] |
//! | has radii, which the delta file states and a reader checks | [`Method::constraint`] |
//! | keeps state between steps | [`Method::save`], [`Method::restore`] |
//!
//! A method that fails returns [`AdaptError::CustomMethod`](super::AdaptError::CustomMethod), or the error of what it
//! called.

pub use fieldfit_adapt::{
    Batches, CheckpointDamage, ConstraintSet, Cycle, HeadParams, HeadStart, HostSession, HostSteps, Method,
    MethodEntry, Reporter, Requirements, ResumePoint, Session, Setting, Steps, StoreSteps, TargetScaling,
    TrainingState, WeightedLabels,
};
pub use fieldfit_data::Batch;
pub use fieldfit_exec::{ExecError, Executor, Objective, ParamStore, cross_entropy, kl_divergence, softmax};
pub use fieldfit_nets::{Network, Role, TensorSpec};
pub use fieldfit_tensor::{Images, Matrix, Norm, Params, Real, TensorId, TensorLayout, TensorView};
