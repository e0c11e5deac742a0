//! Signed statements: JSON in a Dead Simple Signing Envelope, verified against the keys of a trust file.

use base64::{Engine, engine::general_purpose::STANDARD};
use fieldfit_delta::{PublicKey, SecretKey};
use fieldfit_store::Trust;
use fieldfit_tensor::text::escape;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Signatures of an envelope that are looked at.
const MAX_SIGNATURES: usize = 8;

/// Statement that is signed: its type, and what its fields must fulfil.
pub(crate) trait Statement: Serialize + DeserializeOwned {
    /// Its media type, which is signed with it.
    const KIND: &'static str;

    /// Checks that every field is in its range, and that no text has control characters.
    fn check(&self) -> Result<(), StatementError>;
}

/// Statement whose signature is by a listed key.
#[derive(Debug, Clone)]
pub(crate) struct Signed<T> {
    pub statement: T,
    /// The signer's name in the trust file.
    pub signer: String,
}

/// Error of a card or recall: why it is not believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Bytes that are no envelope, or whose content is no statement of that type.
    #[error("expected a signed statement of type {kind}, found something else: {}", escape(reason))]
    Malformed {
        /// Media type that was expected.
        kind: &'static str,
        /// The defect.
        reason: String,
    },
    /// A statement of another type.
    #[error("expected a statement of type {kind}, found {}", escape(found))]
    Kind {
        /// Media type that was expected.
        kind: &'static str,
        /// Media type that was found.
        found: String,
    },
    /// A statement without a signature by a listed key.
    #[error("no signature by a key of the trust file: list the key there if it is right")]
    Untrusted,
    /// A field out of its range.
    #[error("invalid {field}: expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A statement that contradicts the name that it was found under, or the delta that it describes.
    #[error("its {field} is another than that of the delta: it is not this delta's")]
    Mismatch {
        /// The field.
        field: &'static str,
    },
}

/// Envelope, as the DSSE specification has it. `keyid` is the public key in hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    keyid: String,
    sig: String,
}

/// Checks a statement, signs it and returns its envelope.
pub(crate) fn sign<T: Statement>(statement: &T, key: &SecretKey) -> Result<Vec<u8>, StatementError> {
    statement.check()?;
    let payload = serde_json::to_vec(statement).map_err(malformed::<T>)?;
    let signature = key.sign_statement(T::KIND, &payload);
    let envelope = Envelope {
        payload: STANDARD.encode(&payload),
        payload_type: T::KIND.to_owned(),
        signatures: vec![EnvelopeSignature { keyid: key.public().to_string(), sig: STANDARD.encode(signature) }],
    };
    serde_json::to_vec(&envelope).map_err(malformed::<T>)
}

/// Opens an envelope: its statement, if a key that the trust file lists has signed it.
pub(crate) fn open<T: Statement>(envelope: &[u8], trust: &Trust) -> Result<Signed<T>, StatementError> {
    let envelope: Envelope = serde_json::from_slice(envelope).map_err(malformed::<T>)?;
    if envelope.payload_type != T::KIND {
        return Err(StatementError::Kind { kind: T::KIND, found: envelope.payload_type });
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(malformed::<T>)?;
    let by = |signature: &EnvelopeSignature| signer(signature, T::KIND, &payload, trust);
    let signer = envelope.signatures.iter().take(MAX_SIGNATURES).find_map(by).ok_or(StatementError::Untrusted)?;
    // Read only once it is known who wrote it.
    let statement: T = serde_json::from_slice(&payload).map_err(malformed::<T>)?;
    statement.check()?;
    Ok(Signed { statement, signer })
}

/// Returns the listed name of whoever made a signature, if it is valid.
fn signer(signature: &EnvelopeSignature, kind: &str, payload: &[u8], trust: &Trust) -> Option<String> {
    let mut key = PublicKey([0; 32]);
    hex::decode_to_slice(&signature.keyid, &mut key.0).ok()?;
    let (name, _) = trust.keys.iter().find(|(_, listed)| **listed == key)?;
    let bytes: [u8; 64] = STANDARD.decode(&signature.sig).ok()?.try_into().ok()?;
    key.verifies_statement(kind, payload, &bytes).then(|| name.clone())
}

fn malformed<T: Statement>(error: impl std::error::Error) -> StatementError {
    StatementError::Malformed { kind: T::KIND, reason: error.to_string() }
}
