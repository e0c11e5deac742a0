//! Tests of the state's limits: guards against a state that is written and cannot be read back.

use crate::common::{ROOT, delta, store};
use fieldfit_delta::SecretKey;
use fieldfit_durable::{seal, testing::Simulated, unseal};
use fieldfit_store::{Keep, Store, StoreError};
use serde_json::{Value, json};
use std::path::Path;

const KIND: [u8; 8] = *b"FFSTATE2";

fn edit(disk: &Simulated, change: impl FnOnce(&mut Value)) {
    disk.damage(&Path::new(ROOT).join("state"), |bytes| {
        let mut state = serde_json::from_slice(unseal(KIND, bytes).unwrap()).unwrap();
        change(&mut state);
        *bytes = seal(KIND, &serde_json::to_vec(&state).unwrap());
    });
}

/// A store of so many versions that none can be added; all but the last are candidates whose files are lost.
fn full() -> (Simulated, Store) {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    store.add(&delta(0, 1)).unwrap();
    edit(&disk, |state| {
        let entry =
            |version: u32| json!({"version": version, "state": "candidate", "bytes": 1, "hash": "00".repeat(32)});
        let bytes = serde_json::to_vec(&entry(100_000)).unwrap().len() + 1;
        let last = 100_000 + ((15 << 20) - 900) / bytes as u32;
        let mut whole = state["versions"][0].clone();
        whole["version"] = json!(last);
        state["versions"] = (100_001..last).map(entry).chain([whole]).collect();
        state["next"] = json!(last + 1);
    });
    (disk, store)
}

/// Catches: a state that grows until nobody can open the store, or one that is full and can't be left by a prune.
#[test]
fn a_full_state_refuses_versions_and_can_be_pruned() {
    let (_, store) = full();
    let last = store.versions().unwrap().pop().unwrap().version;
    while store.add(&delta(0, 2)).is_ok() {}
    let error = store.add(&delta(0, 2)).unwrap_err();
    assert!(matches!(error, StoreError::StateFull { .. }) && error.to_string().contains("prune"), "{error}");
    store.refuse(last, &"no better ".repeat(1000)).unwrap();
    store.prune(Keep::ALL.with_versions(Some(10))).unwrap();
    assert_eq!(store.versions().unwrap().len(), 10);
    store.add(&delta(0, 3)).unwrap();
}

/// Catches: reasons of any length, which fill the state.
#[test]
fn long_reasons_are_shortened_and_the_history_makes_room() {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    store.add(&delta(0, 1)).unwrap();
    store.refuse(1, &"ä".repeat(20 << 20)).unwrap();
    let state = store.version(1).unwrap().state;
    let reason = state.reason().unwrap();
    assert!(reason.len() < 1100 && reason.ends_with("ä…"), "{} bytes", reason.len());
    // History as an earlier version wrote it, without a limit on reasons.
    edit(&disk, |state| {
        let long = json!({"time": 0, "change": "refused", "version": 1, "reason": "x".repeat(1 << 20)});
        state["history"] = std::iter::repeat_n(long, 15).collect();
    });
    store.add(&delta(0, 2)).unwrap();
    store.activate(2).unwrap();
    assert_eq!(store.active().unwrap(), Some(2));
    assert!(store.history().unwrap().len() < 17, "the oldest entries made room");
}

/// Catches: sequences of ever new keys, which fill the state, or a listed or own key that is forgotten with them.
#[test]
fn sequences_of_unlisted_keys_are_bounded() {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    let key = |seed: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&seed.to_le_bytes());
        SecretKey::from_seed(&bytes)
    };
    store.add_signed(&delta(0, 1), &key(u32::MAX)).unwrap();
    for seed in 0..1030 {
        store.receive(&key(seed).sign(&delta(0, 1), 5).unwrap(), false).unwrap();
        if seed % 64 == 0 {
            store.prune(Keep::ALL.with_versions(Some(1))).unwrap();
        }
    }
    let mut count = 0;
    edit(&disk, |state| count = state["sequences"].as_object().unwrap().len());
    assert_eq!(count, 1025, "1,024 unlisted keys and this device's");
    assert_eq!(store.next_sequence(key(u32::MAX).public()).unwrap(), 2);
    assert_eq!(store.next_sequence(key(1029).public()).unwrap(), 6);
    assert_eq!(store.next_sequence(key(0).public()).unwrap(), 1, "the first to come is the first to be forgotten");
}
