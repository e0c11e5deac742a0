//! Errors of a fleet: of a carrier, and of an agent.

use crate::{key::Digest, statement::StatementError};
use fieldfit_delta::DeltaError;
use fieldfit_durable::DurableError;
use fieldfit_store::StoreError;
use fieldfit_tensor::text::escape;
use std::path::PathBuf;
use thiserror::Error;

/// Error of a carrier. It says nothing of the deltas; try again later.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// An address of no engine that this build has.
    #[error("cannot use `{}` as a carrier: {reason}", escape(url))]
    Url {
        /// The address.
        url: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// An engine that cannot be reached, or refuses.
    #[error("cannot {action} {key}: {}. Check the connection and the permissions, then try again", escape(&source.to_string()))]
    Unavailable {
        /// The operation.
        action: &'static str,
        /// The object's or folder's name.
        key: String,
        /// The engine's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object that is longer than it may be; it was not read.
    #[error("{key} has {found} bytes, expected at most {limit}: it is left out")]
    TooLarge {
        /// The object's name.
        key: String,
        /// Its bytes.
        found: u64,
        /// Maximum bytes.
        limit: usize,
    },
    /// A folder with more objects than are listed.
    #[error("{folder} has more than {limit} objects: remove old ones from the carrier")]
    TooMany {
        /// The folder's name.
        folder: String,
        /// Maximum number of objects.
        limit: usize,
    },
    /// An object that was sent and cannot be got back.
    #[error(
        "{key} was sent, and the carrier does not have it: check that a router with a storage runs, then publish again"
    )]
    NotStored {
        /// The object's name.
        key: String,
    },
}

/// Error of an agent. The store is as it was before the step that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The carrier.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// The store, which cannot be read or written, or refuses an operation.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that cannot be read or written, or another agent of the same store.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The gate, which cannot measure now.
    #[error(transparent)]
    Fieldfit(#[from] fieldfit::Error),
    /// A stored version that is no delta that this build reads.
    #[error("version {version} cannot be read: {source}")]
    Delta {
        /// Its number.
        version: u32,
        /// The cause.
        source: Box<DeltaError>,
    },
    /// A store that accepts anybody's deltas.
    #[error(
        "{} lists no keys, so that any sender would be trusted: write the public keys of the fleet into it, under [keys]",
        escape(&path.to_string_lossy())
    )]
    NoKeys {
        /// The trust file.
        path: PathBuf,
    },
    /// A key of this robot that its own trust file does not list.
    #[error(
        "the key {key} is not listed in {}: list it there and on every robot that is to accept what it signs",
        escape(&path.to_string_lossy())
    )]
    OwnKey {
        /// The public key.
        key: String,
        /// The trust file.
        path: PathBuf,
    },
    /// A version without a signature.
    #[error("version {version} is not signed: adapt with `--key FILE`, which signs what is learned")]
    Unsigned {
        /// Its number.
        version: u32,
    },
    /// A version that its own robot does not run.
    #[error("version {version} is {state}: publish one that the gate of this robot accepted, on trial or confirmed")]
    NotShareable {
        /// Its number.
        version: u32,
        /// State of the version.
        state: &'static str,
    },
    /// A version that was recalled.
    #[error("version {version} was recalled: {}", escape(reason))]
    Recalled {
        /// Its number.
        version: u32,
        /// Reason of the recall.
        reason: String,
    },
    /// A store without a base.
    #[error("{} is for no base yet: name the model, or let the runtime open the store once", escape(&path.to_string_lossy()))]
    NoBase {
        /// The store.
        path: PathBuf,
    },
    /// A delta that neither the store nor the carrier knows.
    #[error("neither the store nor the carrier has the delta {delta} of this base: check its hash with `status`")]
    UnknownDelta {
        /// Hash of the delta file.
        delta: Digest,
    },
    /// A delta whose card or packed file has more bytes than receivers accept.
    #[error("{what} would have {found} bytes, and receivers accept {limit}: use fewer classes")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// Maximum bytes.
        limit: usize,
    },
    /// A statement that cannot be made.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// An agent's state file that cannot be used.
    #[error(
        "{} is damaged: {}. Remove it: recalls are then read again, and deltas that were judged stay as they are",
        escape(&path.to_string_lossy()),
        escape(reason)
    )]
    State {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// Text that is no SHA-256.
    #[error("`{found}` is no SHA-256: expected 64 lower-case hexadecimal digits")]
    Digest {
        /// The text, escaped.
        found: String,
    },
    /// Text that is no robot id.
    #[error(
        "`{found}` is no robot id: expected 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit"
    )]
    RobotId {
        /// The text, escaped.
        found: String,
    },
}
