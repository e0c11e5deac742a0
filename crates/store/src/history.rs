//! History: the last operations on a store, for people to read.

use fieldfit_tensor::text::escape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum number of history entries; older ones are dropped, so that the state stays small.
pub const HISTORY: usize = 256;

/// History entry: an operation that was done to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Time by the writer's clock, in seconds since 1970, for people to read: nothing depends on it.
    pub time: u64,
    /// The transition.
    #[serde(flatten)]
    pub change: Transition,
}

/// Transition: a change of a store's versions, as the history records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transition {
    /// A version was stored, as a candidate.
    Added {
        /// Number of the version.
        version: u32,
    },
    /// A version became the active one; if it was not confirmed before, on trial.
    Activated {
        /// Number of the version.
        version: u32,
    },
    /// A version was confirmed.
    Confirmed {
        /// Number of the version.
        version: u32,
        /// Number of completed predictions after which it was confirmed automatically; `None` if it was confirmed by
        /// request.
        predictions: Option<u32>,
    },
    /// A version failed when it ran, and the last confirmed one before it became active again.
    Quarantined {
        /// Number of the version.
        version: u32,
        /// The failure.
        reason: String,
        /// The version that became active; `None` is the base.
        to: Option<u32>,
        /// Versions in between that were damaged or not confirmed and therefore passed over.
        passed_over: Vec<u32>,
    },
    /// A version was refused.
    Refused {
        /// Number of the version.
        version: u32,
        /// The reason.
        reason: String,
    },
    /// The version that was active before became active again.
    RolledBack {
        /// The version that was active before.
        from: u32,
        /// The version that became active; `None` is the base.
        to: Option<u32>,
        /// Versions in between that were damaged and therefore passed over.
        passed_over: Vec<u32>,
    },
    /// Versions were removed with their files.
    Pruned {
        /// Numbers of the versions.
        versions: Vec<u32>,
        /// Bytes of their files.
        bytes: u64,
    },
}

impl fmt::Display for Transition {
    /// Formats the transition as a sentence without a full stop.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { version } => write!(formatter, "version {version} was added"),
            Self::Activated { version } => write!(formatter, "version {version} was made active"),
            Self::Confirmed { version, predictions: None } => write!(formatter, "version {version} was confirmed"),
            Self::Confirmed { version, predictions: Some(predictions) } => {
                write!(formatter, "version {version} confirmed itself by {predictions} predictions")
            }
            Self::Refused { version, reason } => {
                write!(formatter, "version {version} was refused: {}", escape(reason))
            }
            Self::Quarantined { version, reason, to, passed_over } => {
                write!(formatter, "version {version} was quarantined: {}; ", escape(reason))?;
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

/// Writes which version is active after a rollback.
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
