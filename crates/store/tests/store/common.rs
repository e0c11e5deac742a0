//! Test helpers: small deltas, and the view that a reader has of a store.

use fieldfit_delta::{Header, Provenance};
use fieldfit_durable::testing::Simulated;
use fieldfit_store::{Store, StoreError, VersionEntry};
use fieldfit_tests::deltas;
use std::{path::Path, sync::Arc};

/// Where the store is on a simulated disk.
pub const ROOT: &str = "/robot/store";

/// The header of a delta of one tensor for a base, another one for each `seed`.
pub fn header(base: u8, seed: u64) -> Header {
    deltas::header([base; 32], Provenance { seed, ..Provenance::default() })
}

/// A whole delta of a few hundred bytes for a base, another one for each `seed`.
pub fn delta(base: u8, seed: u64) -> Vec<u8> {
    deltas::small([base; 32], Provenance { seed, ..Provenance::default() }, ["cat", "dog"])
}

/// The store on a simulated disk, which is made if there is none.
pub fn store(disk: &Simulated) -> Result<Store, StoreError> {
    Store::create_or_open_on(Arc::new(disk.clone()), Path::new(ROOT))
}

/// All that a reader can see of a store, but for its history's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub versions: Vec<VersionEntry>,
    pub active: Option<u32>,
    pub generation: u64,
    pub deltas: Vec<Vec<u8>>,
}

/// Looks at a store, whose every version has to be whole.
pub fn look(store: &Store) -> Look {
    let findings = store.verify().unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    let versions = store.versions().unwrap();
    let deltas = versions.iter().map(|entry| store.read(entry.version).unwrap()).collect();
    Look { versions, active: store.active().unwrap(), generation: store.generation().unwrap(), deltas }
}
