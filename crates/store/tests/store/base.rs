//! Tests of a store's base: guards against a store that takes the base of whatever is added to it first, so that the
//! robot's own model is refused.

use crate::common::{ROOT, delta, look, store};
use fieldfit_durable::{seal, testing::Simulated, unseal};
use fieldfit_store::{Keep, Problem, StoreError};
use serde_json::{Value, json};
use std::path::Path;

const OURS: [u8; 32] = [0; 32];

/// Catches: a candidate for another base, never activated, that makes the store another base's.
#[test]
fn a_candidate_does_not_fix_the_base() {
    let store = store(&Simulated::new()).unwrap();
    let foreign = store.add(&delta(7, 1)).unwrap();
    assert_eq!(store.base().unwrap(), None);
    store.fix_base(&OURS).unwrap();
    store.fix_base(&OURS).unwrap();
    assert_eq!(store.base().unwrap(), Some(OURS));
    let ours = store.add(&delta(0, 2)).unwrap();
    assert!(matches!(store.add(&delta(7, 3)), Err(StoreError::OtherBase { .. })));
    assert!(matches!(store.activate(foreign), Err(StoreError::OtherBase { .. })));
    let findings = store.verify().unwrap();
    assert!(findings.len() == 1 && findings[0].version == foreign, "{findings:?}");
    assert!(matches!(findings[0].problem, Problem::OtherBase { .. }));
    store.activate(ours).unwrap();
    assert!(matches!(store.fix_base(&[7; 32]), Err(StoreError::OtherBase { .. })));
}

/// Catches: a foreign candidate that stays because it is the newest, and a good one that goes in its stead.
#[test]
fn foreign_candidates_are_pruned_first() {
    let store = store(&Simulated::new()).unwrap();
    store.add(&delta(0, 1)).unwrap();
    store.add(&delta(0, 2)).unwrap();
    store.add(&delta(7, 3)).unwrap();
    store.activate(1).unwrap();
    assert_eq!(store.base().unwrap(), Some(OURS), "the first activation fixes the base");
    assert_eq!(store.prune(Keep::ALL.with_versions(Some(2))).unwrap().versions, [3]);
    assert_eq!(look(&store).versions.len(), 2);
}

/// Catches: a delta for another base that `store add` takes although it is told the base.
#[test]
fn a_delta_is_checked_against_the_base_that_is_told() {
    let store = store(&Simulated::new()).unwrap();
    let error = store.receive_for(Some(&OURS), &delta(7, 1), false).unwrap_err();
    assert!(matches!(&error, StoreError::OtherBase { expected, .. } if *expected == "00".repeat(32)), "{error}");
    assert_eq!((store.receive_for(Some(&OURS), &delta(0, 1), false).unwrap(), store.base().unwrap()), (1, None));
}

/// Catches: a store of an earlier version whose base is forgotten, or is fixed by a candidate that never ran.
#[test]
fn an_earlier_store_keeps_the_base_of_what_it_ran() {
    for activated in [false, true] {
        let disk = Simulated::new();
        let store = store(&disk).unwrap();
        store.add(&delta(7, 1)).unwrap();
        if activated {
            store.activate(1).unwrap();
        }
        disk.damage(&Path::new(ROOT).join("state"), |bytes| {
            let mut state: Value = serde_json::from_slice(unseal(*b"FFSTATE2", bytes).unwrap()).unwrap();
            assert_eq!(state["base"], json!("07".repeat(32)), "earlier versions need one beside versions");
            for field in ["base_fixed", "has_policy", "unlisted"] {
                state.as_object_mut().unwrap().remove(field).unwrap();
            }
            *bytes = seal(*b"FFSTATE2", &serde_json::to_vec(&state).unwrap());
        });
        assert_eq!(store.base().unwrap(), activated.then_some([7; 32]));
        assert_eq!(store.fix_base(&OURS).is_ok(), !activated);
        assert_eq!(store.activate(1).is_ok(), activated);
    }
}
