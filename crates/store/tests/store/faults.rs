//! Power cuts, kills and failing operations, one at every operation there is: guards against a store that opens with half
//! an operation done, that loses what was reported as done, or that doesn't open.

use crate::common::{Look, ROOT, delta, look, store};
use fieldfit_delta::SecretKey;
use fieldfit_durable::{
    DurableError,
    testing::{Fault, Simulated, exhaust},
};
use fieldfit_store::{Store, StoreError};
use std::io::ErrorKind;

const FAULTS: [Fault; 2] = [Fault::Stop, Fault::Error(ErrorKind::StorageFull)];

/// An operation on a store with versions 1 (retired), 2 (active) and 3 (a candidate).
type Operation = fn(&Store) -> Result<(), StoreError>;

const OPERATIONS: [(&str, Operation); 7] = [
    ("add", |store| store.add(&delta(0, 4)).map(drop)),
    ("add signed", |store| store.add_signed(&delta(0, 4), &key()).map(drop)),
    ("receive signed", |store| store.receive(&key().sign(&delta(0, 4), 7).unwrap(), false).map(drop)),
    ("activate a candidate", |store| store.activate(3)),
    ("activate a retired version", |store| store.activate(1)),
    ("refuse", |store| store.refuse(3, "worse by two images")),
    ("rollback", |store| store.rollback().map(drop)),
];

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn lived_in() -> Simulated {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    for seed in 1..=3 {
        store.add(&delta(0, seed)).unwrap();
    }
    store.activate(1).unwrap();
    store.activate(2).unwrap();
    disk
}

/// A step of an operation left out or in the wrong order: some power cut shows neither the old store nor the new one, or
/// takes back what was reported as done.
#[test]
fn every_operation_happens_whole_or_not_at_all() {
    let before = look(&store(&lived_in()).unwrap());
    for (name, operation) in OPERATIONS {
        let changed = store(&lived_in()).unwrap();
        operation(&changed).unwrap();
        let after = look(&changed);
        assert_ne!(after, before, "{name} did nothing");
        for fault in FAULTS {
            let disks = exhaust(
                fault,
                lived_in,
                |disk| store(disk).and_then(|store| operation(&store)).is_ok(),
                |disk, done| {
                    let found = look(&store(disk).unwrap());
                    // A version that can't be read is passed over: then the base runs.
                    let base = Look { active: None, versions: found.versions.clone(), ..after.clone() };
                    let passed_over = name == "rollback" && fault != Fault::Stop && found == base;
                    assert!(
                        found == after || (!done && found == before) || passed_over,
                        "{name}, {fault:?}, done: {done}: {found:#?}"
                    );
                },
            );
            assert!(disks > 20, "{name}: only {disks} disks were looked at");
        }
    }
}

/// A store that is no store after its making was cut off, or a version that is lost with it.
#[test]
fn a_store_is_made_whole_or_made_again() {
    for fault in FAULTS {
        exhaust(
            fault,
            Simulated::new,
            |disk| store(disk).is_ok(),
            |disk, done| {
                let opened = Store::open_on(std::sync::Arc::new(disk.clone()), ROOT.as_ref());
                assert!(!done || opened.is_ok(), "{fault:?}: {opened:?}");
                let store = store(disk).unwrap();
                assert_eq!(store.add(&delta(0, 1)).unwrap(), 1);
                assert_eq!(look(&store).deltas, [delta(0, 1)]);
            },
        );
    }
}

/// A writer that builds on what a killed one had left unsynced: a later power cut takes away the ground under it.
#[test]
fn a_kill_and_then_a_power_cut_lose_nothing_that_was_done() {
    for prepare in [Simulated::new, lived_in] {
        for skipped in 0.. {
            let first = prepare();
            first.fail_after(skipped, Fault::Stop);
            let _ = store(&first).and_then(|store| store.add(&delta(0, 8)));
            let is_cut_off = first.failed();
            exhaust(
                Fault::Stop,
                || first.after_kill(),
                |disk| store(disk).and_then(|store| store.add(&delta(0, 9))).is_ok(),
                |disk, done| {
                    let found = look(&store(disk).unwrap());
                    assert!(!done || found.deltas.last() == Some(&delta(0, 9)), "killed after {skipped}: {found:#?}");
                    let eighth = found.deltas.contains(&delta(0, 8));
                    assert!(is_cut_off || eighth, "what was added before the second writer is gone: {found:#?}");
                },
            );
            if !is_cut_off {
                break;
            }
        }
    }
}

/// A failed operation that stands in the way of the next: a leftover file, a lock, a number that was used up.
#[test]
fn an_operation_that_failed_can_be_repeated() {
    for (name, operation) in OPERATIONS {
        for skipped in 0.. {
            let disk = lived_in();
            let store = store(&disk).unwrap();
            let before = look(&store);
            disk.fail_after(skipped, Fault::Error(ErrorKind::StorageFull));
            let done = operation(&store).is_ok();
            if !disk.failed() {
                break;
            }
            if done {
                continue;
            }
            let now = look(&store);
            // What failed last of all, the folder's sync, has happened all the same.
            if now == before {
                operation(&store).unwrap();
            }
            let repeated = look(&store);
            let expected = crate::common::store(&lived_in()).unwrap();
            operation(&expected).unwrap();
            assert_eq!(repeated, look(&expected), "{name} failed at its operation {skipped}");
        }
    }
}

/// A full disk or one mounted for reading only that is reported without a word on what to do, or that readers mind.
#[test]
fn a_store_that_cannot_be_written_says_so_and_is_read() {
    for (kind, advice) in [(ErrorKind::ReadOnlyFilesystem, "mount"), (ErrorKind::StorageFull, "free some space")] {
        let disk = lived_in();
        let store = store(&disk).unwrap();
        disk.fail_after(0, Fault::Error(kind));
        let error = store.add(&delta(0, 4)).unwrap_err();
        assert!(matches!(error, StoreError::Durable(DurableError::Io { .. })), "{error:?}");
        assert!(error.to_string().contains(advice), "{error}");
        assert_eq!(look(&store).active, Some(2));
    }
}
