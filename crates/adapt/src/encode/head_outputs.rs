//! Head outputs of a run: the scales of its values, and the threshold of each label, chosen on the validation slice.

use crate::error::AdaptError;
use crate::metrics::Metrics;
use crate::plan::run::Run;
use fieldfit_exec::prepare;
use fieldfit_model::HeadOutputs;
use fieldfit_tensor::{Matrix, Params};

/// Returns what the outputs of the plan's network mean at these weights, as training has them.
///
/// # Errors
/// If a validation image cannot be read any more, or the device fails.
pub(crate) fn of(run: Run<'_>, params: &Params<f32>) -> Result<HeadOutputs, AdaptError> {
    let (request, plan) = (run.request, run.plan);
    let outputs = plan.outputs();
    match &outputs {
        HeadOutputs::Classes | HeadOutputs::Values(_) => return Ok(outputs),
        HeadOutputs::Labels(_) => {}
    }
    let prepared = prepare(request.options.device, &plan.network, params)?;
    let mut metrics = Metrics::of(&outputs, plan.network.head.classes);
    for batch in run.batch_source()?.of(plan.memory.micro_batch).in_order(&plan.split.validation)? {
        let batch = batch?;
        let logits: Matrix<f32> = prepared.logits(&batch.images)?;
        metrics.add(&batch, &logits);
    }
    Ok(metrics.best_thresholds().map_or(outputs, HeadOutputs::Labels))
}
