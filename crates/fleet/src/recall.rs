//! Recall of a delta: a signed statement that takes it back on every robot that trusts the signer.

use crate::{
    agent::Agent,
    card::{Card, MAX_CARD_BYTES},
    error::FleetError,
    key::{Digest, Folder, Key},
    publish::Proof,
    state::{AgentState, KnownRecall},
    statement::{Statement, StatementError, open, sign},
    sync_report::{Problem, Stopped, SyncReport},
};
use fieldfit_delta::{Delta, SecretKey};
use fieldfit_store::{Trust, VersionEntry, VersionState};
use fieldfit_tensor::text::{escape, find_unprintable};
use serde::{Deserialize, Serialize};

/// Maximum bytes of a recall's envelope.
pub const MAX_RECALL_BYTES: usize = 8 << 10;
/// Maximum bytes of a reason.
const MAX_REASON_BYTES: usize = 1024;
/// Digits of a parent's hash in the provenance of a merged delta.
const PARENT_DIGITS: usize = 16;

/// Recall of a delta.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recall {
    /// Hash of the signed delta file: the recall's name.
    pub delta: Digest,
    /// The delta's identity, so that the same content under another signature is recalled, too.
    pub content: Digest,
    /// Identity of the base.
    pub base: Digest,
    /// Why.
    pub reason: String,
    /// When, by the signer's clock, in seconds since 1970; for people.
    pub recalled_at: u64,
}

impl Statement for Recall {
    const KIND: &'static str = "application/vnd.fieldfit.recall+json";

    fn check(&self) -> Result<(), StatementError> {
        let is_text = self.reason.len() <= MAX_REASON_BYTES && find_unprintable(&self.reason).is_none();
        let expected = "printable text of at most 1024 bytes";
        if is_text { Ok(()) } else { Err(StatementError::Field { field: "reason", expected }) }
    }
}

impl Agent<'_> {
    /// Recalls a delta: on this robot now, and on every other one that trusts the key at its next sync. A recall is not taken
    /// back: publish a new delta instead.
    ///
    /// # Errors
    /// [`FleetError::OwnKey`] if the trust file does not list the key; [`FleetError::UnknownDelta`] if neither the store nor the
    /// carrier has the delta; if the carrier is unavailable, or the store cannot be written.
    pub fn recall(&self, delta: &Digest, reason: &str, key: &SecretKey) -> Result<Recall, FleetError> {
        let _lock = self.lock()?;
        let trust = self.trust_listing(key)?;
        let content = self.content_of(delta, &trust)?.ok_or(FleetError::UnknownDelta { delta: *delta })?;
        let (delta, base, recalled_at) = (*delta, self.base, self.now());
        let recall = Recall { delta, content, base, reason: reason.to_owned(), recalled_at };
        let envelope = sign(&recall, key)?;
        let is_recall = |bytes: &[u8]| open::<Recall>(bytes, &trust).is_ok_and(|found| found.statement.delta == delta);
        self.deliver(&Key::Recall(base, delta), &envelope, Proof { limit: MAX_RECALL_BYTES, holds: &is_recall })?;
        let mut state = AgentState::load(self.store)?;
        state
            .recalls
            .insert(delta, KnownRecall { content, reason: reason.to_owned(), signer: key.public().to_string() });
        state.save(self.store)?;
        self.obey(&state, &mut SyncReport::default())?;
        Ok(recall)
    }

    /// Returns the identity of the delta in a file of that hash, from the store or from its card.
    fn content_of(&self, delta: &Digest, trust: &Trust) -> Result<Option<Digest>, FleetError> {
        if let Some(entry) = self.store.versions()?.iter().find(|entry| entry.hash == delta.0) {
            return Ok(Some(self.identity(entry.version)?.0));
        }
        let cards = self.carrier.get(&Key::Card(self.base, *delta), MAX_CARD_BYTES)?;
        let opened = cards.iter().filter_map(|card| open::<Card>(card, trust).ok());
        let described = opened.map(|card| card.statement).find(|card| card.delta == *delta && card.base == self.base);
        Ok(described.map(|card| card.content))
    }

    /// Reads the recalls that are new, and applies all that are known.
    pub(crate) fn obey_recalls(
        &self,
        state: &mut AgentState,
        trust: &Trust,
        report: &mut SyncReport,
    ) -> Result<(), FleetError> {
        let listed = self.carrier.list(&self.base, Folder::Recalls)?;
        let mut is_changed = false;
        for key in listed {
            let Some(delta) = key.delta().filter(|delta| !state.recalls.contains_key(delta)) else { continue };
            match self.read_recall(&key, delta, trust)? {
                Ok(recall) => is_changed |= state.recalls.insert(*delta, recall).is_none(),
                Err(reason) => report.problems.push(Problem { key: key.to_string(), reason }),
            }
        }
        if is_changed {
            state.save(self.store)?;
        }
        self.obey(state, report)
    }

    /// Reads a recall; the inner error says why it is not believed.
    fn read_recall(&self, key: &Key, delta: &Digest, trust: &Trust) -> Result<Result<KnownRecall, String>, FleetError> {
        let mut reason = "it is gone".to_owned();
        for envelope in self.get_or_problem(key, MAX_RECALL_BYTES)?.unwrap_or_else(|problem| {
            reason = problem;
            Vec::new()
        }) {
            match open::<Recall>(&envelope, trust) {
                Ok(signed) if signed.statement.delta != *delta || signed.statement.base != self.base => {
                    reason = StatementError::Mismatch { field: "hash or base" }.to_string();
                }
                Ok(signed) => {
                    let Recall { content, reason, .. } = signed.statement;
                    return Ok(Ok(KnownRecall { content, reason, signer: signed.signer }));
                }
                Err(error) => reason = error.to_string(),
            }
        }
        Ok(Err(reason))
    }

    /// Takes every recalled version out of use: those that wait or could be rolled back to first, then the active one, so that
    /// it does not fall back to another recalled one.
    pub(crate) fn obey(&self, state: &AgentState, report: &mut SyncReport) -> Result<(), FleetError> {
        let active = self.store.active()?;
        let (running, others): (Vec<_>, Vec<_>) =
            self.store.versions()?.into_iter().partition(|entry| Some(entry.version) == active);
        for entry in others.iter().chain(&running).filter(|entry| entry.state.reason().is_none()) {
            let Some(recall) = self.recall_of(entry, state)? else { continue };
            let reason = format!("recalled by {}: {}", escape(&recall.signer), escape(&recall.reason));
            let version = entry.version;
            let now_active = match entry.state {
                VersionState::Trial(_) => self.store.quarantine(version, &reason)?,
                VersionState::Confirmed if Some(version) == active => self.store.quarantine(version, &reason)?,
                _ => {
                    self.store.refuse(version, &reason)?;
                    active
                }
            };
            report.recalled.push(Stopped { version, reason, was_active: Some(version) == active, now_active });
        }
        Ok(())
    }

    /// Returns the recall of a version: of its file, of its content, or of a delta that it is a mean of.
    fn recall_of<'s>(
        &self,
        entry: &VersionEntry,
        state: &'s AgentState,
    ) -> Result<Option<&'s KnownRecall>, FleetError> {
        if let Some(recall) = state.recalls.get(&Digest(entry.hash)) {
            return Ok(Some(recall));
        }
        if state.recalls.is_empty() {
            return Ok(None);
        }
        let (content, parents) = match self.identity(entry.version) {
            Ok(identity) => identity,
            Err(error) => {
                log::warn!("version {} is not compared with recalls: {error}", entry.version);
                return Ok(None);
            }
        };
        let is_of = |recall: &&KnownRecall| {
            recall.content == content || parents.iter().any(|parent| recall.content.to_string().starts_with(parent))
        };
        Ok(state.recalls.values().find(is_of))
    }

    /// Returns the identity of the delta of a version, and the beginnings of those that it is a mean of.
    fn identity(&self, version: u32) -> Result<(Digest, Vec<String>), FleetError> {
        let file = self.store.read(version)?;
        let delta = Delta::parse(&file).map_err(|source| FleetError::Delta { version, source: source.into() })?;
        Ok((Digest(delta.hash()), merged_parents(&delta)))
    }
}

/// Returns the first digits of the deltas that a merged one is the mean of, as its provenance has them.
pub(crate) fn merged_parents(delta: &Delta<'_>) -> Vec<String> {
    let provenance = &delta.header().provenance;
    let listed = provenance.options.as_str().strip_prefix("parents=").filter(|_| provenance.method.as_str() == "merge");
    let parents = listed.into_iter().flat_map(|listed| listed.split(','));
    let digits = parents.filter_map(|parent| parent.split(':').next());
    digits.filter(|digits| digits.len() >= PARENT_DIGITS).map(str::to_owned).collect()
}
