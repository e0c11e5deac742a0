//! Delta signatures: Ed25519 over context, sequence and the file's hash.

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

/// Context of every signed message, so that no signature of another protocol is valid for a delta.
const CONTEXT: [u8; 16] = *b"fieldfit delta 2";
/// Context, sequence and hash.
const MESSAGE_BYTES: usize = CONTEXT.len() + size_of::<u64>() + 32;

/// Ed25519 public key, displayed in hexadecimal.
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

/// Verified signature: the signer's key and the sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The signer's key, for which the signature is valid.
    pub key: PublicKey,
    /// Increases with each delta that this key signs for a base, so that an older delta can be rejected.
    pub sequence: u64,
}

impl Signature {
    /// Reads and verifies the signature block; `None` if there is none.
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

/// Returns the message that is signed.
fn message(sequence: u64, hash: &[u8; 32]) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    let (context, rest) = message.split_at_mut(CONTEXT.len());
    let (number, digest) = rest.split_at_mut(size_of::<u64>());
    context.copy_from_slice(&CONTEXT);
    number.copy_from_slice(&sequence.to_le_bytes());
    digest.copy_from_slice(hash);
    message
}

/// Ed25519 secret key; zeroised on drop, and never displayed.
#[cfg(feature = "alloc")]
#[derive(Clone)]
pub struct SecretKey(pub(crate) SigningKey);

#[cfg(feature = "alloc")]
impl SecretKey {
    /// Creates a key from 32 bytes, which must be random and secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Returns the file with a signature, which replaces an earlier one.
    ///
    /// # Errors
    /// If the file is not a valid delta, or has format version 1, which cannot be signed.
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
