//! State record: what a store's state file says, and how each operation changes it.

use crate::{
    error::StoreError,
    history::{HISTORY, HistoryEntry, Transition},
    version::{Trial, VersionEntry, VersionState},
};
use fieldfit_delta::{PublicKey, Signature};
use fieldfit_tensor::text::escape;
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

/// The longest reason of a refusal or quarantine that is kept, in bytes; of a longer one the beginning is.
const MAX_REASON_BYTES: usize = 1024;

/// Maximum step of a sequence number above the key's last one. Numbers may be times, down to microseconds since 1970; one
/// mistaken signature with the greatest number would otherwise end the key.
pub(crate) const MAX_SEQUENCE_STEP: u64 = 1 << 52;

/// Maximum number of unlisted keys whose sequence numbers are remembered.
const MAX_UNLISTED_KEYS: usize = 1024;

/// State record: the content of a store's state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Number of changes of the active version.
    pub generation: u64,
    /// The base that the deltas are made for, once it is fixed; before, that of the first candidate.
    pub base: Option<Base>,
    /// Whether a runtime or an activation has fixed the base. Earlier versions knew no difference: there the first activation
    /// has.
    #[serde(default)]
    pub base_fixed: bool,
    /// Whether the store has had a trust file: its absence is an error from then on.
    #[serde(default)]
    pub has_policy: bool,
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
    /// Keys that no trust file listed when a delta of theirs came, the most recent last.
    #[serde(default)]
    pub unlisted: Vec<Key>,
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
            base_fixed: false,
            has_policy: false,
            next: 1,
            line: Vec::new(),
            versions: Vec::new(),
            history: Vec::new(),
            sequences: BTreeMap::new(),
            unlisted: Vec::new(),
        }
    }

    /// Returns the record in the state file's bytes, if it makes sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice::<Self>(bytes).map_err(|error| error.to_string())?.checked()
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
        record.checked()
    }

    fn checked(mut self) -> Result<Self, String> {
        self.check().map_err(str::to_owned)?;
        self.base_fixed |= self.generation > 0 && self.base.is_some();
        Ok(self)
    }

    /// Returns the state file's content, of at most `limit` bytes: the oldest half of the history is left out until it is.
    pub fn serialize_within(&self, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut shortened = Cow::Borrowed(self);
        loop {
            let bytes = serde_json::to_vec(&*shortened).map_err(StoreError::Serialize)?;
            if bytes.len() as u64 <= limit {
                return Ok(bytes);
            }
            let history = &mut shortened.to_mut().history;
            if history.is_empty() {
                return Err(StoreError::StateFull { bytes: bytes.len() as u64, limit });
            }
            history.drain(..history.len().div_ceil(2));
        }
    }

    /// Checks the invariants of the state, which every operation relies on and keeps.
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

    /// Returns the active version; `None` is the base.
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

    /// Returns the progress of a version's trial, if it is on trial.
    pub fn trial(&self, version: u32) -> Option<&Trial> {
        self.entry(version)?.state.trial()
    }

    /// Returns the [`trial`](Self::trial) to be changed.
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

    /// The base that all that may run is made for; `None` before a runtime or an activation has fixed it.
    pub fn fixed_base(&self) -> Option<Base> {
        self.base.filter(|_| self.base_fixed)
    }

    /// The base that a version is made for.
    pub fn base_of(&self, entry: &VersionEntry) -> Option<Base> {
        entry.base.or(self.base)
    }

    /// Whether a version is made for another base than the store's, and can't ever run.
    pub fn is_foreign(&self, entry: &VersionEntry) -> bool {
        self.base_fixed && entry.base.is_some()
    }

    /// Fixes the base; [`StoreError::OtherBase`] if another one is.
    pub fn fix_base(&mut self, base: Base) -> Result<(), StoreError> {
        require_base(self.fixed_base(), base)?;
        let provisional = self.base;
        for entry in &mut self.versions {
            entry.base = entry.base.or(provisional).filter(|its| *its != base);
        }
        (self.base, self.base_fixed) = (Some(base), true);
        Ok(())
    }

    /// The number that the next version gets, if its base is the store's.
    pub fn admit(&self, base: Base) -> Result<u32, StoreError> {
        require_base(self.fixed_base(), base)?;
        if self.next == u32::MAX { Err(StoreError::NumbersUsedUp) } else { Ok(self.next) }
    }

    pub fn add(&mut self, base: Base, bytes: u64, hash: [u8; 32]) -> Transition {
        let version = self.next;
        let base = Some(base).filter(|base| self.base.get_or_insert(*base) != base);
        self.next += 1;
        self.versions.push(VersionEntry { version, state: VersionState::Candidate, bytes, hash, base });
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

    /// Checks that a delta from outside is newer than the last one of its key, unless it is a replay that was asked for, and
    /// by no more than a step that leaves the key numbers to go on with.
    pub fn require_sequence(&self, signature: &Signature, replay: bool) -> Result<(), StoreError> {
        let &Signature { key, sequence } = signature;
        let last = self.sequence(key);
        if sequence <= last && !replay {
            Err(StoreError::Replayed { key, sequence, last })
        } else if sequence.saturating_sub(last) > MAX_SEQUENCE_STEP {
            Err(StoreError::SequenceStep { key, sequence, last })
        } else {
            Ok(())
        }
    }

    /// Remembers that a delta of that key came from outside. Of keys that no trust file lists, the last ones are remembered:
    /// whoever sends deltas could make the state as long as they like.
    pub fn note_received(&mut self, key: PublicKey, is_listed: bool) {
        let key = Key::from(key);
        let is_known = self.sequences.contains_key(&key) && !self.unlisted.contains(&key);
        self.unlisted.retain(|other| *other != key);
        if is_listed || is_known {
            return;
        }
        self.unlisted.push(key);
        let surplus = self.unlisted.len().saturating_sub(MAX_UNLISTED_KEYS);
        for forgotten in self.unlisted.drain(..surplus) {
            self.sequences.remove(&forgotten);
        }
    }

    /// Remembers that a key is this device's, whose sequence is never forgotten.
    pub fn note_own(&mut self, key: PublicKey) {
        let key = Key::from(key);
        self.unlisted.retain(|other| *other != key);
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
        let reason = bounded(reason);
        self.set(version, VersionState::Refused { reason: reason.clone() });
        Transition::Refused { version, reason }
    }

    /// Goes back to the last version before `from`, the active one, that `is_whole`; at last to the base. An error of
    /// `is_whole` ends it, and this record is then not to be written.
    pub fn roll_back(
        &mut self,
        from: u32,
        is_whole: impl Fn(&VersionEntry) -> Result<bool, StoreError>,
    ) -> Result<Transition, StoreError> {
        let passed_over = self.leave(from, VersionState::Retired, is_whole)?;
        Ok(Transition::RolledBack { from, to: self.active(), passed_over })
    }

    /// Falls back from `version`, the active one, to the last confirmed one that `is_whole`; at last to the base.
    pub fn quarantine(
        &mut self,
        version: u32,
        reason: &str,
        is_whole: impl Fn(&VersionEntry) -> Result<bool, StoreError>,
    ) -> Result<Transition, StoreError> {
        let reason = bounded(reason);
        let failed = VersionState::Quarantined { reason: reason.clone() };
        let passed_over = self.leave(version, failed, |entry| match entry.state {
            VersionState::Confirmed => is_whole(entry),
            _ => Ok(false),
        })?;
        Ok(Transition::Quarantined { version, reason, to: self.active(), passed_over })
    }

    /// Takes the active version out of the line, and those before it that won't do, which are returned.
    fn leave(
        &mut self,
        from: u32,
        state: VersionState,
        will_do: impl Fn(&VersionEntry) -> Result<bool, StoreError>,
    ) -> Result<Vec<u32>, StoreError> {
        self.line.pop();
        self.set(from, state);
        let mut passed_over = Vec::new();
        while let Some(version) = self.active() {
            if self.entry(version).map_or(Ok(false), &will_do)? {
                self.make_active(version);
                break;
            }
            self.line.pop();
            self.set(version, VersionState::Retired);
            passed_over.push(version);
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(passed_over)
    }

    /// Forgets versions; none of them is active.
    pub fn prune(&mut self, versions: Vec<u32>) -> Transition {
        let pruned: BTreeSet<u32> = versions.iter().copied().collect();
        let mut bytes = 0;
        self.line.retain(|version| !pruned.contains(version));
        self.versions.retain(|entry| {
            let stays = !pruned.contains(&entry.version);
            bytes += if stays { 0 } else { entry.bytes };
            stays
        });
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

fn require_base(expected: Option<Base>, found: Base) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != found => {
            Err(StoreError::OtherBase { expected: expected.to_string(), found: found.to_string() })
        }
        _ => Ok(()),
    }
}

/// A reason as the state keeps it: escaped, since it may quote a file, and of bounded length.
fn bounded(reason: &str) -> String {
    let mut kept = escape(reason).to_string();
    if kept.len() > MAX_REASON_BYTES {
        kept.truncate(kept.floor_char_boundary(MAX_REASON_BYTES));
        kept.push('…');
    }
    kept
}
