//! Store view: the identity of a store's active version, by which a change is noticed.

use fieldfit_store::{Store, StoreError};

/// Generation, number and hash of a store's active version. A store that was restored from a copy may have the generation
/// of before and another active version, or another file under the same number: all three are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoreView {
    pub generation: u64,
    /// `None` is the base.
    pub version: Option<u32>,
    hash: Option<[u8; 32]>,
}

impl StoreView {
    /// The store as it is now.
    ///
    /// # Errors
    /// If its state cannot be read.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        Self::of(store, store.generation()?, store.active()?)
    }

    /// The store when that version was active at that generation.
    ///
    /// # Errors
    /// If its state cannot be read.
    pub fn of(store: &Store, generation: u64, version: Option<u32>) -> Result<Self, StoreError> {
        let hash = match version.map(|version| store.version(version)) {
            None | Some(Err(StoreError::Unknown { .. })) => None,
            Some(entry) => Some(entry?.hash),
        };
        Ok(Self { generation, version, hash })
    }
}
