//! Gate: decides whether a result may replace the active version, on images that neither has seen.

use crate::classifier::Classifier;
use crate::error::AdaptError;
use crate::event::{Event, Gate, Phase, Reference};
use crate::kept_head;
use crate::metrics::{Metrics, PairedCounts};
use crate::options::HeadMode;
use crate::outcome::Outcome;
use crate::plan::run::Run;
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use crate::train::batch_source::BatchSource;
use crate::train::control::Control;
use crate::train::reporter::Reporter;
use crate::train::training_state::HeadParams;
use fieldfit_delta::Delta;
use fieldfit_model::Weights;
use fieldfit_tensor::Task;

/// Judges an adaptation's delta again, against the version that `request.active` names now.
///
/// The version that was active when training began, and that [`Outcome::gate`] compares with, may have been replaced
/// meanwhile. `request` is otherwise that of the adaptation. What the delta's provenance records stays the first verdict.
///
/// # Errors
/// If images or a delta can't be used; [`AdaptError::Interrupted`] if the run is stopped.
pub fn gate_again(
    request: &AdaptRequest<'_>,
    outcome: &Outcome,
    control: &Control,
    events: &mut dyn FnMut(Event),
) -> Result<Gate, AdaptError> {
    let labelled = kept_head::labelled(request)?;
    let request = &AdaptRequest { dataset: labelled.as_ref().unwrap_or(request.dataset), ..*request };
    let (plan, _) = RunPlan::new(request, control)?;
    judge(Run { request, plan: &plan }, &outcome.probe, &outcome.delta, &mut Reporter::new(control, events))
}

/// Counts the gate images, or their pixels, that the decoded delta and the reference classify correctly, of the images that both
/// could read.
///
/// The reference is the active version, where it has these classes, and else the linear probe on the untouched base, or the
/// base where its head is kept.
pub(crate) fn judge(
    run: Run<'_>,
    probe: &HeadParams,
    delta: &[u8],
    reporter: &mut Reporter<'_>,
) -> Result<Gate, AdaptError> {
    let (reference, weights) = reference(run, probe)?;
    let before = measure(run, weights, reporter)?;
    let after = measure(run, Weights::adapted(run.request.base, &Delta::parse(delta)?)?, reporter)?;
    let gate = verdict(run.plan.network.task(), reference, before.common(&after));
    reporter.report(Event::Gate(gate.clone()));
    Ok(gate)
}

fn verdict(task: Task, reference: Reference, counts: PairedCounts) -> Gate {
    let PairedCounts { images, answers, first: before, second: after } = counts;
    let (of, pixels) = match task {
        Task::Classification => (format!("{images} gate images"), None),
        Task::Segmentation => (format!("{answers} pixels of {images} gate images"), Some(answers)),
    };
    let accepted = after >= before;
    let rival = match reference {
        Reference::Active => "the active version",
        Reference::Probe => "a linear probe on the base",
        Reference::Base => "the base",
    };
    let reason = if accepted {
        format!("{after} of {of} right, {before} by {rival}")
    } else {
        format!("only {after} of {of} right, fewer than the {before} by {rival}")
    };
    Gate { images, before, after, pixels, reference, accepted, reason }
}

fn reference(run: Run<'_>, probe: &HeadParams) -> Result<(Reference, Weights), AdaptError> {
    let Run { request, plan } = run;
    if let Some(active) = request.active.filter(|active| has_classes(active, &request.dataset.classes)) {
        return Ok((Reference::Active, Weights::adapted(request.base, active)?));
    }
    let mut weights = Weights::of_base(request.base);
    weights.params.replace(plan.network.head.weight, probe.weight.clone());
    weights.params.replace(plan.network.head.bias, probe.bias.clone());
    let (network, labels) = (plan.network.clone(), request.dataset.classes.clone());
    let reference = match request.options.head {
        HeadMode::Replace => Reference::Probe,
        HeadMode::Keep => Reference::Base,
    };
    Ok((reference, Weights { network, labels, input_size: plan.size, ..weights }))
}

fn has_classes(delta: &Delta<'_>, classes: &[String]) -> bool {
    delta.labels().count() == classes.len() && delta.labels().all(|label| classes.iter().any(|class| class == label))
}

/// Measures weights, whose labels are the dataset's classes in any order, on the gate images, as they would run.
fn measure(run: Run<'_>, weights: Weights, reporter: &mut Reporter<'_>) -> Result<Metrics, AdaptError> {
    let Run { request, plan } = run;
    let classifier = Classifier::new(request.base, weights, request.options.device)?;
    let images = request.dataset.clone().with_labels(classifier.labels())?;
    let source = BatchSource::new(&images, classifier.preprocessor().clone(), request.options, &plan.failures);
    let source = source.of(plan.memory.micro_batch).with_masks(classifier.mask_size());
    let (mut metrics, total) = (Metrics::new(classifier.labels().len()), plan.split.gate.len());
    for batch in classifier.run(source.in_order(&plan.split.gate)?) {
        let (batch, logits) = batch?;
        metrics.add(&batch, &logits);
        reporter.report(Event::Progress { phase: Phase::Gate, done: metrics.images(), total });
        source.report_failures(reporter);
        if reporter.is_stopped() {
            return Err(AdaptError::Interrupted { checkpoint: None });
        }
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a gate that asks for more, or lets less through, than as many right images.
    #[test]
    fn as_many_right_images_are_enough_and_one_less_is_not() {
        let counts = |first, second| PairedCounts { images: 10, answers: 10, first, second };
        let verdict = |reference, counts| verdict(Task::Classification, reference, counts);
        assert!(verdict(Reference::Probe, counts(7, 7)).accepted);
        let refused = verdict(Reference::Active, counts(7, 6));
        assert!(!refused.accepted);
        assert_eq!(refused.reason, "only 6 of 10 gate images right, fewer than the 7 by the active version");
    }
}
