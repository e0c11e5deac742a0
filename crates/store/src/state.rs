//! What the state file says, and how each operation changes it.

use crate::error::StoreError;
use fieldfit_delta::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::Path};

/// How many events a store remembers; older ones are forgotten, so that the state stays small.
pub const HISTORY: usize = 256;

/// What a version is to the store. Which one is active is told by [`Store::active`](crate::Store::active).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum VersionState {
    /// Stored and never run.
    Candidate,
    /// Active, and yet to prove itself.
    Trial(Trial),
    /// It has proved itself; active, or what a failed trial falls back to.
    // In the earlier format, which knew no trials, what ran was `active`.
    #[serde(alias = "active")]
    Confirmed,
    /// It ran, and was replaced before it was confirmed or rolled back from after.
    Retired,
    /// Kept, but not to be run: it was judged before it ran.
    Refused {
        /// Why.
        reason: String,
    },
    /// Kept, but not to be run: it failed when it ran.
    Quarantined {
        /// How.
        reason: String,
    },
}

impl VersionState {
    /// Its name, as a table shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Trial(_) => "trial",
            Self::Confirmed => "confirmed",
            Self::Retired => "retired",
            Self::Refused { .. } => "refused",
            Self::Quarantined { .. } => "quarantined",
        }
    }

    /// Why it is not to be run, if it isn't.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason } | Self::Quarantined { reason } => Some(reason),
            _ => None,
        }
    }

    /// What it becomes when it is made active.
    fn activated(&self) -> Self {
        match self {
            Self::Confirmed => Self::Confirmed,
            _ => Self::Trial(Trial::default()),
        }
    }

    const fn is_active(&self) -> bool {
        matches!(self, Self::Trial(_) | Self::Confirmed)
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(formatter, "{}: {reason}", self.name()),
            None => formatter.write_str(self.name()),
        }
    }
}

/// How far a version's trial has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// Completed predictions, over all starts.
    pub predictions: u32,
    /// Starts since the last completed prediction and since the system started.
    pub starts: u32,
    /// What tells that start of the system from others, where it can be told.
    pub boot: Option<String>,
}

impl Trial {
    /// Starts of this boot without a completed prediction. Those of another boot are no evidence: the power has gone since.
    pub(crate) fn open_starts(&self, boot: Option<&str>) -> u32 {
        if self.boot.as_deref() == boot { self.starts } else { 0 }
    }

    /// Counts a start.
    pub(crate) fn begin(&mut self, boot: Option<&str>) {
        self.starts = self.open_starts(boot).saturating_add(1);
        self.boot = boot.map(str::to_owned);
    }

    /// Takes back a start that ended before it was asked for anything.
    pub(crate) fn take_back(&mut self, boot: Option<&str>) {
        self.starts = self.open_starts(boot).saturating_sub(1);
    }

    /// Counts completed predictions: whatever starts there were, this version runs.
    pub(crate) fn complete(&mut self, predictions: u32) {
        self.predictions = self.predictions.saturating_add(predictions);
        self.starts = 0;
    }
}

/// One version of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionEntry {
    /// Its number, from 1, never given twice.
    pub version: u32,
    /// What it is to the store.
    #[serde(flatten)]
    pub state: VersionState,
    /// The length of its file.
    pub bytes: u64,
    /// The sha256 of its file.
    #[serde(with = "hex::serde")]
    pub hash: [u8; 32],
}

/// Something that was done to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The writer's clock, in seconds since 1970: for people to read, nothing depends on it.
    pub time: u64,
    /// What was done.
    #[serde(flatten)]
    pub change: Transition,
}

/// What can be done to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transition {
    /// A version was stored, as a candidate.
    Added {
        /// Its number.
        version: u32,
    },
    /// A version became the active one; if it was not confirmed before, on trial.
    Activated {
        /// Its number.
        version: u32,
    },
    /// A version's trial ended well.
    Confirmed {
        /// Its number.
        version: u32,
        /// After how many completed predictions it confirmed itself; `None` if somebody confirmed it.
        predictions: Option<u32>,
    },
    /// A version failed when it ran, and the last confirmed one before it became active again.
    Quarantined {
        /// Its number.
        version: u32,
        /// How it failed.
        reason: String,
        /// What is active since; `None` is the base.
        to: Option<u32>,
        /// Versions in between that were damaged or not confirmed and therefore passed over.
        passed_over: Vec<u32>,
    },
    /// A version was refused.
    Refused {
        /// Its number.
        version: u32,
        /// Why.
        reason: String,
    },
    /// What was active before became active again.
    RolledBack {
        /// What had been active.
        from: u32,
        /// What is active since; `None` is the base.
        to: Option<u32>,
        /// Versions in between that were damaged and therefore passed over.
        passed_over: Vec<u32>,
    },
    /// Versions were removed with their files.
    Pruned {
        /// Their numbers.
        versions: Vec<u32>,
        /// Bytes of their files.
        bytes: u64,
    },
}

impl fmt::Display for Transition {
    /// As a sentence without its end.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { version } => write!(formatter, "version {version} was added"),
            Self::Activated { version } => write!(formatter, "version {version} was made active"),
            Self::Confirmed { version, predictions: None } => write!(formatter, "version {version} was confirmed"),
            Self::Confirmed { version, predictions: Some(predictions) } => {
                write!(formatter, "version {version} confirmed itself by {predictions} predictions")
            }
            Self::Refused { version, reason } => write!(formatter, "version {version} was refused: {reason}"),
            Self::Quarantined { version, reason, to, passed_over } => {
                write!(formatter, "version {version} was quarantined: {reason}; ")?;
                write_active(formatter, *to, passed_over)
            }
            Self::RolledBack { from, to, passed_over } => {
                write!(formatter, "version {from} was rolled back; ")?;
                write_active(formatter, *to, passed_over)
            }
            Self::Pruned { versions, bytes } => {
                write!(formatter, "versions {} were removed, {bytes} bytes", numbers(versions))
            }
        }
    }
}

/// What runs after something was gone back from.
fn write_active(formatter: &mut fmt::Formatter<'_>, active: Option<u32>, passed_over: &[u32]) -> fmt::Result {
    match active {
        Some(version) => write!(formatter, "version {version} is active")?,
        None => formatter.write_str("the base is active")?,
    }
    match passed_over {
        [] => Ok(()),
        passed_over => write!(formatter, ", {} passed over", numbers(passed_over)),
    }
}

fn numbers(versions: &[u32]) -> String {
    versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// All that a store knows: the content of its state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// How often the active version has changed.
    pub generation: u64,
    /// What all the deltas are made for; of the first one.
    pub base: Option<Base>,
    /// The number of the next version.
    pub next: u32,
    /// The active version last, and before it those that a rollback goes back to, each once.
    pub line: Vec<u32>,
    /// Ascending by number.
    pub versions: Vec<VersionEntry>,
    /// Oldest first.
    pub history: Vec<HistoryEntry>,
    /// The highest sequence that was stored of each key.
    #[serde(default)]
    pub sequences: BTreeMap<Key, u64>,
}

/// A signer's public key, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(String);

impl From<PublicKey> for Key {
    fn from(key: PublicKey) -> Self {
        Self(key.to_string())
    }
}

/// A base's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Base(#[serde(with = "hex::serde")] pub [u8; 32]);

impl fmt::Display for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl Record {
    pub fn empty() -> Self {
        Self {
            generation: 0,
            base: None,
            next: 1,
            line: Vec::new(),
            versions: Vec::new(),
            history: Vec::new(),
            sequences: BTreeMap::new(),
        }
    }

    /// The record in the state file's bytes, if it makes sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        record.check().map_err(str::to_owned)?;
        Ok(record)
    }

    /// The record in a state file of the format that knew no trials: whatever a rollback went back to counts as
    /// confirmed, as it did then.
    pub fn parse_without_trials(bytes: &[u8]) -> Result<Self, String> {
        let mut record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        for version in record.line.clone() {
            if record.entry(version).is_some_and(|entry| entry.state == VersionState::Retired) {
                record.set(version, VersionState::Confirmed);
            }
        }
        record.check().map_err(str::to_owned)?;
        Ok(record)
    }

    /// What every operation relies on and keeps.
    fn check(&self) -> Result<(), &'static str> {
        let numbers = || self.versions.iter().map(|entry| entry.version);
        let ran = |number: &u32| {
            self.entry(*number).is_some_and(|entry| entry.state.is_active() || entry.state == VersionState::Retired)
        };
        let is_misplaced = |entry: &VersionEntry| match entry.state {
            VersionState::Trial(_) => self.active() != Some(entry.version),
            VersionState::Confirmed => !self.line.contains(&entry.version),
            _ => self.active() == Some(entry.version),
        };
        if !numbers().is_sorted_by(|left, right| left < right) {
            Err("its versions are not in ascending order")
        } else if self.next == 0
            || numbers().next() == Some(0)
            || numbers().next_back().is_some_and(|last| last >= self.next)
        {
            Err("a version's number is not between 0 and the next one to be given")
        } else if !self.line.iter().all(ran) {
            Err("a version that never ran is to be rolled back to")
        } else if self.versions.iter().any(is_misplaced)
            || (1..self.line.len()).any(|end| self.line[..end].contains(&self.line[end]))
        {
            Err("it is at odds with itself about the active version")
        } else if self.base.is_none() && !self.versions.is_empty() {
            Err("it has versions and no base")
        } else if self.versions.iter().try_fold(0_u64, |bytes, entry| bytes.checked_add(entry.bytes)).is_none() {
            Err("its versions have more bytes than can be counted")
        } else {
            Ok(())
        }
    }

    /// What runs; `None` is the base.
    pub fn active(&self) -> Option<u32> {
        self.line.last().copied()
    }

    /// Confirmed versions, the last one first: what runs when nothing on trial can.
    pub fn confirmed(&self) -> impl Iterator<Item = u32> {
        self.line.iter().rev().copied().filter(|version| self.is_confirmed(*version))
    }

    fn is_confirmed(&self, version: u32) -> bool {
        self.entry(version).is_some_and(|entry| entry.state == VersionState::Confirmed)
    }

    /// How far a version's trial has come, if it is on one.
    pub fn trial(&self, version: u32) -> Option<&Trial> {
        match &self.entry(version)?.state {
            VersionState::Trial(trial) => Some(trial),
            _ => None,
        }
    }

    /// As [`trial`](Self::trial), to be changed.
    pub fn trial_mut(&mut self, version: u32) -> Option<&mut Trial> {
        let position = self.position(version)?;
        match &mut self.versions[position].state {
            VersionState::Trial(trial) => Some(trial),
            _ => None,
        }
    }

    pub fn entry(&self, version: u32) -> Option<&VersionEntry> {
        Some(&self.versions[self.position(version)?])
    }

    /// The number that the next version gets, if its base is the store's.
    pub fn admit(&self, base: Base) -> Result<u32, StoreError> {
        match self.base {
            Some(expected) if expected != base => {
                Err(StoreError::OtherBase { expected: expected.to_string(), found: base.to_string() })
            }
            _ if self.next == u32::MAX => Err(StoreError::NumbersUsedUp),
            _ => Ok(self.next),
        }
    }

    pub fn add(&mut self, base: Base, bytes: u64, hash: [u8; 32]) -> Transition {
        let version = self.next;
        self.base = Some(base);
        self.next += 1;
        self.versions.push(VersionEntry { version, state: VersionState::Candidate, bytes, hash });
        Transition::Added { version }
    }

    /// The highest sequence of that key's deltas, 0 before there is one.
    pub fn sequence(&self, key: PublicKey) -> u64 {
        self.sequences.get(&key.into()).copied().unwrap_or(0)
    }

    /// The number that a delta signed by that key here gets: the one after its last.
    pub fn next_sequence(&self, key: PublicKey) -> Result<u64, StoreError> {
        self.sequence(key).checked_add(1).ok_or(StoreError::SequencesUsedUp { key })
    }

    /// Remembers that a signed delta was here.
    pub fn saw(&mut self, signature: Option<&Signature>) {
        if let Some(Signature { key, sequence }) = signature {
            let last = self.sequences.entry((*key).into()).or_default();
            *last = (*last).max(*sequence);
        }
    }

    /// Makes a version active. What was on trial until now is retired.
    pub fn activate(&mut self, version: u32) -> Transition {
        if let Some(before) = self.active().filter(|before| !self.is_confirmed(*before)) {
            self.set(before, VersionState::Retired);
        }
        self.line.retain(|number| *number != version);
        self.line.push(version);
        self.make_active(version);
        self.generation = self.generation.wrapping_add(1);
        Transition::Activated { version }
    }

    /// Ends a trial well.
    pub fn confirm(&mut self, version: u32, predictions: Option<u32>) -> Transition {
        self.set(version, VersionState::Confirmed);
        Transition::Confirmed { version, predictions }
    }

    /// Refuses a version that is not active, which no rollback goes back to from then on.
    pub fn refuse(&mut self, version: u32, reason: &str) -> Transition {
        self.line.retain(|number| *number != version);
        self.set(version, VersionState::Refused { reason: reason.to_owned() });
        Transition::Refused { version, reason: reason.to_owned() }
    }

    /// Goes back to the last version before `from`, the active one, that `is_whole`; at last to the base.
    pub fn roll_back(&mut self, from: u32, is_whole: impl Fn(&VersionEntry) -> bool) -> Transition {
        let passed_over = self.leave(from, VersionState::Retired, is_whole);
        Transition::RolledBack { from, to: self.active(), passed_over }
    }

    /// Falls back from `version`, the active one, to the last confirmed one that `is_whole`; at last to the base.
    pub fn quarantine(&mut self, version: u32, reason: &str, is_whole: impl Fn(&VersionEntry) -> bool) -> Transition {
        let failed = VersionState::Quarantined { reason: reason.to_owned() };
        let passed_over =
            self.leave(version, failed, |entry| entry.state == VersionState::Confirmed && is_whole(entry));
        Transition::Quarantined { version, reason: reason.to_owned(), to: self.active(), passed_over }
    }

    /// Takes the active version out of the line, and those before it that won't do, which are returned.
    fn leave(&mut self, from: u32, state: VersionState, will_do: impl Fn(&VersionEntry) -> bool) -> Vec<u32> {
        self.line.pop();
        self.set(from, state);
        let mut passed_over = Vec::new();
        while let Some(version) = self.active().filter(|version| !self.entry(*version).is_some_and(&will_do)) {
            self.line.pop();
            self.set(version, VersionState::Retired);
            passed_over.push(version);
        }
        if let Some(version) = self.active() {
            self.make_active(version);
        }
        self.generation = self.generation.wrapping_add(1);
        passed_over
    }

    /// Forgets versions; none of them is active.
    pub fn prune(&mut self, versions: Vec<u32>) -> Transition {
        let is_pruned = |version: &u32| versions.contains(version);
        let bytes = self.versions.iter().filter(|entry| is_pruned(&entry.version)).map(|entry| entry.bytes).sum();
        self.line.retain(|version| !is_pruned(version));
        self.versions.retain(|entry| !is_pruned(&entry.version));
        Transition::Pruned { versions, bytes }
    }

    /// Remembers what was done.
    pub fn remember(&mut self, time: u64, change: Transition) {
        self.history.push(HistoryEntry { time, change });
        self.history.drain(..self.history.len().saturating_sub(HISTORY));
    }

    pub fn unknown(&self, version: u32, path: &Path) -> StoreError {
        let known: Vec<String> = self.versions.iter().map(|entry| entry.version.to_string()).collect();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        StoreError::Unknown { version, path: path.to_owned(), known }
    }

    fn make_active(&mut self, version: u32) {
        if let Some(state) = self.entry(version).map(|entry| entry.state.activated()) {
            self.set(version, state);
        }
    }

    fn set(&mut self, version: u32, state: VersionState) {
        if let Some(position) = self.position(version) {
            self.versions[position].state = state;
        }
    }

    fn position(&self, version: u32) -> Option<usize> {
        self.versions.binary_search_by_key(&version, |entry| entry.version).ok()
    }
}
