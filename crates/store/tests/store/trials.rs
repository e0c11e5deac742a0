//! Tests of trials: guards against a bad version that runs again and again, a good one that is quarantined, and
//! counts that are lost or accumulate.

use crate::common::{delta, store};
use fieldfit_durable::testing::Simulated;
use fieldfit_store::{Store, StoreError, Transition, TrialProgress, TrialRules, VersionState};

const RULES: TrialRules = TrialRules::new(100, 3);
const BOOT: Option<&str> = Some("one");
const NEXT_BOOT: Option<&str> = Some("two");

/// Version 1 is confirmed, version 2 on trial.
fn on_trial() -> (Simulated, Store) {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    for seed in 1..=2 {
        let version = store.add(&delta(0, seed)).unwrap();
        store.activate(version).unwrap();
        if version == 1 {
            store.confirm(1).unwrap();
        }
    }
    (disk, store)
}

fn state(store: &Store, version: u32) -> VersionState {
    store.version(version).unwrap().state
}

/// A start that ends at once: its process is killed, or crashes.
fn crash(store: &Store, boot: Option<&str>) -> Option<u32> {
    store.start(RULES, boot).unwrap().version
}

/// Catches: a version that crashes on every start and is started for ever, is given up too early, or takes the version before it
/// along.
#[test]
fn a_version_that_never_completes_a_prediction_is_quarantined_at_the_fourth_start() {
    let (_, store) = on_trial();
    for _ in 0..3 {
        assert_eq!(crash(&store, BOOT), Some(2));
    }
    let before = store.generation().unwrap();
    assert_eq!(crash(&store, BOOT), Some(1));
    assert_eq!(store.generation().unwrap(), before + 1, "other processes are to see it");
    let reason = "3 starts without one completed prediction".to_owned();
    assert_eq!(state(&store, 2), VersionState::Quarantined { reason: reason.clone() });
    let last = store.history().unwrap().pop().unwrap().change;
    assert_eq!(last, Transition::Quarantined { version: 2, reason, to: Some(1), passed_over: vec![] });
    assert_eq!(state(&store, 1), VersionState::Confirmed);
    assert_eq!(crash(&store, BOOT), Some(1), "what is confirmed is not counted");
    let error = store.activate(2).unwrap_err();
    assert!(matches!(error, StoreError::Refused { state: "quarantined", .. }), "{error}");
}

/// Catches: a robot that is switched off before its camera sends a frame, morning after morning, and loses a good version by it.
#[test]
fn switching_the_power_off_is_no_failed_trial() {
    let (_, store) = on_trial();
    for boot in ["monday", "tuesday", "wednesday", "thursday", "friday"] {
        for _ in 0..2 {
            assert_eq!(crash(&store, Some(boot)), Some(2));
        }
    }
    for _ in 0..3 {
        assert_eq!(crash(&store, NEXT_BOOT), Some(2));
    }
    assert_eq!(crash(&store, NEXT_BOOT), Some(1), "crashes within one start of the system do count");
}

/// Catches: four processes that open the store in the same moment, of which the last takes the other three for crashed.
#[test]
fn starts_that_still_run_are_not_judged() {
    let (_, store) = on_trial();
    let running: Vec<_> = (0..7).map(|_| store.start(RULES, BOOT).unwrap()).collect();
    assert!(running.iter().all(|start| start.version == Some(2) && start.undecided.is_some()));
    drop(running);
    assert_eq!(crash(&store, BOOT), Some(1), "now that they have all ended without a prediction");
}

/// Catches: a version that runs most of the time and is taken for one that never does.
#[test]
fn a_completed_prediction_clears_the_starts_before_it() {
    let (_, store) = on_trial();
    for _ in 0..5 {
        crash(&store, BOOT);
        crash(&store, BOOT);
        let start = store.start(RULES, BOOT).unwrap();
        assert_eq!((start.version, start.undecided.unwrap().version()), (Some(2), 2));
        assert_eq!(store.completed(2, 1, RULES).unwrap(), TrialProgress::OnTrial);
    }
    assert_eq!(store.start(RULES, BOOT).unwrap().undecided.unwrap().completed(), 5);
}

/// Catches: starts that ended in order and were asked for nothing: an adaptation that only looked at the store.
#[test]
fn a_start_that_was_asked_for_nothing_is_taken_back() {
    let (_, store) = on_trial();
    for _ in 0..9 {
        let start = store.start(RULES, BOOT).unwrap();
        store.take_back(start.undecided.unwrap()).unwrap();
    }
    assert_eq!(crash(&store, BOOT), Some(2));
    let VersionState::Trial(trial) = state(&store, 2) else { panic!("not on trial") };
    assert_eq!(trial.starts, 1);
}

/// Catches: predictions that are forgotten from one start to the next, that confirm too early, or a history that has one event a
/// prediction.
#[test]
fn predictions_add_up_over_starts_and_confirm() {
    let (_, store) = on_trial();
    let events = store.history().unwrap().len();
    for boot in [BOOT, BOOT, NEXT_BOOT] {
        let _start = store.start(RULES, boot).unwrap();
        assert_eq!(store.completed(2, 33, RULES).unwrap(), TrialProgress::OnTrial);
    }
    assert_eq!(store.history().unwrap().len(), events);
    let generation = store.generation().unwrap();
    assert_eq!(store.completed(2, 1, RULES).unwrap(), TrialProgress::Confirmed);
    assert_eq!(state(&store, 2), VersionState::Confirmed);
    assert_eq!(store.generation().unwrap(), generation, "what runs has not changed");
    let last = store.history().unwrap().pop().unwrap().change;
    assert_eq!(last, Transition::Confirmed { version: 2, predictions: Some(100) });
    assert_eq!(store.completed(2, 1, RULES).unwrap(), TrialProgress::Over);
    assert_eq!(store.confirmed().unwrap(), [2, 1]);
}

/// Catches: predictions of a version that was replaced meanwhile, counted for another or bringing it back.
#[test]
fn predictions_of_what_was_replaced_count_nothing() {
    let (_, store) = on_trial();
    store.add(&delta(0, 3)).unwrap();
    store.activate(3).unwrap();
    assert_eq!(state(&store, 2), VersionState::Retired);
    assert_eq!(store.completed(2, 500, RULES).unwrap(), TrialProgress::Over);
    assert_eq!(store.completed(9, 500, RULES).unwrap(), TrialProgress::Over);
    assert_eq!((state(&store, 2), store.active().unwrap()), (VersionState::Retired, Some(3)));
    assert_eq!(store.quarantine(2, "late").unwrap(), Some(3), "nor does its failure");
    assert_eq!(state(&store, 2), VersionState::Retired);
}

/// Catches: a fallback to a version that never proved itself, or to a damaged one.
#[test]
fn a_failed_trial_falls_back_to_what_is_confirmed_and_whole() {
    let (disk, store) = on_trial();
    for seed in 3..=5 {
        store.add(&delta(0, seed)).unwrap();
        store.activate(seed as u32).unwrap();
    }
    assert_eq!(store.quarantine(5, "answers with no number").unwrap(), Some(1));
    let last = store.history().unwrap().pop().unwrap().change;
    assert!(matches!(last, Transition::Quarantined { to: Some(1), passed_over, .. } if passed_over == [4, 3, 2]));

    store.activate(2).unwrap();
    disk.damage(&store.delta_path(1), |bytes| bytes[90] ^= 4);
    assert_eq!(store.quarantine(2, "crashes").unwrap(), None, "below everything there is the base");
    assert_eq!(store.confirmed().unwrap(), [] as [u32; 0]);
}

/// Catches: a confirmation of what never ran, or one that is lost when another version is made active and gone back from.
#[test]
fn confirming_by_hand() {
    let (_, store) = on_trial();
    store.add(&delta(0, 3)).unwrap();
    assert!(matches!(store.confirm(3), Err(StoreError::NotOnTrial { version: 3, state: "candidate" })));
    assert!(matches!(store.confirm(7), Err(StoreError::Unknown { .. })));
    store.confirm(2).unwrap();
    store.confirm(2).unwrap();
    let last = store.history().unwrap().pop().unwrap().change;
    assert_eq!(last, Transition::Confirmed { version: 2, predictions: None });
    store.activate(3).unwrap();
    assert_eq!(store.rollback().unwrap(), Some(2));
    assert_eq!(state(&store, 2), VersionState::Confirmed);
    assert_eq!(state(&store, 3), VersionState::Retired);
}

/// Catches: a version that somebody rolled back from and that is trusted as before when it is tried again; one that was replaced
/// on trial and comes back as if it had passed.
#[test]
fn what_was_rolled_back_from_or_replaced_on_trial_has_to_prove_itself_again() {
    let (_, store) = on_trial();
    store.confirm(2).unwrap();
    store.rollback().unwrap();
    assert_eq!(state(&store, 2), VersionState::Retired);
    store.activate(2).unwrap();
    assert!(matches!(state(&store, 2), VersionState::Trial(trial) if trial.predictions == 0));
    store.add(&delta(0, 3)).unwrap();
    store.activate(3).unwrap();
    assert_eq!(store.rollback().unwrap(), Some(2));
    assert!(matches!(state(&store, 2), VersionState::Trial(_)));
}

/// Catches: a system that doesn't say when it started: there a crash must still count.
#[test]
fn without_a_boot_to_tell_starts_count_all_the_same() {
    let (_, store) = on_trial();
    for _ in 0..3 {
        assert_eq!(crash(&store, None), Some(2));
    }
    assert_eq!(crash(&store, None), Some(1));
}
