//! Who answers for a file: Ed25519 over its hash.

use crate::DeltaError;
use crate::cursor::Cursor;
#[cfg(feature = "alloc")]
use crate::{
    Delta,
    layout::{SIGNABLE_VERSION, SIGNATURE_BYTES},
};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "alloc")]
use ed25519_dalek::{Signer, SigningKey};
use ed25519_dalek::{VerifyingKey, ed25519};

/// What every signed message begins with, so that no signature made for something else is one of a delta.
const CONTEXT: [u8; 16] = *b"fieldfit delta 2";
/// Context, sequence and hash.
const MESSAGE_BYTES: usize = CONTEXT.len() + size_of::<u64>() + 32;

/// An Ed25519 public key, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({self})")
    }
}

/// Who signed a file, and the number that its signer gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The signer's key, under which the signature is right.
    pub key: PublicKey,
    /// Grows with each delta that this key signs for a base, so that an old one can be told from a new one.
    pub sequence: u64,
}

impl Signature {
    /// What follows the hash, if anything does, once it has been verified.
    pub(crate) fn read(bytes: &[u8], hash: &[u8; 32]) -> Result<Option<Self>, DeltaError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut cursor = Cursor::new(bytes, 0);
        let sequence = cursor.u64("a signature's sequence")?;
        let key = PublicKey(cursor.array("a public key")?);
        let signature = ed25519::Signature::from_bytes(&cursor.array("a signature")?);
        let verified = VerifyingKey::from_bytes(&key.0)
            .and_then(|verifying| verifying.verify_strict(&message(sequence, hash), &signature));
        verified.map_err(|_| DeltaError::Signature { key })?;
        Ok(Some(Self { key, sequence }))
    }
}

fn message(sequence: u64, hash: &[u8; 32]) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    let (context, rest) = message.split_at_mut(CONTEXT.len());
    let (number, digest) = rest.split_at_mut(size_of::<u64>());
    context.copy_from_slice(&CONTEXT);
    number.copy_from_slice(&sequence.to_le_bytes());
    digest.copy_from_slice(hash);
    message
}

/// An Ed25519 key to sign with; overwritten when it is dropped, and never shown.
#[cfg(feature = "alloc")]
#[derive(Clone)]
pub struct SecretKey(SigningKey);

#[cfg(feature = "alloc")]
impl SecretKey {
    /// The key of these 32 bytes, which have to be random and secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What others know it by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The file, signed; an earlier signature is replaced.
    ///
    /// # Errors
    /// If it is no delta, or one of format version 1, which has no place for a signature.
    pub fn sign(&self, file: &[u8], sequence: u64) -> Result<Vec<u8>, DeltaError> {
        let delta = Delta::parse(file)?;
        if delta.version() < SIGNABLE_VERSION {
            return Err(DeltaError::NotSignable { found: delta.version() });
        }
        let unsigned = file.len() - delta.signature().map_or(0, |_| SIGNATURE_BYTES);
        let mut signed = file[..unsigned].to_vec();
        signed.extend(sequence.to_le_bytes());
        signed.extend(self.public().0);
        signed.extend(self.0.sign(&message(sequence, &delta.hash())).to_bytes());
        Ok(signed)
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretKey(of {})", self.public())
    }
}
