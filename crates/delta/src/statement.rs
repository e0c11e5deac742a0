//! Signed statements: Ed25519 over a typed text other than a delta, such as a recall, as DSSE signs it.
//!
//! The message is the pre-authentication encoding of the Dead Simple Signing Envelope, version 1.0.2
//! (<https://github.com/secure-systems-lab/dsse>): it starts with `DSSEv1`, a delta's message with another context, so that
//! neither signature is valid for the other.

use crate::signature::{PublicKey, SecretKey};
use alloc::{format, vec::Vec};
use ed25519_dalek::{Signer, VerifyingKey, ed25519};

impl SecretKey {
    /// Returns the Ed25519 signature of a statement of that type, a media type such as
    /// `application/vnd.fieldfit.recall+json`.
    pub fn sign_statement(&self, kind: &str, statement: &[u8]) -> [u8; 64] {
        self.0.sign(&encoded(kind, statement)).to_bytes()
    }
}

impl PublicKey {
    /// Returns whether the signature is this key's of a statement of that type.
    pub fn verifies_statement(&self, kind: &str, statement: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(&encoded(kind, statement), &signature))
            .is_ok()
    }
}

/// Returns the pre-authentication encoding of a statement: lengths in decimal, so that no two statements share one.
fn encoded(kind: &str, statement: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), statement.len()).into_bytes();
    message.extend(statement);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "application/vnd.example+json";

    /// Catches: a signature that is valid for another text, type or key, or for the same bytes cut elsewhere.
    #[test]
    fn a_signature_is_valid_for_its_statement_alone() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signature = key.sign_statement(KIND, b"stop");
        let public = key.public();
        assert!(public.verifies_statement(KIND, b"stop", &signature));
        assert!(!public.verifies_statement(KIND, b"stopp", &signature));
        assert!(!public.verifies_statement("application/vnd.example+jso", b"n 4 stop", &signature));
        assert!(!SecretKey::from_seed(&[8; 32]).public().verifies_statement(KIND, b"stop", &signature));
        let mut flipped = signature;
        flipped[40] ^= 1;
        assert!(!public.verifies_statement(KIND, b"stop", &flipped));
    }

    /// Catches: a message other than the one of the DSSE specification's own example, which other tools verify.
    #[test]
    fn the_message_is_that_of_the_specification() {
        assert_eq!(
            encoded("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
