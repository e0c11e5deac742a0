//! Mapped weights file: hashes a base's weights again while the base is in use.

use crate::ModelError;
use fieldfit_durable::Rehash;
use std::fs::File;
use std::io::{self, Seek};
use std::path::PathBuf;

/// File of a base's mapped weights, open since the base was: it stays the mapped one when the path gets another file.
#[derive(Debug)]
pub struct MappedWeightsFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// The manifest's hash.
    pub(crate) sha256: [u8; 32],
}

impl MappedWeightsFile {
    /// Hashes the file at a limited rate. Returns false once `is_cancelled` returns true, which is asked at least every
    /// 50 ms.
    ///
    /// # Errors
    /// [`ModelError::Altered`] if the file is not the one that was imported; [`ModelError::Read`] if it cannot be read now,
    /// which is no sign of a change.
    pub fn rehash(&mut self, rate: Rehash, is_cancelled: &dyn Fn() -> bool) -> Result<bool, ModelError> {
        match self.hash(rate, is_cancelled).map_err(|source| ModelError::read(&self.path, source))? {
            Some(found) if found != self.sha256 => {
                Err(ModelError::Altered { path: self.path.clone(), expected: self.sha256, found })
            }
            hash => Ok(hash.is_some()),
        }
    }

    fn hash(&mut self, rate: Rehash, is_cancelled: &dyn Fn() -> bool) -> io::Result<Option<[u8; 32]>> {
        self.file.rewind()?;
        rate.run(&mut self.file, is_cancelled)
    }
}
