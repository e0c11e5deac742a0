//! Tests of the trust policy: guards against a delta that is accepted against the trust file, an old one that is
//! replayed, and a policy that one's own adaptations would have to pass.

use crate::common::{ROOT, delta, look, store};
use fieldfit_delta::{Delta, SecretKey};
use fieldfit_durable::{FileSystem, commit, testing::Simulated};
use fieldfit_store::{Store, StoreError, TRUST_FILE, Trust};
use std::path::Path;

/// The policy of a store that accepts every delta.
const ANYONE: &str = "require-signature = false";

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn signed(key: &SecretKey, sequence: u64) -> Vec<u8> {
    key.sign(&delta(0, sequence % 4096), sequence).unwrap()
}

/// A store whose trust file says that.
fn under(policy: &str) -> Store {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    write(&disk, policy);
    store
}

fn write(disk: &Simulated, policy: &str) {
    commit(disk as &dyn FileSystem, &Path::new(ROOT).join(TRUST_FILE), policy.as_bytes()).unwrap();
}

/// Requires signatures by the first of two keys.
fn strict() -> Store {
    under(&format!("require-signature = true\n[keys]\nworkshop = \"{}\"\n", key(1).public()))
}

/// Catches: a signature that is not required, or not looked at.
#[test]
fn a_strict_store_takes_only_what_its_keys_signed() {
    let store = strict();
    let before = look(&store);
    assert!(matches!(store.receive(&delta(0, 1), false), Err(StoreError::Unsigned)));
    let refused = store.receive(&signed(&key(2), 1), false).unwrap_err();
    assert!(matches!(&refused, StoreError::Untrusted { key: stranger, .. } if *stranger == key(2).public()));
    assert!(refused.to_string().contains("workshop"), "{refused}");
    let mut altered = signed(&key(1), 1);
    *altered.last_mut().unwrap() ^= 1;
    assert!(matches!(store.receive(&altered, false), Err(StoreError::Delta(_))));
    assert_eq!(look(&store), before, "something was left of what was refused");
    let taken = signed(&key(1), 1);
    assert_eq!(store.receive(&taken, false).unwrap(), 1);
    assert_eq!(store.read(1).unwrap(), taken, "the signature is kept with the delta");
}

/// Catches: a robot that can't keep what it learned itself, or whose number is one that it gave before.
#[test]
fn ones_own_adaptations_pass_any_policy_and_are_numbered() {
    let store = strict();
    assert_eq!(store.add(&delta(0, 1)).unwrap(), 1);
    for sequence in 1..=3 {
        let version = store.add_signed(&delta(0, sequence), &key(9)).unwrap();
        let file = store.read(version).unwrap();
        let signature = *Delta::parse(&file).unwrap().signature().unwrap();
        assert_eq!((signature.key, signature.sequence), (key(9).public(), sequence));
    }
}

/// Catches: an old delta of the right signer that somebody kept and sends again.
#[test]
fn an_older_delta_of_a_key_is_a_replay() {
    for store in [strict(), under(ANYONE)] {
        store.receive(&signed(&key(1), 5), false).unwrap();
        for old in [5, 4, 0] {
            let refused = store.receive(&signed(&key(1), old), false).unwrap_err();
            let expected = matches!(refused, StoreError::Replayed { sequence, last: 5, .. } if sequence == old);
            assert!(expected, "{refused:?}");
        }
        store.receive(&signed(&key(1), 6), false).unwrap();
        let version = store.receive(&signed(&key(1), 2), true).unwrap();
        assert_eq!(version, 3, "a replay that was asked for is refused");
        let still = store.receive(&signed(&key(1), 6), false);
        assert!(matches!(still, Err(StoreError::Replayed { last: 6, .. })), "a replay turned the clock back");
    }
}

/// Catches: sequences of one key that keep another's deltas away.
#[test]
fn each_key_counts_for_itself() {
    let store = under(ANYONE);
    store.receive(&signed(&key(1), 100), false).unwrap();
    store.receive(&signed(&key(2), 1), false).unwrap();
    store.receive(&delta(0, 1), false).unwrap();
}

/// Catches: a file that can't be made out and lets everything in, a field that is misspelt and so not obeyed, or a policy that nothing
/// can pass.
#[test]
fn a_trust_file_that_is_none_lets_nothing_in() {
    let short = "[keys]\nworkshop = \"8a88\"";
    let nobody = "require-signature = true";
    for policy in [
        "require-signatures = true",
        "require-signature = 1",
        short,
        nobody,
        "[keys",
        "\u{0}",
        "",
        " \n",
        "# nothing",
        "[keys]\n",
    ] {
        let store = under(policy);
        let refused = store.receive(&signed(&key(1), 1), false).unwrap_err();
        assert!(matches!(refused, StoreError::Trust { .. }), "{policy}: {refused:?}");
        assert!(refused.to_string().contains(TRUST_FILE), "{refused}");
        assert_eq!(store.add(&delta(0, 1)).unwrap(), 1, "the robot's own work goes on");
    }
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    commit(&disk as &dyn FileSystem, &Path::new(ROOT).join(TRUST_FILE), b"\xff\xfe").unwrap();
    assert!(matches!(store.receive(&delta(0, 1), false), Err(StoreError::Trust { .. })));
}

/// Catches: a policy whose defaults are other than documented.
#[test]
fn without_a_policy_everything_whole_is_taken() {
    let nothing = Trust::parse(Path::new("trust.toml"), ANYONE).unwrap();
    assert_eq!(nothing, Trust::default());
    assert!(!nothing.require_signature && nothing.keys.is_empty());
    assert_eq!(nothing.judge(None).unwrap(), None);
}

/// Catches: a signature that is cut off, which turns a refused delta into an accepted one where keys are listed.
#[test]
fn listed_keys_imply_signatures() {
    for policy in ["", "require-signature = false\n"] {
        let store = under(&format!("{policy}[keys]\nworkshop = \"{}\"\n", key(1).public()));
        let stranger = signed(&key(2), 1);
        assert!(matches!(store.receive(&stranger, false), Err(StoreError::Untrusted { .. })));
        let cut = &stranger[..stranger.len() - 104];
        assert!(Delta::parse(cut).unwrap().signature().is_none());
        assert!(matches!(store.receive(cut, false), Err(StoreError::Unsigned)));
        store.receive(&signed(&key(1), 1), false).unwrap();
    }
}

/// Catches: a trust file that is lost or leads nowhere, and lets everything in.
#[test]
#[cfg(unix)]
fn only_a_trust_file_that_never_was_is_absent() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(root.path().join("store")).unwrap();
    let path = store.path().join(TRUST_FILE);
    let refused = |why: &str| {
        let error = store.receive(&delta(0, 1), false).unwrap_err();
        assert!(matches!(error, StoreError::Trust { .. }) && error.to_string().contains(why), "{error}");
    };
    store.receive(&delta(0, 1), false).unwrap();
    std::os::unix::fs::symlink(root.path().join("policies/robot.toml"), &path).unwrap();
    refused("link to a file that is missing");
    std::fs::remove_file(&path).unwrap();
    store.receive(&delta(0, 2), false).unwrap();
    std::fs::write(&path, "").unwrap();
    refused("states nothing");
    std::fs::write(&path, format!("[keys]\nworkshop = \"{}\"\n", key(1).public())).unwrap();
    store.add(&delta(0, 3)).unwrap();
    std::fs::remove_file(&path).unwrap();
    refused("has had one");
    let reopened = Store::open(store.path()).unwrap();
    assert!(matches!(reopened.trust(), Err(StoreError::Trust { .. })));
    std::fs::write(&path, ANYONE).unwrap();
    store.receive(&delta(0, 4), false).unwrap();
}

/// Catches: a runtime that opens a store under a policy and doesn't note that there is one.
#[test]
fn fixing_the_base_notes_the_policy() {
    let disk = Simulated::new();
    let store = store(&disk).unwrap();
    store.fix_base(&[0; 32]).unwrap();
    write(&disk, &format!("[keys]\nworkshop = \"{}\"\n", key(1).public()));
    store.fix_base(&[0; 32]).unwrap();
    disk.remove(&Path::new(ROOT).join(TRUST_FILE)).unwrap();
    assert!(matches!(store.receive(&delta(0, 1), false), Err(StoreError::Trust { .. })));
}

/// Catches: one mistaken signature that ends a key, and a key that has ended and says so only after training.
#[test]
fn sequence_steps_are_bounded_and_an_ended_key_says_so() {
    let store = under(ANYONE);
    assert_eq!(store.next_sequence(key(1).public()).unwrap(), 1);
    let milliseconds = 1_800_000_000_000;
    store.receive(&signed(&key(1), milliseconds), false).unwrap();
    for (sequence, replay) in [(u64::MAX, false), (u64::MAX, true), (milliseconds + (1 << 52) + 1, false)] {
        let refused = store.receive(&signed(&key(1), sequence), replay).unwrap_err();
        assert!(matches!(refused, StoreError::SequenceStep { last, .. } if last == milliseconds), "{refused:?}");
    }
    assert_eq!(store.next_sequence(key(1).public()).unwrap(), milliseconds + 1);
    let version = store.add_signed(&delta(0, 2), &key(1)).unwrap();
    let file = store.read(version).unwrap();
    assert_eq!(Delta::parse(&file).unwrap().signature().unwrap().sequence, milliseconds + 1);
}
