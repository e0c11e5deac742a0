//! Adaptation reporter: publishes how far an adaptation has come, and lets others pause it.

use crate::Error;
use fieldfit_adapt::{Event, Options, Pace, Phase};
use fieldfit_store::{AdaptationPhase, AdaptationResult, AdaptationStatus, EpochStatus, StepLoss, Store, unix_time};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two publications while nothing but numbers changes.
const PAUSE: Duration = Duration::from_millis(500);
/// Most losses and shares that are kept; when there are more, every second one is dropped.
const MOST: usize = 512;

/// Reporter of one adaptation.
pub(crate) struct AdaptationReporter {
    store: Store,
    state: Mutex<State>,
}

struct State {
    status: AdaptationStatus,
    /// Steps between two losses that are kept.
    every: u64,
    published: Option<Instant>,
}

impl AdaptationReporter {
    /// Begins a report, in place of that of the last adaptation, and takes back a pause that was meant for that.
    pub fn begin(store: &Store, options: &Options) -> Self {
        let (process, started) = (process::id(), unix_time());
        let status =
            AdaptationStatus { process, started, method: options.method.clone(), ..AdaptationStatus::default() };
        let state = Mutex::new(State { status, every: 1, published: None });
        let reporter = Self { store: store.clone(), state };
        if let Err(error) = store.pause_adaptation(false) {
            log::warn!("an earlier pause is not taken back: {error}");
        }
        reporter.state().publish(store);
        reporter
    }

    /// Notes an event.
    pub fn note(&self, event: &Event) {
        let mut state = self.state();
        if state.note(event) || state.is_due() {
            state.publish(&self.store);
        }
    }

    /// Returns the pace that others want, between two batches.
    pub fn pace(&self) -> Pace {
        let wanted = self.store.is_pause_wanted();
        let mut state = self.state();
        if state.is_due() {
            state.publish(&self.store);
        }
        if wanted { Pace::Hold } else { Pace::Full }
    }

    /// Ends the report of a run that failed or was stopped.
    pub fn fail(&self, error: &Error) {
        let mut state = self.state();
        state.end(AdaptationResult::Failed { reason: error.to_string() });
        state.publish(&self.store);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&self) -> bool {
        self.published.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    fn publish(&mut self, store: &Store) {
        self.published = Some(Instant::now());
        self.status.updated = unix_time();
        if let Err(error) = store.publish_adaptation(&self.status) {
            log::debug!("the adaptation's progress is not published: {error}");
        }
    }

    /// Notes an event, and returns whether it is worth a publication of its own.
    fn note(&mut self, event: &Event) -> bool {
        let status = &mut self.status;
        match event {
            Event::Plan { steps, .. } => status.steps = *steps,
            Event::Paused => status.paused = true,
            Event::Unpaused { .. } => status.paused = false,
            Event::Progress { phase, done, total } => {
                self.progress(*phase, *done as f64 / (*total).max(1) as f64);
                return false;
            }
            Event::Step { step, steps, loss, .. } => {
                self.step(StepLoss { step: *step, loss: *loss }, *steps);
                return false;
            }
            Event::Epoch { epoch, accuracy, .. } => {
                status.epochs.push(EpochStatus { epoch: *epoch, accuracy: *accuracy });
            }
            Event::Radii(summary) => {
                status.shares.push(summary.mean_ratio);
                thin(&mut status.shares);
                return false;
            }
            Event::Done { version, active, reason, gate, .. } => {
                let (version, active, reason) = (*version, *active, reason.clone());
                self.end(AdaptationResult::Stored { version, active, reason, before: gate.before, after: gate.after });
            }
            _ => return false,
        }
        true
    }

    fn progress(&mut self, phase: Phase, done: f64) {
        self.status.phase = match phase {
            Phase::Features => AdaptationPhase::Features,
            Phase::Frozen => AdaptationPhase::Training,
            Phase::Validation | Phase::Radii | Phase::Interpolation | Phase::Coding => AdaptationPhase::Validation,
            Phase::Gate => AdaptationPhase::Gate,
        };
        self.status.done = done;
    }

    fn step(&mut self, loss: StepLoss, steps: u64) {
        let status = &mut self.status;
        (status.phase, status.step, status.steps) = (AdaptationPhase::Training, loss.step, steps);
        status.done = loss.step as f64 / steps.max(1) as f64;
        if loss.step.is_multiple_of(self.every) {
            status.losses.push(loss);
            if thin(&mut status.losses) {
                self.every *= 2;
            }
        }
    }

    fn end(&mut self, result: AdaptationResult) {
        (self.status.phase, self.status.done) = (AdaptationPhase::Ended, 1.0);
        self.status.paused = false;
        self.status.result = Some(result);
    }
}

/// Drops every second value of a list that has become too long; returns whether it had.
fn thin<T>(values: &mut Vec<T>) -> bool {
    if values.len() <= MOST {
        return false;
    }
    let mut kept = false;
    values.retain(|_| {
        kept = !kept;
        kept
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a status that grows with the run, and losses of its beginning or its end alone.
    #[test]
    fn losses_of_a_long_run_are_spread_over_it() {
        let mut state = State { status: AdaptationStatus::default(), every: 1, published: None };
        for step in 1..=100_000 {
            state.step(StepLoss { step, loss: 1.0 }, 100_000);
        }
        let losses = &state.status.losses;
        assert!((MOST / 2 - 1..=MOST).contains(&losses.len()), "{}", losses.len());
        assert!(losses[0].step < 500 && losses[losses.len() - 1].step > 99_500);
        let gaps: Vec<u64> = losses.windows(2).map(|pair| pair[1].step - pair[0].step).collect();
        assert!(gaps.iter().all(|&gap| gap <= 2 * gaps[0]), "{gaps:?}");
    }
}
