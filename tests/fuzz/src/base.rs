//! Fuzz target of model folders. The input is a manifest, the labels, the header of the weights and their first
//! bytes, each ended by a zero byte but the last.

use crate::{safetensors, scratch};
use fieldfit_model::{Base, LABELS_FILE, MANIFEST_FILE, Weights};
use fieldfit_tensor::Params;
use sha2::{Digest, Sha256};
use std::error::Error;

/// What stands in a seed's manifest where the length of the weights belongs.
pub const BYTES: &str = "{bytes}";
/// What stands in a seed's manifest where the SHA-256 of the weights belongs.
pub const SHA256: &str = "{sha256}";

/// Writes the folder, under a manifest that vouches for the weights unless the mutation says otherwise, and opens it.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(4, |&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (manifest, labels, header, body) = (next(), next(), next(), next());
    let weights = safetensors::around(header, body);
    scratch::write("weights.safetensors", &weights);
    scratch::write(LABELS_FILE, labels);
    let manifest = scratch::write(MANIFEST_FILE, &vouching(manifest, &weights));
    match Base::open(manifest.parent().expect("a file is in a folder")) {
        Ok(base) => read(&base),
        Err(error) => drop(message(&error)),
    }
}

/// The manifest with the length and the hash of these weights in their places.
fn vouching(manifest: &[u8], weights: &[u8]) -> Vec<u8> {
    match str::from_utf8(manifest) {
        Ok(text) => {
            let hash = hex::encode(Sha256::digest(weights));
            text.replace(BYTES, &weights.len().to_string()).replace(SHA256, &hash).into_bytes()
        }
        Err(_) => manifest.to_vec(),
    }
}

/// What opens has a class at least, a label for each, and finite values of the shapes that its network has.
fn read(base: &Base) {
    let network = base.network();
    assert!(network.head.classes > 0, "a network of no classes");
    assert_eq!(base.labels().len(), network.head.classes, "labels");
    let params: Params<f32> = base.params();
    for (id, spec) in network.tensors() {
        assert_eq!(base.tensor(id).len(), spec.len(), "{}", spec.name);
        assert!(params[id].iter().all(|value| value.is_finite()), "{} is not finite", spec.name);
    }
    assert_eq!(Weights::of_base(base).params, params);
}

/// The message of an error and of its causes.
pub(crate) fn message(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
