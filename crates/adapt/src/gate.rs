//! Gate: decides whether a result may replace the active version, on images that neither has seen.

use crate::error::AdaptError;
use crate::evaluation::largest;
use crate::event::{Event, Gate, Phase, Reference};
use crate::outcome::Outcome;
use crate::plan::run::Run;
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use crate::train::batch_source::BatchSource;
use crate::train::control::Control;
use crate::train::reporter::Reporter;
use crate::train::training_state::HeadParams;
use fieldfit_delta::Delta;
use fieldfit_exec::prepare;
use fieldfit_model::Weights;
use std::collections::BTreeMap;

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
    let (plan, _) = RunPlan::new(request, control)?;
    judge(Run { request, plan: &plan }, &outcome.probe, &outcome.delta, &mut Reporter::new(control, events))
}

/// Counts what the decoded delta and the reference classify correctly, on the gate images that both could be shown.
///
/// The reference is the active version, where it has these classes, and else the linear probe on the untouched base.
pub(crate) fn judge(
    run: Run<'_>,
    probe: &HeadParams,
    delta: &[u8],
    reporter: &mut Reporter<'_>,
) -> Result<Gate, AdaptError> {
    let (reference, weights) = reference(run, probe)?;
    let before = answers(run, weights, reporter)?;
    let after = answers(run, Weights::adapted(run.request.base, &Delta::parse(delta)?)?, reporter)?;
    let both = || before.iter().filter_map(|(sample, before)| Some((*before, *after.get(sample)?)));
    let right = |of: fn((bool, bool)) -> bool| both().filter(|&pair| of(pair)).count();
    let gate = verdict(reference, both().count(), right(|(before, _)| before), right(|(_, after)| after));
    reporter.report(Event::Gate(gate.clone()));
    Ok(gate)
}

fn verdict(reference: Reference, images: usize, before: usize, after: usize) -> Gate {
    let accepted = after >= before;
    let rival = match reference {
        Reference::Active => "the active version",
        Reference::Probe => "a linear probe on the base",
    };
    let reason = if accepted {
        format!("{after} of {images} gate images right, {before} by {rival}")
    } else {
        format!("only {after} of {images} gate images right, fewer than the {before} by {rival}")
    };
    Gate { images, before, after, reference, accepted, reason }
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
    Ok((Reference::Probe, Weights { network, labels, input_size: plan.size, ..weights }))
}

fn has_classes(delta: &Delta<'_>, classes: &[String]) -> bool {
    delta.labels().count() == classes.len() && delta.labels().all(|label| classes.iter().any(|class| class == label))
}

/// Whether weights, whose labels are the dataset's classes in any order, classify each gate image correctly, as they would
/// run: by the image's index.
fn answers(run: Run<'_>, weights: Weights, reporter: &mut Reporter<'_>) -> Result<BTreeMap<usize, bool>, AdaptError> {
    let Run { request, plan } = run;
    let columns = columns(&request.dataset.classes, &weights.labels);
    let prepared = prepare(request.options.device, &weights.network, &weights.params)?;
    let source =
        BatchSource::new(request, &plan.failures, weights.input_size, weights.crop).of(plan.memory.micro_batch);
    let (mut answers, total) = (BTreeMap::new(), plan.split.gate.len());
    for batch in source.in_order(&plan.split.gate)? {
        if reporter.is_stopped() {
            return Err(AdaptError::Interrupted { checkpoint: None });
        }
        let batch = batch?;
        let logits = prepared.logits(&batch.images)?;
        for (row, (&sample, &label)) in batch.samples.iter().zip(&batch.labels).enumerate() {
            answers.insert(sample, predicted(logits.row(row), &columns) == label as usize);
        }
        reporter.report(Event::Progress { phase: Phase::Gate, done: answers.len(), total });
        source.report_failures(reporter);
    }
    Ok(answers)
}

/// Column of each class among the labels.
fn columns(classes: &[String], labels: &[String]) -> Vec<usize> {
    classes.iter().filter_map(|class| labels.iter().position(|label| label == class)).collect()
}

/// The class whose column has the largest logit.
fn predicted(logits: &[f32], columns: &[usize]) -> usize {
    largest(&columns.iter().map(|&column| logits[column]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a gate that asks for more, or lets less through, than as many right images.
    #[test]
    fn as_many_right_images_are_enough_and_one_less_is_not() {
        assert!(verdict(Reference::Probe, 10, 7, 7).accepted);
        let refused = verdict(Reference::Active, 10, 7, 6);
        assert!(!refused.accepted);
        assert_eq!(refused.reason, "only 6 of 10 gate images right, fewer than the 7 by the active version");
    }

    /// Catches: labels in another order than the folder's, whose right answers count as wrong.
    #[test]
    fn columns_follow_the_classes() {
        let names = |names: [&str; 3]| names.map(str::to_owned).to_vec();
        let columns = columns(&names(["a", "b", "c"]), &names(["b", "c", "a"]));
        assert_eq!(columns, [2, 0, 1]);
        assert_eq!(predicted(&[1.0, 2.0, 3.0], &columns), 0);
        assert_eq!(predicted(&[1.0, 5.0, 3.0], &columns), 2);
    }
}
