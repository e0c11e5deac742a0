//! Tests of damaged and forged stores: guards against a version that runs though it is not what was
//! stored, a guess where the state is lost, and a state file that makes the reader panic.

use crate::common::{ROOT, delta, look, store};
use fieldfit_durable::{
    FileSystem, seal,
    testing::{Fault, Simulated},
    unseal,
};
use fieldfit_store::{Problem, Store, StoreError, Transition, VersionState};
use serde_json::{Value, json};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

const KIND: [u8; 8] = *b"FFSTATE2";

fn state() -> PathBuf {
    Path::new(ROOT).join("state")
}

fn with_versions(count: u64) -> (Simulated, Store) {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    for seed in 1..=count {
        let version = store.add(&delta(0, seed)).unwrap();
        store.activate(version).unwrap();
    }
    (disk, store)
}

/// Catches: a flipped bit or a cut in the state that goes unnoticed, or is taken for a new store.
#[test]
fn a_damaged_state_is_reported_and_left_alone() {
    let damages: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes[100] ^= 1,
        |bytes| bytes[20] ^= 1,
        |bytes| bytes.truncate(70),
        Vec::clear,
        |bytes| bytes.push(0),
    ];
    for damage in damages {
        let (disk, opened) = with_versions(1);
        disk.damage(&state(), damage);
        let before = disk.contents();
        let errors = [store(&disk).unwrap_err(), opened.active().unwrap_err(), opened.add(&delta(0, 2)).unwrap_err()];
        for error in errors {
            assert!(matches!(error, StoreError::DamagedState { .. }), "{error:?}");
            assert!(error.to_string().contains("add them to a new store"), "{error}");
        }
        assert_eq!(disk.contents(), before);
    }
}

/// Catches: a lost state taken for a new store: its first version would overwrite the old one.
#[test]
fn a_lost_state_is_not_begun_anew() {
    let (disk, _) = with_versions(1);
    disk.remove(&state()).unwrap();
    let error = store(&disk).unwrap_err();
    assert!(matches!(&error, StoreError::DamagedState { reason, .. } if reason.contains("missing")), "{error}");
}

/// Catches: a state whose seal holds and that makes no sense: the reader panics, or the next version overwrites another one.
#[test]
fn a_forged_state_is_refused() {
    type Forgery = (&'static str, fn(&mut Value));
    let forgeries: [Forgery; 13] = [
        ("no field", |state| *state = json!({})),
        ("next 0", |state| state["next"] = json!(0)),
        ("next is taken", |state| state["next"] = json!(2)),
        ("version 0", |state| state["versions"][0]["version"] = json!(0)),
        ("one number twice", |state| state["versions"][1]["version"] = json!(1)),
        ("two are on trial", |state| {
            state["versions"][0] = state["versions"][1].clone();
            state["versions"][0]["version"] = json!(1);
        }),
        ("what is active is retired", |state| state["versions"][1]["state"] = json!("retired")),
        ("a confirmed one is nowhere", |state| {
            state["versions"][0]["state"] = json!("confirmed");
            state["line"] = json!([2]);
        }),
        ("one is to be gone back to twice", |state| state["line"] = json!([2, 1, 2])),
        ("none is active", |state| state["line"] = json!([])),
        ("an unknown one is active", |state| state["line"] = json!([1, 7])),
        ("no base", |state| state["base"] = json!(null)),
        ("more bytes than can be counted", |state| state["versions"][0]["bytes"] = json!(u64::MAX)),
    ];
    for (name, forge) in forgeries {
        let (disk, opened) = with_versions(2);
        disk.damage(&state(), |bytes| {
            let mut record = serde_json::from_slice(unseal(KIND, bytes).unwrap()).unwrap();
            forge(&mut record);
            *bytes = seal(KIND, &serde_json::to_vec(&record).unwrap());
        });
        assert!(matches!(opened.versions(), Err(StoreError::DamagedState { .. })), "{name}: {:?}", opened.versions());
    }
}

/// Catches: a damaged version that runs, or that `verify` doesn't see.
#[test]
fn a_damaged_version_is_found_and_not_run() {
    type Damage = (fn(&Simulated, &Path), fn(&Problem) -> bool);
    let damages: [Damage; 4] = [
        (|disk, path| disk.damage(path, |bytes| bytes[90] ^= 4), |problem| matches!(problem, Problem::Hash { .. })),
        (
            |disk, path| disk.damage(path, |bytes| bytes.truncate(90)),
            |problem| matches!(problem, Problem::Length { .. }),
        ),
        (|disk, path| disk.damage(path, |bytes| bytes.push(0)), |problem| matches!(problem, Problem::Length { .. })),
        (|disk, path| disk.remove(path).unwrap(), |problem| matches!(problem, Problem::Missing)),
    ];
    for (damage, is_expected) in damages {
        let (disk, store) = with_versions(3);
        damage(&disk, &store.delta_path(2));
        let findings = store.verify().unwrap();
        assert!(findings.len() == 1 && findings[0].version == 2 && is_expected(&findings[0].problem), "{findings:?}");
        for error in [store.read(2).unwrap_err(), store.activate(2).unwrap_err()] {
            let StoreError::Damaged { version: 2, path, problem } = &error else { panic!("{error:?}") };
            assert!(is_expected(problem) && *path == store.delta_path(2), "{error}");
        }
        assert_eq!((store.active().unwrap(), store.generation().unwrap()), (Some(3), 3));
        assert_eq!(store.read(3).unwrap(), delta(0, 3));
    }
}

/// Catches: a rollback that stops at a damaged version and leaves the bad one running, or says nothing of it.
#[test]
fn a_rollback_passes_over_damaged_versions() {
    let (disk, store) = with_versions(3);
    disk.damage(&store.delta_path(2), |bytes| bytes[90] ^= 4);
    assert_eq!(store.rollback().unwrap(), Some(1));
    let recorded = store.history().unwrap().pop().unwrap().change;
    assert_eq!(recorded, Transition::RolledBack { from: 3, to: Some(1), passed_over: vec![2] });

    disk.remove(&store.delta_path(1)).unwrap();
    assert_eq!(store.rollback().unwrap(), None);
    assert!(matches!(store.rollback(), Err(StoreError::NothingToRollBack)));
}

/// Catches: bytes that reach the disk before they are verified.
#[test]
fn what_is_no_delta_for_this_base_is_not_stored() {
    let (disk, store) = with_versions(1);
    let before = disk.contents();
    let whole = delta(0, 2);
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &flipped, b"", b"not a delta"] {
        assert!(matches!(store.add(bytes), Err(StoreError::Delta(_))));
    }
    let error = store.add(&delta(7, 2)).unwrap_err();
    let StoreError::OtherBase { expected, found } = &error else { panic!("{error:?}") };
    assert_eq!((expected, found), (&"00".repeat(32), &"07".repeat(32)));
    assert!(error.to_string().contains(found), "{error}");
    assert_eq!(disk.contents(), before);
}

/// Catches: an activation of what the gate refused, a refusal of what runs, a number that isn't there.
#[test]
fn operations_that_make_no_sense_change_nothing() {
    let (_, store) = with_versions(1);
    store.add(&delta(0, 2)).unwrap();
    store.refuse(2, "three images worse").unwrap();
    let before = look(&store);
    assert_eq!(before.versions[1].state, VersionState::Refused { reason: "three images worse".into() });

    let error = store.activate(2).unwrap_err();
    assert!(
        matches!(error, StoreError::Refused { version: 2, .. }) && error.to_string().contains("three images worse")
    );
    assert!(matches!(store.refuse(2, "again"), Err(StoreError::NotRefusable { version: 2, state: "refused" })));
    assert!(matches!(store.refuse(1, "runs"), Err(StoreError::NotRefusable { version: 1, state: "trial" })));
    let unknown = [store.activate(3).unwrap_err(), store.refuse(0, "").unwrap_err(), store.read(9).unwrap_err()];
    for error in unknown {
        assert!(matches!(error, StoreError::Unknown { .. }) && error.to_string().contains("1, 2"), "{error}");
    }
    store.activate(1).unwrap();
    assert_eq!(look(&store), before);
}

/// Catches: a refused version that a rollback brings back.
#[test]
fn a_refused_version_is_no_target_of_a_rollback() {
    let (_, store) = with_versions(3);
    store.refuse(2, "drives into walls").unwrap();
    assert_eq!(store.rollback().unwrap(), Some(1));
}

/// Catches: a folder of somebody else's files made a store, or a missing store made by a command that only reads.
#[test]
fn other_folders_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("holiday.jpg"), "").unwrap();
    let error = Store::create_or_open(root.path()).unwrap_err();
    assert!(matches!(&error, StoreError::NotAStore { found, .. } if found == "holiday.jpg"), "{error}");
    let missing = root.path().join("missing");
    assert!(matches!(Store::open(&missing), Err(StoreError::Missing { .. })));
    assert!(!missing.exists());
    let error = Store::create_or_open(root.path().join("holiday.jpg/store")).unwrap_err();
    assert!(matches!(error, StoreError::Durable(_)) && error.to_string().contains("holiday.jpg"), "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

/// Catches: a robot without its base because the state is damaged or can't be read, or an operation that writes over what
/// could be mended.
#[test]
fn a_store_whose_state_cannot_be_used_is_opened_degraded_and_left_alone() {
    let (disk, whole) = with_versions(1);
    let open = || Store::open_degraded_on(Arc::new(disk.clone()), Path::new(ROOT));
    assert!(open().unwrap().1.is_none());
    disk.fail_after(0, Fault::Error(ErrorKind::Other));
    let (_, unreadable) = open().unwrap();
    assert!(matches!(unreadable, Some(StoreError::UnreadableState(_))), "{unreadable:?}");
    let good = disk.contents()[&state()].clone();
    disk.damage(&state(), |bytes| bytes[100] ^= 1);
    let before = disk.contents();
    let (degraded, reason) = open().unwrap();
    assert!(matches!(&reason, Some(error) if error.is_unusable_state()), "{reason:?}");
    assert!(degraded.rollback().unwrap_err().is_unusable_state());
    assert!(degraded.quarantine(1, "fails").unwrap_err().is_unusable_state());
    assert!(degraded.fix_base(&[0; 32]).unwrap_err().is_unusable_state());
    assert_eq!(disk.contents(), before);
    disk.damage(&state(), |bytes| *bytes = good);
    assert_eq!(degraded.active_version().unwrap(), whole.active_version().unwrap());
    let nowhere = Store::open_degraded_on(Arc::new(disk.clone()), Path::new("/nowhere"));
    assert!(matches!(nowhere, Err(StoreError::Missing { .. })));
}

/// Catches: a state that is a link to nowhere, taken for a new store or looked for without end.
#[test]
#[cfg(unix)]
fn a_state_that_is_a_dangling_link_is_damage() {
    let root = tempfile::tempdir().unwrap();
    for versions in [false, true] {
        let path = root.path().join(format!("store-{versions}"));
        fs::create_dir_all(path.join("versions")).unwrap();
        if versions {
            fs::write(path.join("versions/000001.delta"), delta(0, 1)).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", path.join("state")).unwrap();
        let error = Store::create_or_open(&path).unwrap_err();
        assert!(matches!(error, StoreError::DamagedState { .. }), "{error:?}");
    }
}

/// Catches: a reason or an entry of the history that moves the terminal's cursor or forges a line.
#[test]
fn reasons_are_escaped() {
    let (_, store) = with_versions(1);
    store.add(&delta(0, 2)).unwrap();
    store.refuse(2, "worse\nversion 9 was confirmed\u{1b}[1A").unwrap();
    let shown = r"worse\nversion 9 was confirmed\u{1b}[1A";
    assert_eq!(store.version(2).unwrap().state.to_string(), format!("refused: {shown}"));
    let last = store.history().unwrap().pop().unwrap().change.to_string();
    assert_eq!(last, format!("version 2 was refused: {shown}"));
    // As an earlier version stored it.
    let raw = Transition::Refused { version: 2, reason: "a\u{202e}b".into() };
    assert_eq!(raw.to_string(), r"version 2 was refused: a\u{202e}b");
}
