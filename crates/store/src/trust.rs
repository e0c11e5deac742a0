//! Trust policy: the keys whose deltas a store accepts from outside.

use crate::error::StoreError;
use fieldfit_delta::{PublicKey, Signature};
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, path::Path};

/// Trust policy of a store: whose deltas it accepts from outside, as a trust file says.
///
/// ```toml
/// require-signature = true
///
/// [keys]
/// workshop = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
/// ```
///
/// Where keys are listed, unsigned deltas and signatures by any other key are refused. Without a trust file, as by
/// [`Trust::default`], every whole delta is accepted, and a signature only keeps older ones of the same key away. A trust
/// file that accepts every delta says so: `require-signature = false`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trust {
    /// Whether unsigned deltas are refused; listed keys imply it: see [`requires_signature`](Self::requires_signature).
    #[serde(default)]
    pub require_signature: bool,
    /// Public keys, each under what people call its owner.
    #[serde(default, deserialize_with = "keys")]
    pub keys: BTreeMap<String, PublicKey>,
}

impl Trust {
    /// Returns the policy in a trust file's text.
    ///
    /// # Errors
    /// [`StoreError::Trust`] if it is invalid, states nothing, or requires signatures that nobody can make.
    pub fn parse(path: &Path, text: &str) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::Trust { path: path.to_owned(), reason };
        let trust: Self = toml::from_str(text).map_err(|error| refused(error.message().to_owned()))?;
        let is_stated = |field| toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key(field));
        if trust.keys.is_empty() && !is_stated("require-signature") {
            return Err(refused("it states nothing: list keys, or write `require-signature = false`".into()));
        }
        if trust.require_signature && trust.keys.is_empty() {
            return Err(refused("it requires signatures and lists no keys".into()));
        }
        Ok(trust)
    }

    /// Returns whether unsigned deltas are refused: if the file says so, or lists keys.
    pub fn requires_signature(&self) -> bool {
        self.require_signature || !self.keys.is_empty()
    }

    /// Returns the signer's name, if the delta is signed and the trust file says.
    ///
    /// # Errors
    /// [`StoreError::Unsigned`] and [`StoreError::Untrusted`].
    pub fn judge(&self, signature: Option<&Signature>) -> Result<Option<&str>, StoreError> {
        let Some(Signature { key, .. }) = signature else {
            return if self.requires_signature() { Err(StoreError::Unsigned) } else { Ok(None) };
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
