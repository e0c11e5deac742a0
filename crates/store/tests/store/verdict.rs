//! Tests of gate verdicts: guards against a refused version that can be activated, and against an activation over a
//! version that the gate did not compare with.

use crate::common::{ROOT, delta, look, store};
use fieldfit_durable::testing::{Fault, Simulated, exhaust};
use fieldfit_store::{ActiveVersion, StoreError, Transition, Verdict, VersionState};
use std::path::Path;

/// Catches: a kill between adding and refusing, which leaves a refused version as a candidate.
#[test]
fn a_refused_delta_is_never_a_candidate() {
    let reason = "worse by two images";
    exhaust(
        Fault::Stop,
        || {
            let disk = Simulated::new();
            store(&disk).unwrap();
            disk
        },
        |disk| {
            store(disk).and_then(|store| store.add_judged(&delta(0, 1), None, Verdict::Refuse { reason }, None)).is_ok()
        },
        |disk, done| {
            let found = look(&store(disk).unwrap()).versions;
            let states: Vec<_> = found.iter().map(|entry| entry.state.clone()).collect();
            let refused = [VersionState::Refused { reason: reason.into() }];
            assert!(states == refused || (!done && states.is_empty()), "{states:?}");
        },
    );
}

/// Catches: a delta that is activated in another commit than its own, or whose history leaves one of the two out.
#[test]
fn an_accepted_delta_is_added_and_active_at_once() {
    let store = store(&Simulated::new()).unwrap();
    let before = store.active_version().unwrap();
    assert_eq!(before, ActiveVersion::default());
    let version = store.add_judged(&delta(0, 1), None, Verdict::Activate, Some(&before)).unwrap();
    assert_eq!((store.active().unwrap(), store.base().unwrap()), (Some(version), Some([0; 32])));
    let changes: Vec<_> = store.history().unwrap().into_iter().map(|entry| entry.change).collect();
    assert_eq!(changes, [Transition::Added { version }, Transition::Activated { version }]);
}

/// Catches: a version activated meanwhile that is replaced by one which the gate compared with its predecessor.
#[test]
fn what_the_gate_did_not_compare_with_is_not_replaced() {
    let store = store(&Simulated::new()).unwrap();
    let judged = store.active_version().unwrap();
    store.add(&delta(0, 1)).unwrap();
    store.add(&delta(0, 2)).unwrap();
    store.activate(1).unwrap();
    let before = look(&store);
    let added = store.add_judged(&delta(0, 3), None, Verdict::Activate, Some(&judged)).unwrap_err();
    let activated = store.activate_over(2, &judged).unwrap_err();
    for error in [added, activated] {
        assert!(
            matches!(error, StoreError::ActiveChanged { .. }) && error.to_string().contains("version 1"),
            "{error}"
        );
    }
    assert_eq!(look(&store), before);
    store.activate_over(2, &store.active_version().unwrap()).unwrap();
    assert_eq!(store.active().unwrap(), Some(2));
}

/// Catches: a store restored from a copy, with the same generation and other bytes, that looks unchanged.
#[test]
fn a_restored_store_is_told_from_the_one_before() {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    let state = Path::new(ROOT).join("state");
    let copy = disk.contents()[&state].clone();
    let active = |seed| {
        store.add(&delta(0, seed)).unwrap();
        store.activate(1).unwrap();
        store.active_version().unwrap()
    };
    let first = active(1);
    disk.damage(&state, |bytes| *bytes = copy);
    let second = active(2);
    assert_eq!((first.generation, first.version), (second.generation, second.version));
    assert_ne!(first, second);
    let start = store.start_untracked().unwrap();
    assert_eq!((start.generation, start.version, start.hash), (second.generation, second.version, second.hash));
}
