//! Tests of several processes on one store, as several handles on the real disk: guards against two writers that
//! overwrite each other, and against a reader that does not see what another one activated.

use crate::common::{delta, look};
use fieldfit_durable::{Disk, DurableError, lock};
use fieldfit_store::{Store, StoreError, Transition, VersionState};
use std::{process, thread, time::Duration};

/// Catches: a reader that has to be opened again, or a generation that moves when nothing else runs.
#[test]
fn a_reader_sees_an_activation_by_another_handle() {
    let root = tempfile::tempdir().unwrap();
    let writer = Store::create_or_open(root.path().join("store")).unwrap();
    let reader = Store::open(root.path().join("store")).unwrap();
    assert_eq!((reader.active().unwrap(), reader.generation().unwrap()), (None, 0));
    writer.add(&delta(0, 1)).unwrap();
    assert_eq!(reader.generation().unwrap(), 0, "what runs has not changed");
    writer.activate(1).unwrap();
    assert_eq!((reader.active().unwrap(), reader.generation().unwrap()), (Some(1), 1));
    assert_eq!(reader.read(1).unwrap(), delta(0, 1));
    writer.rollback().unwrap();
    assert_eq!((reader.active().unwrap(), reader.generation().unwrap()), (None, 2));
}

/// Catches: two writers that give one number twice, or lose each other's versions.
#[test]
fn writers_take_turns() {
    let root = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for writer in 0..4 {
            let path = root.path().join("store");
            scope.spawn(move || {
                let store = Store::create_or_open(path).unwrap();
                for seed in 0..5 {
                    let version = store.add(&delta(0, 10 * writer + seed)).unwrap();
                    store.activate(version).unwrap();
                }
            });
        }
    });
    let found = look(&Store::open(root.path().join("store")).unwrap());
    assert_eq!(found.versions.iter().map(|entry| entry.version).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert_eq!(found.versions.iter().filter(|entry| entry.state == VersionState::Retired).count(), 19);
    assert_eq!(found.generation, 20);
}

/// Catches: a second writer that writes all the same, or that isn't told who is in its way; a reader that waits for the lock.
#[test]
fn a_second_writer_is_told_who_is_writing() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path()).unwrap();
    store.add(&delta(0, 1)).unwrap();
    let held = lock(&Disk, &root.path().join("lock"), Duration::ZERO).unwrap();
    let error = store.activate(1).unwrap_err();
    assert!(matches!(error, StoreError::Durable(DurableError::Locked { .. })), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}", process::id())), "{error}");
    assert_eq!(store.active().unwrap(), None);
    drop(held);
    store.activate(1).unwrap();
}

/// Catches: two adaptations that overwrite each other's checkpoint, or one that keeps the store's writers away.
#[test]
fn one_adaptation_works_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path()).unwrap();
    let work = store.work_dir().unwrap();
    assert!(work.path().is_dir());
    assert!(matches!(store.work_dir(), Err(StoreError::Durable(DurableError::Locked { .. }))));
    store.add(&delta(0, 1)).unwrap();
    drop(work);
    drop(store.work_dir().unwrap());

    // A lock that nobody can take is told before the work.
    std::fs::remove_file(root.path().join("lock")).unwrap();
    std::fs::create_dir(root.path().join("lock")).unwrap();
    assert!(matches!(store.work_dir(), Err(StoreError::Durable(_))));
}

/// Catches: a store whose state names the place where it was made.
#[test]
fn a_store_can_be_moved() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path().join("here")).unwrap();
    store.add(&delta(0, 1)).unwrap();
    store.activate(1).unwrap();
    let before = look(&store);
    std::fs::rename(root.path().join("here"), root.path().join("there")).unwrap();
    assert_eq!(look(&Store::open(root.path().join("there")).unwrap()), before);
    assert!(matches!(store.active(), Err(StoreError::Missing { .. })));
}

/// Catches: a history that leaves something out, or grows for ever.
#[test]
fn the_history_tells_what_was_done_and_stays_small() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path()).unwrap();
    for seed in 1..=3 {
        store.add(&delta(0, seed)).unwrap();
    }
    store.refuse(1, "no better").unwrap();
    store.activate(2).unwrap();
    store.rollback().unwrap();
    let changes: Vec<Transition> = store.history().unwrap().into_iter().map(|event| event.change).collect();
    let expected = [
        Transition::Added { version: 1 },
        Transition::Added { version: 2 },
        Transition::Added { version: 3 },
        Transition::Refused { version: 1, reason: "no better".into() },
        Transition::Activated { version: 2 },
        Transition::RolledBack { from: 2, to: None, passed_over: vec![] },
    ];
    assert_eq!(changes, expected);
    for turn in 0..fieldfit_store::HISTORY as u32 {
        store.activate(2 + turn % 2).unwrap();
    }
    let history = store.history().unwrap();
    assert_eq!(history.len(), fieldfit_store::HISTORY);
    assert_eq!(history[0].change, Transition::Activated { version: 2 });
}
