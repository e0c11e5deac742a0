//! Adaptation: a run from its request to a delta and a verdict.

use crate::checkpoint::free_space::{free_space, require_space};
use crate::encode::delta_file::Recorded;
use crate::encode::{activation_ranges, codec_search, delta_file, head_outputs, novelty_threshold};
use crate::error::AdaptError;
use crate::event::{Event, Gate};
use crate::gate;
use crate::methods::method::Method;
use crate::outcome::Outcome;
use crate::plan::run::Run;
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use crate::run_labels;
use crate::train::control::Control;
use crate::train::priority::yielding;
use crate::train::reporter::Reporter;
use crate::train::trainer::{Trained, Trainer};
use crate::train::training_state::HeadParams;
use std::time::Instant;

/// Adapts a base to a folder of images, and judges the result as it will run.
///
/// A stop that comes before the verdict ends the run with its checkpoint; once there is one, the outcome stands, and
/// [`Control::stop`] returns that it comes too late.
///
/// # Errors
/// If options, images or checkpoint can't be used; if the run diverges, collapses or is stopped. Nothing is stored then
/// but the checkpoint, which every error after the first step names if there is one.
pub fn adapt(
    request: &AdaptRequest<'_>,
    control: &Control,
    events: &mut dyn FnMut(Event),
) -> Result<Outcome, AdaptError> {
    control.begin();
    let labelled = run_labels::labelled(request)?;
    let request = &AdaptRequest { dataset: labelled.as_ref().unwrap_or(request.dataset), ..*request };
    match request.options.nice {
        0 => run(request, control, events),
        nice => yielding(nice, events, |events| run(request, control, events)),
    }
}

fn run(request: &AdaptRequest<'_>, control: &Control, events: &mut dyn FnMut(Event)) -> Result<Outcome, AdaptError> {
    let started = Instant::now();
    let reporter = &mut Reporter::new(control, events);
    let (plan, method) = RunPlan::new(request, control)?;
    let run = Run { request, plan: &plan };
    report_plan(run, reporter)?;
    let trained = train(run, method, reporter)?;
    let checkpoint = trained.checkpoint.clone();
    let judged = judged(run, trained, reporter).map_err(|error| match error {
        AdaptError::Interrupted { .. } => AdaptError::Interrupted { checkpoint: checkpoint.clone() },
        error => error.with_checkpoint(checkpoint.clone()),
    });
    let (delta, gate, probe) = judged?;
    if !control.commit() {
        return Err(AdaptError::Interrupted { checkpoint });
    }
    Ok(Outcome { delta, gate, seconds: started.elapsed().as_secs_f64(), probe })
}

fn report_plan(run: Run<'_>, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
    let Run { request, plan } = run;
    reporter.report(plan.event(request));
    request.dataset.skip_summary().into_iter().for_each(|summary| reporter.report(Event::Skipped(summary)));
    reporter.report(Event::Memory(plan.memory));
    plan.frozen_event(request.options)?.into_iter().for_each(|event| reporter.report(event));
    let Some(checkpointing) = request.checkpoint.filter(|_| plan.steps > 0) else { return Ok(()) };
    let needed = plan.memory.checkpoint + plan.memory.delta;
    if let Err(error) = require_space(checkpointing.path, needed, free_space(checkpointing.path)) {
        let (path, reason) = (checkpointing.path.to_owned(), error.to_string());
        reporter.report(Event::CheckpointFailed { path, step: 0, reason });
    }
    Ok(())
}

/// Trains from the start or from the checkpoint to the end.
fn train<'a>(run: Run<'a>, method: Box<dyn Method>, reporter: &mut Reporter<'_>) -> Result<Trained<'a>, AdaptError> {
    Trainer::new(run, method, reporter)?.train(reporter)
}

/// Encodes the result, judges what the bytes decode to, and writes the verdict into them.
fn judged(
    run: Run<'_>,
    trained: Trained<'_>,
    reporter: &mut Reporter<'_>,
) -> Result<(Vec<u8>, Gate, HeadParams), AdaptError> {
    let recorded = Recorded { outputs: head_outputs::of(run, || trained.weights())?, ..Recorded::default() };
    let chosen = codec_search::choose(run, &trained, &recorded, reporter)?;
    let recorded = novelty_threshold::choose(run, &trained, (&chosen, recorded), reporter)?;
    let recorded = activation_ranges::choose(run, &trained, (&chosen, recorded), reporter)?;
    let unjudged = delta_file::encode(run, &trained, &chosen, &recorded, None)?;
    let gate = gate::judge(run, &trained.probe.head, &unjudged, reporter)?;
    drop(unjudged);
    let delta = delta_file::encode(run, &trained, &chosen, &recorded, Some(&gate))?;
    Ok((delta, gate, trained.probe.head))
}
