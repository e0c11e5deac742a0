//! Gate verdicts: stores a delta together with the decision on it, and activates only over what the gate compared with.

use crate::{error::StoreError, record::Record, store::Store, version::VersionEntry};
use fieldfit_delta::{Delta, SecretKey};
use std::fmt;

/// The gate's decision on a delta, stored with it in one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The delta is a candidate: it is not active, and may be activated later.
    Candidate,
    /// The delta passed: it becomes the active version, on trial.
    Activate,
    /// The delta failed: it is kept and can't be activated.
    Refuse {
        /// Reason of the refusal.
        reason: &'a str,
    },
}

/// The active version as one read of the state tells it. Two of them are equal if the same bytes are active: a store that
/// was restored from a copy may have the same generation and other versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActiveVersion {
    /// Number of changes of the active version.
    pub generation: u64,
    /// Number of the version; `None` is the base.
    pub version: Option<u32>,
    /// The sha256 of its file; `None` for the base.
    pub hash: Option<[u8; 32]>,
}

impl fmt::Display for ActiveVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(out, "version {version} (generation {})", self.generation),
            None => write!(out, "the base (generation {})", self.generation),
        }
    }
}

impl Store {
    /// Returns the generation, number and hash of the active version, from one read of the state.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn active_version(&self) -> Result<ActiveVersion, StoreError> {
        Ok(self.record()?.active_version())
    }

    /// Stores a delta that was made here together with the gate's verdict on it, in one commit, and returns its number:
    /// killed at any instant, the store has both or neither. With `key`, the delta is signed as by
    /// [`add_signed`](Self::add_signed).
    ///
    /// `compared_with` is what was active when the gate judged the delta, from [`active_version`](Self::active_version).
    ///
    /// # Errors
    /// Those of [`add_signed`](Self::add_signed); [`StoreError::ActiveChanged`] if something else is active by now: judge
    /// the delta again. The store is then as it was.
    pub fn add_judged(
        &self,
        delta: &[u8],
        key: Option<&SecretKey>,
        verdict: Verdict<'_>,
        compared_with: Option<&ActiveVersion>,
    ) -> Result<u32, StoreError> {
        let (_lock, mut record) = self.begin()?;
        record.require_active(compared_with)?;
        let Some(key) = key else { return self.keep(record, &Delta::parse(delta)?, delta, verdict) };
        record.note_own(key.public());
        let signed = key.sign(delta, record.next_sequence(key.public())?)?;
        self.keep(record, &Delta::parse(&signed)?, &signed, verdict)
    }

    /// As [`activate`](Self::activate), if what the gate compared the version with is still active.
    ///
    /// # Errors
    /// Those of [`activate`](Self::activate); [`StoreError::ActiveChanged`].
    pub fn activate_over(&self, version: u32, compared_with: &ActiveVersion) -> Result<(), StoreError> {
        let (_lock, record) = self.begin()?;
        record.require_active(Some(compared_with))?;
        self.activate_in(record, version)
    }
}

impl Record {
    pub fn active_version(&self) -> ActiveVersion {
        let entry = self.active().and_then(|version| self.entry(version));
        ActiveVersion {
            generation: self.generation,
            version: entry.map(|entry| entry.version),
            hash: entry.map(|VersionEntry { hash, .. }| *hash),
        }
    }

    fn require_active(&self, expected: Option<&ActiveVersion>) -> Result<(), StoreError> {
        let found = self.active_version();
        match expected {
            Some(expected) if *expected != found => Err(StoreError::ActiveChanged { expected: *expected, found }),
            _ => Ok(()),
        }
    }
}
