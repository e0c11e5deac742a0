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
    /// A missing store.
    #[error("there is no store at {}: check the path, or make one by adapting into it", shown(path))]
    Missing {
        /// Path of the store.
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
    /// A damaged state file.
    #[error(
        "{} is damaged: {}. Restore it from a copy; without one, the deltas in `versions` beside it are each whole \
         by themselves: add them to a new store",
        shown(path),
        escape(reason)
    )]
    DamagedState {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// A state file that cannot be read now. It may be whole.
    #[error("the store's state is unreadable: {0}; check the disk and the permissions, then try again")]
    UnreadableState(DurableError),
    /// A state that would be longer than what is read back.
    #[error("the store's state would have {bytes} bytes, and at most {limit} are read back: prune the store")]
    StateFull {
        /// Bytes of the new state.
        bytes: u64,
        /// Maximum bytes of a state.
        limit: u64,
    },
    /// A state that cannot be serialised to JSON.
    #[error("the store's state cannot be serialised: {0}")]
    Serialize(serde_json::Error),
    /// An invalid delta; it was not stored.
    #[error("invalid delta: {0}")]
    Delta(Box<DeltaError>),
    /// A delta for another base; it was not stored.
    #[error(
        "this delta is made for the base {found}, this store is for the base {expected}: use a store of its own for \
         each base"
    )]
    OtherBase {
        /// Identity of the store's base, in hexadecimal.
        expected: String,
        /// Identity of the delta's base, in hexadecimal.
        found: String,
    },
    /// A trust file that is invalid, or missing where there was one; incoming deltas are rejected.
    #[error("invalid trust file {}: {}. Incoming deltas are rejected until it is fixed", shown(path), escape(reason))]
    Trust {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// A delta without a signature where one is required; it was not stored.
    #[error("this delta is not signed, and the trust file requires it: have it signed, `fieldfit delta sign`")]
    Unsigned,
    /// A signature by a key that the trust file does not list; the delta was not stored.
    #[error(
        "this delta is signed by the key {key}, and the trust file lists only those of {}: add the key if it is right",
        escape(known)
    )]
    Untrusted {
        /// Public key of the signer.
        key: PublicKey,
        /// Names of the listed keys.
        known: String,
    },
    /// A delta that its signer has replaced by a newer one; it was not stored.
    #[error(
        "this delta is number {sequence} of the key {key}, whose number {last} was here before: get a newer one, or ask \
         for a replay (`fieldfit store add --replay`)"
    )]
    Replayed {
        /// Public key of the signer.
        key: PublicKey,
        /// Sequence number of the delta.
        sequence: u64,
        /// Highest sequence number of the key in this store.
        last: u64,
    },
    /// A delta whose number is so far above the last one of its key that the key would have few left; it was not stored.
    #[error(
        "this delta is number {sequence} of the key {key}, whose last one is {last}: expected a step of at most \
         {MAX_SEQUENCE_STEP}; sign it again with the number after the last"
    )]
    SequenceStep {
        /// Public key of the signer.
        key: PublicKey,
        /// Sequence number of the delta.
        sequence: u64,
        /// Highest sequence number of the key in this store.
        last: u64,
    },
    /// An unknown version number.
    #[error("there is no version {version} in {}: it has {known}", shown(path))]
    Unknown {
        /// The requested number.
        version: u32,
        /// Path of the store.
        path: PathBuf,
        /// The known numbers.
        known: String,
    },
    /// A version whose file is not what was stored.
    #[error("version {version} cannot be used, {}: {problem}. Roll back, or activate another version", shown(path))]
    Damaged {
        /// Number of the version.
        version: u32,
        /// Path of the version's file.
        path: PathBuf,
        /// The problem.
        problem: Problem,
    },
    /// An attempt to run what was refused or quarantined.
    #[error(
        "version {version} is {state}: {}. To run it nevertheless, add its file {} again and activate that version",
        escape(reason),
        shown(path)
    )]
    Refused {
        /// Number of the version.
        version: u32,
        /// `refused` or `quarantined`.
        state: &'static str,
        /// Reason of the refusal or the quarantine.
        reason: String,
        /// Path of the version's file.
        path: PathBuf,
    },
    /// An attempt to refuse what runs, or what was refused before.
    #[error(
        "version {version} is {state} and cannot be refused: only a version that is neither active nor refused already can"
    )]
    NotRefusable {
        /// Number of the version.
        version: u32,
        /// State of the version.
        state: &'static str,
    },
    /// An attempt to confirm what is not on trial.
    #[error("version {version} is {state} and cannot be confirmed: only a version on trial can, activate it first")]
    NotOnTrial {
        /// Number of the version.
        version: u32,
        /// State of the version.
        state: &'static str,
    },
    /// A rollback while the base runs.
    #[error("there is nothing to roll back: the base runs, without any delta")]
    NothingToRollBack,
    /// An active version other than the one that the gate compared a delta with; the delta was not stored or activated.
    #[error("{found} is active, and the gate compared with {expected}: judge the delta against what is active now")]
    ActiveChanged {
        /// The version that the gate compared with.
        expected: ActiveVersion,
        /// The active version.
        found: ActiveVersion,
    },
    /// A store that has used all 2³² − 1 version numbers.
    #[error("this store has used up its version numbers: create another store")]
    NumbersUsedUp,
    /// A key that has used its sequence numbers up to 2⁶⁴ − 1.
    #[error("the key {key} has used up its sequence numbers: create another key (`fieldfit key new`)")]
    SequencesUsedUp {
        /// Public key of the signer.
        key: PublicKey,
    },
    /// A file that cannot be read or written, or another writer.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

impl StoreError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Missing { path }
            | Self::NotAStore { path, .. }
            | Self::DamagedState { path, .. }
            | Self::Trust { path, .. }
            | Self::Unknown { path, .. }
            | Self::Damaged { path, .. }
            | Self::Refused { path, .. } => Some(path),
            Self::UnreadableState(error) | Self::Durable(error) => error.path(),
            Self::StateFull { .. }
            | Self::Serialize(_)
            | Self::Delta(_)
            | Self::OtherBase { .. }
            | Self::Unsigned
            | Self::Untrusted { .. }
            | Self::Replayed { .. }
            | Self::SequenceStep { .. }
            | Self::NotRefusable { .. }
            | Self::NotOnTrial { .. }
            | Self::NothingToRollBack
            | Self::ActiveChanged { .. }
            | Self::NumbersUsedUp
            | Self::SequencesUsedUp { .. } => None,
        }
    }
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
    /// A missing file.
    #[error("the file is missing")]
    Missing,
    /// An unreadable file.
    #[error(transparent)]
    Unreadable(DurableError),
    /// A file of another length than was stored.
    #[error("it has no longer the {expected} bytes that were stored")]
    Length {
        /// Bytes stored.
        expected: u64,
    },
    /// A file of other content than was stored.
    #[error("its sha256 should be {expected} and is {found}")]
    Hash {
        /// SHA-256 of the file that was stored, in hexadecimal.
        expected: String,
        /// The value found.
        found: String,
    },
    /// An unaltered file that this build cannot read.
    #[error("this version of fieldfit cannot read it: {0}")]
    Delta(Box<DeltaError>),
    /// A delta for another base than the store's.
    #[error("it is made for the base {found}, not for {expected}")]
    OtherBase {
        /// Identity of the store's base, in hexadecimal.
        expected: String,
        /// Identity of the delta's base, in hexadecimal.
        found: String,
    },
}

impl Problem {
    /// Maps an error of reading a version to an error of the store.
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
