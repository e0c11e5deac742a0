//! Run: a request with the plan that follows from it.

use crate::error::AdaptError;
use crate::plan::run_plan::{RunPlan, negated_by_flips};
use crate::request::AdaptRequest;
use crate::train::activation_cache::ActivationCache;
use crate::train::batch_source::BatchSource;
use crate::train::frozen_prefix::FrozenPrefix;
use crate::train::training_state::TrainingState;
use fieldfit_data::Preprocessor;
use fieldfit_exec::{ExecError, executor};
use std::rc::Rc;

/// Run: what was asked for, and what is decided from it.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub request: &'a AdaptRequest<'a>,
    pub plan: &'a RunPlan,
}

impl<'a> Run<'a> {
    /// Source of batches of the run's images, at the size that it trains at.
    ///
    /// # Errors
    /// If the size is out of range.
    pub fn batch_source(self) -> Result<BatchSource<'a>, AdaptError> {
        let Self { request, plan } = self;
        let preprocessing = request.base.preprocessing();
        let preprocessor = Preprocessor::new(preprocessing, plan.size, preprocessing.crop)?;
        let source = BatchSource::new(request.dataset, preprocessor, request.options, &plan.failures);
        Ok(source.with_masks(plan.mask_size).with_flips(negated_by_flips(request)?))
    }

    /// The source with batches whose answers are computed at once: of a dense network's many, those of a micro-batch.
    pub fn answer_batches<'s>(self, source: BatchSource<'s>) -> BatchSource<'s> {
        match self.plan.mask_size {
            None => source,
            Some(_) => source.of(self.plan.memory.micro_batch),
        }
    }

    /// The stages that the plan freezes, with nothing computed yet; `None` where none are.
    pub fn frozen_prefix(self) -> Result<Option<Rc<FrozenPrefix>>, AdaptError> {
        let Self { request, plan } = self;
        let (Some(freeze), Some(shape)) = (&request.options.freeze, plan.frozen_shape()?) else { return Ok(None) };
        let head = plan.random_head(request.options.seed);
        let weights = TrainingState::<f32>::new(request.base, plan.network.clone(), head, |_| false).weights();
        let in_memory = plan.memory.frozen_file == 0;
        let checkpoint = request.checkpoint.map(|checkpoint| checkpoint.path);
        let cache = if in_memory { ActivationCache::Memory(Vec::new()) } else { ActivationCache::file(checkpoint)? };
        let stages = plan.network.before(plan.frozen).map_err(ExecError::from)?;
        let executor = executor(request.options.device, &stages, plan.memory.passes())?;
        Ok(Some(Rc::new(FrozenPrefix::new(executor, weights, cache, shape, freeze.views))))
    }
}
