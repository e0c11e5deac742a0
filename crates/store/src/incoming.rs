//! Incoming deltas: judges what comes from outside by the trust file and by sequence numbers.

use crate::{
    error::StoreError,
    record::{Base, Record},
    store::{Store, TRUST_FILE},
    trust::Trust,
    verdict::Verdict,
};
use fieldfit_delta::{Delta, PublicKey};
use fieldfit_durable::{entry_type, read};

/// The longest trust file that is read, in bytes: hundreds of keys.
const TRUST_LIMIT: u64 = 64 << 10;

impl Store {
    /// Stores a delta that comes from outside as a candidate, if the [trust file](Self::trust) accepts it, and returns its
    /// number. With `replay`, also one that its signer has replaced by a newer one since.
    ///
    /// The bytes that were judged are those that are stored. This protects from who can send deltas, not from who can
    /// write to the store's folder: that one can rewind it.
    ///
    /// # Errors
    /// Those of [`add`](Self::add); [`StoreError::Unsigned`], [`StoreError::Untrusted`], [`StoreError::Replayed`],
    /// [`StoreError::SequenceStep`]; [`StoreError::Trust`] if the trust file is invalid. The store is then as it was.
    pub fn receive(&self, delta: &[u8], replay: bool) -> Result<u32, StoreError> {
        self.receive_for(None, delta, replay)
    }

    /// Receives as [`receive`](Self::receive) does, and refuses a delta that is not made for `base`, whose hash the
    /// caller knows; the store's base need not be fixed for that.
    ///
    /// # Errors
    /// Those of [`receive`](Self::receive).
    pub fn receive_for(&self, base: Option<&[u8; 32]>, delta: &[u8], replay: bool) -> Result<u32, StoreError> {
        let parsed = Delta::parse(delta)?;
        let found = parsed.header().base;
        if let Some(expected) = base.filter(|expected| **expected != found) {
            let (expected, found) = (Base(*expected).to_string(), Base(found).to_string());
            return Err(StoreError::OtherBase { expected, found });
        }
        let (_lock, mut record) = self.begin()?;
        let trust = self.trust_under(&record)?;
        let signer = trust.judge(parsed.signature())?;
        if let Some(signature) = parsed.signature() {
            record.require_sequence(signature, replay)?;
            record.note_received(signature.key, signer.is_some());
        }
        self.keep(record, &parsed, delta, Verdict::Candidate)
    }

    /// Returns the trust file's policy: what [`TRUST_FILE`] in the store's folder says. A store that never had one accepts
    /// anyone's deltas.
    ///
    /// # Errors
    /// [`StoreError::Trust`] if it is invalid, empty, a dangling link, or missing in a store that has had one;
    /// [`StoreError::Durable`] if it can't be read.
    pub fn trust(&self) -> Result<Trust, StoreError> {
        self.trust_under(&self.record()?)
    }

    /// Returns the number that the next delta signed by that key here would get: the one after its last. Ask before an
    /// adaptation trains for minutes.
    ///
    /// # Errors
    /// [`StoreError::SequencesUsedUp`] if there is none, or if the state can't be read.
    pub fn next_sequence(&self, key: PublicKey) -> Result<u64, StoreError> {
        self.record()?.next_sequence(key)
    }

    fn trust_under(&self, record: &Record) -> Result<Trust, StoreError> {
        let path = self.path().join(TRUST_FILE);
        let invalid = |reason: String| StoreError::Trust { path: path.clone(), reason };
        if entry_type(&*self.files, &path)?.is_none() {
            let missing = "it is missing, and this store has had one: restore it, or write `require-signature = false` \
                           into a new one to accept any delta";
            return if record.has_policy { Err(invalid(missing.into())) } else { Ok(Trust::default()) };
        }
        let bytes = match read(&*self.files, &path, TRUST_LIMIT) {
            Err(error) if error.is_not_found() => return Err(invalid("it is a link to a file that is missing".into())),
            bytes => bytes?,
        };
        let text = String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
        Trust::parse(&path, &text)
    }

    /// Whether there is a trust file, as far as can be told now.
    pub(crate) fn has_trust_file(&self) -> bool {
        entry_type(&*self.files, &self.path().join(TRUST_FILE)).is_ok_and(|found| found.is_some())
    }
}
