//! Fuzz target of a store's state: contents under a valid seal, in the present format and in the one before.

use crate::base::message;
use fieldfit_durable::testing::Simulated;
use fieldfit_durable::{commit, create_folder, seal};
use fieldfit_store::{Keep, Store, StoreError, TrialRules};
use std::path::Path;
use std::sync::Arc;

/// Where the store is on the simulated disk.
const ROOT: &str = "/store";

/// Opens a store with that state, and does to it all that can be done. Every version's file is missing.
pub fn run(data: &[u8]) {
    let [format, state @ ..] = data else { return };
    let kind = if format & 1 == 0 { *b"FFSTATE2" } else { *b"FFSTATE1" };
    let bytes = if format & 2 == 0 { seal(kind, state) } else { state.to_vec() };
    let disk = Simulated::new();
    create_folder(&disk, Path::new(ROOT)).expect("a folder in memory");
    commit(&disk, &Path::new(ROOT).join("state"), &bytes).expect("a file in memory");
    match Store::open_on(Arc::new(disk), Path::new(ROOT)) {
        Ok(store) => use_up(&store),
        Err(error) => drop(message(&error)),
    }
}

/// A state that is accepted stays one whatever is done next, and a start ends at the base at last.
fn use_up(store: &Store) {
    let rules = TrialRules::new(2, 1);
    let read =
        || (store.versions().expect("a state"), store.active().expect("a state"), store.history().expect("a state"));
    let heard = |done: Result<(), StoreError>| done.err().map(|error| message(&error));
    let (versions, _, history) = read();
    history.iter().for_each(|event| drop(event.change.to_string()));
    for entry in versions.iter().take(4) {
        heard(store.activate(entry.version));
        heard(store.completed(entry.version, 1, rules).map(drop));
        heard(store.confirm(entry.version));
        heard(store.refuse(entry.version, "fuzzed"));
        read();
    }
    heard(store.start(rules, Some("boot")).map(drop));
    heard(store.prune(Keep::ALL.with_versions(Some(2))).map(drop));
    while let Some(active) = read().1 {
        heard(store.start(rules, Some("boot")).map(drop));
        heard(store.quarantine(active, "fuzzed").map(drop));
        assert_ne!(read().1, Some(active), "a quarantined version is active");
    }
    heard(store.rollback().map(drop));
}
