//! Verification cache: the base's verified weight file, so that later starts skip hashing it.

use crate::{Store, StoreError};
use fieldfit_durable::{FileKind, Verification, commit_sealed, read_sealed, remove, sync_folder};

/// The name of the file.
pub(crate) const VERIFICATION: &str = "proof";
/// The file's kind and version.
const PROOF_KIND: FileKind = *b"FFPROOF1";
/// The longest file that is read, in bytes.
const PROOF_LIMIT: u64 = 4 << 10;

impl Store {
    /// Returns the verification of the base's weight file that [`keep_verification`](Self::keep_verification) stored last;
    /// `None` if it can't be read: then the file is hashed again.
    pub fn verification(&self) -> Option<Verification> {
        let bytes = read_sealed(&*self.files, &self.path().join(VERIFICATION), PROOF_KIND, PROOF_LIMIT).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Stores a verification in place of the last one. Of two processes that do so at once, either wins.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be written, as on a read-only file system.
    pub fn keep_verification(&self, verification: &Verification) -> Result<(), StoreError> {
        let path = self.path().join(VERIFICATION);
        let _lock = self.lock()?;
        let bytes = serde_json::to_vec(verification).map_err(StoreError::Serialize)?;
        Ok(commit_sealed(&*self.files, &path, PROOF_KIND, &bytes)?)
    }

    /// Removes the verification, so that the next start hashes the weights whatever the file's times are.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be removed, as on a read-only file system.
    pub fn forget_verification(&self) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        remove(&*self.files, &self.path().join(VERIFICATION))?;
        Ok(sync_folder(&*self.files, self.path())?)
    }
}
