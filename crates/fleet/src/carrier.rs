//! Carrier: an engine that holds objects under names. It is not trusted.

use crate::{
    error::CarrierError,
    key::{Digest, Folder, Key},
};
use std::{thread, time::Duration};

/// Most names that a listing may have. A longer one is an error: what would be left out could be a recall.
pub const MAX_LISTED: usize = 100_000;

/// Engine that carries objects between robots. Nothing that it answers is trusted: callers verify hashes and signatures.
pub trait Carrier: Send + Sync {
    /// Stores an object under that key, in place of an earlier one, whole or not at all.
    ///
    /// An engine may lose it without an error: callers that depend on it [`get`](Self::get) it back.
    ///
    /// # Errors
    /// [`CarrierError::Unavailable`] if the engine cannot be reached or refuses.
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), CarrierError>;

    /// Returns every object of at most `limit` bytes that the engine has under that key: none, one, or, where peers answer by
    /// themselves, several different ones, of which the caller takes one that it can verify.
    ///
    /// # Errors
    /// [`CarrierError::Unavailable`]; [`CarrierError::TooLarge`] if there are only longer ones, which are not read.
    fn get(&self, key: &Key, limit: usize) -> Result<Vec<Vec<u8>>, CarrierError>;

    /// Returns the keys of a folder, ascending. Names that are no keys of it are left out.
    ///
    /// # Errors
    /// [`CarrierError::Unavailable`]; [`CarrierError::TooMany`] if there are more than [`MAX_LISTED`].
    fn list(&self, base: &Digest, folder: Folder) -> Result<Vec<Key>, CarrierError>;

    /// Returns when an object of that base may have changed, at the latest after that time. An engine without notifications
    /// waits that long.
    fn wait(&self, base: &Digest, timeout: Duration) {
        let _ = base;
        thread::sleep(timeout);
    }
}
