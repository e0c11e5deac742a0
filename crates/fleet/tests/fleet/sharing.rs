//! Tests of a delta's way from one robot to another: publish, sync, gate, trial, canaries, quotas, merges.

use crate::common::{Faulty, Robot, World, ground, key};
use fieldfit::store::VersionState;
use fieldfit_fleet::{Activate, CarrierError, FleetError, Judge, Offer, Policy, is_canary};
use std::{fs, sync::Arc};

fn state(robot: &Robot, version: u32) -> VersionState {
    robot.store.version(version).unwrap().state
}

fn is_on_trial(robot: &Robot, version: u32) -> bool {
    matches!(state(robot, version), VersionState::Trial(_))
}

/// Catches: a delta that is lost or changed on its way, is sent twice, or runs without the receiver's own gate.
#[test]
fn a_delta_goes_from_one_robot_to_another() {
    let (carrier, gate) = (Faulty::new(), ground().gate(World::Usual));
    let (sender, receiver) = (Robot::new("sender"), Robot::new("receiver"));
    let version = sender.learned(&ground().delta(World::Usual, 1), 1);
    let published = sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap();
    assert!(published.sent);
    let again = sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap();
    assert_eq!((again.delta, again.sent), (published.delta, false), "a second publish sends nothing");

    let without_gate = receiver.agent(&carrier).sync(&Policy::default(), None).unwrap();
    assert_eq!(without_gate.received.len(), 1);
    assert_eq!((without_gate.received[0].delta, without_gate.active), (published.delta, None), "nobody judged it");
    assert_eq!(receiver.store.read(1).unwrap(), sender.store.read(version).unwrap());

    let report = receiver.agent(&carrier).sync(&Policy::default(), Some(&gate)).unwrap();
    assert!(report.received.is_empty() && report.judged[0].accepted, "{report:?}");
    assert_eq!((report.activated, report.active), (Some(1), Some(1)));
    assert!(is_on_trial(&receiver, 1));

    let own = sender.agent(&carrier).sync(&Policy::default(), Some(&gate)).unwrap();
    assert!(own.received.is_empty() && own.judged.is_empty() && own.problems.is_empty(), "its own delta: {own:?}");
}

/// Catches: a candidate that the receiver's gate refuses and that runs nevertheless, and a gate of the sender that is believed.
#[test]
fn the_receivers_own_gate_decides() {
    let carrier = Faulty::new();
    let (sender, receiver, other) = (Robot::new("sender"), Robot::new("receiver"), Robot::new("other"));
    let version = sender.learned(&ground().delta(World::Swapped, 1), 1);
    sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap();
    let report = receiver.agent(&carrier).sync(&Policy::default(), Some(&ground().gate(World::Usual))).unwrap();
    assert!(!report.judged[0].accepted && report.activated.is_none(), "{report:?}");
    assert!(matches!(state(&receiver, 1), VersionState::Refused { .. }));
    let report = other.agent(&carrier).sync(&Policy::default(), Some(&ground().gate(World::Swapped))).unwrap();
    assert_eq!(report.activated, Some(1), "{report:?}");
}

/// Catches: a candidate that is judged against a version on trial, which may yet fail, or that replaces it.
#[test]
fn a_trial_is_not_interrupted() {
    let (carrier, gate) = (Faulty::new(), ground().gate(World::Usual));
    let (senders, receiver) = ([Robot::new("a"), Robot::new("b")], Robot::new("receiver"));
    let publish = |number: usize| {
        let signer = number as u8 + 1;
        let version = senders[number].learned(&ground().delta(World::Usual, signer.into()), signer);
        senders[number].agent(&carrier).publish(version, &key(signer), &Offer::default()).unwrap()
    };
    publish(0);
    assert_eq!(receiver.agent(&carrier).sync(&Policy::default(), Some(&gate)).unwrap().activated, Some(1));
    publish(1);
    let waiting = receiver.agent(&carrier).sync(&Policy::default(), Some(&gate)).unwrap();
    assert_eq!((waiting.received.len(), waiting.waits_for, waiting.active), (1, Some(1), Some(1)));
    receiver.store.confirm(1).unwrap();
    let judged = receiver.agent(&carrier).sync(&Policy::default(), Some(&gate)).unwrap();
    assert_eq!((judged.received.len(), judged.judged.len(), judged.activated), (0, 1, Some(2)), "{judged:?}");
}

/// Catches: a robot that turns back and forth between equal deltas, and a second best that is forgotten when the best fails.
#[test]
fn of_equals_one_runs_and_another_follows_if_it_fails() {
    let (carrier, gate, receiver) = (Faulty::new(), ground().gate(World::Usual), Robot::new("receiver"));
    for signer in 1..4 {
        let sender = Robot::new("sender");
        let version = sender.learned(&ground().delta(World::Usual, signer.into()), signer);
        sender.agent(&carrier).publish(version, &key(signer), &Offer::default()).unwrap();
    }
    let sync = || receiver.agent(&carrier).sync(&Policy::default(), Some(&gate)).unwrap();
    let first = sync();
    assert_eq!((first.judged.len(), first.activated), (3, Some(1)), "{first:?}");
    receiver.store.quarantine(1, "it failed").unwrap();
    let second = sync();
    assert_eq!((second.judged.len(), second.activated), (0, Some(2)), "judged before: {second:?}");
    receiver.store.confirm(2).unwrap();
    for _ in 0..3 {
        assert_eq!(sync().activated, None, "an equal that was passed over does not replace it");
    }
}

/// Catches: a policy that is not obeyed: activation, size, number, total.
#[test]
fn quotas_hold_and_what_is_left_comes_later() {
    let (carrier, gate, receiver) = (Faulty::new(), ground().gate(World::Usual), Robot::new("receiver"));
    let mut bytes = 0;
    for signer in 1..6 {
        let sender = Robot::new("sender");
        let version = sender.learned(&ground().delta(World::Usual, signer.into()), signer);
        bytes = sender.store.version(version).unwrap().bytes;
        sender.agent(&carrier).publish(version, &key(signer), &Offer::default()).unwrap();
    }
    let mut policy = Policy::default();
    policy.activate = Activate::Never;
    policy.max_bytes = bytes - 1;
    let none = receiver.agent(&carrier).sync(&policy, Some(&gate)).unwrap();
    assert_eq!((none.received.len(), none.deferred.len(), none.bytes), (0, 5, 0), "too long ones are not downloaded");
    policy.max_bytes = bytes;
    policy.max_deltas = 2;
    let two = receiver.agent(&carrier).sync(&policy, Some(&gate)).unwrap();
    assert_eq!((two.received.len(), two.deferred.len(), two.activated), (2, 3, None), "{two:?}");
    policy.max_deltas = 100;
    policy.max_total_bytes = bytes;
    let one = receiver.agent(&carrier).sync(&policy, Some(&gate)).unwrap();
    assert_eq!((one.received.len(), one.deferred.len()), (1, 2), "{one:?}");
    policy.max_total_bytes = u64::MAX;
    assert_eq!(receiver.agent(&carrier).sync(&policy, Some(&gate)).unwrap().received.len(), 2);
    assert_eq!(receiver.store.active().unwrap(), None);
    assert_eq!(receiver.agent(&carrier).sync(&policy, Some(&gate)).unwrap().deferred.len(), 0);
}

/// Catches: a delta that every robot takes although it is offered to a few, and a share that cannot be widened.
#[test]
fn canaries_come_first() {
    let (carrier, sender) = (Faulty::new(), Robot::new("sender"));
    let version = sender.learned(&ground().delta(World::Usual, 1), 1);
    let offer = |share| Offer { share, ..Offer::default() };
    let published = sender.agent(&carrier).publish(version, &key(1), &offer(0.3)).unwrap();
    let robots: Vec<Robot> = (0..20).map(|index| Robot::new(&format!("robot-{index}"))).collect();
    let has_it = |robot: &Robot| {
        robot.agent(&carrier).sync(&Policy::default(), None).unwrap();
        robot.store.versions().unwrap().len() == 1
    };
    for robot in &robots {
        assert_eq!(has_it(robot), is_canary(&robot.id, &published.delta, 0.3), "{}", robot.id);
    }
    let few = robots.iter().filter(|robot| is_canary(&robot.id, &published.delta, 0.3)).count();
    assert!((1..20).contains(&few), "{few} canaries show nothing");
    assert!(sender.agent(&carrier).publish(version, &key(1), &offer(1.0)).unwrap().sent, "a new card");
    let mut cautious = Policy::default();
    cautious.share = 0.0;
    let report = Robot::new("cautious").agent(&carrier).sync(&cautious, None).unwrap();
    assert_eq!((report.received.len(), report.deferred.len()), (0, 1), "a robot's own limit");
    assert!(robots.iter().all(has_it));
}

/// Catches: a robot whose clock is wrong and that therefore loses, or believes, what it should not; an offer without an end.
#[test]
fn clocks_decide_on_expiry_alone() {
    let (carrier, gate, sender) = (Faulty::new(), ground().gate(World::Usual), Robot::new("sender"));
    let version = sender.learned(&ground().delta(World::Usual, 1), 1);
    let offer = Offer { expires_at: Some(1_000_000), ..Offer::default() };
    let at = |robot: &Robot, time: u64, gate: Option<&dyn Judge>| {
        robot.agent(&carrier).with_clock(Arc::new(move || time)).sync(&Policy::default(), gate).unwrap()
    };
    // The publisher's clock is far ahead of every receiver's.
    sender.agent(&carrier).with_clock(Arc::new(|| 999_999_999)).publish(version, &key(1), &offer).unwrap();
    let (early, late) = (Robot::new("no-clock"), Robot::new("ahead"));
    assert_eq!(at(&early, 0, Some(&gate)).activated, Some(1), "a robot that starts in 1970");
    let refused = at(&late, 1_000_000, Some(&gate));
    assert_eq!((refused.received.len(), refused.deferred[0].reason), (0, "it has expired"));
    assert_eq!(at(&late, 999_999, Some(&gate)).activated, Some(1), "a clock that was set right");
}

/// Catches: a mean that runs unjudged, one that is worse than what it is made of, and classes that nobody knows together.
#[test]
fn a_mean_of_what_several_sent_is_a_candidate_like_any_other() {
    let (carrier, gate) = (Faulty::new(), ground().gate(World::Usual));
    let receiver = Robot::new("receiver");
    for (signer, classes) in [(1, ["grass", "sand"]), (2, ["grass", "water"])] {
        let sender = Robot::new("sender");
        let version = sender.learned(&ground().partial(&classes, signer.into()), signer);
        sender.agent(&carrier).publish(version, &key(signer), &Offer::default()).unwrap();
    }
    let mut policy = Policy::default();
    policy.merge = true;
    let report = receiver.agent(&carrier).sync(&policy, Some(&gate)).unwrap();
    let verdicts: Vec<_> = report.judged.iter().map(|judged| (judged.version, judged.accepted)).collect();
    assert_eq!(verdicts, [(Some(1), false), (Some(2), false), (None, true)], "{report:?}");
    assert_eq!(report.activated, Some(3));
    assert!(is_on_trial(&receiver, 3));
    assert!(!receiver.store.path().join("fleet/mean.delta").exists());

    // In a world where one of them is wrong, the mean is, too.
    let report = Robot::new("other").agent(&carrier).sync(&policy, Some(&ground().gate(World::Swapped))).unwrap();
    assert!(report.judged.iter().all(|judged| !judged.accepted) && report.activated.is_none(), "{report:?}");
}

/// Catches: a delta that is downloaded although it cannot answer about this robot's images.
#[test]
fn classes_are_read_from_the_card() {
    let (carrier, gate) = (Faulty::new(), ground().gate(World::Usual));
    let sender = Robot::new("sender");
    let version = sender.learned(&ground().partial(&["grass", "sand"], 1), 1);
    sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap();
    let mut policy = Policy::default();
    policy.classes = gate.classes().to_vec();
    let report = Robot::new("receiver").agent(&carrier).sync(&policy, Some(&gate)).unwrap();
    assert_eq!((report.received.len(), report.deferred.len(), report.bytes), (0, 1, 0));
}

/// Catches: a version that its own robot does not run and that others get, an unsigned one, and a key that nobody lists.
#[test]
fn only_what_a_robot_runs_itself_is_published() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let publish =
        |version, signer| robot.agent(&carrier).publish(version, &key(signer), &Offer::default()).unwrap_err();
    let candidate = robot.store.add_signed(&ground().delta(World::Usual, 1), &key(1)).unwrap();
    assert!(matches!(publish(candidate, 1), FleetError::NotShareable { state: "candidate", .. }));
    robot.store.refuse(candidate, "it is worse").unwrap();
    assert!(matches!(publish(candidate, 1), FleetError::NotShareable { state: "refused", .. }));
    let unsigned = robot.store.add(&ground().delta(World::Usual, 2)).unwrap();
    robot.store.activate(unsigned).unwrap();
    assert!(matches!(publish(unsigned, 1), FleetError::Unsigned { .. }));
    let stranger = robot.learned(&ground().delta(World::Usual, 3), 1);
    assert!(matches!(publish(stranger, 201), FleetError::OwnKey { .. }));
    assert_eq!(carrier.faults().operations.get("put"), None, "nothing was sent");
}

/// Catches: a sync that trusts anybody because nobody wrote a trust file.
#[test]
fn a_store_without_keys_takes_nothing() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    fs::write(robot.store.path().join("trust.toml"), "require-signature = false\n").unwrap();
    let error = robot.agent(&carrier).sync(&Policy::default(), None).unwrap_err();
    assert!(matches!(&error, FleetError::NoKeys { .. }) && error.to_string().contains("trust.toml"), "{error}");
}

/// Catches: a stick that is not there taken for an empty fleet.
#[test]
fn a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = fieldfit_fleet::ObjectCarrier::folder(&folder.path().join("stick"));
    assert!(matches!(missing, Err(CarrierError::Url { .. })));
}

/// Catches: an agent's damaged memory taken for an empty one, which would forget recalls, and one that nothing can mend.
#[test]
fn a_damaged_state_is_an_error_and_can_be_removed() {
    let (carrier, sender, receiver) = (Faulty::new(), Robot::new("sender"), Robot::new("receiver"));
    let version = sender.learned(&ground().delta(World::Usual, 1), 1);
    sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap();
    let sync = || receiver.agent(&carrier).sync(&Policy::default(), None);
    assert_eq!(sync().unwrap().received.len(), 1);
    let state = receiver.store.path().join("fleet/state");
    let mut bytes = fs::read(&state).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&state, bytes).unwrap();
    let error = sync().unwrap_err();
    assert!(matches!(&error, FleetError::State { .. }) && error.to_string().contains("Remove it"), "{error}");
    fs::remove_file(&state).unwrap();
    assert_eq!(sync().unwrap().received.len(), 0, "it is in the store");
}

/// Catches: the store's own calls disturbed by the agent's folder.
#[test]
fn the_store_knows_the_agents_folder() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    robot.agent(&carrier).sync(&Policy::default(), None).unwrap();
    assert!(robot.store.path().join("fleet").is_dir());
    assert!(robot.store.verify().unwrap().is_empty());
    fs::remove_file(robot.store.path().join("state")).unwrap();
    assert!(fieldfit::store::Store::create_or_open(robot.store.path()).is_ok());
}
