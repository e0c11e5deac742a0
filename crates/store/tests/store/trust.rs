//! What comes from outside: guards against a delta that is let in though the trust file says no, an old one that is replayed,
//! and a policy that one's own adaptations would have to pass.

use crate::common::{ROOT, delta, look, store};
use fieldfit_delta::{Delta, SecretKey};
use fieldfit_durable::{FileSystem, commit, testing::Simulated};
use fieldfit_store::{Store, StoreError, TRUST_FILE, Trust};
use std::path::Path;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn signed(key: &SecretKey, sequence: u64) -> Vec<u8> {
    key.sign(&delta(0, sequence), sequence).unwrap()
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

/// A signature that is not required, or not looked at.
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

/// A robot that can't keep what it learned itself, or whose number is one that it gave before.
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

/// An old delta of the right signer that somebody kept and sends again.
#[test]
fn an_older_delta_of_a_key_is_a_replay() {
    for store in [strict(), under("")] {
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

/// Sequences of one key that keep another's deltas away.
#[test]
fn each_key_counts_for_itself() {
    let store = under("");
    store.receive(&signed(&key(1), 100), false).unwrap();
    store.receive(&signed(&key(2), 1), false).unwrap();
    store.receive(&delta(0, 1), false).unwrap();
}

/// A file that can't be made out and lets everything in, a field that is misspelt and so not obeyed, or a policy that nothing
/// can pass.
#[test]
fn a_trust_file_that_is_none_lets_nothing_in() {
    let short = "[keys]\nworkshop = \"8a88\"";
    let nobody = "require-signature = true";
    for policy in ["require-signatures = true", "require-signature = 1", short, nobody, "[keys", "\u{0}"] {
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

/// A policy whose defaults are other than documented.
#[test]
fn without_a_policy_everything_whole_is_taken() {
    let nothing = Trust::parse(Path::new("trust.toml"), "").unwrap();
    assert_eq!(nothing, Trust::default());
    assert!(!nothing.require_signature && nothing.keys.is_empty());
    assert_eq!(nothing.judge(None).unwrap(), None);
}
