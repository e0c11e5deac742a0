//! Tests of hostile environments: guards against a full disk that costs a version, a read-only one that keeps a
//! robot from starting, a clock that upsets the order, and copies that do not open.

use crate::common::{header, look, store as simulated};
use fieldfit_delta::{Codec, TensorData, TensorKind, encode};
use fieldfit_durable::{Disk, DurableError, lock, seal, testing::Simulated, unseal};
use fieldfit_store::{Keep, Store, StoreError, Transition, TrialRules, VersionState};
use fieldfit_tests::place::{mount, own_disk};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// A delta of three pages.
fn delta(seed: u64) -> Vec<u8> {
    let values = vec![seed as f32; 5000];
    let tensor = TensorData {
        name: "conv.weight",
        shape: &[5000],
        kind: TensorKind::Difference,
        constraint: None,
        codec: Codec::F16,
        values: &values,
    };
    encode(&header(0, seed), &["cat", "dog"], &[tensor]).unwrap()
}

/// Catches: a full disk on which the store loses what it had, or that stays full when versions are pruned.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_old_state() {
    let Some(place) = own_disk("environment::a_full_disk_leaves_the_old_state", "128k") else { return };
    let store = Store::create_or_open(place.join("store")).unwrap();
    let added = (1..100).find(|&seed| match store.add(&delta(seed)) {
        Ok(version) => {
            store.activate(version).unwrap();
            false
        }
        Err(error) => {
            let StoreError::Durable(DurableError::Io { source, .. }) = &error else { panic!("{error:?}") };
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            assert!(error.to_string().contains("free some space"), "{error}");
            true
        }
    });
    let added = added.unwrap() - 1;
    assert!((5..12).contains(&added), "{added} versions fit");
    let before = look(&store);
    assert_eq!((before.versions.len() as u64, before.active), (added, Some(added as u32)));
    assert!(store.add(&delta(77)).is_err());
    assert_eq!(look(&store), before);

    store.prune(Keep::ALL.with_versions(Some(2))).unwrap();
    assert_eq!(store.active().unwrap(), Some(added as u32));
    assert_eq!(store.add(&delta(78)).unwrap(), added as u32 + 1, "there is space again");
}

/// Catches: a reader that needs to write, or a writer that doesn't say that it can't.
#[test]
#[cfg(target_os = "linux")]
fn a_read_only_disk_is_read() {
    let Some(place) = own_disk("environment::a_read_only_disk_is_read", "128k") else { return };
    let store = Store::create_or_open(place.join("store")).unwrap();
    for seed in 1..=2 {
        store.add(&delta(seed)).unwrap();
    }
    store.activate(1).unwrap();
    let confirmed_only = store.start(TrialRules::default(), None).unwrap();
    store.completed(1, 100, TrialRules::default()).unwrap();
    drop(confirmed_only);
    mount(&["-o", "remount,ro"], &place);
    let reader = Store::open(place.join("store")).unwrap();
    assert_eq!(look(&reader).active, Some(1));
    assert_eq!(reader.start(TrialRules::default(), None).unwrap().version, Some(1), "what is confirmed needs no write");
    for error in [reader.activate(2).unwrap_err(), reader.rollback().unwrap_err(), reader.add(&delta(3)).unwrap_err()] {
        assert!(error.to_string().contains("mount the file system for writing"), "{error}");
    }

    mount(&["-o", "remount,rw"], &place);
    store.activate(2).unwrap();
    mount(&["-o", "remount,ro"], &place);
    let error = reader.start(TrialRules::default(), None).unwrap_err();
    assert!(matches!(error, StoreError::Durable(_)), "a trial cannot be recorded here: {error}");
    assert_eq!(reader.confirmed().unwrap(), [1]);
}

/// Catches: an order of things that follows the clock: a robot's is set back whenever it has no network.
#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let disk = Simulated::new();
    let store = simulated(&disk).unwrap();
    for seed in 1..=2 {
        let version = store.add(&crate::common::delta(0, seed)).unwrap();
        store.activate(version).unwrap();
        store.confirm(version).unwrap();
        // The clock was years ahead when that was done.
        disk.damage(&Path::new(crate::common::ROOT).join("state"), |bytes| {
            let mut record: Value = serde_json::from_slice(unseal(*b"FFSTATE2", bytes).unwrap()).unwrap();
            record["history"].as_array_mut().unwrap().iter_mut().for_each(|event| event["time"] = json!(u64::MAX));
            *bytes = seal(*b"FFSTATE2", &serde_json::to_vec(&record).unwrap());
        });
    }
    assert_eq!(store.prune(Keep::ALL.with_versions(Some(1))).unwrap().versions, [1]);
    assert_eq!(store.rollback().unwrap(), None);
    let history = store.history().unwrap();
    assert!(history.windows(2).any(|pair| pair[0].time > pair[1].time), "it did go back");
    let last = history.last().unwrap();
    assert_eq!(last.change, Transition::RolledBack { from: 2, to: None, passed_over: vec![] });
    assert_eq!(store.version(2).unwrap().state, VersionState::Retired);
}

/// Catches: a copy, taken while versions are added and activated, that doesn't open or names a version that isn't in it.
#[test]
fn a_copy_taken_while_somebody_writes_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path().join("store")).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 1..=60 {
                let version = store.add(&delta(seed)).unwrap();
                store.activate(version).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut copies = 0;
        while !is_over.load(Ordering::Relaxed) {
            copies += 1;
            let copy = root.path().join(format!("copy-{copies}"));
            copy_store(store.path(), &copy);
            let found = look(&Store::open(&copy).unwrap());
            assert!(found.deltas.len() >= found.active.unwrap_or(0) as usize);
            fs::remove_dir_all(&copy).unwrap();
        }
    });
}

/// `state` first, then `versions`, as the design says.
fn copy_store(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("versions")).unwrap();
    fs::copy(from.join("state"), to.join("state")).unwrap();
    let Ok(names) = fs::read_dir(from.join("versions")) else { return };
    for name in names.map(|entry| entry.unwrap().file_name()) {
        // What is being written is renamed under our hands.
        let _ = fs::copy(from.join("versions").join(&name), to.join("versions").join(&name));
    }
}

/// Catches: an empty lock file on a full disk, into which the holder's name does not go, and that locks everybody out.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_locks_nobody_out() {
    let Some(place) = own_disk("environment::a_full_disk_locks_nobody_out", "128k") else { return };
    let path = place.join("lock");
    fs::write(&path, "").unwrap();
    let filled = fs::write(place.join("filler"), vec![7; 256 << 10]).unwrap_err();
    assert_eq!(filled.kind(), io::ErrorKind::StorageFull);
    let held = lock(&Disk, &path, Duration::ZERO).unwrap();
    assert!(matches!(lock(&Disk, &path, Duration::ZERO), Err(DurableError::Locked { .. })));
    drop(held);
    drop(lock(&Disk, &path, Duration::ZERO).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "the disk was not full");
}
