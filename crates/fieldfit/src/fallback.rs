//! Fallback: selects the version that runs, from the active one over the confirmed ones to the base.

use crate::delta::file::parse;
use crate::event::{Listener, Outbox};
use crate::execution_plan::plan_version;
use crate::running::{Running, Serving, Unanswered};
use crate::trial::{Trial, take_back};
use crate::{Error, RuntimeEvent, Version};
use fieldfit_adapt::novelty::NoveltyModel;
use fieldfit_data::Frame;
use fieldfit_exec::{ExecError, Precision};
use fieldfit_model::{Base, BaseId, ModelError, Weights};
use fieldfit_store::{ActiveVersion, Start, Store, StoreError, TrialRules, current_boot};
use std::collections::BTreeSet;
use std::path::Path;

/// Selects and prepares versions of a store.
pub(crate) struct Fallback<'a> {
    pub base: &'a Base,
    pub serving: Serving,
    pub store: &'a Store,
    /// `None` if this program does not try versions: nothing is counted then.
    pub rules: Option<TrialRules>,
    /// The most bytes that a version may take to run.
    pub memory_budget: Option<u64>,
    /// Versions that failed in this process.
    pub failed: &'a BTreeSet<u32>,
    pub listener: &'a Listener,
    pub outbox: &'a Outbox,
}

/// The version that is to run, ready.
pub(crate) struct Selected {
    pub running: Running,
    /// The store as it was when the version was selected, or earlier.
    pub view: ActiveVersion,
    pub trial: Option<Trial>,
    /// The store's active version, if it does not run because its trial cannot be recorded here: it runs once somebody
    /// else has confirmed it.
    pub awaited: Option<u32>,
}

impl Fallback<'_> {
    /// Selects the active version; if it fails, it is quarantined, and so on back to the base.
    ///
    /// If the store cannot be written, no trial can be recorded: then the last confirmed version that runs.
    ///
    /// # Errors
    /// If the store cannot be read or is another base's, or the device is unavailable.
    pub fn select(&self) -> Result<Selected, Error> {
        self.select_ready(None)
    }

    /// Selects as [`select`](Self::select) does; `ready` is used if it is the version that is to run.
    pub fn select_ready(&self, mut ready: Option<Running>) -> Result<Selected, Error> {
        require_base(self.base, self.store)?;
        loop {
            let start = match self.start() {
                Err(StoreError::Durable(error)) => return self.select_confirmed(&error),
                start => start?,
            };
            let ready = ready.take_if(|ready| start.version.map(Version::Stored) == Some(ready.version()));
            let error = match ready.map_or_else(|| self.load_trusted(start.version), Ok) {
                Ok(running) => return self.begin(running, start),
                Err(error) => error,
            };
            match (start.version, self.cause(&error)) {
                (Some(version), Cause::Version) => {
                    if let Err(error) = self.quarantine(version, &error) {
                        return self.select_confirmed(&error);
                    }
                }
                (version, cause) => {
                    start.undecided.into_iter().for_each(|start| take_back(self.store, start));
                    match (version, cause) {
                        // It was pruned, after another version had become active.
                        (Some(_), Cause::Pruned) => {}
                        (Some(_), Cause::Transient) => return self.select_confirmed(&error),
                        (None, _) | (_, Cause::Version | Cause::Machine) => return Err(error),
                    }
                }
            }
        }
    }

    /// Prepares and checks a version of the store, or the base; nothing is recorded.
    ///
    /// # Errors
    /// If it cannot be read, does not fit the base, cannot run at its input size, exceeds the memory budget, or gives
    /// logits that are not finite.
    pub fn load(&self, version: Option<u32>) -> Result<Running, Error> {
        let Some(number) = version else {
            return self.load_base();
        };
        let bytes = self.store.read(number)?;
        self.prepare(Version::Stored(number), &self.store.delta_path(number), &bytes)
    }

    /// Prepares the base; in f32 if it is to run in int8 and was never calibrated, because it is what is left when versions fail.
    fn load_base(&self) -> Result<Running, Error> {
        let base = |serving| Running::new(Version::Base, self.base, Weights::of_base(self.base), None, serving);
        match base(self.serving) {
            Err(Error::Exec(error @ ExecError::RangeCount { .. })) => {
                log::warn!("the base runs in f32: {error}");
                base(Serving { precision: Precision::F32, ..self.serving })
            }
            loaded => loaded,
        }
    }

    /// Prepares and checks the delta in those bytes, read from that path.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn prepare(&self, version: Version, path: &Path, bytes: &[u8]) -> Result<Running, Error> {
        let delta = parse(path, bytes)?;
        let (header, serving) = (delta.header(), self.serving);
        let needed = plan_version(self.base, header, serving.precision, serving.more_outputs(self.base, header))?;
        if let Some(budget) = self.memory_budget.filter(|budget| needed > *budget) {
            return Err(Error::MemoryBudget { version, needed, budget });
        }
        let weights = Weights::adapted(self.base, &delta)?;
        let novelty = NoveltyModel::of_delta(&delta, self.base.network().head.features)?;
        let running = Running::new(version, self.base, weights, novelty, self.serving)?;
        running.check()?;
        Ok(running)
    }

    /// Whether the base fails at a frame, too: then a version that fails at it is not to blame.
    pub fn base_fails_at(&self, frame: &Frame<'_>) -> bool {
        match self.load(None) {
            Err(_) => true,
            Ok(base) => !base.labels().is_empty() && matches!(base.infer(frame), Err(Unanswered::Version { .. })),
        }
    }

    /// Quarantines the active version, because it fails.
    pub fn quarantine(&self, version: u32, error: &Error) -> Result<(), StoreError> {
        let reason = error.to_string();
        self.store.quarantine(version, &reason)?;
        self.outbox.push(RuntimeEvent::FellBack { version, reason });
        Ok(())
    }

    /// Selects the last confirmed version that runs; at last the base.
    ///
    /// # Errors
    /// If the store cannot be read, or not even the base runs.
    pub fn select_confirmed(&self, reason: &dyn std::error::Error) -> Result<Selected, Error> {
        self.outbox.push(RuntimeEvent::Unrecorded { reason: reason.to_string() });
        let (view, confirmed) = (self.store.active_version()?, self.store.confirmed()?);
        let awaited = view.version.filter(|active| !confirmed.contains(active));
        for version in confirmed {
            match self.load_trusted(Some(version)) {
                Ok(running) => return Ok(Selected { running, view, trial: None, awaited }),
                Err(error) => log::warn!("version {version} is passed over: {error}"),
            }
        }
        Ok(Selected { running: self.load(None)?, view, trial: None, awaited })
    }

    /// Selects the base, whatever the store says.
    ///
    /// # Errors
    /// If not even the base runs.
    pub fn select_base(&self) -> Result<Selected, Error> {
        let view = ActiveVersion::default();
        Ok(Selected { running: self.load(None)?, view, trial: None, awaited: None })
    }

    /// Loads as [`load`](Self::load) does, but for versions that failed in this process.
    fn load_trusted(&self, version: Option<u32>) -> Result<Running, Error> {
        match version.filter(|version| self.failed.contains(version)) {
            Some(version) => Err(Error::FailedHere { version }),
            None => self.load(version),
        }
    }

    /// Returns the version that the store says is to run, with its trial's start recorded if it is to be.
    fn start(&self) -> Result<Start, StoreError> {
        match self.rules {
            Some(rules) => self.store.start(rules, current_boot().as_deref()),
            None => self.store.start_untracked(),
        }
    }

    /// Begins the trial of a version that is ready, if it is on one.
    fn begin(&self, mut running: Running, start: Start) -> Result<Selected, Error> {
        let view = ActiveVersion { generation: start.generation, version: start.version, hash: start.hash };
        let trial = self
            .rules
            .zip(start.undecided)
            .map(|(rules, undecided)| Trial::begin(self.store.clone(), rules, undecided, self.listener.clone()));
        match trial.transpose() {
            Ok(trial) => {
                trial.iter().for_each(|trial| running.count_in(trial.tally()));
                Ok(Selected { running, view, trial, awaited: None })
            }
            Err(error) => self.select_confirmed(&error),
        }
    }

    /// Returns the cause of an error in preparing a version: whatever the base does not share is the version's.
    fn cause(&self, error: &Error) -> Cause {
        match presumed_cause(error) {
            Cause::Version if self.load(None).is_err() => Cause::Machine,
            cause => cause,
        }
    }
}

/// Refuses another model than the store's: a mistake of whoever opens it, which says nothing of its versions.
///
/// # Errors
/// If the store is another base's, or cannot be read.
pub(crate) fn require_base(base: &Base, store: &Store) -> Result<(), Error> {
    let expected = base.id();
    match store.base()?.map(BaseId) {
        Some(found) if found != expected => {
            Err(ModelError::DeltaBase { name: base.manifest().name.clone(), expected, found }.into())
        }
        _ => Ok(()),
    }
}

/// Cause that keeps a version from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The version: it will never run on this base.
    Version,
    /// The medium, the system or a setting: it cannot run now.
    Transient,
    /// The machine: nothing would run.
    Machine,
    /// The version was pruned from the store.
    Pruned,
}

/// The cause that the kind of error suggests. An error that is new in a crate below counts as transient, so that it is never
/// recorded against a version by mistake; those of the version itself come from computing with it.
fn presumed_cause(error: &Error) -> Cause {
    match error {
        Error::Store(error) => match error {
            StoreError::Unknown { .. } => Cause::Pruned,
            error if error.is_transient() => Cause::Transient,
            StoreError::Damaged { .. } | StoreError::Delta(_) => Cause::Version,
            _ => Cause::Transient,
        },
        Error::Exec(ExecError::Device { .. } | ExecError::Threads { .. }) => Cause::Machine,
        Error::Delta { .. }
        | Error::Model(_)
        | Error::Data(_)
        | Error::Exec(_)
        | Error::Logit { .. }
        | Error::Feature { .. }
        | Error::FailedHere { .. } => Cause::Version,
        Error::MemoryBudget { .. }
        | Error::Adapt(_)
        | Error::Collect(_)
        | Error::Dataset(_)
        | Error::Merge(_)
        | Error::Read { .. }
        | Error::File(_)
        | Error::TooLong { .. }
        | Error::Transport { .. }
        | Error::Key { .. }
        | Error::OpenKey { .. }
        | Error::WriteKey { .. }
        | Error::Scratch { .. }
        | Error::ExportRange { .. }
        | Error::Export { .. }
        | Error::Durable(_)
        | Error::Made { .. }
        | Error::RunLog { .. }
        | Error::Output { .. }
        | Error::NotRegular { .. }
        | Error::Foreign { .. }
        | Error::Kept { .. }
        | Error::OutputIsInput { .. }
        | Error::RunLogLine { .. }
        | Error::Input { .. }
        | Error::Headless { .. }
        | Error::NoBaseAnswers { .. }
        | Error::NoNovelty { .. }
        | Error::NoStore { .. }
        | Error::OtherTask { .. }
        | Error::ImagesOfTask { .. }
        | Error::SetOfTask { .. }
        | Error::Unknown { .. }
        | Error::BatchFrame { .. }
        | Error::BufferLength { .. }
        | Error::Classes { .. } => Cause::Transient,
    }
}
