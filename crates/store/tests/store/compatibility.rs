//! Tests of stores of the format before trials: guards against a robot that loses its model, or its way back, by an
//! update of Fieldfit.

use crate::common::{ROOT, delta, store};
use fieldfit_durable::{FileSystem, commit, create_folder, read, seal, testing::Simulated};
use fieldfit_store::{StoreError, VersionState};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::Path;

/// What a store of that format had on disk after: four versions added, 1, 2 and 3 activated, a rollback, 4 refused.
fn earlier() -> Simulated {
    let disk = Simulated::new();
    let root = Path::new(ROOT);
    create_folder(&disk, &root.join("versions")).unwrap();
    let entry = |number: u64, state: &str| {
        let bytes = delta(0, number);
        commit(&disk, &root.join(format!("versions/00000{number}.delta")), &bytes).unwrap();
        let hash = hex::encode(Sha256::digest(&bytes));
        json!({"version": number, "state": state, "bytes": bytes.len(), "hash": hash})
    };
    let mut refused = entry(4, "refused");
    refused["reason"] = json!("worse by two images");
    let state = json!({
        "generation": 4,
        "base": "00".repeat(32),
        "next": 5,
        "line": [1, 2],
        "versions": [entry(1, "retired"), entry(2, "active"), entry(3, "retired"), refused],
        "history": [
            {"time": 1795000000, "change": "activated", "version": 3},
            {"time": 1795000001, "change": "rolled_back", "from": 3, "to": 2, "passed_over": []},
            {"time": 1795000002, "change": "refused", "version": 4, "reason": "worse by two images"},
        ],
        "sequences": {},
    });
    commit(&disk, &root.join("state"), &seal(*b"FFSTATE1", &serde_json::to_vec(&state).unwrap())).unwrap();
    disk
}

/// Catches: a store that doesn't open, a version on trial that had proved itself before there were trials, or a way back that is
/// lost.
#[test]
fn a_store_of_the_earlier_format_is_read_as_it_was() {
    let disk = earlier();
    let before = disk.contents();
    let store = store(&disk).unwrap();
    assert!(store.verify().unwrap().is_empty());
    assert_eq!((store.active().unwrap(), store.generation().unwrap()), (Some(2), 4));
    let states: Vec<VersionState> = store.versions().unwrap().into_iter().map(|entry| entry.state).collect();
    let refused = VersionState::Refused { reason: "worse by two images".into() };
    assert_eq!(states, [VersionState::Confirmed, VersionState::Confirmed, VersionState::Retired, refused]);
    assert_eq!(store.confirmed().unwrap(), [2, 1]);
    assert_eq!(store.history().unwrap().len(), 3);
    assert_eq!(disk.contents(), before, "reading changes nothing");
}

/// Catches: a write that leaves the earlier format's name on the new one's content, which an earlier build would misread.
#[test]
fn the_next_write_leaves_the_present_format() {
    let disk = earlier();
    let store = store(&disk).unwrap();
    assert_eq!(store.rollback().unwrap(), Some(1));
    let state = read(&disk, &Path::new(ROOT).join("state"), 1 << 20).unwrap();
    assert_eq!(&state[..8], b"FFSTATE2");
    assert_eq!((store.active().unwrap(), store.generation().unwrap()), (Some(1), 5));
    assert_eq!(store.add(&delta(0, 5)).unwrap(), 5);
}

/// Catches: a state of a format to come that is read as if it were today's.
#[test]
fn a_state_of_a_later_format_is_refused_by_name() {
    let disk = earlier();
    disk.damage(&Path::new(ROOT).join("state"), |bytes| bytes[7] = b'3');
    let error = store(&disk).unwrap_err();
    assert!(matches!(&error, StoreError::DamagedState { reason, .. } if reason.contains("FFSTATE3")), "{error}");
    assert!(disk.list(Path::new(ROOT)).unwrap().iter().any(|name| name == "state"));
}
