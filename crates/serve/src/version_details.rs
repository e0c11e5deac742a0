//! Version details: what a delta file says of itself, read once for each version.

use fieldfit_delta::Delta;
use fieldfit_store::Store;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a version's delta file says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VersionDetails {
    /// The method's name.
    pub method: String,
    /// What it answers about a frame.
    pub task: String,
    /// Class names, in the order of the head's outputs.
    pub classes: Vec<String>,
    /// Images that trained weights.
    pub train: u32,
    /// Images of the gate slice.
    pub gate: u32,
    /// Figure of the gate for what ran before, 0..1.
    pub before: f32,
    /// Figure of the gate for this version, 0..1.
    pub after: f32,
    /// The key that signed it, if it is signed.
    pub key: Option<String>,
}

/// Details of a store's versions, whose files never change.
#[derive(Default)]
pub(crate) struct DetailsCache(BTreeMap<u32, Option<VersionDetails>>);

impl DetailsCache {
    /// Returns a version's details; `None` if its file is damaged or cannot be read.
    pub fn of(&mut self, store: &Store, version: u32) -> Option<VersionDetails> {
        self.0.entry(version).or_insert_with(|| read(store, version)).clone()
    }

    /// Forgets versions that are no longer there, and tries again what could not be read.
    pub fn keep(&mut self, versions: &[u32]) {
        self.0.retain(|version, details| details.is_some() && versions.contains(version));
    }
}

fn read(store: &Store, version: u32) -> Option<VersionDetails> {
    let bytes = store.read(version).ok()?;
    let delta = Delta::parse(&bytes).ok()?;
    let (header, made) = (delta.header(), &delta.header().provenance);
    Some(VersionDetails {
        method: made.method.to_string(),
        task: header.task.to_string(),
        classes: delta.labels().map(str::to_owned).collect(),
        train: made.train,
        gate: made.gate,
        before: made.before,
        after: made.after,
        key: delta.signature().map(|signature| signature.key.to_string()),
    })
}
