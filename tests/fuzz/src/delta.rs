//! Fuzz target of delta files: as they are, and under a valid length and hash.

use fieldfit_delta::{Codec, Delta, Record};
use sha2::{Digest, Sha256};

/// Values decoded of one file: a sparse payload of one byte can stand for 2²⁸.
const MOST_VALUES: usize = 1 << 20;
/// Values of a record that are encoded again, which takes longer than decoding them.
const MOST_ENCODED: usize = 1 << 12;
/// Where the file's length stands, and the bytes of the hash at its end: see the crate's documentation.
const LENGTH: std::ops::Range<usize> = 16..24;
const HASH: usize = 32;

/// Reads the bytes, and once more resealed, so that mutations get past the outermost checks.
pub fn run(data: &[u8]) {
    read(data);
    if let Some(resealed) = reseal(data) {
        read(&resealed);
    }
}

/// The bytes with their length and their hash in place, if there is room for both.
fn reseal(data: &[u8]) -> Option<Vec<u8>> {
    let contents = data.len().checked_sub(HASH).filter(|&contents| contents >= LENGTH.end)?;
    let mut file = data.to_vec();
    file[LENGTH].copy_from_slice(&(data.len() as u64).to_le_bytes());
    let hash = Sha256::digest(&file[..contents]);
    file[contents..].copy_from_slice(&hash);
    Some(file)
}

/// What parses holds as many labels and records as its header says, and every value decodes to a finite one.
fn read(file: &[u8]) {
    let delta = match Delta::parse(file) {
        Ok(delta) => delta,
        Err(error) => return drop(error.to_string()),
    };
    let header = delta.header();
    assert_eq!(delta.labels().count(), header.classes as usize, "labels");
    assert_eq!(delta.records().count(), header.tensors as usize, "records");
    let mut left = MOST_VALUES;
    for record in delta.records() {
        if let Some(rest) = left.checked_sub(record.len()) {
            left = rest;
            decode(&record);
        }
    }
}

fn decode(record: &Record<'_>) {
    let mut values = vec![f32::NAN; record.len()];
    record.decode_into(&mut values).expect("a checked payload decodes");
    assert!(values.iter().all(|value| value.is_finite()), "{} holds {values:?}", record.name);
    if matches!(record.codec, Codec::F16 | Codec::F32 | Codec::Sparse) && values.len() <= MOST_ENCODED {
        let again = record.codec.decoded(&values, record.rows()).expect("decoded values can be encoded");
        assert_eq!(again, values, "{} changes when it is stored again", record.name);
    }
}
