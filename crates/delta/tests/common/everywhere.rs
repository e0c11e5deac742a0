//! Reference file: a signed file of format version 2 with every codec, and its expected values on any machine. Needs no
//! std, so that a microcontroller runs the same checks as the host.

use fieldfit_delta::{Delta, DeltaError};
use sha2::{Digest, Sha256};

/// One of the fixtures of released versions.
pub const FILE: &[u8; 555] = include_bytes!("../fixtures/version-2.delta");

/// How many bytes of the file come before its signature, and before its hash.
const UNSIGNED: usize = FILE.len() - 104;
const CONTENTS: usize = UNSIGNED - 32;

/// How many values its greatest tensor has.
pub const VALUES: usize = 10;

/// Its tensors' names, and the [`sum`] of each one's values.
const SUMS: [(&str, u32); 7] = [
    ("a", 0x7069_54d5),
    ("b", 0x7069_54d5),
    ("c", 0x5891_6cb1),
    ("d", 0x7069_54d5),
    ("e", 0x7069_54d5),
    ("f", 0x7069_54d5),
    ("g", 0x7069_54d5),
];

/// How many of the files that [`check_forgeries`] makes are sound: a byte of the provenance, a letter or a value is
/// another, and nothing tells. Each has its records decoded, of [`VALUES`] values at most.
const SOUND: usize = 171;

/// FNV-1a over the values' bits: a rounding that differs shows.
fn sum(values: &[f32]) -> u32 {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    bytes.fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Every tensor, decoded to the caller's `values`, is what it was, to the bit.
pub fn check_values(values: &mut [f32; VALUES]) {
    let delta = Delta::parse(FILE).unwrap();
    assert_eq!(delta.signature().map(|signature| signature.sequence), Some(7));
    assert_eq!(delta.records().count(), SUMS.len());
    for (record, expected) in delta.records().zip(SUMS) {
        let values = &mut values[..record.len()];
        record.decode_into(values).unwrap();
        assert_eq!((record.name, sum(values)), expected);
    }
}

/// Whichever byte is flipped, the file is refused: every one of them in turn, in the caller's `copy`.
pub fn check_damage(copy: &mut [u8; FILE.len()]) {
    *copy = *FILE;
    for at in 0..copy.len() {
        copy[at] ^= 0xff;
        assert!(Delta::parse(copy).is_err(), "byte {at}");
        copy[at] ^= 0xff;
    }
    assert!(Delta::parse(copy).is_ok());
}

/// Whichever byte is flipped under a hash that is right, in a file that nobody signed, sizes and lengths included, the
/// verdict is the same everywhere, and what is called sound can be decoded or says that it has another size.
pub fn check_forgeries(copy: &mut [u8; FILE.len()], values: &mut [f32; VALUES]) {
    *copy = *FILE;
    let mut sound = 0;
    for at in 0..CONTENTS {
        copy[at] ^= 0xff;
        seal(copy);
        sound += usize::from(decode(&copy[..UNSIGNED], values).is_ok());
        copy[at] ^= 0xff;
    }
    assert_eq!(sound, SOUND);
}

fn seal(file: &mut [u8; FILE.len()]) {
    let (contents, hash) = file[..UNSIGNED].split_at_mut(CONTENTS);
    hash.copy_from_slice(&Sha256::digest(contents));
}

fn decode(file: &[u8], values: &mut [f32; VALUES]) -> Result<(), DeltaError> {
    let delta = Delta::parse(file)?;
    for record in delta.records() {
        let length = record.len().min(VALUES);
        record.decode_into(&mut values[..length])?;
    }
    Ok(())
}
