//! Tests of recalls: who may recall, what happens to a version that waits, is on trial or runs, and what came of it.

use crate::common::{Faulty, Robot, World, ground, key};
use fieldfit::store::VersionState;
use fieldfit_fleet::{Digest, FleetError, Key, Offer, Policy, SyncReport};
use std::fs;

fn base() -> Digest {
    Digest(ground().base_id())
}

fn sync(robot: &Robot, carrier: &Faulty) -> SyncReport {
    robot.agent(carrier).sync(&Policy::default(), Some(&ground().gate(World::Usual))).unwrap()
}

/// Robot with a published version of the usual world, and the version's hash.
fn publisher(carrier: &Faulty, seed: u64, signer: u8) -> (Robot, Digest) {
    let robot = Robot::new(&format!("publisher-{signer}"));
    let version = robot.learned(&ground().delta(World::Usual, seed), signer);
    let delta = robot.agent(carrier).publish(version, &key(signer), &Offer::default()).unwrap().delta;
    (robot, delta)
}

fn is_quarantined(robot: &Robot, version: u32) -> bool {
    matches!(robot.store.version(version).unwrap().state, VersionState::Quarantined { .. })
}

/// Catches: a recalled version that goes on running, on trial or confirmed, or that comes back.
#[test]
fn a_recall_stops_a_trial_and_a_confirmed_version() {
    let carrier = Faulty::new();
    let (owner, delta) = publisher(&carrier, 1, 1);
    let (on_trial, confirmed, waiting) = (Robot::new("on-trial"), Robot::new("confirmed"), Robot::new("waiting"));
    for robot in [&on_trial, &confirmed] {
        let own = robot.learned(&ground().wrong(7), 9);
        assert_eq!(sync(robot, &carrier).activated, Some(own + 1));
    }
    confirmed.store.confirm(2).unwrap();
    waiting.agent(&carrier).sync(&Policy::default(), None).unwrap();

    let operator = Robot::new("operator");
    let recall = operator.agent(&carrier).recall(&delta, "it confuses sand and snow", &key(2)).unwrap();
    assert_eq!(recall.delta, delta);
    for robot in [&on_trial, &confirmed] {
        let report = sync(robot, &carrier);
        assert_eq!(report.recalled.len(), 1, "{report:?}");
        assert!(
            report.recalled[0].was_active && report.recalled[0].reason.contains("robot-2: it confuses sand and snow")
        );
        assert_eq!((report.active, is_quarantined(robot, 2)), (Some(1), true), "the last confirmed one runs");
    }
    let report = sync(&waiting, &carrier);
    assert!(!report.recalled[0].was_active && report.activated.is_none(), "{report:?}");
    assert!(matches!(waiting.store.version(1).unwrap().state, VersionState::Refused { .. }));
    let late = sync(&Robot::new("late"), &carrier);
    assert_eq!((late.received.len(), late.active, late.bytes), (0, None, 0), "a robot that joins late");

    sync(&owner, &carrier);
    assert_eq!(owner.store.active().unwrap(), None, "the publisher obeys, too");
    let again = owner.agent(&carrier).publish(1, &key(1), &Offer::default()).unwrap_err();
    assert!(matches!(again, FleetError::Recalled { version: 1, .. }), "{again}");
    assert!(sync(&on_trial, &carrier).recalled.is_empty(), "once is enough");
}

/// Catches: a recall by a key that nobody lists, a forged one, and one that is changed on its way, that are obeyed.
#[test]
fn only_listed_keys_recall() {
    let carrier = Faulty::new();
    let (_, delta) = publisher(&carrier, 1, 1);
    let robot = Robot::new("robot");
    sync(&robot, &carrier);
    let stranger = Robot::new("stranger");
    fs::write(
        stranger.store.path().join("trust.toml"),
        format!("[keys]\nme = \"{}\"\nowner = \"{}\"\n", key(200).public(), key(1).public()),
    )
    .unwrap();
    stranger.agent(&carrier).recall(&delta, "mine is better", &key(200)).unwrap();
    let report = sync(&robot, &carrier);
    assert_eq!((report.recalled.len(), report.problems.len(), report.active), (0, 1, Some(1)), "{report:?}");

    let unlisted = robot.agent(&carrier).recall(&delta, "x", &key(200)).unwrap_err();
    assert!(matches!(unlisted, FleetError::OwnKey { .. }));
    // A true recall replaces the stranger's; damaged, it is not believed.
    Robot::new("operator").agent(&carrier).recall(&delta, "true", &key(2)).unwrap();
    let path = carrier.path(&Key::Recall(base(), delta));
    let whole = fs::read(&path).unwrap();
    for position in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        fs::write(&path, changed).unwrap();
        let report = sync(&robot, &carrier);
        assert!(report.recalled.is_empty(), "byte {position}: {report:?}");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(sync(&robot, &carrier).active, None);
}

/// Catches: a carrier that takes a recall away, or shows it to a robot only once, and so brings the delta back.
#[test]
fn a_recall_is_remembered() {
    let carrier = Faulty::new();
    let (_, delta) = publisher(&carrier, 1, 1);
    Robot::new("operator").agent(&carrier).recall(&delta, "bad", &key(2)).unwrap();
    let robot = Robot::new("robot");
    assert_eq!(sync(&robot, &carrier).received.len(), 0);
    fs::remove_file(carrier.path(&Key::Recall(base(), delta))).unwrap();
    assert_eq!(sync(&robot, &carrier).received.len(), 0, "the carrier has it no more, the robot does");
}

/// Catches: recalled content that comes back under a new signature, and a mean that still has it.
#[test]
fn a_recall_is_of_the_content() {
    let carrier = Faulty::new();
    let (owner, delta) = publisher(&carrier, 1, 1);
    let (_, _) = publisher(&carrier, 2, 2);
    let mut policy = Policy::default();
    policy.merge = true;
    let merged = Robot::new("merged");
    let report = merged.agent(&carrier).sync(&policy, Some(&ground().gate(World::Usual))).unwrap();
    assert_eq!(report.activated, Some(3), "the mean of two runs: {report:?}");
    let spare = Robot::new("spare");

    Robot::new("operator").agent(&carrier).recall(&delta, "bad", &key(3)).unwrap();
    let content = owner.store.read(1).unwrap();
    let resigned = key(4).sign(&content, 1).unwrap();
    let version = spare.learned(&resigned, 4);
    spare.agent(&carrier).publish(version, &key(4), &Offer::default()).unwrap();

    let report = sync(&merged, &carrier);
    let mut stopped: Vec<u32> = report.recalled.iter().map(|stopped| stopped.version).collect();
    stopped.sort_unstable();
    let recalled =
        merged.store.versions().unwrap()[..2].iter().position(|entry| entry.hash == delta.0).unwrap() as u32 + 1;
    assert_eq!((stopped, report.active), (vec![recalled, 3], Some(3 - recalled)), "the one and the mean: {report:?}");
    let late = Robot::new("late");
    let report = sync(&late, &carrier);
    assert_eq!(report.received.len(), 1, "not under a new signature: {report:?}");
    sync(&spare, &carrier);
    assert!(is_quarantined(&spare, version), "the robot that signed it again obeys");
}

/// Catches: a fallback from one recalled version to another.
#[test]
fn a_fallback_does_not_lead_to_another_recalled_version() {
    let carrier = Faulty::new();
    let robot = Robot::new("robot");
    let mut deltas = Vec::new();
    for signer in 1..3 {
        let (_, delta) = publisher(&carrier, signer.into(), signer);
        deltas.push(delta);
        let version = sync(&robot, &carrier).activated.unwrap();
        robot.store.confirm(version).unwrap();
    }
    let operator = Robot::new("operator");
    for delta in &deltas {
        operator.agent(&carrier).recall(delta, "both", &key(5)).unwrap();
    }
    let report = sync(&robot, &carrier);
    assert_eq!((report.recalled.len(), report.active), (2, None), "{report:?}");
    assert_eq!(
        robot.store.rollback().unwrap_err().to_string(),
        fieldfit::store::StoreError::NothingToRollBack.to_string()
    );
}

/// Catches: a recall of something that nobody knows, which would be a recall of nothing.
#[test]
fn an_unknown_delta_is_not_recalled() {
    let carrier = Faulty::new();
    let robot = Robot::new("robot");
    let error = robot.agent(&carrier).recall(&Digest([8; 32]), "typo", &key(1)).unwrap_err();
    assert!(matches!(error, FleetError::UnknownDelta { .. }), "{error}");
    publisher(&carrier, 1, 1);
    let (_, delta) = publisher(&carrier, 2, 2);
    let text = robot.agent(&carrier).recall(&delta, "a\nb", &key(1)).unwrap_err();
    assert!(matches!(text, FleetError::Statement(_)), "{text}");
}
