//! The loop.

use crate::checkpoint::{Identity, Progress, Snapshot};
use crate::evaluate::evaluate;
use crate::feed::Feed;
use crate::optimiser::{Clip, Optimiser};
use crate::plan::Plan;
use crate::probe::Probe;
use crate::{AdaptError, Event, Method, Phase, Request, Schedule, Session, Tracker, TrainingState};
use fieldfit_data::{Batch, ReadFailure};
use fieldfit_nets::Network;
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// A run from its first step to its last, or from a checkpoint on.
pub(crate) struct Trainer<'a> {
    pub request: &'a Request<'a>,
    pub plan: &'a Plan,
    pub feed: Feed<'a>,
    pub identity: Identity,
    pub probe: Probe,
    pub method: Box<dyn Method>,
    pub session: Session<'a>,
    pub optimiser: Optimiser<f32>,
    pub schedule: Schedule,
    pub progress: Progress,
}

/// What training leaves: executor, gradients and optimiser are gone, and with them most of the memory.
pub(crate) struct Trained<'a> {
    pub state: TrainingState<'a, f32>,
    pub method: Box<dyn Method>,
    pub probe: Probe,
}

impl<'a> Trainer<'a> {
    /// Trains to the end.
    pub fn run(mut self, tracker: &mut Tracker<'_>) -> Result<Trained<'a>, AdaptError> {
        while self.progress.step < self.plan.steps {
            self.epoch(tracker)?;
        }
        // The last epoch's end has taken everything home.
        self.session.resident = None;
        match self.method.finish(&mut self.session, tracker)? {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(()) => return Err(self.interrupt(tracker)),
        }
        Ok(Trained { state: self.session.state, method: self.method, probe: self.probe })
    }

    /// Goes on from a checkpoint's state, which the method has taken its own from.
    pub fn restore(&mut self, snapshot: Snapshot<'_>) -> Result<(), AdaptError> {
        self.session.state.delta = snapshot.delta.into_owned();
        self.optimiser = snapshot.optimiser.into_owned();
        self.progress = snapshot.progress.into_owned();
        self.session.validation.skip_to(self.progress.drawn);
        Ok(self.session.put(&self.optimiser)?)
    }

    /// The rest of the current epoch.
    fn epoch(&mut self, tracker: &mut Tracker<'_>) -> Result<(), AdaptError> {
        let (epoch, done) = self.position();
        if self.feed.look(&self.plan.split.train, epoch, tracker)?.is_break() {
            return Err(self.interrupt(tracker));
        }
        for batch in self.feed.training(&self.plan.split.train, epoch, done)? {
            if tracker.is_stopped() {
                return Err(self.interrupt(tracker));
            }
            self.step(&batch?, tracker)?;
            for ReadFailure { path, reason, .. } in self.feed.failures().take_new() {
                tracker.tell(Event::Unreadable { path, reason });
            }
        }
        // A batch of which no image can be read any more is no step, but it is part of the epoch.
        self.progress.step = (epoch + 1) * self.plan.steps_per_epoch;
        self.end_epoch(epoch, tracker)
    }

    /// The epoch, and the steps done in it.
    fn position(&self) -> (u64, u64) {
        let per_epoch = self.plan.steps_per_epoch;
        (self.progress.step / per_epoch, self.progress.step % per_epoch)
    }

    fn step(&mut self, batch: &Batch, tracker: &mut Tracker<'_>) -> Result<(), AdaptError> {
        let loss = self.method.descend(&mut self.session, batch)?;
        self.method.before_step(&mut self.session);
        let norms = self.session.in_place(|place| place.gradient_norms())?;
        if self.progress.step == 0 {
            require_gradients(self.session.state.network(), &norms)?;
        }
        let clip = Clip::of(&norms, self.request.options.clip);
        let learning_rate = self.schedule.rate(self.progress.step);
        self.progress.step += 1;
        self.progress.epoch_loss += loss;
        let step = self.progress.step;
        collapsed(self.progress.watch.step(step, loss, clip.norm), tracker)?;
        self.session.step(&mut self.optimiser, clip, learning_rate)?;
        self.method.after_step(step, &mut self.session, tracker)?;
        tracker.tell(Event::Step { step, steps: self.plan.steps, loss, learning_rate, gradient: clip.norm });
        Ok(())
    }

    fn end_epoch(&mut self, epoch: u64, tracker: &mut Tracker<'_>) -> Result<(), AdaptError> {
        let loss = self.progress.epoch_loss / self.plan.steps_per_epoch as f64;
        self.progress.epoch_loss = 0.0;
        let images = &self.plan.split.validation;
        self.session.fetch(&mut self.optimiser)?;
        let session = &mut self.session;
        session.state.merge_into(&mut session.weights);
        let evaluation = evaluate(
            self.plan.network.head.classes,
            self.feed.in_order(images)?,
            |images| session.logits(images),
            |done| tracker.tell(Event::Progress { phase: Phase::Validation, done, total: images.len() }),
        )?;
        let last = self.progress.step == self.plan.steps;
        collapsed(self.progress.watch.epoch(self.progress.step, loss, &evaluation, last), tracker)?;
        let (epoch, epochs) = (epoch as u32 + 1, self.request.options.epochs);
        tracker.tell(Event::Epoch { epoch, epochs, loss, accuracy: evaluation.accuracy() });
        self.save(tracker)?;
        Ok(())
    }

    /// Writes a checkpoint, if one is wanted.
    fn save(&mut self, tracker: &mut Tracker<'_>) -> Result<Option<PathBuf>, AdaptError> {
        let Some(checkpointing) = self.request.checkpoint else { return Ok(None) };
        self.progress.drawn = self.session.validation.drawn();
        let snapshot = Snapshot {
            identity: Cow::Borrowed(&self.identity),
            progress: Cow::Borrowed(&self.progress),
            probe: Cow::Borrowed(&self.probe),
            delta: Cow::Borrowed(&self.session.state.delta),
            optimiser: Cow::Borrowed(&self.optimiser),
            method: self.method.save()?,
        };
        snapshot.write(checkpointing.path)?;
        let path = checkpointing.path.to_owned();
        tracker.tell(Event::Checkpoint { path: path.clone(), step: self.progress.step });
        Ok(Some(path))
    }

    /// Saves the state, and says where; an error on the way is the more important one.
    fn interrupt(&mut self, tracker: &mut Tracker<'_>) -> AdaptError {
        let fetched = self.session.fetch(&mut self.optimiser).map_err(AdaptError::from);
        match fetched.and_then(|()| self.save(tracker)) {
            Ok(checkpoint) => AdaptError::Interrupted { checkpoint },
            Err(error) => error,
        }
    }
}

/// Tells of a collapse before the run ends for it.
fn collapsed(verdict: Result<(), AdaptError>, tracker: &mut Tracker<'_>) -> Result<(), AdaptError> {
    verdict.inspect_err(|error| {
        if let AdaptError::Collapsed { step, .. } | AdaptError::Diverged { step, .. } = error {
            tracker.tell(Event::Collapse { step: *step, reason: error.to_string() });
        }
    })
}

/// Silence is the commonest fault of training code: a tensor that is cut off from the loss trains nothing and says so
/// nowhere.
fn require_gradients(network: &Network, norms: &[Option<f64>]) -> Result<(), AdaptError> {
    match network.tensors().zip(norms).find(|(_, norm)| **norm == Some(0.0)) {
        Some(((_, spec), _)) => Err(AdaptError::NoGradient { name: spec.name.clone() }),
        None => Ok(()),
    }
}
