//! Agent's state: what it received, judged and refused, and the recalls that it obeys, across restarts.

use crate::{agent::folder, card::Offer, error::FleetError, key::Digest};
use fieldfit_durable::{Disk, DurableError, FileKind, commit_sealed, read_sealed};
use fieldfit_store::Store;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The state file's kind and version.
const KIND: FileKind = *b"FFFLEET1";
/// The state file, in the agent's folder.
const STATE: &str = "state";
/// The longest state file that is read, in bytes.
const STATE_LIMIT: u64 = 32 << 20;
/// Most deltas of whose refusal is remembered; of the oldest it is forgotten, and they are downloaded again.
const MAX_REFUSED: usize = 10_000;

/// State of an agent, by hashes of delta files.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AgentState {
    /// Recalls that are obeyed. They are never forgotten: the carrier may lose them.
    pub recalls: BTreeMap<Digest, KnownRecall>,
    /// Deltas that came from the carrier and are, or were, in the store.
    pub received: BTreeSet<Digest>,
    /// Deltas that the store will never accept, oldest first.
    pub refused: Vec<Digest>,
    /// What the gate found of received candidates.
    pub judged: BTreeMap<Digest, Judgement>,
    /// Versions that this robot has published, with the terms: a peer to peer carrier needs them again after a restart.
    pub published: BTreeMap<Digest, Offer>,
}

/// Recall that is obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownRecall {
    pub content: Digest,
    pub reason: String,
    /// Name of the signer in the trust file.
    pub signer: String,
}

/// Verdict of the gate on a candidate that passed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judgement {
    /// Hash of what was active then; `None` is the base.
    pub against: Option<Digest>,
    /// Its accuracy on the robot's own gate, 0..1.
    pub accuracy: f64,
}

impl AgentState {
    /// Reads the state of a store's agent; empty if there is none yet.
    pub fn load(store: &Store) -> Result<Self, FleetError> {
        let path = folder(store).join(STATE);
        let damaged = |reason: String| FleetError::State { path: path.clone(), reason };
        match read_sealed(&Disk, &path, KIND, STATE_LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string())),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error @ DurableError::Io { .. }) => Err(error.into()),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    /// Writes the state; forgets what is only worth a download.
    pub fn save(&mut self, store: &Store) -> Result<(), FleetError> {
        let surplus = self.refused.len().saturating_sub(MAX_REFUSED);
        self.refused.drain(..surplus);
        let path = folder(store).join(STATE);
        let failed = |error: serde_json::Error| FleetError::State { path: path.clone(), reason: error.to_string() };
        let bytes = serde_json::to_vec(self).map_err(failed)?;
        Ok(commit_sealed(&Disk, &path, KIND, &bytes)?)
    }

    /// Returns whether there is nothing to learn from the card of that delta.
    pub fn is_settled(&self, delta: &Digest) -> bool {
        self.recalls.contains_key(delta) || self.refused.contains(delta)
    }
}
