//! Gate: decides whether a result may replace the active version, on images that neither has seen.

use crate::classifier::Classifier;
use crate::encode::{activation_ranges, head_outputs};
use crate::error::AdaptError;
use crate::event::{Event, Gate, MeanErrors, Phase, Reference};
use crate::metrics::{Metrics, PairedCounts};
use crate::options::{HeadMode, StartPoint};
use crate::outcome::Outcome;
use crate::plan::run::Run;
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use crate::run_labels;
use crate::start;
use crate::train::batch_source::BatchSource;
use crate::train::control::Control;
use crate::train::reporter::Reporter;
use crate::train::training_state::HeadParams;
use fieldfit_data::Dataset;
use fieldfit_delta::Delta;
use fieldfit_exec::Precision;
use fieldfit_model::{HeadOutputs, Weights};
use fieldfit_tensor::Task;

/// Growth of a mean error that storing alone may cause, in standard deviations: less is no worse. Every judge of values has it.
pub const MEAN_ERROR_RESOLUTION: f64 = 1e-3;

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
    let labelled = run_labels::labelled(request)?;
    let request = &AdaptRequest { dataset: labelled.as_ref().unwrap_or(request.dataset), ..*request };
    let (plan, _) = RunPlan::new(request, control)?;
    judge(Run { request, plan: &plan }, &outcome.probe, &outcome.delta, &mut Reporter::new(control, events))
}

/// Counts the gate images, or their pixels or labels, that the decoded delta and the reference classify correctly, of the images
/// that both could read; or adds up how wrong both are about the images' values.
///
/// The reference is the active version, where it has these classes, and else the linear probe on the weights that training started
/// at, or the base where its head is kept.
pub(crate) fn judge(
    run: Run<'_>,
    probe: &HeadParams,
    delta: &[u8],
    reporter: &mut Reporter<'_>,
) -> Result<Gate, AdaptError> {
    let (reference, weights) = reference(run, probe)?;
    let before = measure(run, weights, reporter)?;
    let after = measure(run, Weights::adapted(run.request.base, &Delta::parse(delta)?)?, reporter)?;
    let gate = verdict(run.plan.task, (reference, run.request.options.start), before.common(&after));
    reporter.report(Event::Gate(gate.clone()));
    Ok(gate)
}

fn verdict(task: Task, (reference, start): (Reference, StartPoint), counts: PairedCounts) -> Gate {
    let PairedCounts { images, answers, first: before, second: after, errors } = counts;
    let errors = errors.map(|sum| sum / images.max(1) as f64);
    let rival = match (reference, start) {
        (Reference::Active, _) => "the active version",
        (Reference::Probe, StartPoint::Base) => "a linear probe on the base",
        (Reference::Probe, StartPoint::Active) => "a linear probe on the version that training started at",
        (Reference::Base, _) => "the base",
    };
    let counted = |of: String| {
        let accepted = after >= before;
        let reason = if accepted {
            format!("{after} of {of} right, {before} by {rival}")
        } else {
            format!("only {after} of {of} right, fewer than the {before} by {rival}")
        };
        Gate { accepted, reason, ..Gate::counted(images, [before, after], reference) }
    };
    match task {
        Task::Classification => counted(format!("{images} gate images")),
        Task::Segmentation => {
            Gate { pixels: Some(answers), ..counted(format!("{answers} pixels of {images} gate images")) }
        }
        Task::MultiLabel => {
            Gate { labels: Some(answers), ..counted(format!("{answers} labels of {images} gate images")) }
        }
        Task::Regression => {
            let [before, after] = errors;
            let accepted = after <= before + MEAN_ERROR_RESOLUTION;
            let than = if accepted { "" } else { "more than the " };
            let reason = format!(
                "mean error {after:.4} standard deviations on {images} gate images, {than}{before:.4} by {rival}"
            );
            let errors = Some(MeanErrors { before, after });
            Gate { errors, accepted, reason, ..Gate::counted(images, [0, 0], reference) }
        }
    }
}

fn reference(run: Run<'_>, probe: &HeadParams) -> Result<(Reference, Weights), AdaptError> {
    let Run { request, plan } = run;
    if let Some(active) = request.active.filter(|active| has_outputs(active, request.dataset)) {
        return Ok((Reference::Active, Weights::adapted(request.base, active)?));
    }
    let mut weights = match start::version(request)? {
        None => Weights::of_base(request.base),
        Some(version) => Weights::adapted(request.base, version)?,
    };
    weights.params.replace(plan.network.head.weight, probe.weight.clone());
    weights.params.replace(plan.network.head.bias, probe.bias.clone());
    let (network, labels) = (plan.network.clone(), request.dataset.classes.clone());
    let outputs = head_outputs::of(run, || &weights.params)?;
    outputs.fold_into(&network, &mut weights.params);
    let reference = match request.options.head {
        HeadMode::Replace => Reference::Probe,
        HeadMode::Keep => Reference::Base,
    };
    Ok((reference, Weights { network, labels, outputs, input_size: plan.size, ..weights }))
}

/// Whether a delta answers about the same classes, labels or targets, in any order.
fn has_outputs(delta: &Delta<'_>, dataset: &Dataset) -> bool {
    let classes = &dataset.classes;
    delta.header().task == dataset.task()
        && delta.labels().count() == classes.len()
        && delta.labels().all(|label| classes.iter().any(|class| class == label))
}

/// Measures weights, whose labels are the dataset's classes in any order, on the gate images, as they would run.
///
/// What has no ranges of its own, such as the probe or a version that was adapted for f32, is calibrated as the result was.
fn measure(run: Run<'_>, mut weights: Weights, reporter: &mut Reporter<'_>) -> Result<Metrics, AdaptError> {
    let Run { request, plan } = run;
    if request.options.precision == Precision::Int8 && weights.ranges.is_none() {
        weights.ranges = Some(activation_ranges::of_weights(run, &weights, reporter)?);
    }
    let classifier = Classifier::new(request.base, weights, request.options.placement())?;
    let images = request.dataset.clone().with_labels(classifier.labels())?;
    let source = BatchSource::new(&images, classifier.preprocessor().clone(), request.options, &plan.failures);
    let source = source.of(plan.memory.micro_batch).with_masks(classifier.mask_size());
    // Errors of values are compared on the scales of this run, whatever the order of the targets.
    let outputs = match (classifier.head_outputs(), plan.outputs()) {
        (HeadOutputs::Values(_), HeadOutputs::Values(own)) => {
            let position = |label: &String| request.dataset.classes.iter().position(|class| class == label);
            HeadOutputs::Values(own.in_order(classifier.labels().iter().filter_map(position)))
        }
        (outputs, _) => outputs.clone(),
    };
    let (mut metrics, total) = (Metrics::of(&outputs, classifier.labels().len()), plan.split.gate.len());
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
        let counts = |first, second| PairedCounts {
            images: 10,
            answers: 10,
            first,
            second,
            errors: [second as f64, first as f64],
        };
        let verdict = |reference, counts| verdict(Task::Classification, (reference, StartPoint::Base), counts);
        assert!(verdict(Reference::Probe, counts(7, 7)).accepted);
        let refused = verdict(Reference::Active, counts(7, 6));
        assert!(!refused.accepted);
        assert_eq!(refused.reason, "only 6 of 10 gate images right, fewer than the 7 by the active version");
    }

    /// Catches: a gate of values that lets through a larger error, or takes it for a share of right answers.
    #[test]
    fn values_may_not_be_further_off() {
        let counts = |errors| PairedCounts { images: 10, errors, ..PairedCounts::default() };
        let verdict = |errors| verdict(Task::Regression, (Reference::Probe, StartPoint::Base), counts(errors));
        assert!(verdict([3.0, 3.0]).accepted && verdict([3.0, 3.005]).accepted);
        let refused = verdict([3.0, 4.0]);
        assert!(!refused.accepted);
        assert_eq!(
            refused.reason,
            "mean error 0.4000 standard deviations on 10 gate images, more than the 0.3000 by a linear probe on the base"
        );
        let figures = refused.figures();
        assert!((figures.before - 1.0 / 1.3).abs() < 1e-12 && (figures.after - 1.0 / 1.4).abs() < 1e-12, "{figures:?}");
    }
}
