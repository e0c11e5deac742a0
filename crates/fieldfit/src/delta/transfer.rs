//! Delta transfer: signs, compresses and verifies delta files on their way between machines.

use super::file::{parse, read, runnable};
use crate::Error;
use crate::info::hex;
use crate::output_file::{OutputKind, write_output};
use fieldfit_delta::{SecretKey, Signature, compression};
use fieldfit_durable::read_bounded;
use fieldfit_model::Base;
use fieldfit_store::Trust;
use serde::Serialize;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Signs a delta and writes it to `out`, which may be the same file. Without a `sequence`, the number is the microseconds
/// since 1970, so that no two deltas have one.
///
/// # Errors
/// If the file cannot be read or written, is not a delta, or has format version 1.
pub fn sign(
    delta: impl AsRef<Path>,
    key: &SecretKey,
    sequence: Option<u64>,
    out: impl AsRef<Path>,
) -> Result<Signature, Error> {
    let delta = delta.as_ref();
    let file = read(delta)?;
    let sequence = sequence.unwrap_or_else(microseconds_since_1970);
    let signed =
        key.sign(&file, sequence).map_err(|source| Error::Delta { path: delta.to_owned(), source: source.into() })?;
    write_output(out.as_ref(), OutputKind::Delta, &signed)?;
    Ok(Signature { key: key.public(), sequence })
}

fn microseconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Sizes of a delta before and after compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Packed {
    /// Size of the delta, in bytes.
    pub bytes: u64,
    /// Size of the zstd frame, in bytes.
    pub packed: u64,
}

/// Verifies a delta and writes it to `out` in a zstd frame. Everything that reads deltas reads compressed ones as well.
///
/// # Errors
/// If the file cannot be read or written, or is not a delta.
pub fn pack(delta: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<Packed, Error> {
    let delta = delta.as_ref();
    let file = read(delta)?;
    parse(delta, &file)?;
    let packed = compression::compress(&file);
    write_output(out.as_ref(), OutputKind::Delta, &packed)?;
    Ok(Packed { bytes: file.len() as u64, packed: packed.len() as u64 })
}

/// Verifies a compressed delta and writes it to `out` as it was before; returns its size in bytes.
///
/// # Errors
/// If the file cannot be read or written, or holds no delta.
pub fn unpack(packed: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<u64, Error> {
    let packed = packed.as_ref();
    let file = read(packed)?;
    parse(packed, &file)?;
    write_output(out.as_ref(), OutputKind::Delta, &file)?;
    Ok(file.len() as u64)
}

/// Result of a successful verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// The delta's identity, in hexadecimal.
    pub hash: String,
    /// Identity of the base that it is made for, in hexadecimal.
    pub base: String,
    /// The signer's public key, in hexadecimal, if it is signed.
    pub key: Option<String>,
    /// The signer's sequence number.
    pub sequence: Option<u64>,
    /// The signer's name in the trust file.
    pub signer: Option<String>,
    /// Whether it was applied to a base: every tensor fits and lies within its radius, and the network runs at the delta's
    /// input size.
    pub fits: bool,
}

/// Verifies a delta file: whole, within every limit and rightly signed. With `trust`, accepted by that trust file. With
/// `model`, made for that base, within its radii, and able to run on it at the delta's input size.
///
/// # Errors
/// If any of that does not hold.
pub fn verify(delta: impl AsRef<Path>, model: Option<&Path>, trust: Option<&Path>) -> Result<Verified, Error> {
    let delta = delta.as_ref();
    let file = read(delta)?;
    let parsed = parse(delta, &file)?;
    let signature = parsed.signature();
    let signer = match trust {
        Some(path) => read_trust(path)?.judge(signature)?.map(str::to_owned),
        None => None,
    };
    if let Some(model) = model {
        runnable(&Base::open(model)?, &parsed)?;
    }
    Ok(Verified {
        hash: hex(parsed.hash()),
        base: hex(parsed.header().base),
        key: signature.map(|signature| signature.key.to_string()),
        sequence: signature.map(|signature| signature.sequence),
        signer,
        fits: model.is_some(),
    })
}

/// Maximum bytes of a trust file: thousands of keys.
const LONGEST_TRUST_FILE: u64 = 1 << 20;

fn read_trust(path: &Path) -> Result<Trust, Error> {
    let text = String::from_utf8(read_bounded(path, LONGEST_TRUST_FILE)?).map_err(|error| Error::Read {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })?;
    Ok(Trust::parse(path, &text)?)
}
