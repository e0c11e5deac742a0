//! Whose deltas a store takes from outside.

use crate::error::StoreError;
use fieldfit_delta::{PublicKey, Signature};
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, path::Path};

/// Whose deltas are taken from outside: what a trust file says.
///
/// ```toml
/// require-signature = true
///
/// [keys]
/// workshop = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
/// ```
///
/// Where keys are listed, a signature by any other is refused. Without a trust file, as by [`Trust::default`], every whole
/// delta is taken, and a signature only keeps older ones of the same key away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trust {
    /// Whether unsigned deltas are refused.
    #[serde(default)]
    pub require_signature: bool,
    /// Public keys, each under what people call its owner.
    #[serde(default, deserialize_with = "keys")]
    pub keys: BTreeMap<String, PublicKey>,
}

impl Trust {
    /// What that file says.
    ///
    /// # Errors
    /// [`StoreError::Trust`] if it is no trust file, or requires signatures that nobody can make.
    pub fn parse(path: &Path, text: &str) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::Trust { path: path.to_owned(), reason };
        let trust: Self = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        if trust.require_signature && trust.keys.is_empty() {
            return Err(refused("it requires signatures and lists no keys".into()));
        }
        Ok(trust)
    }

    /// What the signer is called, if the delta is signed and the trust file says.
    ///
    /// # Errors
    /// [`StoreError::Unsigned`] and [`StoreError::Untrusted`].
    pub fn judge(&self, signature: Option<&Signature>) -> Result<Option<&str>, StoreError> {
        let Some(Signature { key, .. }) = signature else {
            return if self.require_signature { Err(StoreError::Unsigned) } else { Ok(None) };
        };
        let name = self.keys.iter().find(|(_, known)| *known == key).map(|(name, _)| name.as_str());
        if name.is_none() && !self.keys.is_empty() {
            let known = self.keys.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(StoreError::Untrusted { key: *key, known });
        }
        Ok(name)
    }
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, PublicKey>, D::Error> {
    #[derive(Deserialize)]
    struct Key(#[serde(with = "hex::serde")] [u8; 32]);
    let keys = BTreeMap::<String, Key>::deserialize(deserializer)?;
    Ok(keys.into_iter().map(|(name, Key(key))| (name, PublicKey(key))).collect())
}
