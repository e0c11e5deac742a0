//! What the state file says, and how each operation changes it.

use crate::error::StoreError;
use fieldfit_delta::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::Path};

/// How many events a store remembers; older ones are forgotten, so that the state stays small.
pub const HISTORY: usize = 256;

/// What a version is to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Stored and never run.
    Candidate,
    /// What runs.
    Active,
    /// What ran before.
    Retired,
    /// Kept, but not to be run.
    Refused {
        /// Why.
        reason: String,
    },
}

impl State {
    /// Its name, as a table shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Refused { .. } => "refused",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason } => write!(formatter, "refused: {reason}"),
            other => formatter.write_str(other.name()),
        }
    }
}

/// One version of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its number, from 1, never given twice.
    pub version: u32,
    /// What it is to the store.
    #[serde(flatten)]
    pub state: State,
    /// The length of its file.
    pub bytes: u64,
    /// The sha256 of its file.
    #[serde(with = "hex::serde")]
    pub hash: [u8; 32],
}

/// Something that was done to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The writer's clock, in seconds since 1970: for people to read, nothing depends on it.
    pub time: u64,
    /// What was done.
    #[serde(flatten)]
    pub change: Change,
}

/// What can be done to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// A version was stored, as a candidate.
    Added {
        /// Its number.
        version: u32,
    },
    /// A version became the active one.
    Activated {
        /// Its number.
        version: u32,
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
    pub versions: Vec<Entry>,
    /// Oldest first.
    pub history: Vec<Event>,
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

    /// What every operation relies on and keeps.
    fn check(&self) -> Result<(), &'static str> {
        let numbers = || self.versions.iter().map(|entry| entry.version);
        let ran = |number: &u32| {
            self.entry(*number).is_some_and(|entry| matches!(entry.state, State::Active | State::Retired))
        };
        let active: Vec<u32> =
            self.versions.iter().filter(|entry| entry.state == State::Active).map(|entry| entry.version).collect();
        if !numbers().is_sorted_by(|left, right| left < right) {
            Err("its versions are not in ascending order")
        } else if self.next == 0
            || numbers().next() == Some(0)
            || numbers().next_back().is_some_and(|last| last >= self.next)
        {
            Err("a version's number is not between 0 and the next one to be given")
        } else if !self.line.iter().all(ran) {
            Err("a version that never ran is to be rolled back to")
        } else if active != self.active().into_iter().collect::<Vec<_>>() {
            Err("it is at odds with itself about the active version")
        } else if self.base.is_none() && !self.versions.is_empty() {
            Err("it has versions and no base")
        } else {
            Ok(())
        }
    }

    /// What runs; `None` is the base.
    pub fn active(&self) -> Option<u32> {
        self.line.last().copied()
    }

    pub fn entry(&self, version: u32) -> Option<&Entry> {
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

    pub fn add(&mut self, base: Base, bytes: u64, hash: [u8; 32]) -> Change {
        let version = self.next;
        self.base = Some(base);
        self.next += 1;
        self.versions.push(Entry { version, state: State::Candidate, bytes, hash });
        Change::Added { version }
    }

    /// The highest sequence of that key's deltas, 0 before there is one.
    pub fn sequence(&self, key: PublicKey) -> u64 {
        self.sequences.get(&key.into()).copied().unwrap_or(0)
    }

    /// Remembers that a signed delta was here.
    pub fn saw(&mut self, signature: Option<&Signature>) {
        if let Some(Signature { key, sequence }) = signature {
            let last = self.sequences.entry((*key).into()).or_default();
            *last = (*last).max(*sequence);
        }
    }

    pub fn activate(&mut self, version: u32) -> Change {
        if let Some(before) = self.active() {
            self.set(before, State::Retired);
        }
        self.line.retain(|number| *number != version);
        self.line.push(version);
        self.set(version, State::Active);
        self.generation = self.generation.wrapping_add(1);
        Change::Activated { version }
    }

    /// Refuses a candidate or a retired version, which no rollback goes back to from then on.
    pub fn refuse(&mut self, version: u32, reason: &str) -> Change {
        self.line.retain(|number| *number != version);
        self.set(version, State::Refused { reason: reason.to_owned() });
        Change::Refused { version, reason: reason.to_owned() }
    }

    /// Goes back to the last version before `from`, the active one, that `is_whole`; at last to the base.
    pub fn roll_back(&mut self, from: u32, is_whole: impl Fn(&Entry) -> bool) -> Change {
        self.line.pop();
        self.set(from, State::Retired);
        let mut passed_over = Vec::new();
        while let Some(version) = self.active().filter(|version| !self.entry(*version).is_some_and(&is_whole)) {
            self.line.pop();
            passed_over.push(version);
        }
        let to = self.active();
        if let Some(version) = to {
            self.set(version, State::Active);
        }
        self.generation = self.generation.wrapping_add(1);
        Change::RolledBack { from, to, passed_over }
    }

    /// Remembers what was done.
    pub fn remember(&mut self, time: u64, change: Change) {
        self.history.push(Event { time, change });
        self.history.drain(..self.history.len().saturating_sub(HISTORY));
    }

    pub fn unknown(&self, version: u32, path: &Path) -> StoreError {
        let known: Vec<String> = self.versions.iter().map(|entry| entry.version.to_string()).collect();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        StoreError::Unknown { version, path: path.to_owned(), known }
    }

    fn set(&mut self, version: u32, state: State) {
        if let Some(position) = self.position(version) {
            self.versions[position].state = state;
        }
    }

    fn position(&self, version: u32) -> Option<usize> {
        self.versions.binary_search_by_key(&version, |entry| entry.version).ok()
    }
}
