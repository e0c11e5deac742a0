//! Signatures: a signature identifies the signer of one file, and no other file is valid under it. Guards against a
//! signature that is not verified, or does not cover a field.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, reason = "a test that cannot make its delta has failed")]

mod common;

use common::{LABELS, header, sample, tensors};
use fieldfit_delta::{Delta, DeltaError, PublicKey, SecretKey, Signature, encode};

/// Bytes of a signature, as the crate's documentation has them.
const SIGNATURE: usize = 8 + 32 + 64;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn signed() -> Vec<u8> {
    key(1).sign(&sample(), 7).unwrap()
}

/// Catches: a signature that changes the delta's identity, its contents, or comes back as somebody else's.
#[test]
fn a_signed_file_is_the_same_delta() {
    let (plain, signed) = (sample(), signed());
    assert_eq!(signed.len(), plain.len() + SIGNATURE);
    let (plain, signed) = (Delta::parse(&plain).unwrap(), Delta::parse(&signed).unwrap());
    assert_eq!((plain.hash(), plain.header(), plain.signature()), (signed.hash(), signed.header(), None));
    assert_eq!(signed.signature(), Some(&Signature { key: key(1).public(), sequence: 7 }));
    assert!(plain.records().eq(signed.records()));
    assert_eq!(signed.file_bytes(), plain.file_bytes() + SIGNATURE);
}

/// Catches: another algorithm, message or derivation of keys than documented. The public key is what Python's
/// `cryptography` gives for that seed.
#[test]
fn the_signature_is_ed25519_over_context_sequence_and_hash() {
    use ed25519_dalek::{Signature as Ed25519, VerifyingKey};
    let public = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    assert_eq!(key(1).public().to_string(), public);
    let file = signed();
    let (delta, signature) = file.split_at(file.len() - SIGNATURE);
    let message = [&b"fieldfit delta 2"[..], &7_u64.to_le_bytes(), &delta[delta.len() - 32..]].concat();
    let verifying = VerifyingKey::from_bytes(signature[8..40].try_into().unwrap()).unwrap();
    verifying.verify_strict(&message, &Ed25519::from_bytes(signature[40..].try_into().unwrap())).unwrap();
    assert_eq!(signature[..8], 7_u64.to_le_bytes());
}

/// Catches: a bit of the signature's block that nothing depends on.
#[test]
fn no_bit_of_a_signature_can_be_changed() {
    let file = signed();
    for at in file.len() - SIGNATURE..file.len() {
        for bit in 0..8 {
            let mut altered = file.clone();
            altered[at] ^= 1 << bit;
            let refused = Delta::parse(&altered).unwrap_err();
            assert!(matches!(refused, DeltaError::Signature { .. }), "byte {at}, bit {bit}: {refused:?}");
        }
    }
}

/// Catches: a signature that is taken over to another delta, and one that is cut or doubled.
#[test]
fn a_signature_belongs_to_one_file() {
    let file = signed();
    let signature = &file[file.len() - SIGNATURE..];
    let other = encode(&header(), &LABELS, &tensors()[..1]).unwrap();
    let refused = Delta::parse(&[&other, signature].concat()).unwrap_err();
    assert!(matches!(refused, DeltaError::Signature { .. }), "{refused:?}");
    assert!(refused.to_string().contains(&key(1).public().to_string()), "{refused}");
    for surplus in (1..SIGNATURE).chain([SIGNATURE + 1, 2 * SIGNATURE]) {
        let appended: Vec<u8> = sample().into_iter().chain(signature.iter().copied().cycle().take(surplus)).collect();
        let refused = Delta::parse(&appended).unwrap_err();
        assert!(matches!(refused, DeltaError::TrailingBytes { .. }), "{surplus}: {refused:?}");
    }
}

/// Catches: keys under which any signature is right, or that are no point of the curve.
#[test]
fn weak_and_impossible_keys_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    for weak in [[0; 32], identity, [0xff; 32]] {
        let mut file = sample();
        file.extend(7_u64.to_le_bytes());
        file.extend(weak);
        // R the identity and S zero: under a key of small order that verifies where nobody looks for one.
        file.extend(identity);
        file.extend([0; 32]);
        assert_eq!(Delta::parse(&file).unwrap_err(), DeltaError::Signature { key: PublicKey(weak) });
    }
}

/// Catches: a length that cuts the hash off the file and passes the rest for a signature.
#[test]
fn a_length_without_room_for_a_file_is_refused() {
    let mut file = sample();
    file.truncate(24 + 32 + SIGNATURE - 1);
    let length = file.len() - SIGNATURE;
    file[16..24].copy_from_slice(&(length as u64).to_le_bytes());
    assert!(matches!(Delta::parse(&file), Err(DeltaError::TrailingBytes { .. })));
}

/// Catches: a second signature that is added to the first, or one that stays.
#[test]
fn signing_again_replaces_the_signature() {
    let again = key(2).sign(&signed(), 8).unwrap();
    assert_eq!(again, key(2).sign(&sample(), 8).unwrap());
    assert_eq!(Delta::parse(&again).unwrap().signature(), Some(&Signature { key: key(2).public(), sequence: 8 }));
}

/// Catches: a signed file that readers of version 1 would take for a damaged one, and a signature on what is no delta.
#[test]
fn only_deltas_that_have_the_place_are_signed() {
    let old = include_bytes!("fixtures/version-1.delta");
    assert_eq!(key(1).sign(old, 1), Err(DeltaError::NotSignable { found: 1 }));
    let appended = [&old[..], &signed()[signed().len() - SIGNATURE..]].concat();
    assert!(matches!(Delta::parse(&appended), Err(DeltaError::TrailingBytes { .. })));
    let image = b"\x89PNG and so on, for as long as a delta is at least: magic, lengths and a hash";
    assert!(matches!(key(1).sign(image, 1), Err(DeltaError::Magic { .. })));
}

/// Catches: a secret that shows in a log.
#[test]
fn a_secret_key_is_never_shown() {
    assert_eq!(format!("{:?}", key(1)), format!("SecretKey(of {})", key(1).public()));
}
