//! Trials: records starts and completed predictions of the active version, confirms it, or falls back.

use crate::{
    error::StoreError,
    record::Record,
    store::Store,
    verdict::ActiveVersion,
    version::{Trial, VersionState},
};
use fieldfit_durable::{Lock, share, try_lock};
use std::fs;

/// Rules of a trial: after how many predictions it is confirmed, and after how many starts failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrialRules {
    /// Number of completed predictions, over all starts, after which a version is confirmed.
    pub predictions: u32,
    /// Number of starts in a row without a completed prediction after which a version has failed.
    pub starts: u32,
}

impl TrialRules {
    /// Returns the rules with these numbers of predictions and of starts.
    pub const fn new(predictions: u32, starts: u32) -> Self {
        Self { predictions, starts }
    }
}

impl Default for TrialRules {
    /// 100 predictions, 3 starts.
    fn default() -> Self {
        Self { predictions: 100, starts: 3 }
    }
}

/// Start of a process: the version that it is to run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Start {
    /// The active version; `None` is the base.
    pub version: Option<u32>,
    /// Generation of the store at that time.
    pub generation: u64,
    /// The sha256 of that version's file; `None` for the base.
    pub hash: Option<[u8; 32]>,
    /// This start of a version on trial, which counts against it until it completes a prediction.
    pub undecided: Option<Undecided>,
}

/// Undecided start: one of a version on trial that has not completed a prediction. It is recorded in the store, and while this value
/// lives the version is not judged by it.
#[derive(Debug)]
pub struct Undecided {
    version: u32,
    boot: Option<String>,
    /// Predictions that were completed before this start.
    completed: u32,
    _lock: Option<Lock>,
}

impl Undecided {
    /// The version on trial.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Predictions that the version had completed before.
    pub const fn completed(&self) -> u32 {
        self.completed
    }
}

/// Progress of a version's trial after completed predictions were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialProgress {
    /// The trial continues.
    OnTrial,
    /// The version was confirmed by this call.
    Confirmed,
    /// The trial had ended before: the version was confirmed or replaced.
    Over,
}

impl Store {
    /// Confirmed versions that a failed trial falls back to, the last one first; the base comes after them.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn confirmed(&self) -> Result<Vec<u32>, StoreError> {
        Ok(self.record()?.confirmed().collect())
    }

    /// Returns what a process that starts now is to run, and records nothing, as a tool does that answers no robot's frames.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn start_untracked(&self) -> Result<Start, StoreError> {
        Ok(self.record()?.started(None))
    }

    /// Returns what a process that starts now is to run, and records the start if that is on trial.
    ///
    /// If the version on trial has been started as often as the rules allow without completing a prediction, it is
    /// quarantined here, and what comes back is what runs instead. Only starts since the system's own start count, and
    /// only when all of them have ended: `boot` tells one start of the system from another, as [`current_boot`] does.
    ///
    /// Nothing is locked or written if nothing is on trial.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if something is on trial and the store can't be written. The caller should then run the
    /// last of the [confirmed](Self::confirmed) versions.
    pub fn start(&self, rules: TrialRules, boot: Option<&str>) -> Result<Start, StoreError> {
        let seen = self.record()?;
        if !seen.is_on_trial() {
            return Ok(seen.started(None));
        }
        let (_lock, mut record) = self.begin()?;
        if let Some(reason) = self.failed_trial(&record, rules, boot)? {
            let Some(version) = record.active() else { return Ok(record.started(None)) };
            let change = record.quarantine(version, &reason, |entry| self.may_be_whole(entry))?;
            self.commit(record.clone(), [change])?;
        }
        let Some((version, trial)) = record.on_trial_mut() else { return Ok(record.started(None)) };
        trial.begin(boot);
        let completed = trial.predictions;
        let lock = share(&*self.files, &self.starts_path())?;
        let undecided = Undecided { version, boot: boot.map(str::to_owned), completed, _lock: lock };
        self.write(&record)?;
        Ok(record.started(Some(undecided)))
    }

    /// Returns why the trial has failed, if it has. A start that still runs may yet complete a prediction.
    fn failed_trial(
        &self,
        record: &Record,
        rules: TrialRules,
        boot: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let starts = record.open_starts(boot);
        if starts < rules.starts.max(1) {
            return Ok(None);
        }
        let all_ended = try_lock(&*self.files, &self.starts_path())?.is_some();
        Ok(all_ended.then(|| format!("{starts} starts without one completed prediction")))
    }

    /// Counts completed predictions of a version on trial, which confirm it when there are enough.
    ///
    /// # Errors
    /// If the store can't be written; nothing is counted then.
    pub fn completed(&self, version: u32, predictions: u32, rules: TrialRules) -> Result<TrialProgress, StoreError> {
        if self.record()?.trial(version).is_none() {
            return Ok(TrialProgress::Over);
        }
        let (_lock, mut record) = self.begin()?;
        let Some(trial) = record.trial_mut(version) else { return Ok(TrialProgress::Over) };
        trial.complete(predictions);
        let completed = trial.predictions;
        if completed >= rules.predictions {
            let change = record.confirm(version, Some(completed));
            self.commit(record, [change])?;
            return Ok(TrialProgress::Confirmed);
        }
        self.write(&record)?;
        Ok(TrialProgress::OnTrial)
    }

    /// Takes back a start that ended in order, without having been asked for a prediction: it tells nothing of the version.
    ///
    /// # Errors
    /// If the store can't be written; the start then counts against the version.
    pub fn take_back(&self, start: Undecided) -> Result<(), StoreError> {
        let (_lock, mut record) = self.begin()?;
        let Some(trial) = record.trial_mut(start.version) else { return Ok(()) };
        trial.take_back(start.boot.as_deref());
        self.write(&record)
    }

    /// Ends a version's trial well. Nothing happens if it is confirmed.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::NotOnTrial`], [`StoreError::Durable`].
    pub fn confirm(&self, version: u32) -> Result<(), StoreError> {
        let (_lock, mut record) = self.begin()?;
        match &self.entry(&record, version)?.state {
            VersionState::Confirmed => return Ok(()),
            VersionState::Trial(_) => {}
            state => return Err(StoreError::NotOnTrial { version, state: state.name() }),
        }
        let change = record.confirm(version, None);
        self.commit(record, [change])
    }

    /// Marks the active version as one that fails when it runs, and makes the last confirmed one before it active again.
    /// Returns what is active then; `None` is the base. Nothing happens if another version is active by now.
    ///
    /// A confirmed version that can't be read now is gone back to unchecked: that the failed one is left must not depend on
    /// it, and nothing is recorded against it. Whoever runs it finds out, and serves something else meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if the store can't be written.
    pub fn quarantine(&self, version: u32, reason: &str) -> Result<Option<u32>, StoreError> {
        let (_lock, mut record) = self.begin()?;
        if record.active() == Some(version) {
            let change = record.quarantine(version, reason, |entry| self.may_be_whole(entry))?;
            self.commit(record.clone(), [change])?;
        }
        Ok(record.active())
    }
}

impl Record {
    fn is_on_trial(&self) -> bool {
        self.active().is_some_and(|version| self.trial(version).is_some())
    }

    fn on_trial_mut(&mut self) -> Option<(u32, &mut Trial)> {
        let version = self.active()?;
        Some((version, self.trial_mut(version)?))
    }

    fn open_starts(&self, boot: Option<&str>) -> u32 {
        let trial = self.active().and_then(|version| self.trial(version));
        trial.map_or(0, |trial| trial.open_starts(boot))
    }

    fn started(&self, undecided: Option<Undecided>) -> Start {
        let ActiveVersion { generation, version, hash } = self.active_version();
        Start { version, generation, hash, undecided }
    }
}

/// Returns the identifier of this boot of the system: a random number of the kernel's, on Linux. Elsewhere `None`,
/// and a power cut before a version's first prediction counts like a crash.
pub fn current_boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned()).filter(|boot| !boot.is_empty())
}
