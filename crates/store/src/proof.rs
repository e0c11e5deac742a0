//! What a store remembers of its base, so that a start needn't hash all of it.

use crate::{Store, StoreError};
use fieldfit_durable::Verification;
use fieldfit_durable::{DurableError, FileKind, commit_sealed, read_sealed};
use std::io;

/// The name of the file, and of what is being written of it.
pub(crate) const PROOF: &str = "proof";
/// The file's kind and version.
const PROOF_KIND: FileKind = *b"FFPROOF1";
/// The longest file that is read, in bytes.
const PROOF_LIMIT: u64 = 4 << 10;

impl Store {
    /// That the base's weights were proven whole, and which file they were in, as [`keep_proof`](Self::keep_proof) was
    /// told last. Nothing if that can't be read: then there is nothing to rely on.
    pub fn proof(&self) -> Option<Verification> {
        let bytes = read_sealed(&*self.files, &self.path().join(PROOF), PROOF_KIND, PROOF_LIMIT).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps a proof in place of the last one. Of two processes that do so at once, either wins.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be written, as on a read-only file system.
    pub fn keep_proof(&self, proof: &Verification) -> Result<(), StoreError> {
        let path = self.path().join(PROOF);
        let io_error = |source| DurableError::Io { action: "write", path: path.clone(), source };
        let _lock = self.lock()?;
        let bytes = serde_json::to_vec(proof).map_err(io::Error::from).map_err(io_error)?;
        Ok(commit_sealed(&*self.files, &path, PROOF_KIND, &bytes)?)
    }
}
