//! Run: a request with the plan that follows from it.

use crate::error::AdaptError;
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use crate::train::activation_cache::ActivationCache;
use crate::train::frozen_prefix::FrozenPrefix;
use crate::train::training_state::TrainingState;
use fieldfit_exec::{ExecError, executor};
use std::rc::Rc;

/// Run: what was asked for, and what is decided from it.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub request: &'a AdaptRequest<'a>,
    pub plan: &'a RunPlan,
}

impl Run<'_> {
    /// The stages that the plan freezes, with nothing computed yet; `None` where none are.
    pub fn frozen_prefix(self) -> Result<Option<Rc<FrozenPrefix>>, AdaptError> {
        let Self { request, plan } = self;
        let (Some(freeze), Some(shape)) = (&request.options.freeze, plan.frozen_shape()?) else { return Ok(None) };
        let head = plan.random_head(request.options.seed);
        let weights = TrainingState::<f32>::new(request.base, plan.network.clone(), head, |_| false).weights();
        let in_memory = plan.memory.frozen_file == 0;
        let cache = if in_memory { ActivationCache::Memory(Vec::new()) } else { ActivationCache::file(request)? };
        let stages = plan.network.before(plan.frozen).map_err(ExecError::from)?;
        let executor = executor(request.options.device, &stages, plan.memory.passes())?;
        Ok(Some(Rc::new(FrozenPrefix::new(executor, weights, cache, shape, freeze.views))))
    }
}
