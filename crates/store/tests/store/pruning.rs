//! Tests of pruning: guards against a needed version that is removed, a store that still grows, and a reader that finds
//! a missing file.

use crate::common::{delta, look};
use fieldfit_store::{Keep, Store, StoreError, Transition, TrialRules, VersionState};
use std::{fs, path::Path, thread};

fn versions(store: &Store) -> Vec<u32> {
    store.versions().unwrap().iter().map(|entry| entry.version).collect()
}

fn keep(versions: u32) -> Keep {
    Keep::ALL.with_versions(Some(versions))
}

/// A store with versions 1 to 8: 1 confirmed, 2 replaced on trial, 3 rolled back from, 4 refused, 5 quarantined, 6 active on
/// trial, 7 and 8 candidates.
fn lived_in(path: &Path) -> Store {
    let store = Store::create_or_open(path).unwrap();
    for seed in 1..=8 {
        store.add(&delta(0, seed)).unwrap();
    }
    store.activate(1).unwrap();
    store.confirm(1).unwrap();
    store.activate(2).unwrap();
    store.activate(3).unwrap();
    store.rollback().unwrap();
    store.refuse(4, "no better").unwrap();
    store.activate(5).unwrap();
    store.quarantine(5, "crashes").unwrap();
    store.activate(2).unwrap();
    store.activate(6).unwrap();
    store
}

/// Catches: what is active, on trial, or the last confirmed version going with the old ones; a refused one staying in a good one's
/// stead.
#[test]
fn what_can_not_run_goes_first_and_what_is_needed_stays() {
    let root = tempfile::tempdir().unwrap();
    let store = lived_in(root.path());
    for (most, removed) in [(8, vec![]), (6, vec![4, 5]), (5, vec![3]), (4, vec![2]), (3, vec![7]), (1, vec![])] {
        let pruned = store.prune(keep(most)).unwrap();
        assert_eq!(pruned.versions, removed, "within {most}");
        assert_eq!(pruned.bytes, removed.iter().map(|version| delta(0, u64::from(*version)).len() as u64).sum::<u64>());
    }
    assert_eq!(versions(&store), [1, 6, 8]);
    assert_eq!(fs::read_dir(root.path().join("versions")).unwrap().count(), 3);
    assert!(
        matches!(store.history().unwrap().pop().unwrap().change, Transition::Pruned { versions, .. } if versions == [7])
    );
    assert_eq!((store.active().unwrap(), store.confirmed().unwrap()), (Some(6), vec![1]));
    assert_eq!(store.rollback().unwrap(), Some(1), "what was pruned is no target of a rollback");
    assert_eq!(store.add(&delta(0, 9)).unwrap(), 9, "no number is given twice");
}

/// Catches: a quota that counts versions in place of bytes, or that is reached by removing what is needed.
#[test]
fn a_byte_quota_is_kept_as_far_as_it_can_be() {
    let root = tempfile::tempdir().unwrap();
    let store = lived_in(root.path());
    let one = delta(0, 1).len() as u64;
    let quota = |bytes| Keep::ALL.with_bytes(Some(bytes));
    assert_eq!(store.prune(quota(8 * one)).unwrap().versions, [] as [u32; 0]);
    assert_eq!(store.prune(quota(5 * one + one / 2)).unwrap().versions, [4, 5, 3]);
    assert_eq!(store.prune(quota(0)).unwrap().versions, [2, 7]);
    assert_eq!(versions(&store), [1, 6, 8]);
}

/// Catches: fileSystem that a power cut or an error left, which stay for ever; or a file of somebody else's that goes with them.
#[test]
fn files_of_no_version_are_swept() {
    let root = tempfile::tempdir().unwrap();
    let store = lived_in(root.path());
    let folder = root.path().join("versions");
    for name in ["000099.delta", ".000009.delta.tmp", "notes.txt", "mine.delta"] {
        fs::write(folder.join(name), "left").unwrap();
    }
    store.prune(Keep::default()).unwrap();
    let left = |name: &str| folder.join(name).exists();
    assert!(!left("000099.delta") && !left(".000009.delta.tmp"));
    assert!(left("notes.txt") && left("mine.delta"));
    assert_eq!(look(&store).versions.len(), 8);
}

/// Catches: a reader that looked at the state before a prune and at the file after it, and takes the hole for damage.
#[test]
fn a_reader_that_lost_a_race_with_prune_reads_what_is_active_now() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path()).unwrap();
    store.add(&delta(0, 1)).unwrap();
    store.activate(1).unwrap();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let reader = Store::open(root.path()).unwrap();
                scope.spawn(move || {
                    loop {
                        let (version, bytes) = reader.read_active().unwrap().unwrap();
                        assert_eq!(bytes, delta(0, u64::from(version)));
                        if version == 60 {
                            break;
                        }
                    }
                })
            })
            .collect();
        for number in 2..=60 {
            assert_eq!(store.add(&delta(0, number)).unwrap(), number as u32);
            store.activate(number as u32).unwrap();
            store.prune(keep(1)).unwrap();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(versions(&store), [60]);
    assert!(matches!(store.read(7), Err(StoreError::Unknown { version: 7, .. })));
}

/// Catches: a prune in the middle of a trial that forgets how far it has come.
#[test]
fn a_trial_goes_on_over_a_prune() {
    let root = tempfile::tempdir().unwrap();
    let store = lived_in(root.path());
    store.completed(6, 41, TrialRules::default()).unwrap();
    store.prune(keep(2)).unwrap();
    assert!(matches!(store.version(6).unwrap().state, VersionState::Trial(trial) if trial.predictions == 41));
}
