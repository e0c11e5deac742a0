//! Fault injection: power cuts, kills and failures at every file operation. Guards against a store that opens with half
//! an operation done, that loses what was reported as done, or that does not open.

use crate::common::{ROOT, delta, look, store};
use fieldfit_delta::SecretKey;
use fieldfit_durable::{
    DurableError, FileSystem,
    testing::{Fault, Simulated, exhaust},
};
use fieldfit_store::{Keep, Store, StoreError, TrialRules, Verdict, VersionState};
use std::io::ErrorKind;

const FAULTS: [Fault; 2] = [Fault::Stop, Fault::Error(ErrorKind::StorageFull)];

/// An operation on a store with versions 1 (refused), 2 (confirmed), 3 (active, on trial, with an open start), 4 (rolled
/// back from) and 5 (a candidate).
type Operation = fn(&Store) -> Result<(), StoreError>;

const OPERATIONS: [(&str, Operation); 16] = [
    ("add", |store| store.add(&delta(0, 6)).map(drop)),
    ("add signed", |store| store.add_signed(&delta(0, 6), &key()).map(drop)),
    ("add refused", |store| store.add_judged(&delta(0, 6), None, Verdict::Refuse { reason: "worse" }, None).map(drop)),
    ("add active", |store| {
        let active = store.active_version()?;
        store.add_judged(&delta(0, 6), Some(&key()), Verdict::Activate, Some(&active)).map(drop)
    }),
    ("receive signed", |store| store.receive(&key().sign(&delta(0, 6), 7).unwrap(), false).map(drop)),
    ("activate a candidate", |store| store.activate(5)),
    ("activate a confirmed version", |store| store.activate(2)),
    ("start", |store| store.start(TrialRules::default(), BOOT).map(drop)),
    ("start once too often", |store| store.start(TrialRules::new(9, 1), BOOT).map(drop)),
    ("complete a prediction", |store| store.completed(3, 1, TrialRules::default()).map(drop)),
    ("complete enough predictions", |store| store.completed(3, 100, TrialRules::default()).map(drop)),
    ("confirm", |store| store.confirm(3)),
    ("quarantine", |store| store.quarantine(3, "no number").map(drop)),
    ("refuse", |store| store.refuse(5, "worse by two images")),
    ("rollback", |store| store.rollback().map(drop)),
    ("prune", |store| store.prune(Keep::ALL.with_versions(Some(3))).map(drop)),
];

const BOOT: Option<&str> = Some("this one");

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn lived_in() -> Simulated {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    for seed in 1..=5 {
        store.add(&delta(0, seed)).unwrap();
    }
    store.refuse(1, "worse by an image").unwrap();
    store.activate(2).unwrap();
    store.confirm(2).unwrap();
    store.activate(4).unwrap();
    store.rollback().unwrap();
    store.activate(3).unwrap();
    drop(store.start(TrialRules::default(), BOOT).unwrap());
    disk
}

/// Catches: a step of an operation left out or in the wrong order: some power cut shows neither the old store nor the new one, or
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
                    assert!(
                        found == after || (!done && found == before),
                        "{name}, {fault:?}, done: {done}: {found:#?}"
                    );
                },
            );
            assert!(disks > 10, "{name}: only {disks} disks were looked at");
        }
    }
}

/// Catches: a store that is no store after its making was cut off, or a version that is lost with it.
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

/// Catches: a writer that builds on what a killed one had left unsynced: a later power cut takes away the ground under it.
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

/// Catches: a failed operation that stands in the way of the next: a leftover file, a lock, a number that was used up.
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

/// Catches: a full disk or one mounted for reading only that is reported without a word on what to do, or that readers mind.
#[test]
fn a_store_that_cannot_be_written_says_so_and_is_read() {
    for (kind, advice) in [(ErrorKind::ReadOnlyFilesystem, "mount"), (ErrorKind::StorageFull, "free some space")] {
        let disk = lived_in();
        let store = store(&disk).unwrap();
        disk.fail_after(0, Fault::Error(kind));
        let error = store.add(&delta(0, 4)).unwrap_err();
        assert!(matches!(error, StoreError::Durable(DurableError::Io { .. })), "{error:?}");
        assert!(error.to_string().contains(advice), "{error}");
        assert_eq!(look(&store).active, Some(3));
        disk.fail_after(2, Fault::Error(kind));
        let error = store.start(TrialRules::default(), BOOT).unwrap_err();
        assert!(matches!(error, StoreError::Durable(DurableError::Io { .. })), "{error:?}");
        assert_eq!(store.confirmed().unwrap(), [2], "what runs then");
    }
}

/// Catches: a pruned version's file that stays for ever because the power went before it was removed, or a file that is removed
/// before the state forgets it.
#[test]
fn what_a_cut_off_prune_leaves_is_swept_by_the_next() {
    let keep = Keep::ALL.with_versions(Some(3));
    exhaust(
        Fault::Stop,
        lived_in,
        |disk| store(disk).and_then(|store| store.prune(keep)).is_ok(),
        |disk, _| {
            let store = store(disk).unwrap();
            assert!(store.verify().unwrap().is_empty());
            store.prune(keep).unwrap();
            assert_eq!(look(&store).versions.iter().map(|entry| entry.version).collect::<Vec<_>>(), [2, 3, 5]);
            let files = disk.list(store.delta_path(1).parent().unwrap()).unwrap();
            assert_eq!(files, ["000002.delta", "000003.delta", "000005.delta"]);
        },
    );
}

/// Catches: a start that is taken back twice or not at all: cut off anywhere, one start too many or too few may count, no more.
#[test]
fn a_start_is_taken_back_whole_or_not_at_all() {
    let take_back = |store: Store| {
        let start = store.start(TrialRules::default(), BOOT)?;
        store.take_back(start.undecided.unwrap())
    };
    exhaust(
        Fault::Stop,
        lived_in,
        |disk| store(disk).and_then(take_back).is_ok(),
        |disk, done| {
            let VersionState::Trial(trial) = look(&store(disk).unwrap()).versions[2].state.clone() else {
                panic!("not on trial")
            };
            assert!(trial.starts == 1 || (!done && trial.starts == 2), "{trial:?}");
        },
    );
}
