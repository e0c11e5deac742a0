//! Whether the result may replace what runs.

use crate::evaluate::{Evaluation, evaluate};
use crate::feed::Feed;
use crate::plan::Plan;
use crate::{AdaptError, Event, Gate, HeadParams, Phase, Reference, Request, Tracker};
use fieldfit_delta::Delta;
use fieldfit_exec::prepare;
use fieldfit_model::Weights;
use fieldfit_tensor::Matrix;

/// Counts what the decoded delta and the reference get right on images that neither has seen.
///
/// The reference is the active version, where it has these classes, and else the linear probe on the untouched base.
pub(crate) fn judge(
    request: &Request<'_>,
    plan: &Plan,
    probe: &HeadParams,
    delta: &[u8],
    tracker: &mut Tracker<'_>,
) -> Result<Gate, AdaptError> {
    let (reference, weights) = reference(request, plan, probe)?;
    let before = count(request, plan, weights, tracker)?;
    let after = count(request, plan, Weights::adapted(request.base, &Delta::parse(delta)?)?, tracker)?;
    let gate = verdict(reference, plan.split.gate.len(), before.correct(), after.correct());
    tracker.tell(Event::Gate(gate.clone()));
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

fn reference(request: &Request<'_>, plan: &Plan, probe: &HeadParams) -> Result<(Reference, Weights), AdaptError> {
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

/// Runs the gate slice, a micro-batch at a time, through weights whose labels are the dataset's classes in any order, as they would run.
fn count(
    request: &Request<'_>,
    plan: &Plan,
    weights: Weights,
    tracker: &mut Tracker<'_>,
) -> Result<Evaluation, AdaptError> {
    let classes = &request.dataset.classes;
    let columns: Vec<_> =
        classes.iter().filter_map(|class| weights.labels.iter().position(|label| label == class)).collect();
    let prepared = prepare(request.options.device, &weights.network, &weights.params)?;
    let feed = Feed::new(request, weights.input_size, weights.crop).of(plan.memory.micro_batch);
    let total = plan.split.gate.len();
    evaluate(
        classes.len(),
        feed.in_order(&plan.split.gate)?,
        |images| Ok(reordered(&prepared.logits(images)?, &columns)),
        |done| tracker.tell(Event::Progress { phase: Phase::Gate, done, total }),
    )
}

/// The matrix's columns in another order.
fn reordered(matrix: &Matrix<f32>, columns: &[usize]) -> Matrix<f32> {
    let row = |row: usize| columns.iter().map(move |&column| matrix.row(row)[column]);
    let values = (0..matrix.rows).flat_map(row).collect();
    Matrix { rows: matrix.rows, columns: columns.len(), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate that asks for more, or lets less through, than as many right images.
    #[test]
    fn as_many_right_images_are_enough_and_one_less_is_not() {
        assert!(verdict(Reference::Probe, 10, 7, 7).accepted);
        let refused = verdict(Reference::Active, 10, 7, 6);
        assert!(!refused.accepted);
        assert_eq!(refused.reason, "only 6 of 10 gate images right, fewer than the 7 by the active version");
    }

    /// Labels in another order than the folder's: right answers that count as wrong.
    #[test]
    fn columns_follow_the_classes() {
        let matrix = Matrix { rows: 2, columns: 3, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        assert_eq!(reordered(&matrix, &[2, 0, 1]).values, [3.0, 1.0, 2.0, 6.0, 4.0, 5.0]);
    }
}
