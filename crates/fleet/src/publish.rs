//! Publishing: sends a version of the store with its card, and makes sure that the carrier has both.

use crate::{
    agent::Agent,
    card::{Card, MAX_CARD_BYTES, Offer},
    error::{CarrierError, FleetError},
    key::{Digest, Key},
    policy::Policy,
    receive::unpacked,
    state::AgentState,
    statement::{Signed, open, sign},
};
use fieldfit_delta::{Delta, SecretKey, compression::compress};
use fieldfit_store::{Trust, VersionState};
use serde::Serialize;
use std::{thread, time::Duration};

/// How often, and how long after each other, a sent object is asked for before it counts as lost.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Version that was published.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Published {
    /// Its number in the store.
    pub version: u32,
    /// Hash of its file: its name on the carrier.
    pub delta: Digest,
    /// Bytes on the carrier.
    pub packed: u64,
    /// Whether anything was sent: nothing is, if the carrier has it all.
    pub sent: bool,
}

/// What proves that the carrier has an object.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    pub limit: usize,
    pub holds: &'a dyn Fn(&[u8]) -> bool,
}

impl Agent<'_> {
    /// Publishes a version with a card that `key` signs. What the carrier has already is not sent again, but for a card with
    /// other terms.
    ///
    /// # Errors
    /// [`FleetError::Unsigned`], [`FleetError::NotShareable`], [`FleetError::Recalled`]; [`FleetError::OwnKey`] if the trust
    /// file does not list the key; [`CarrierError::NotStored`] if the carrier does not have it afterwards.
    pub fn publish(&self, version: u32, key: &SecretKey, offer: &Offer) -> Result<Published, FleetError> {
        let _lock = self.lock()?;
        let trust = self.trust_listing(key)?;
        self.require_shareable(version)?;
        let file = self.store.read(version)?;
        let delta = Delta::parse(&file).map_err(|source| FleetError::Delta { version, source: source.into() })?;
        let signature = delta.signature().ok_or(FleetError::Unsigned { version })?;
        trust.judge(Some(signature))?;
        let card = Card::new(&file, &delta, signature, offer, self.now());
        let envelope = sign(&card, key)?;
        require_length("the card", envelope.len(), MAX_CARD_BYTES)?;
        let packed = compress(&file);
        require_length("the delta", file.len(), Policy::default().max_bytes as usize)?;
        let sent_delta = self.deliver_delta(&card, &packed)?;
        let sent_card = self.deliver_card(&card, &envelope, &trust)?;
        let mut state = AgentState::load(self.store)?;
        if state.published.insert(card.delta, offer.clone()).as_ref() != Some(offer) {
            state.save(self.store)?;
        }
        let (packed, sent) = (packed.len() as u64, sent_delta || sent_card);
        Ok(Published { version, delta: card.delta, packed, sent })
    }

    /// Publishes again what was published before and may still be shared: a carrier without a storage has it only while its
    /// publisher is there.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_again(&self, key: &SecretKey) -> Result<Vec<Published>, FleetError> {
        let state = AgentState::load(self.store)?;
        let mut published = Vec::new();
        for entry in self.store.versions()?.into_iter().filter(|entry| is_shareable(&entry.state)) {
            let delta = Digest(entry.hash);
            if let Some(offer) = state.published.get(&delta).filter(|_| !state.is_settled(&delta)) {
                published.push(self.publish(entry.version, key, offer)?);
            }
        }
        Ok(published)
    }

    fn require_shareable(&self, version: u32) -> Result<(), FleetError> {
        let entry = self.store.version(version)?;
        let state = AgentState::load(self.store)?;
        if let Some(recall) = state.recalls.get(&Digest(entry.hash)) {
            return Err(FleetError::Recalled { version, reason: recall.reason.clone() });
        }
        match is_shareable(&entry.state) {
            true => Ok(()),
            false => Err(FleetError::NotShareable { version, state: entry.state.name() }),
        }
    }

    fn deliver_delta(&self, card: &Card, packed: &[u8]) -> Result<bool, FleetError> {
        let limit = packed.len().max(card.bytes as usize);
        let is_whole = |bytes: &[u8]| {
            unpacked(bytes.to_vec(), card.bytes as usize).is_ok_and(|file| Digest::of(&file) == card.delta)
        };
        self.deliver(&Key::Delta(self.base, card.delta), packed, Proof { limit, holds: &is_whole })
    }

    fn deliver_card(&self, card: &Card, envelope: &[u8], trust: &Trust) -> Result<bool, FleetError> {
        let offers_it =
            |bytes: &[u8]| open::<Card>(bytes, trust).is_ok_and(|Signed { statement, .. }| card.offers_as(&statement));
        self.deliver(&Key::Card(self.base, card.delta), envelope, Proof { limit: MAX_CARD_BYTES, holds: &offers_it })
    }

    /// Makes sure that the carrier has an object, and returns whether it was sent.
    pub(crate) fn deliver(&self, key: &Key, bytes: &[u8], proof: Proof<'_>) -> Result<bool, FleetError> {
        if self.is_there(key, proof)? {
            return Ok(false);
        }
        self.carrier.put(key, bytes)?;
        for attempt in 0..ATTEMPTS {
            if self.is_there(key, proof)? {
                return Ok(true);
            }
            if attempt + 1 < ATTEMPTS {
                thread::sleep(PAUSE);
            }
        }
        Err(CarrierError::NotStored { key: key.to_string() }.into())
    }

    fn is_there(&self, key: &Key, proof: Proof<'_>) -> Result<bool, FleetError> {
        let found = self.get_or_problem(key, proof.limit)?.unwrap_or_default();
        Ok(found.iter().any(|bytes| (proof.holds)(bytes)))
    }
}

/// Whether the gate of this robot accepted a version that nothing has been said against since.
const fn is_shareable(state: &VersionState) -> bool {
    matches!(state, VersionState::Trial(_) | VersionState::Confirmed | VersionState::Retired)
}

fn require_length(what: &'static str, found: usize, limit: usize) -> Result<(), FleetError> {
    if found <= limit { Ok(()) } else { Err(FleetError::TooLong { what, found, limit }) }
}
