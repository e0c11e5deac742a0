//! Errors of a store.

use crate::{record::MAX_SEQUENCE_STEP, verdict::ActiveVersion, version::VersionEntry};
use fieldfit_delta::{DeltaError, PublicKey};
use fieldfit_durable::DurableError;
use fieldfit_tensor::text::escape;
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Error of a store that can't be read or written, or of an operation that it refuses. The store is then as it was before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is none.
    #[error("there is no store at {}: check the path, or make one by adapting into it", shown(path))]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A folder with other things in it.
    #[error(
        "{} is not a store, and `{}` is in it already: choose a new or an empty folder for the store",
        shown(path),
        escape(found)
    )]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// The first thing that is not a store's.
        found: String,
    },
    /// The file that says which version runs can't be trusted.
    #[error(
        "{} is damaged: {}. Restore it from a copy; without one, the deltas in `versions` beside it are each whole \
         by themselves: add them to a new store",
        shown(path),
        escape(reason)
    )]
    DamagedState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file that says which version runs can't be read now. It may be whole.
    #[error("the store's state is unreadable: {0}; check the disk and the permissions, then try again")]
    UnreadableState(DurableError),
    /// The state would be longer than what is read back.
    #[error("the store's state would have {bytes} bytes, and at most {limit} are read back: prune the store")]
    StateFull {
        /// Bytes that it would have.
        bytes: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// The state could not be put into JSON.
    #[error("the store's state can't be serialised: {0}")]
    Serialize(serde_json::Error),
    /// Bytes that are no whole delta; they were not stored.
    #[error("invalid delta: {0}")]
    Delta(Box<DeltaError>),
    /// A delta for another base; it was not stored.
    #[error(
        "this delta is made for the base {found}, this store is for the base {expected}: use a store of its own for \
         each base"
    )]
    OtherBase {
        /// The store's base, in hexadecimal.
        expected: String,
        /// The delta's, in hexadecimal.
        found: String,
    },
    /// A trust file that is invalid, or missing where there was one; incoming deltas are rejected.
    #[error("invalid trust file {}: {}. Incoming deltas are rejected until it is fixed", shown(path), escape(reason))]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A delta without a signature where one is required; it was not stored.
    #[error("this delta is not signed, and the trust file requires it: have it signed, `fieldfit delta sign`")]
    Unsigned,
    /// A signature by nobody whom the trust file lists; the delta was not stored.
    #[error(
        "this delta is signed by the key {key}, and the trust file lists only those of {}: add the key if it is right",
        escape(known)
    )]
    Untrusted {
        /// The signer's.
        key: PublicKey,
        /// Whose keys are listed.
        known: String,
    },
    /// A delta that its signer has replaced by a newer one; it was not stored.
    #[error(
        "this delta is number {sequence} of the key {key}, whose number {last} was here before: get a newer one, or ask \
         for a replay (`fieldfit store add --replay`)"
    )]
    Replayed {
        /// The signer's.
        key: PublicKey,
        /// The delta's.
        sequence: u64,
        /// The highest that was here.
        last: u64,
    },
    /// A delta whose number is so far above the last one of its key that the key would have few left; it was not stored.
    #[error(
        "this delta is number {sequence} of the key {key}, whose last one is {last}: expected a step of at most \
         {MAX_SEQUENCE_STEP}; sign it again with the number after the last"
    )]
    SequenceStep {
        /// The signer's.
        key: PublicKey,
        /// The delta's.
        sequence: u64,
        /// The highest that was here.
        last: u64,
    },
    /// A number that no version has.
    #[error("there is no version {version} in {}: it has {known}", shown(path))]
    Unknown {
        /// The number asked for.
        version: u32,
        /// The store.
        path: PathBuf,
        /// The numbers there are.
        known: String,
    },
    /// A version whose file is not what was stored.
    #[error("version {version} can't be used, {}: {problem}. Roll back, or activate another version", shown(path))]
    Damaged {
        /// Its number.
        version: u32,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: Problem,
    },
    /// An attempt to run what was refused or quarantined.
    #[error(
        "version {version} is {state}: {}. To run it nevertheless, add its file {} again and activate that version",
        escape(reason),
        shown(path)
    )]
    Refused {
        /// Its number.
        version: u32,
        /// `refused` or `quarantined`.
        state: &'static str,
        /// Why.
        reason: String,
        /// Its file.
        path: PathBuf,
    },
    /// An attempt to refuse what runs, or what was refused before.
    #[error(
        "version {version} is {state} and can't be refused: only a version that is neither active nor refused already can"
    )]
    NotRefusable {
        /// Its number.
        version: u32,
        /// What it is.
        state: &'static str,
    },
    /// An attempt to confirm what is not on trial.
    #[error("version {version} is {state} and can't be confirmed: only a version on trial can, activate it first")]
    NotOnTrial {
        /// Its number.
        version: u32,
        /// What it is.
        state: &'static str,
    },
    /// The base runs.
    #[error("there is nothing to roll back: the base runs, without any delta")]
    NothingToRollBack,
    /// Something else is active than what the gate compared a delta with; the delta was not stored or activated.
    #[error("{found} is active, and the gate compared with {expected}: judge the delta against what is active now")]
    ActiveChanged {
        /// What the gate compared with.
        expected: ActiveVersion,
        /// What is active.
        found: ActiveVersion,
    },
    /// There were 2³² − 1 versions.
    #[error("this store has used up its version numbers: create another store")]
    NumbersUsedUp,
    /// A key has signed the greatest number, 2⁶⁴ − 1, so that none is above it.
    #[error("the key {key} has used up its sequence numbers: create another key (`fieldfit key new`)")]
    SequencesUsedUp {
        /// The signer's.
        key: PublicKey,
    },
    /// A file could not be read or written, or somebody else is writing.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

impl StoreError {
    /// Returns whether it is the store's state that is damaged or can't be read: then nothing is known of its versions, and
    /// the base is what can run.
    pub fn is_unusable_state(&self) -> bool {
        matches!(self, Self::DamagedState { .. } | Self::UnreadableState(_))
    }

    /// Returns whether a file could not be read now: an error that may pass, and that says nothing of the file.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::UnreadableState(_) | Self::Damaged { problem: Problem::Unreadable(_), .. })
    }
}

/// Returns a path for a message.
fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).to_string()
}

impl From<DeltaError> for StoreError {
    fn from(error: DeltaError) -> Self {
        Self::Delta(Box::new(error))
    }
}

/// Problem of a version's file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is gone.
    #[error("the file is missing")]
    Missing,
    /// It can't be read.
    #[error(transparent)]
    Unreadable(DurableError),
    /// It is shorter or longer than what was stored.
    #[error("it has no longer the {expected} bytes that were stored")]
    Length {
        /// Bytes stored.
        expected: u64,
    },
    /// Some of it has changed.
    #[error("its sha256 should be {expected} and is {found}")]
    Hash {
        /// What was stored, in hexadecimal.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It is as it was stored, and yet no delta that this build can read.
    #[error("this version of fieldfit can't read it: {0}")]
    Delta(Box<DeltaError>),
    /// It is for another base than the store.
    #[error("it is made for the base {found}, not for {expected}")]
    OtherBase {
        /// The store's base, in hexadecimal.
        expected: String,
        /// The delta's.
        found: String,
    },
}

impl Problem {
    /// What an error in reading that version means.
    pub(crate) fn reading(entry: &VersionEntry) -> impl FnOnce(DurableError) -> Self {
        let expected = entry.bytes;
        move |error| match error {
            error if error.is_not_found() => Self::Missing,
            DurableError::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                Self::Length { expected }
            }
            error => Self::Unreadable(error),
        }
    }
}
