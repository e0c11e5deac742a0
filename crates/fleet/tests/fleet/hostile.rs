//! Tests against a carrier that is hostile, broken or interrupted: it can withhold, and nothing else.

use crate::common::{Faulty, Robot, World, ground, key};
use fieldfit::store::VersionState;
use fieldfit_delta::{SecretKey, compression::compress};
use fieldfit_fleet::{CarrierError, Digest, FleetError, Folder, Key, MAX_CARD_BYTES, Offer, Policy, SyncReport};
use serde_json::{Value, json};
use std::fs;

fn base() -> Digest {
    Digest(ground().base_id())
}

fn sync(robot: &Robot, carrier: &Faulty) -> SyncReport {
    robot.agent(carrier).sync(&Policy::default(), Some(&ground().gate(World::Usual))).unwrap()
}

/// Publishes a delta of the usual world, and returns its hash.
fn published(carrier: &Faulty, seed: u64, signer: u8) -> Digest {
    let sender = Robot::new("sender");
    let version = sender.learned(&ground().delta(World::Usual, seed), signer);
    sender.agent(carrier).publish(version, &key(signer), &Offer::default()).unwrap().delta
}

/// Signs a statement as DSSE does, whatever it says.
fn envelope(kind: &str, statement: &Value, key: &SecretKey) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let payload = serde_json::to_vec(statement).unwrap();
    let signature = key.sign_statement(kind, &payload);
    let envelope = json!({
        "payload": STANDARD.encode(&payload),
        "payloadType": kind,
        "signatures": [{ "keyid": key.public().to_string(), "sig": STANDARD.encode(signature) }],
    });
    serde_json::to_vec(&envelope).unwrap()
}

const CARD: &str = "application/vnd.fieldfit.card+json";
const RECALL: &str = "application/vnd.fieldfit.recall+json";

/// The statement in an envelope.
fn statement(envelope: &[u8]) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let envelope: Value = serde_json::from_slice(envelope).unwrap();
    serde_json::from_slice(&STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap()
}

/// Catches: a flipped byte that gets into the store, or that keeps the delta away when the carrier is whole again.
#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let delta = published(&carrier, 1, 1);
    let length = fs::read(carrier.path(&Key::Delta(base(), delta))).unwrap().len();
    for folder in [Folder::Deltas, Folder::Cards] {
        for step in 0..60 {
            carrier.faults().flip = Some((folder, step * length / 60 + step % 7));
            let report = sync(&robot, &carrier);
            assert_eq!((report.received.len(), report.active), (0, None), "{folder:?} {step}: {report:?}");
            assert!(!report.problems.is_empty(), "{folder:?} {step}: not reported");
        }
    }
    assert!(robot.store.versions().unwrap().is_empty());
    carrier.faults().flip = None;
    assert_eq!(sync(&robot, &carrier).activated, Some(1));
}

/// Catches: a put that was cut off and counts as published, or that a receiver takes for a delta.
#[test]
fn half_a_delta_is_none() {
    let (carrier, sender, receiver) = (Faulty::new(), Robot::new("sender"), Robot::new("receiver"));
    let version = sender.learned(&ground().delta(World::Usual, 1), 1);
    let publish = || sender.agent(&carrier).publish(version, &key(1), &Offer::default());
    for length in [0, 1, 100, 400] {
        carrier.faults().cut = Some((Folder::Deltas, length));
        let error = publish().unwrap_err();
        assert!(matches!(error, FleetError::Carrier(CarrierError::NotStored { .. })), "{length}: {error}");
        assert_eq!(sync(&receiver, &carrier).received.len(), 0);
    }
    carrier.faults().cut = None;
    // With its card there, the half one is met by receivers.
    let delta = publish().unwrap().delta;
    let path = carrier.path(&Key::Delta(base(), delta));
    let whole = fs::read(&path).unwrap();
    for length in [0, 30, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let report = sync(&receiver, &carrier);
        assert_eq!((report.received.len(), report.problems.len()), (0, 1), "{length}: {report:?}");
    }
    assert!(publish().unwrap().sent, "publishing again mends it");
    assert_eq!(sync(&receiver, &carrier).activated, Some(1));
}

/// Catches: a put that the carrier lost and that counts as published.
#[test]
fn a_lost_put_is_an_error_and_publishing_again_is_enough() {
    let (carrier, sender) = (Faulty::new(), Robot::new("sender"));
    let version = sender.learned(&ground().delta(World::Usual, 1), 1);
    for lost in [1, 2] {
        carrier.faults().lose = lost;
        let error = sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap_err();
        assert!(matches!(error, FleetError::Carrier(CarrierError::NotStored { .. })), "{error}");
        carrier.faults().lose = 0;
    }
    assert!(sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap().sent);
    assert_eq!(sync(&Robot::new("receiver"), &carrier).activated, Some(1));
}

/// Catches: an unreachable carrier that loses, repeats or half does something; each operation of a sync is cut off once.
#[test]
fn an_interrupted_sync_is_continued() {
    let carrier = Faulty::new();
    for signer in 1..4 {
        published(&carrier, signer.into(), signer);
    }
    let (reference, robot) = (Robot::new("reference"), Robot::new("robot"));
    sync(&reference, &carrier);
    let operations: u32 = {
        carrier.faults().operations.clear();
        sync(&Robot::new("counting"), &carrier);
        carrier.faults().operations.values().sum()
    };
    let gate = ground().gate(World::Usual);
    for cut in 0..operations {
        carrier.faults().fail_after = Some(cut);
        let result = robot.agent(&carrier).sync(&Policy::default(), Some(&gate));
        if cut == 0 {
            assert!(matches!(result, Err(FleetError::Carrier(CarrierError::Unavailable { .. }))));
        }
    }
    carrier.faults().fail_after = None;
    sync(&robot, &carrier);
    let hashes = |robot: &Robot| {
        let mut hashes: Vec<_> = robot.store.versions().unwrap().iter().map(|entry| entry.hash).collect();
        hashes.sort_unstable();
        hashes
    };
    assert_eq!(hashes(&robot), hashes(&reference), "each once");
    assert!(robot.store.active().unwrap().is_some());
}

/// Catches: an agent killed after its store has the delta and before it noted so: it would never be judged.
#[test]
fn a_kill_between_store_and_note_loses_nothing() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    published(&carrier, 1, 1);
    let before = robot.agent(&carrier).sync(&Policy::default(), None).unwrap();
    assert_eq!(before.received.len(), 1);
    // What is on disk after that is what a kill leaves at the latest: the note is written before the delta.
    assert_eq!(sync(&robot, &carrier).activated, Some(1));
}

/// Catches: an unsigned delta, one by a stranger, or one without a believed card, that becomes a candidate.
#[test]
fn nothing_unsigned_is_accepted() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let honest = published(&carrier, 1, 1);
    let card = statement(&fs::read(carrier.path(&Key::Card(base(), honest))).unwrap());
    let with_card = |file: &[u8], signer: &SecretKey, delta_signer: Option<&SecretKey>| {
        let delta = carrier.forge_delta(file);
        let mut card = card.clone();
        card["delta"] = json!(delta);
        card["bytes"] = json!(file.len());
        card["content"] = json!(hex::encode(fieldfit_delta::Delta::parse(file).unwrap().hash()));
        if let Some(key) = delta_signer {
            card["signer"] = json!(key.public().to_string());
        }
        carrier.forge(&Key::Card(base(), delta), &envelope(CARD, &card, signer));
    };
    let stranger = key(200);
    let unsigned = ground().delta(World::Usual, 2);
    let foreign = stranger.sign(&ground().delta(World::Usual, 3), 1).unwrap();
    with_card(&unsigned, &key(1), None);
    with_card(&unsigned, &stranger, None);
    with_card(&foreign, &stranger, Some(&stranger));
    // A trusted key vouches for a stranger's delta: the delta's own signature counts.
    with_card(&foreign, &key(2), Some(&stranger));
    // A delta without any card.
    carrier.forge_delta(&key(3).sign(&ground().delta(World::Usual, 4), 9).unwrap());
    let report = sync(&robot, &carrier);
    assert_eq!(report.received.iter().map(|received| received.delta).collect::<Vec<_>>(), [honest], "{report:?}");
    assert_eq!(robot.store.versions().unwrap().len(), 1);
}

/// Catches: a card of one delta under the name of another, and a recall or status that passes for a card.
#[test]
fn statements_hold_for_their_own_name_and_type() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let delta = published(&carrier, 1, 1);
    let card_path = carrier.path(&Key::Card(base(), delta));
    let bytes = fs::read(&card_path).unwrap();
    fs::remove_file(&card_path).unwrap();
    let other = Digest([3; 32]);
    carrier.forge(&Key::Card(base(), other), &bytes);
    carrier.forge(&Key::Card(base(), delta), &envelope(RECALL, &statement(&bytes), &key(1)));
    carrier.forge(&Key::Recall(base(), delta), &bytes);
    let report = sync(&robot, &carrier);
    assert_eq!((report.received.len(), report.recalled.len(), report.problems.len()), (0, 0, 3), "{report:?}");
}

/// Catches: foreign text that reaches a terminal, and cards whose figures or lengths are absurd.
#[test]
fn cards_are_foreign_text() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let delta = published(&carrier, 1, 1);
    let key_of_card = Key::Card(base(), delta);
    let good = statement(&fs::read(carrier.path(&key_of_card)).unwrap());
    let with = |field: &str, value: Value| {
        let mut card = good.clone();
        card[field] = value;
        envelope(CARD, &card, &key(1))
    };
    let mut long = with("method", json!("tpgm"));
    long.resize(MAX_CARD_BYTES + 1, b' ');
    let deep = [b"{\"a\":".repeat(5000), b"1".to_vec(), b"}".repeat(5000)].concat();
    for (what, bytes) in [
        ("escape", with("method", json!("tpgm\u{1b}[2K"))),
        ("line break", with("classes", json!(["grass", "sand\nversion 7 accepted"]))),
        ("bidirectional", with("task", json!("\u{202e}"))),
        ("long text", with("method", json!("x".repeat(300)))),
        ("share", with("share", json!(1.5))),
        ("accuracy", with("after", json!(-1.0))),
        ("no number", with("share", json!("all"))),
        ("sequence", with("sequence", json!(-1))),
        ("hash", with("delta", json!("../../etc"))),
        ("length", long),
        ("depth", deep),
        ("nothing", Vec::new()),
        ("noise", vec![0xff; 100]),
    ] {
        carrier.forge(&key_of_card, &bytes);
        let report = sync(&robot, &carrier);
        assert_eq!((report.received.len(), report.problems.len()), (0, 1), "{what}: {report:?}");
        let status = robot.agent(&carrier).status().unwrap();
        assert_eq!((status.deltas.len(), status.problems.len()), (0, 1), "{what}");
    }
}

/// Catches: an older delta of a signer that is sent again, while the newer one is there and while it is hidden.
#[test]
fn an_old_delta_is_not_replayed() {
    let (carrier, sender) = (Faulty::new(), Robot::new("sender"));
    let first = sender.learned(&ground().delta(World::Usual, 1), 1);
    sender.agent(&carrier).publish(first, &key(1), &Offer::default()).unwrap();
    let second = sender.learned(&ground().delta(World::Usual, 2), 1);
    let newer = sender.agent(&carrier).publish(second, &key(1), &Offer::default()).unwrap().delta;
    let robot = Robot::new("robot");
    let report = sync(&robot, &carrier);
    assert_eq!(report.received.iter().map(|received| received.delta).collect::<Vec<_>>(), [newer], "the newest alone");
    robot.store.confirm(1).unwrap();
    carrier.faults().hidden = vec![Key::Card(base(), newer).to_string(), Key::Delta(base(), newer).to_string()];
    let report = sync(&robot, &carrier);
    assert!(report.received.is_empty() && report.problems[0].reason.contains("number 1"), "{report:?}");
    let quiet = sync(&robot, &carrier);
    assert!(quiet.problems.is_empty() && quiet.bytes == 0, "it is not downloaded again: {quiet:?}");
    assert_eq!(robot.store.active().unwrap(), Some(1));
}

/// Catches: a delta for another base under this base's name, and this base's under another one's.
#[test]
fn another_base_is_another_fleet() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let delta = published(&carrier, 1, 1);
    let card = statement(&fs::read(carrier.path(&Key::Card(base(), delta))).unwrap());
    let foreign = key(2).sign(&fieldfit_tests::deltas::poisoned([9; 32]), 5).unwrap();
    let hash = carrier.forge_delta(&foreign);
    let mut forged = card;
    forged["delta"] = json!(hash);
    forged["content"] = json!(hex::encode(fieldfit_delta::Delta::parse(&foreign).unwrap().hash()));
    forged["bytes"] = json!(foreign.len());
    forged["signer"] = json!(key(2).public().to_string());
    forged["sequence"] = json!(5);
    carrier.forge(&Key::Card(base(), hash), &envelope(CARD, &forged, &key(2)));
    let report = sync(&robot, &carrier);
    assert_eq!((report.received.len(), report.problems.len()), (1, 1), "{report:?}");
    assert!(report.problems[0].reason.contains("base"), "{report:?}");
}

/// Catches: a delta that fits no network, signed and with a card, that becomes active.
#[test]
fn a_delta_that_cannot_run_is_refused_by_the_gate() {
    let (carrier, robot, sender) = (Faulty::new(), Robot::new("robot"), Robot::new("sender"));
    let version = sender.learned(&fieldfit_tests::deltas::poisoned(ground().base_id()), 1);
    sender.agent(&carrier).publish(version, &key(1), &Offer::default()).unwrap();
    let report = sync(&robot, &carrier);
    assert!(!report.judged[0].accepted && report.active.is_none(), "{report:?}");
    assert!(matches!(robot.store.version(1).unwrap().state, VersionState::Refused { .. }));
}

/// Catches: an object that is far longer than its card says, or a frame that unpacks to gigabytes, that is read.
#[test]
fn lengths_are_bounded_before_they_are_read() {
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let delta = published(&carrier, 1, 1);
    let path = carrier.path(&Key::Delta(base(), delta));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![0; 40 << 20]).unwrap();
    let report = sync(&robot, &carrier);
    assert!(report.bytes == 0 && report.problems[0].reason.contains("expected at most"), "{report:?}");
    // The delta's own beginning, and then zeros without end.
    let file = fieldfit_delta::compression::decompress(whole, 1 << 20).unwrap();
    let bomb = compress(&[&file[..24], vec![0; 60 << 20].as_slice()].concat());
    assert!(bomb.len() < 200_000);
    fs::write(&path, bomb).unwrap();
    let report = sync(&robot, &carrier);
    assert_eq!((report.received.len(), report.problems.len()), (0, 1), "{report:?}");
}

/// Catches: a stick with pipes, links and strange names that stops an agent, or leads it out of the folder.
#[cfg(unix)]
#[test]
fn a_folder_may_hold_anything() {
    use std::{os::unix::fs::symlink, process::Command};
    let (carrier, robot) = (Faulty::new(), Robot::new("robot"));
    let delta = published(&carrier, 1, 1);
    let cards = carrier.path(&Key::Card(base(), delta)).parent().unwrap().to_owned();
    let pipe = cards.join("ab".repeat(32));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("/dev/zero", cards.join("cd".repeat(32))).unwrap();
    symlink("/", cards.parent().unwrap().join("recall")).unwrap();
    for name in ["a\u{1b}[2K", "x#1", "UPPER", &"ef".repeat(40)] {
        fs::write(cards.join(name), b"x").unwrap();
    }
    fs::create_dir(cards.join("12".repeat(32))).unwrap();
    let report = sync(&robot, &carrier);
    assert_eq!(report.received.len(), 1, "{report:?}");
    assert_eq!(report.activated, Some(1));
}
