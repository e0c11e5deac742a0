//! Head outputs of a run: the scales of its values, and the threshold of each label, chosen on the validation slice.

use crate::error::AdaptError;
use crate::metrics::Metrics;
use crate::plan::run::Run;
use fieldfit_exec::prepare;
use fieldfit_model::HeadOutputs;
use fieldfit_tensor::Params;
use std::borrow::Borrow;

/// Returns what the outputs of the plan's network mean at these weights, as training has them. Only labels ask for the weights.
///
/// # Errors
/// If a validation image cannot be read any more, or the device fails.
pub(crate) fn of<P: Borrow<Params<f32>>>(run: Run<'_>, params: impl FnOnce() -> P) -> Result<HeadOutputs, AdaptError> {
    let (request, plan) = (run.request, run.plan);
    let outputs = plan.outputs();
    match &outputs {
        HeadOutputs::Classes | HeadOutputs::Values(_) => return Ok(outputs),
        HeadOutputs::Labels(_) => {}
    }
    let prepared = prepare(request.options.device, &plan.network, params().borrow())?;
    let mut metrics = Metrics::of(&outputs, plan.network.head.classes);
    for batch in run.batch_source()?.of(plan.memory.micro_batch).in_order(&plan.split.validation)? {
        let batch = batch?;
        metrics.add(&batch, &prepared.logits(&batch.images)?);
    }
    Ok(metrics.best_thresholds().map_or(outputs, HeadOutputs::Labels))
}
