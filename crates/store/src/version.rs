//! Version states: candidate, trial, confirmed, retired, refused, quarantined.

use crate::record::Base;
use fieldfit_tensor::text::escape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a version in its store. [`Store::active`](crate::Store::active) returns the active version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum VersionState {
    /// Stored and never run.
    Candidate,
    /// Active and on trial.
    Trial(Trial),
    /// Confirmed: active, or the version that a failed trial falls back to.
    // In the earlier format, which knew no trials, what ran was `active`.
    #[serde(alias = "active")]
    Confirmed,
    /// Replaced before it was confirmed, or rolled back from.
    Retired,
    /// Rejected before it ran: kept, and not run.
    Refused {
        /// Reason of the refusal.
        reason: String,
    },
    /// Failed when it ran: kept, and not run.
    Quarantined {
        /// The failure.
        reason: String,
    },
}

impl VersionState {
    /// Returns the state's name, as a table shows it.
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

    /// Returns why the version is not run, if it is refused or quarantined.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason } | Self::Quarantined { reason } => Some(reason),
            _ => None,
        }
    }

    /// Returns the progress of the trial, if the version is on one.
    pub const fn trial(&self) -> Option<&Trial> {
        match self {
            Self::Trial(trial) => Some(trial),
            Self::Candidate | Self::Confirmed | Self::Retired | Self::Refused { .. } | Self::Quarantined { .. } => None,
        }
    }

    /// Returns the state after activation.
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
    /// Identifier of the system's boot of these starts, where the system has one.
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
    /// Number of the version, from 1, never reused.
    pub version: u32,
    /// State of the version.
    #[serde(flatten)]
    pub state: VersionState,
    /// Length of its file, in bytes.
    pub bytes: u64,
    /// The sha256 of its file.
    #[serde(with = "hex::serde")]
    pub hash: [u8; 32],
    /// The base that it is made for, if that is not the state's: added before the store's base was fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Base>,
}
