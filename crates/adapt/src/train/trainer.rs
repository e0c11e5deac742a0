//! Trainer: the training loop, from the first step or a checkpoint to the last.

use crate::checkpoint::identity::Identity;
use crate::checkpoint::progress::{Later, Progress};
use crate::checkpoint::snapshot::Snapshot;
use crate::error::AdaptError;
use crate::event::{Event, Phase};
use crate::methods::method::{HeadStart, Method, Requirements, Steps};
use crate::metrics::Metrics;
use crate::options::{Branches, HeadMode, StartPoint};
use crate::plan::run::Run;
use crate::request::Checkpointing;
use crate::start;
use crate::train::base_answers::BaseAnswers;
use crate::train::batch_source::{BatchSource, Cycle};
use crate::train::branches::{BranchEnd, BranchSum};
use crate::train::clean_answers;
use crate::train::divergence_detector::DivergenceDetector;
use crate::train::early_stopping::EarlyStopping;
use crate::train::lr_schedule::LrSchedule;
use crate::train::optimiser::{Clip, Optimiser};
use crate::train::probe::Probe;
use crate::train::reporter::Reporter;
use crate::train::session::{HostSession, Session};
use crate::train::target_scaling::TargetScaling;
use crate::train::training_state::TrainingState;
use fieldfit_data::Batch;
use fieldfit_durable::Disk;
use fieldfit_exec::{ExecError, device_params, executor};
use fieldfit_nets::Network;
use fieldfit_tensor::{Params, TensorId};
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Trainer of a run.
pub(crate) struct Trainer<'a> {
    run: Run<'a>,
    source: BatchSource<'a>,
    identity: Identity,
    probe: Probe,
    method: Box<dyn Method>,
    session: Session<'a>,
    optimiser: Optimiser<f32>,
    schedule: LrSchedule,
    progress: Progress,
    /// Whether a step is half done, so that the state is none that a checkpoint may hold.
    is_within_step: bool,
    /// The checkpoint that this run has written or was resumed from.
    checkpoint: Option<PathBuf>,
}

/// Result of training: executor, gradients and optimiser are dropped, and with them most of the memory.
pub(crate) struct Trained<'a> {
    pub state: TrainingState<'a, f32>,
    pub method: Box<dyn Method>,
    pub probe: Probe,
    /// The run's last checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl Trained<'_> {
    /// Returns θ as training left it.
    pub fn weights(&self) -> Params<f32> {
        let (mut weights, head, network) = (self.state.weights(), self.state.moved_head(), self.state.network());
        self.state.merge_into(&mut weights);
        weights.replace(network.head.weight, head.weight);
        weights.replace(network.head.bias, head.bias);
        weights
    }
}

impl<'a> Trainer<'a> {
    /// Trainer at a run's start, for which it trains the linear probe, or where the run's checkpoint left it.
    pub fn new(run: Run<'a>, mut method: Box<dyn Method>, reporter: &mut Reporter<'_>) -> Result<Self, AdaptError> {
        let Run { request, plan } = run;
        let options = request.options;
        let identity = Identity::new(request, plan);
        let resumed = match request.checkpoint {
            Some(Checkpointing { path, resume: true }) => Some(Snapshot::read(path, &identity, run, method.as_mut())?),
            _ => None,
        };
        let known = resumed.as_ref().and(request.checkpoint).map(|checkpointing| checkpointing.path.to_owned());
        let source = run.batch_source()?;
        let slice = (request.dataset, plan.split.train.as_slice());
        let scaling = TargetScaling::new(options.class_weights, plan.scales.clone(), slice, &source)?;
        let chance = scaling.chance(plan.network.head.classes, request.dataset, &plan.split.train);
        let (probe, known_answers) = match &resumed {
            Some(snapshot) => (snapshot.probe.clone().into_owned(), None),
            None => start_of_head(run, method.as_ref(), (&source, &scaling), reporter)?,
        };
        let clean_answers = match known_answers {
            None if asks_of_clean_images(run, method.as_ref()) => {
                let asked = clean_answers::of_training_slice(run, &source, reporter);
                Some(asked.map_err(|error| match error {
                    AdaptError::Interrupted { .. } => AdaptError::Interrupted { checkpoint: known },
                    error => error.with_checkpoint(known),
                })?)
            }
            answers => answers,
        };
        let source = source.behind(run.frozen_prefix()?);
        let mut session = session(run, method.as_mut(), &probe, &source, scaling)?;
        session.host.clean_answers = clean_answers;
        let mut trainer = Self {
            optimiser: Optimiser::new(options.optimiser, &plan.network, &session.host.state.delta),
            schedule: LrSchedule::new(&options.schedule, options.optimiser.learning_rate(), plan.order.steps_of_one()),
            progress: Progress {
                step: 0,
                drawn: 0,
                epoch_loss: 0.0,
                divergence: DivergenceDetector::new(chance),
                later: Later::default(),
                branches: BranchSum::starting_at(&session.host.state.delta, plan.order),
            },
            run,
            source,
            identity,
            probe,
            method,
            session,
            is_within_step: false,
            checkpoint: None,
        };
        trainer.method.begin(&trainer.session.host.state);
        match (resumed, options.start) {
            (Some(snapshot), _) => {
                trainer.restore(snapshot)?;
                reporter.report(Event::Resumed { step: trainer.progress.step });
            }
            (None, StartPoint::Active) => trainer.session.put(&trainer.optimiser)?,
            (None, StartPoint::Base) => {}
        }
        Ok(trainer)
    }

    /// Trains to the end. An error that leaves the state sound leaves a checkpoint, too.
    pub fn train(mut self, reporter: &mut Reporter<'_>) -> Result<Trained<'a>, AdaptError> {
        match self.epochs(reporter) {
            Ok(()) => self.finish(reporter),
            Err(error) => Err(self.leave_checkpoint(error, reporter)),
        }
    }

    /// Takes a checkpoint's state, which the method has taken its own from.
    fn restore(&mut self, snapshot: Snapshot<'_>) -> Result<(), AdaptError> {
        self.session.host.state.delta = snapshot.delta.into_owned();
        self.optimiser = snapshot.optimiser.into_owned();
        self.progress = snapshot.progress.into_owned();
        self.session.host.validation.skip_to(self.progress.drawn);
        self.checkpoint = self.run.request.checkpoint.map(|checkpointing| checkpointing.path.to_owned());
        Ok(self.session.put(&self.optimiser)?)
    }

    fn epochs(&mut self, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        // A checkpoint may lie at the end of a branch, too.
        self.end_branch(reporter)?;
        while !self.progress.is_trained(self.run) {
            self.epoch(reporter)?;
            self.end_branch(reporter)?;
        }
        Ok(())
    }

    fn finish(mut self, reporter: &mut Reporter<'_>) -> Result<Trained<'a>, AdaptError> {
        // The last epoch's end has copied everything home.
        self.session.device = None;
        match self.method.finish(&mut self.session.host, reporter) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Err(self.interrupt(reporter)),
            Err(error) => return Err(self.leave_checkpoint(error, reporter)),
        }
        self.source.report_failures(reporter);
        let Self { session, method, probe, checkpoint, .. } = self;
        Ok(Trained { state: session.host.state, method, probe, checkpoint })
    }

    /// The rest of the current epoch.
    fn epoch(&mut self, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        let (epoch, done) = self.position();
        let plan = self.run.plan;
        if self.source.fill(&plan.split.train, epoch, reporter)?.is_break() {
            return Err(self.interrupt(reporter));
        }
        for batch in self.source.training(&plan.split.train, epoch, done)? {
            if reporter.is_stopped() {
                return Err(self.interrupt(reporter));
            }
            let (number, batch) = batch?;
            self.pass_to(epoch, number);
            self.step(&batch, reporter)?;
            self.source.report_failures(reporter);
        }
        self.pass_to(epoch, plan.steps_per_epoch);
        self.end_epoch(epoch, reporter)
    }

    /// Passes over the epoch's batches before that number: those that are not done had no image that could be read.
    fn pass_to(&mut self, epoch: u64, number: u64) {
        let step = epoch * self.run.plan.steps_per_epoch + number;
        self.progress.later.skipped_steps += step - self.progress.step;
        self.progress.step = step;
    }

    /// The epoch, and the steps done in it.
    fn position(&self) -> (u64, u64) {
        let per_epoch = self.run.plan.steps_per_epoch;
        (self.progress.step / per_epoch, self.progress.step % per_epoch)
    }

    fn step(&mut self, batch: &Batch, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        let taken = self.progress.taken();
        if self.method.drawn(taken + 1) > self.method.drawn(taken) {
            // Before the step changes anything: if these images cannot be read, the state is sound.
            self.session.host.validation.load_ahead()?;
        }
        self.is_within_step = true;
        let loss = match self.method.steps() {
            Steps::Host(steps) => {
                let loss = steps.descend(&mut self.session.host, batch)?;
                steps.before_step(&mut self.session.host);
                loss
            }
            Steps::Plain | Steps::Store(_) => self.session.descend_labels(batch)?,
        };
        let norms = self.session.in_place(|store| store.gradient_norms())?;
        if self.progress.taken() == 0 {
            require_gradients(self.session.network(), &norms)?;
        }
        let clip = Clip::of(&norms, self.run.request.options.clip);
        let learning_rate = self.schedule.rate(self.run.plan.order.position(self.progress.step));
        self.progress.step += 1;
        self.progress.epoch_loss += loss;
        let (step, taken) = (self.progress.step, self.progress.taken());
        report_collapse(self.progress.divergence.step(step, loss, clip.norm), reporter)?;
        self.session.step(&mut self.optimiser, clip, learning_rate)?;
        match self.method.steps() {
            Steps::Host(steps) => steps.after_step(taken, &mut self.session.host, reporter)?,
            Steps::Store(steps) => steps.after_step(taken, &mut self.session, reporter)?,
            Steps::Plain => {}
        }
        self.is_within_step = false;
        reporter.report(Event::Step { step, steps: self.run.plan.steps, loss, learning_rate, gradient: clip.norm });
        Ok(())
    }

    fn end_epoch(&mut self, epoch: u64, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        let plan = self.run.plan;
        let loss = self.progress.epoch_loss / plan.steps_per_epoch as f64;
        let images = &plan.split.validation;
        self.session.fetch(&mut self.optimiser)?;
        let host = &mut self.session.host;
        host.state.merge_into(&mut host.weights);
        let mut scores = Metrics::of(&plan.outputs(), plan.network.head.classes);
        for batch in self.run.answer_batches(self.source.clone()).in_order(images)? {
            let batch = batch?;
            let mut outputs = host.logits(&batch.images)?;
            host.target_scaling.to_units(&mut outputs.values);
            scores.add(&batch, &outputs);
            let (phase, done, total) = (Phase::Validation, scores.images(), images.len());
            reporter.report(Event::Progress { phase, done, total });
        }
        self.source.report_failures(reporter);
        let is_last = self.progress.step == plan.steps;
        report_collapse(self.progress.divergence.epoch(self.progress.step, loss, &scores, is_last), reporter)?;
        let (epoch, epochs) = (epoch as u32 + 1, plan.epochs());
        reporter.report(Event::Epoch { epoch, epochs, loss, accuracy: scores.accuracy() });
        self.progress.epoch_loss = 0.0;
        self.record_epoch(epoch, scores.accuracy(), reporter);
        self.save_or_report(reporter)
    }

    /// Ends a branch, or what the branches share, where one ends here: the next starts where they part, with an optimiser at
    /// rest; after the last, their mean is δ. Everything has been copied home.
    fn end_branch(&mut self, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        let (plan, options) = (self.run.plan, self.run.request.options);
        let (step, taken) = (self.progress.step, self.progress.taken());
        let Some(end) = plan.order.end(step).filter(|_| self.progress.branches.step < step) else { return Ok(()) };
        let delta = &mut self.session.host.state.delta;
        let branches = &mut self.progress.branches;
        match end {
            BranchEnd::Common => branches.part(delta),
            BranchEnd::Branch => branches.add(delta, &plan.network),
        }
        (branches.step, branches.taken) = (step, taken);
        if step == plan.steps {
            let Branches { count, average, .. } = options.branches;
            let mean = branches.average_into(delta, &plan.network, (count, average));
            reporter.report(Event::Branches(mean));
        }
        self.optimiser = Optimiser::new(options.optimiser, &plan.network, &self.session.host.state.delta);
        Ok(self.session.put(&self.optimiser)?)
    }

    /// Records an epoch's accuracy for early stopping, where the options ask for it.
    fn record_epoch(&mut self, epoch: u32, accuracy: f64, reporter: &mut Reporter<'_>) {
        if self.run.request.options.early_stop.is_none() {
            return;
        }
        self.progress.later.early_stopping.record(accuracy);
        if self.progress.step < self.run.plan.steps && self.progress.is_trained(self.run) {
            let EarlyStopping { best, stale } = self.progress.later.early_stopping;
            reporter.report(Event::EarlyStop { epoch, stale, best: best.unwrap_or_default() });
        }
    }

    /// Writes a checkpoint, if one is wanted. Where it can't be written, the run is worth more than its checkpoint: it goes
    /// on, and an event says so.
    fn save_or_report(&mut self, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        let Some(Checkpointing { path, .. }) = self.run.request.checkpoint else { return Ok(()) };
        // The delta is still to come, and must fit beside the checkpoint.
        match self.save(path, self.run.plan.memory.delta, reporter) {
            Err(error @ (AdaptError::Durable(_) | AdaptError::CheckpointSpace { .. })) => {
                let (path, step) = (path.to_owned(), self.progress.step);
                reporter.report(Event::CheckpointFailed { path, step, reason: error.to_string() });
                Ok(())
            }
            saved => saved,
        }
    }

    /// Writes a checkpoint that leaves at least `reserve` bytes of the disk.
    fn save(&mut self, path: &Path, reserve: u64, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        self.progress.drawn = self.session.host.validation.drawn();
        self.require_drawn()?;
        let snapshot = Snapshot {
            identity: Cow::Borrowed(&self.identity),
            progress: Cow::Borrowed(&self.progress),
            probe: Cow::Borrowed(&self.probe),
            delta: Cow::Borrowed(&self.session.host.state.delta),
            optimiser: Cow::Borrowed(&self.optimiser),
            method: self.method.save()?,
        };
        snapshot.write(&Disk, path, reserve)?;
        self.checkpoint = Some(path.to_owned());
        reporter.report(Event::Checkpoint { path: path.to_owned(), step: self.progress.step });
        Ok(())
    }

    /// Checks that the method has drawn as many batches of validation images as it states: a checkpoint that differs
    /// could not be resumed.
    fn require_drawn(&self) -> Result<(), AdaptError> {
        let (step, drawn) = (self.progress.taken(), self.progress.drawn);
        let stated = self.method.drawn(step);
        if stated == drawn {
            return Ok(());
        }
        let source = format!(
            "it has drawn {drawn} batches of validation images by step {step}, and its `drawn` returns {stated}: return \
             the number that `next_batch` was called"
        );
        Err(AdaptError::CustomMethod { method: self.run.plan.entry.name.to_owned(), source: source.into() })
    }

    /// Saves the state of a run that is to stop; returns the error that says where.
    fn interrupt(&mut self, reporter: &mut Reporter<'_>) -> AdaptError {
        match self.save_now(reporter) {
            Ok(()) => AdaptError::Interrupted { checkpoint: self.checkpoint.clone() },
            Err(error) => error.with_checkpoint(self.checkpoint.clone()),
        }
    }

    /// Saves the state of a run that fails, where it is sound; returns the error with the place of the last checkpoint.
    fn leave_checkpoint(&mut self, error: AdaptError, reporter: &mut Reporter<'_>) -> AdaptError {
        if error.is_final() {
            return error;
        }
        let is_sound =
            !self.is_within_step && self.session.host.validation.drawn() == self.method.drawn(self.progress.taken());
        if is_sound
            && self.progress.step > 0
            && let Err(unsaved) = self.save_now(reporter)
        {
            log::warn!("no checkpoint of the failed run: {unsaved}");
        }
        error.with_checkpoint(self.checkpoint.clone())
    }

    fn save_now(&mut self, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
        let Some(Checkpointing { path, .. }) = self.run.request.checkpoint else { return Ok(()) };
        self.session.fetch(&mut self.optimiser)?;
        self.save(path, 0, reporter)
    }
}

/// Head that a run's training starts with, and the base's answers to the training images where the method asks for them and their
/// features are at hand.
fn start_of_head(
    run: Run<'_>,
    method: &dyn Method,
    (source, scaling): (&BatchSource<'_>, &TargetScaling),
    reporter: &mut Reporter<'_>,
) -> Result<(Probe, Option<BaseAnswers>), AdaptError> {
    match run.request.options.head {
        HeadMode::Keep => Ok((Probe::kept(run), None)),
        HeadMode::Replace => {
            let (probe, features) = Probe::train(run, source, scaling, reporter)?;
            let is_at_base = run.request.options.start == StartPoint::Base;
            let asks = is_at_base && asks_of_clean_images(run, method);
            Ok((probe, asks.then(|| clean_answers::of_features(&features, run.request.base))))
        }
    }
}

/// Returns whether a method asks the base, which has a head, about the training images as they are.
fn asks_of_clean_images(run: Run<'_>, method: &dyn Method) -> bool {
    method.requirements().clean_predictions && !run.request.base.network().is_headless()
}

/// Session of a run at its start.
fn session<'a>(
    run: Run<'a>,
    method: &mut dyn Method,
    probe: &Probe,
    source: &BatchSource<'a>,
    target_scaling: TargetScaling,
) -> Result<Session<'a>, AdaptError> {
    let Run { request, plan } = run;
    let options = request.options;
    let head = match (options.head, options.start, method.head()) {
        (HeadMode::Keep, _, _) | (_, StartPoint::Active, _) | (_, _, HeadStart::Probe) => probe.head.clone(),
        (HeadMode::Replace, StartPoint::Base, HeadStart::Random) => plan.random_head(options.seed),
    };
    let trains = |id: TensorId| plan.trained[id.index()];
    let mut state = TrainingState::new(request.base, plan.network.clone(), head, trains);
    start::write_delta(request, &plan.network, &mut state.delta)?;
    let (rest, passes) = (plan.network.after(plan.frozen).map_err(ExecError::from)?, plan.memory.passes());
    let device = match Requirements::of(method).host_tensors() {
        true => None,
        false => device_params(options.device, &rest, |id| state.start(id), trains)?,
    };
    let retained = |source: BatchSource<'a>| {
        let retained = plan.retained.as_ref()?;
        Some(Cycle::new(source.over_retained(&retained.images), &retained.order))
    };
    let host = HostSession {
        weights: state.weights(),
        gradients: Params::zeros_where(&plan.network, trains),
        validation: Cycle::new(source.clone(), &plan.split.validation),
        clean_answers: None,
        retained: retained(source.clone()),
        trained_images: plan.steps / plan.steps_per_epoch.max(1) * plan.split.train.len() as u64,
        target_scaling,
        frozen: plan.frozen,
        device: options.device,
        passes,
        executor: executor(options.device, &rest, passes)?,
        state,
    };
    Ok(Session { host, device })
}

/// Reports a collapse before the run ends for it.
fn report_collapse(verdict: Result<(), AdaptError>, reporter: &mut Reporter<'_>) -> Result<(), AdaptError> {
    verdict.inspect_err(|error| {
        if let AdaptError::Collapsed { step, .. } | AdaptError::Diverged { step, .. } = error {
            reporter.report(Event::Collapse { step: *step, reason: error.to_string() });
        }
    })
}

/// Refuses a trainable tensor that is cut off from the loss: it would train nothing, in silence.
fn require_gradients(network: &Network, norms: &[Option<f64>]) -> Result<(), AdaptError> {
    match network.tensors().zip(norms).find(|(_, norm)| **norm == Some(0.0)) {
        Some(((_, spec), _)) => Err(AdaptError::NoGradient { name: spec.name.clone() }),
        None => Ok(()),
    }
}
