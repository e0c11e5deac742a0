//! Report of a sync: what was recalled, received, judged, and left for later.

use crate::key::Digest;
use serde::Serialize;

/// Report of a sync.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct SyncReport {
    /// Versions that a recall took out of use.
    pub recalled: Vec<Stopped>,
    /// Deltas that were received as candidates.
    pub received: Vec<Received>,
    /// Deltas that are left for a later sync, and why.
    pub deferred: Vec<Deferred>,
    /// Objects that are not believed, or damaged.
    pub problems: Vec<Problem>,
    /// Candidates that the robot's gate judged.
    pub judged: Vec<Judged>,
    /// The version on trial that judging waits for.
    pub waits_for: Option<u32>,
    /// The version that became active, on trial.
    pub activated: Option<u32>,
    /// Versions that were pruned.
    pub pruned: Vec<u32>,
    /// The active version at the end; `None` is the base.
    pub active: Option<u32>,
    /// Bytes of deltas that were downloaded.
    pub bytes: u64,
}

/// Version that a recall took out of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// Its number.
    pub version: u32,
    /// Who recalled it and why.
    pub reason: String,
    /// Whether it ran.
    pub was_active: bool,
    /// What is active since; `None` is the base.
    pub now_active: Option<u32>,
}

/// Delta that was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Its number in the store.
    pub version: u32,
    /// Hash of its file.
    pub delta: Digest,
    /// Name of its signer in the trust file.
    pub signer: String,
    /// Bytes that came over the carrier.
    pub packed: u64,
}

/// Delta that was not received now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deferred {
    /// Hash of its file.
    pub delta: Digest,
    /// Why.
    pub reason: &'static str,
}

/// Object that is not believed, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its name on the carrier.
    pub key: String,
    /// The problem. It may hold foreign text: escape it before it is printed.
    pub reason: String,
}

/// Candidate that the robot's own gate judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Its number in the store; `None` is a mean that was not kept.
    pub version: Option<u32>,
    /// Whether the gate accepted it.
    pub accepted: bool,
    /// The verdict in words.
    pub reason: String,
}
