//! Receiving: chooses deltas by their cards, downloads within the quotas, verifies, and stores candidates.

use crate::{
    agent::Agent,
    canary::is_canary,
    card::{Card, MAX_CARD_BYTES},
    error::FleetError,
    key::{Digest, Folder, Key},
    policy::Policy,
    recall::merged_parents,
    state::AgentState,
    statement::{Signed, StatementError, open},
    sync_report::{Deferred, Problem, Received, SyncReport},
};
use fieldfit_delta::{Delta, compression::decompress};
use fieldfit_store::{StoreError, Trust};
use std::collections::{BTreeMap, BTreeSet};

/// A zstd frame of bytes that cannot be compressed is longer than they are: by less than this, in bytes.
const FRAME_OVERHEAD: u64 = 64 << 10;

/// Why a downloaded delta is no candidate.
enum Rejection {
    /// The object is not the delta that was published; another try may get it.
    Damaged(String),
    /// The delta itself is not acceptable, and never will be.
    Final(String),
}

impl Agent<'_> {
    /// Receives what is offered to this robot.
    pub(crate) fn receive(
        &self,
        policy: &Policy,
        trust: &Trust,
        state: &mut AgentState,
        report: &mut SyncReport,
    ) -> Result<(), FleetError> {
        for signed in self.offers(policy, trust, state, report)? {
            let card = &signed.statement;
            let is_full = report.received.len() as u64 >= u64::from(policy.max_deltas)
                || report.bytes.saturating_add(card.bytes) > policy.max_total_bytes;
            if is_full {
                report.deferred.push(Deferred { delta: card.delta, reason: "the quota of this sync is used up" });
                continue;
            }
            self.receive_one(&signed, policy, state, report)?;
        }
        Ok(())
    }

    /// Returns the cards of deltas that this robot is to receive: of each signer the newest that is offered to it.
    fn offers(
        &self,
        policy: &Policy,
        trust: &Trust,
        state: &AgentState,
        report: &mut SyncReport,
    ) -> Result<Vec<Signed<Card>>, FleetError> {
        let stored: BTreeSet<Digest> = self.store.versions()?.iter().map(|entry| Digest(entry.hash)).collect();
        let mut newest = BTreeMap::<Digest, Signed<Card>>::new();
        for key in self.carrier.list(&self.base, Folder::Cards)? {
            let Some(delta) = key.delta() else { continue };
            if stored.contains(delta) || state.is_settled(delta) {
                continue;
            }
            match self.read_card(&key, delta, trust)? {
                Err(reason) => report.problems.push(Problem { key: key.to_string(), reason }),
                Ok(signed) => match self.reason_against(&signed.statement, policy, state) {
                    Some(reason) => report.deferred.push(Deferred { delta: *delta, reason }),
                    None => keep_newest(&mut newest, signed),
                },
            }
        }
        Ok(newest.into_values().collect())
    }

    /// Reads a card; the inner error says why it is not believed.
    fn read_card(&self, key: &Key, delta: &Digest, trust: &Trust) -> Result<Result<Signed<Card>, String>, FleetError> {
        let envelopes = match self.get_or_problem(key, MAX_CARD_BYTES)? {
            Ok(envelopes) => envelopes,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut reason = "it is gone".to_owned();
        for envelope in envelopes {
            match open::<Card>(&envelope, trust) {
                Ok(signed) if signed.statement.delta == *delta && signed.statement.base == self.base => {
                    return Ok(Ok(signed));
                }
                Ok(_) => reason = StatementError::Mismatch { field: "hash or base" }.to_string(),
                Err(error) => reason = error.to_string(),
            }
        }
        Ok(Err(reason))
    }

    /// Returns why this robot does not take a delta now, if it does not.
    fn reason_against(&self, card: &Card, policy: &Policy, state: &AgentState) -> Option<&'static str> {
        if card.is_expired(self.now()) {
            return Some("it has expired");
        }
        if state.recalls.values().any(|recall| recall.content == card.content) {
            return Some("its content was recalled");
        }
        if card.bytes > policy.max_bytes {
            return Some("it has more bytes than this robot takes");
        }
        if !card.knows(&policy.classes) {
            return Some("it does not know every class of this robot's images");
        }
        let is_offered = is_canary(&self.robot, &card.delta, card.share.min(policy.share));
        if is_offered { None } else { Some("it is offered to a share of the robots without this one") }
    }

    fn receive_one(
        &self,
        signed: &Signed<Card>,
        policy: &Policy,
        state: &mut AgentState,
        report: &mut SyncReport,
    ) -> Result<(), FleetError> {
        let Signed { statement: card, signer } = signed;
        let key = Key::Delta(self.base, card.delta);
        let limit = card.bytes.saturating_add(FRAME_OVERHEAD).min(policy.max_bytes.saturating_add(FRAME_OVERHEAD));
        let mut reason = "it is not there yet".to_owned();
        for packed in self.get_or_problem(&key, limit as usize)?.unwrap_or_else(|problem| {
            reason = problem;
            Vec::new()
        }) {
            let bytes = packed.len() as u64;
            report.bytes += bytes;
            match self.admit(packed, card, state)? {
                Ok(version) => {
                    let (delta, signer) = (card.delta, signer.clone());
                    report.received.push(Received { version, delta, signer, packed: bytes });
                    return Ok(());
                }
                Err(Rejection::Damaged(found)) => reason = found,
                Err(Rejection::Final(found)) => {
                    state.refused.push(card.delta);
                    state.save(self.store)?;
                    report.problems.push(Problem { key: key.to_string(), reason: found });
                    return Ok(());
                }
            }
        }
        report.problems.push(Problem { key: key.to_string(), reason });
        Ok(())
    }

    /// Verifies a downloaded delta and stores it as a candidate.
    fn admit(
        &self,
        packed: Vec<u8>,
        card: &Card,
        state: &mut AgentState,
    ) -> Result<Result<u32, Rejection>, FleetError> {
        let damaged = |reason: String| Ok(Err(Rejection::Damaged(reason)));
        let rejected = |reason: String| Ok(Err(Rejection::Final(reason)));
        let file = match unpacked(packed, card.bytes as usize) {
            Ok(file) => file,
            Err(reason) => return damaged(reason),
        };
        let found = Digest::of(&file);
        if found != card.delta {
            return damaged(format!("its sha256 should be {} and is {found}: it was changed on its way", card.delta));
        }
        let delta = match Delta::parse(&file) {
            Ok(delta) => delta,
            Err(error) => return rejected(error.to_string()),
        };
        if let Err(error) = card.require_described(&delta) {
            return rejected(error.to_string());
        }
        let parents = merged_parents(&delta);
        let is_parent = |content: &Digest| parents.iter().any(|parent| content.to_string().starts_with(parent));
        if state.recalls.values().any(|recall| is_parent(&recall.content)) {
            return rejected("it is a mean of deltas of which one was recalled".to_owned());
        }
        // First, so that a candidate that is stored is always known to have come from here.
        state.received.insert(card.delta);
        state.save(self.store)?;
        match self.store.receive_for(Some(&self.base.0), &file, false) {
            Ok(version) => Ok(Ok(version)),
            Err(
                error @ (StoreError::Replayed { .. }
                | StoreError::SequenceStep { .. }
                | StoreError::Delta(_)
                | StoreError::OtherBase { .. }),
            ) => rejected(error.to_string()),
            Err(error @ (StoreError::Unsigned | StoreError::Untrusted { .. })) => damaged(error.to_string()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Keeps the card of the highest sequence of each key: a store accepts no older delta after it.
fn keep_newest(newest: &mut BTreeMap<Digest, Signed<Card>>, signed: Signed<Card>) {
    let card = &signed.statement;
    match newest.get(&card.signer) {
        Some(kept) if kept.statement.sequence >= card.sequence => {}
        _ => drop(newest.insert(card.signer, signed)),
    }
}

/// Returns the delta file in a carrier's object, of at most that many bytes; not yet verified.
pub(crate) fn unpacked(packed: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    let file = decompress(packed, limit).map_err(|error| error.to_string())?;
    if file.len() > limit { Err(format!("it has more than {limit} bytes")) } else { Ok(file) }
}
