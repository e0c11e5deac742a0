//! Version states: candidate, trial, confirmed, retired, refused, quarantined.

use crate::record::Base;
use fieldfit_tensor::text::escape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a version in its store. Which version is active is told by [`Store::active`](crate::Store::active).
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
    pub(crate) fn activated(&self) -> Self {
        match self {
            Self::Confirmed => Self::Confirmed,
            _ => Self::Trial(Trial::default()),
        }
    }

    pub(crate) const fn is_active(&self) -> bool {
        matches!(self, Self::Trial(_) | Self::Confirmed)
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(formatter, "{}: {}", self.name(), escape(reason)),
            None => formatter.write_str(self.name()),
        }
    }
}

/// Progress of a version's trial, as the state records it.
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

    /// Counts a start. Where this boot can't be told now and an earlier start's could, that is no reason to forget the
    /// starts recorded: they stay as they are.
    pub(crate) fn begin(&mut self, boot: Option<&str>) {
        if boot.is_none() && self.boot.is_some() {
            return;
        }
        self.starts = self.open_starts(boot).saturating_add(1);
        self.boot = boot.map(str::to_owned);
    }

    /// Takes back a start of this boot.
    pub(crate) fn take_back(&mut self, boot: Option<&str>) {
        if self.boot.as_deref() == boot {
            self.starts = self.starts.saturating_sub(1);
        }
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
    /// Its state.
    #[serde(flatten)]
    pub state: VersionState,
    /// The length of its file.
    pub bytes: u64,
    /// The sha256 of its file.
    #[serde(with = "hex::serde")]
    pub hash: [u8; 32],
    /// The base that it is made for, if that is not the state's: added before the store's base was fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Base>,
}
