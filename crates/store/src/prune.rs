//! Pruning: removes versions until a store is within a number or a quota of bytes.

use crate::{
    error::StoreError,
    record::Record,
    store::{Store, is_replaced},
    version::VersionState,
};
use fieldfit_durable::{leftover_of, list, remove, remove_leftovers, sync_folder};
use std::{collections::BTreeSet, ffi::OsString};

/// Retention limits of a store. What is active, the last confirmed version and the newest stay, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Keep {
    /// Maximum number of versions.
    pub versions: Option<u32>,
    /// Maximum bytes of delta files.
    pub bytes: Option<u64>,
}

impl Keep {
    /// No limit: every version stays.
    pub const ALL: Self = Self { versions: None, bytes: None };

    /// Returns the limits with that many [`versions`](Self::versions).
    #[must_use]
    pub const fn with_versions(self, versions: Option<u32>) -> Self {
        Self { versions, ..self }
    }

    /// Returns the limits with that many [`bytes`](Self::bytes).
    #[must_use]
    pub const fn with_bytes(self, bytes: Option<u64>) -> Self {
        Self { bytes, ..self }
    }

    /// Returns whether that much is within the limits.
    fn allows(self, versions: usize, bytes: u64) -> bool {
        self.versions.is_none_or(|most| versions <= most as usize) && self.bytes.is_none_or(|most| bytes <= most)
    }
}

/// Result of pruning: what was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pruned {
    /// The versions, first those that went first.
    pub versions: Vec<u32>,
    /// Bytes of their deltas.
    pub bytes: u64,
}

impl Store {
    /// Removes versions until the rest is within `keep`: first those made for another base, refused or
    /// quarantined, then those that were
    /// rolled back from, then the oldest. The active version, the last confirmed one and the newest stay.
    ///
    /// Files that a power cut left in `versions` and that belong to no version are removed as well.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if the store can't be written. Before the state is replaced nothing has changed; after
    /// that the versions are gone, and what is left of their files is removed by the next call.
    pub fn prune(&self, keep: Keep) -> Result<Pruned, StoreError> {
        let (_lock, mut record) = self.begin()?;
        // On a full disk their space is what the new state needs.
        self.sweep(&record)?;
        let versions = record.superfluous(keep);
        if versions.is_empty() {
            return Ok(Pruned::default());
        }
        let before = record.bytes();
        let change = record.prune(versions.clone());
        let pruned = Pruned { versions, bytes: before - record.bytes() };
        self.commit(record.clone(), [change])?;
        self.sweep(&record)?;
        Ok(pruned)
    }

    /// Removes files that belong to no version.
    fn sweep(&self, record: &Record) -> Result<(), StoreError> {
        remove_leftovers(&*self.files, self.path(), is_replaced)?;
        let folder = self.versions_path();
        let names = match list(&*self.files, &folder) {
            Err(error) if error.is_not_found() => return Ok(()),
            names => names?,
        };
        let known: BTreeSet<OsString> = record
            .versions
            .iter()
            .filter_map(|entry| self.delta_path(entry.version).file_name().map(OsString::from))
            .collect();
        let orphans: Vec<_> = names.iter().filter(|name| is_ours(name) && !known.contains(*name)).collect();
        orphans.iter().try_for_each(|name| remove(&*self.files, &folder.join(name)))?;
        if orphans.is_empty() { Ok(()) } else { Ok(sync_folder(&*self.files, &folder)?) }
    }
}

/// Whether a file of that name was written by a store: a delta, or one that was being written.
fn is_ours(name: &OsString) -> bool {
    let Some(name) = leftover_of(name).or(name.to_str()) else { return false };
    name.strip_suffix(".delta").is_some_and(|number| number.parse::<u32>().is_ok())
}

impl Record {
    fn bytes(&self) -> u64 {
        self.versions.iter().map(|entry| entry.bytes).sum()
    }

    /// Returns the versions to remove until the rest is within `keep`, as far as they may be removed.
    fn superfluous(&self, keep: Keep) -> Vec<u32> {
        let newest = self.versions.iter().rev().find(|entry| !self.is_foreign(entry)).map(|entry| entry.version);
        let stay = [self.active(), self.confirmed().next(), newest];
        let mut candidates: Vec<_> =
            self.versions.iter().filter(|entry| !stay.contains(&Some(entry.version))).collect();
        candidates.sort_by_key(|entry| {
            let worth = match entry.state {
                _ if self.is_foreign(entry) => 0,
                VersionState::Refused { .. } | VersionState::Quarantined { .. } => 0,
                VersionState::Retired if !self.line.contains(&entry.version) => 1,
                _ => 2,
            };
            (worth, entry.version)
        });
        let (mut versions, mut bytes) = (self.versions.len(), self.bytes());
        let mut superfluous = Vec::new();
        for entry in candidates {
            if keep.allows(versions, bytes) {
                break;
            }
            versions -= 1;
            bytes -= entry.bytes;
            superfluous.push(entry.version);
        }
        superfluous
    }
}
