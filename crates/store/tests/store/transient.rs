//! Tests of transient errors: guards against one that is recorded as permanent, against a good version.

use crate::common::{delta, look, store};
use fieldfit_durable::testing::{Fault, Simulated};
use fieldfit_store::{Problem, Store, StoreError, TrialRules, VersionState};
use std::io::ErrorKind;

const RULES: TrialRules = TrialRules::new(9, 1);
const BOOT: Option<&str> = Some("one");

/// Version 1 is confirmed, version 2 on trial, with an open start.
fn on_trial() -> (Simulated, Store) {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    for seed in 1..=2 {
        store.add(&delta(0, seed)).unwrap();
        store.activate(seed as u32).unwrap();
        if seed == 1 {
            store.confirm(1).unwrap();
        }
    }
    drop(store.start(RULES, BOOT).unwrap());
    (disk, store)
}

/// Catches: one EIO or EMFILE while a rollback reads the confirmed version, which retires it, and the base runs.
#[test]
fn a_rollback_that_cannot_read_changes_nothing() {
    let mut unreadable = 0;
    for skipped in 0.. {
        let (disk, store) = on_trial();
        let before = look(&store);
        disk.fail_after(skipped, Fault::Error(ErrorKind::Other));
        let done = store.rollback();
        if !disk.failed() {
            break;
        }
        unreadable +=
            u32::from(matches!(&done, Err(StoreError::Damaged { problem: Problem::Unreadable(_), version: 1, .. })));
        let found = look(&store);
        assert!(found == before || found.active == Some(1), "after operation {skipped}: {found:#?}");
        assert_eq!(store.version(1).unwrap().state, VersionState::Confirmed, "after operation {skipped}");
    }
    assert_eq!(unreadable, 1, "the version was to be read once");
}

/// Catches: an error of reading that retires the confirmed version when the one on trial is quarantined, or that keeps the
/// bad one active.
#[test]
fn a_quarantine_that_cannot_read_blames_the_failed_version_alone() {
    type Act = fn(&Store) -> Result<(), StoreError>;
    let acts: [Act; 2] =
        [|store| store.quarantine(2, "no number").map(drop), |store| store.start(RULES, BOOT).map(drop)];
    for act in acts {
        for skipped in 0.. {
            let (disk, store) = on_trial();
            disk.fail_after(skipped, Fault::Error(ErrorKind::Other));
            let done = act(&store).is_ok();
            if !disk.failed() {
                break;
            }
            assert_eq!(store.version(1).unwrap().state, VersionState::Confirmed, "after operation {skipped}");
            let active = store.active().unwrap();
            assert!(active == Some(1) || (!done && active == Some(2)), "after operation {skipped}: {active:?}");
        }
    }
}

/// Catches: a boot that can't be told for once, and that wipes out the starts that were recorded.
#[test]
fn a_boot_that_cannot_be_told_now_forgets_no_start() {
    let (_, store) = on_trial();
    let rules = TrialRules::new(RULES.predictions, 3);
    let before = store.version(2).unwrap();
    let start = store.start(rules, None).unwrap();
    assert_eq!(store.version(2).unwrap(), before);
    store.take_back(start.undecided.unwrap()).unwrap();
    assert_eq!(store.version(2).unwrap(), before);
}

/// Catches: a damaged version that is taken for one that can't be read, and that a fallback leads to.
#[test]
fn a_damaged_version_is_still_passed_over() {
    let (disk, store) = on_trial();
    disk.damage(&store.delta_path(1), |bytes| bytes[90] ^= 4);
    assert_eq!(store.quarantine(2, "no number").unwrap(), None);
}
