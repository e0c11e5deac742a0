//! From a base and a folder of images to a delta and a verdict.

use crate::checkpoint::{Identity, Progress, Snapshot};
use crate::coding::{self, Chosen};
use crate::duty::yielding;
use crate::feed::{Cycle, Feed};
use crate::frozen::Beginning;
use crate::plan::Plan;
use crate::probe::{self, Features, Probe};
use crate::trainer::{Trained, Trainer};
use crate::watch::Watch;
use crate::{
    AdaptError, Control, Event, Gate, HeadStart, Method, Optimiser, Options, Phase, Schedule, Session, Tracker,
    TrainingState, gate,
};
use fieldfit_data::Dataset;
use fieldfit_delta::{Codec, Delta, Provenance};
use fieldfit_exec::{device_params, executor};
use fieldfit_model::{Base, TrainingResult, encode_delta};
use fieldfit_tensor::{Norm, TensorId};
use std::path::Path;
use std::time::Instant;

/// What to adapt, to what, and how.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The base, θ0. It is only read.
    pub base: &'a Base,
    /// The labelled images.
    pub dataset: &'a Dataset,
    /// Every choice that the result depends on.
    pub options: &'a Options,
    /// The version that runs now, which the gate compares with and the delta names as its parent.
    pub active: Option<&'a Delta<'a>>,
    /// Where to keep the run's state; nothing to keep none.
    pub checkpoint: Option<Checkpointing<'a>>,
}

/// Where a run's state is kept, and whether to start from it.
#[derive(Debug, Clone, Copy)]
pub struct Checkpointing<'a> {
    /// The file; the checkpoint before the last is beside it, `.before` to its name. The caller
    /// [removes](crate::remove_checkpoint) them once the outcome is stored.
    pub path: &'a Path,
    /// Whether to go on from the state in it; without one there, that is an error.
    pub resume: bool,
}

/// What an adaptation ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The delta file.
    pub delta: Vec<u8>,
    /// The verdict on it, decoded.
    pub gate: Gate,
    /// Wall time in seconds, without what ran before a resumed checkpoint.
    pub seconds: f64,
}

/// Adapts a base to a folder of images, and judges the result as it will run.
///
/// # Errors
/// If options, images or checkpoint can't be used; if the run diverges, collapses or is stopped. Nothing is stored then
/// but the checkpoint.
pub fn adapt(request: &Request<'_>, control: &Control, events: &mut dyn FnMut(Event)) -> Result<Outcome, AdaptError> {
    match request.options.nice {
        0 => run(request, control, events),
        nice => yielding(nice, events, |events| run(request, control, events)),
    }
}

fn run(request: &Request<'_>, control: &Control, events: &mut dyn FnMut(Event)) -> Result<Outcome, AdaptError> {
    let started = Instant::now();
    let tracker = &mut Tracker::new(control, events);
    let (plan, method) = Plan::new(request)?;
    tracker.tell(plan.event(request));
    request.dataset.skip_summary().into_iter().for_each(|summary| tracker.tell(Event::Skipped(summary)));
    tracker.tell(Event::Memory(plan.memory));
    plan.frozen_event(request.options)?.into_iter().for_each(|event| tracker.tell(event));
    let trained = trainer(request, &plan, method, tracker)?.run(tracker)?;
    let (delta, gate) = judged(request, &plan, &trained, tracker)?;
    Ok(Outcome { delta, gate, seconds: started.elapsed().as_secs_f64() })
}

/// A run at its start, or where its checkpoint left it.
fn trainer<'a>(
    request: &'a Request<'a>,
    plan: &'a Plan,
    mut method: Box<dyn Method>,
    tracker: &mut Tracker<'_>,
) -> Result<Trainer<'a>, AdaptError> {
    let options = request.options;
    let identity = Identity::new(request.base, request.dataset, plan, options);
    let resumed = match request.checkpoint {
        Some(Checkpointing { path, resume: true }) => {
            Some(Snapshot::read(path, &identity, plan, options, method.as_mut())?)
        }
        _ => None,
    };
    let feed = Feed::new(request, plan.size, request.base.preprocessing().crop);
    let probe = match &resumed {
        Some(snapshot) => snapshot.probe.clone().into_owned(),
        None => train_probe(request, plan, &feed, tracker)?,
    };
    let feed = feed.behind(Beginning::new(request, plan)?);
    let head = match method.head() {
        HeadStart::Probe => probe.head.clone(),
        HeadStart::Random => plan.random_head(options.seed),
    };
    let state = TrainingState::new(request.base, plan.network.clone(), head, |id| plan.trained[id.index()]);
    let rest = plan.network.after(plan.frozen);
    let (start, trains) = (|id| state.start(id), |id: TensorId| plan.trained[id.index()]);
    let mut trainer = Trainer {
        optimiser: Optimiser::new(options.optimiser, &plan.network, &state.delta),
        schedule: Schedule::new(&options.schedule, options.optimiser.learning_rate(), plan.steps),
        session: Session {
            weights: state.weights(),
            gradients: state.delta.clone(),
            validation: Cycle::new(feed.clone(), &plan.split.validation),
            retained: plan
                .retained
                .as_ref()
                .map(|retained| Cycle::new(feed.clone().over_retained(&retained.images), &retained.order)),
            frozen: plan.frozen,
            trained_images: plan.steps / plan.steps_per_epoch.max(1) * plan.split.train.len() as u64,
            resident: if method.works_at_home() { None } else { device_params(options.device, &rest, start, trains)? },
            device: options.device,
            passes: plan.memory.passes(),
            executor: executor(options.device, &rest, plan.memory.passes())?,
            state,
        },
        progress: Progress { step: 0, drawn: 0, epoch_loss: 0.0, watch: Watch::new(plan.network.head.classes) },
        request,
        plan,
        feed,
        identity,
        probe,
        method,
    };
    trainer.method.begin(&trainer.session.state);
    if let Some(snapshot) = resumed {
        trainer.restore(snapshot)?;
        tracker.tell(Event::Resumed { step: trainer.progress.step });
    }
    Ok(trainer)
}

/// Trains a new head on the untouched base's features, each computed once.
fn train_probe(
    request: &Request<'_>,
    plan: &Plan,
    feed: &Feed<'_>,
    tracker: &mut Tracker<'_>,
) -> Result<Probe, AdaptError> {
    let head = plan.random_head(request.options.seed);
    let weights = TrainingState::<f32>::new(request.base, plan.network.clone(), head, |_| false).weights();
    let mut executor = executor(request.options.device, &plan.network, plan.memory.passes())?;
    let total = plan.split.train.len() + plan.split.validation.len();
    let mut done = 0;
    let mut features = |slice: &[usize]| {
        let mut features = Features::default();
        for batch in feed.in_order(slice)? {
            if tracker.is_stopped() {
                return Err(AdaptError::Interrupted { checkpoint: None });
            }
            let batch = batch?;
            features.extend(executor.features(&weights, &batch.images)?, &batch.labels);
            done += batch.labels.len();
            tracker.tell(Event::Progress { phase: Phase::Features, done, total });
        }
        Ok(features)
    };
    let (train, validation) = (features(&plan.split.train)?, features(&plan.split.validation)?);
    let probe = probe::fit(&plan.network, &train, &validation);
    tracker.tell(Event::Probe { penalty: probe.penalty, loss: probe.loss, accuracy: probe.accuracy });
    Ok(probe)
}

/// Encodes the result, judges what the bytes decode to, and writes the verdict into them.
fn judged(
    request: &Request<'_>,
    plan: &Plan,
    trained: &Trained<'_>,
    tracker: &mut Tracker<'_>,
) -> Result<(Vec<u8>, Gate), AdaptError> {
    let encoded =
        |codecs: &[Codec]| encode(request, plan, trained, &Chosen { codecs: codecs.to_vec(), fidelity: None }, None);
    let chosen = coding::choose(request, plan, trained, &encoded, tracker)?;
    let unjudged = encoded(&chosen.codecs)?;
    let gate = gate::judge(request, plan, &trained.probe.head, &unjudged, tracker)?;
    drop(unjudged);
    Ok((encode(request, plan, trained, &chosen, Some(&gate))?, gate))
}

/// The delta file. The verdict only goes into its provenance; the tensors are the same bytes with and without it.
fn encode(
    request: &Request<'_>,
    plan: &Plan,
    trained: &Trained<'_>,
    chosen: &Chosen,
    gate: Option<&Gate>,
) -> Result<Vec<u8>, AdaptError> {
    let (norm, radii) = match trained.method.constraint() {
        Some(constraint) => (constraint.norm, constraint.radii),
        None => (Norm::L2, vec![None; plan.network.tensors.len()]),
    };
    let head = trained.state.moved_head();
    let change = TrainingResult {
        delta: &trained.state.delta,
        radii: &radii,
        norm,
        head_weight: &head.weight,
        head_bias: &head.bias,
        labels: &request.dataset.classes,
        input_size: plan.size,
        crop: request.base.preprocessing().crop,
        codecs: &chosen.codecs,
    };
    let provenance = provenance(request.options, plan, chosen, gate);
    Ok(encode_delta(request.base, &change, provenance, request.active.map(Delta::hash))?)
}

fn provenance(options: &Options, plan: &Plan, chosen: &Chosen, gate: Option<&Gate>) -> Provenance {
    let figures = gate.map(Gate::figures);
    Provenance {
        fieldfit: truncated(env!("CARGO_PKG_VERSION")),
        method: truncated(&options.method),
        options: truncated(&format!("{options} {}", plan.memory.passes())),
        seed: options.seed,
        train: plan.split.train.len() as u32,
        validation: plan.split.validation.len() as u32,
        gate: plan.split.gate.len() as u32,
        before: figures.map_or(0.0, |figures| figures.before as f32),
        after: figures.map_or(0.0, |figures| figures.after as f32),
        fidelity: chosen.fidelity,
    }
}

/// As much of the text as fits, in whole characters.
fn truncated<const N: usize>(text: &str) -> heapless::String<N> {
    let mut fitting = heapless::String::new();
    for character in text.chars() {
        if fitting.push(character).is_err() {
            break;
        }
    }
    fitting
}
