//! A run's state on disk.

use crate::optimiser::Optimiser;
use crate::plan::Plan;
use crate::probe::Probe;
use crate::watch::Watch;
use crate::{AdaptError, Method, Options, check};
use fieldfit_data::{Dataset, Split};
use fieldfit_durable::{Disk, DurableError, FileKind, commit_sealed_keeping, read_sealed, remove};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::Params;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a checkpoint is, and the version of its layout.
pub(crate) const KIND: FileKind = *b"FFADAPT1";

/// What a run computes from: a checkpoint serves no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    base: [u8; 32],
    images: [u8; 32],
    options: [u8; 32],
}

impl Identity {
    pub fn new(base: &Base, dataset: &Dataset, plan: &Plan, options: &Options) -> Self {
        // How the passes were chosen makes no difference; what they are does. So it is with a setting's value.
        let settings = options.effective_settings();
        let options = Options { micro_batch: None, memory_budget: None, retain: None, settings, ..options.clone() };
        Self {
            base: base.id().0,
            images: images(dataset, plan),
            options: Sha256::digest(format!("{options:?} {}", plan.memory.passes())).into(),
        }
    }

    /// What differs from the other, if anything.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("base", self.base == other.base),
            ("images", self.images == other.images),
            ("options", self.options == other.options),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }
}

/// A hash over the images of every slice, and over those that are retained.
fn images(dataset: &Dataset, plan: &Plan) -> [u8; 32] {
    let Split { train, validation, gate, .. } = &plan.split;
    let mut hash = Sha256::new();
    [train, validation, gate].iter().for_each(|slice| hash.update(dataset.digest(slice)));
    if let Some(retained) = &plan.retained {
        hash.update(retained.images.digest(&retained.order));
    }
    hash.finalize().into()
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Optimiser steps done.
    pub step: u64,
    /// Validation batches that radius steps have drawn.
    pub drawn: u64,
    /// Sum of the losses of this epoch's steps.
    pub epoch_loss: f64,
    pub watch: Watch,
}

/// All that a run needs to go on to the same bits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot<'a> {
    pub identity: Cow<'a, Identity>,
    pub progress: Cow<'a, Progress>,
    pub probe: Cow<'a, Probe>,
    pub delta: Cow<'a, Params<f32>>,
    pub optimiser: Cow<'a, Optimiser<f32>>,
    pub method: Vec<u8>,
}

impl Snapshot<'_> {
    /// Writes it in one step that a power cut can't split. The checkpoint before stays beside it.
    ///
    /// # Errors
    /// If the file can't be written; what was there before is then still there.
    pub fn write(&self, path: &Path) -> Result<(), AdaptError> {
        Ok(commit_sealed_keeping(&Disk, path, &previous(path), KIND, &postcard::to_stdvec(self)?)?)
    }

    /// Reads the state of a run with this identity: the last one, or if that is missing or damaged, the one before. The
    /// method, which is at its start, takes its own state back.
    ///
    /// # Errors
    /// If there is none, both are damaged, or it is another run's.
    pub fn read(
        path: &Path,
        identity: &Identity,
        plan: &Plan,
        options: &Options,
        method: &mut dyn Method,
    ) -> Result<Snapshot<'static>, AdaptError> {
        let mut read_one = |path: &Path| {
            let snapshot = Self::read_one(path, identity, &plan.network)?;
            let checked = check::snapshot(&snapshot, plan, options, method);
            checked.map(|()| snapshot).map_err(|damage| AdaptError::DamagedCheckpoint { path: path.to_owned(), damage })
        };
        let error = match read_one(path) {
            Err(error @ (AdaptError::DamagedCheckpoint { .. } | AdaptError::NoCheckpoint { .. })) => error,
            other => return other,
        };
        match (read_one(&previous(path)), &error) {
            (Ok(snapshot), _) => {
                log::warn!("{error}; going on from the checkpoint before");
                // The next one is not to take the place of a good one and leave a damaged one beside it.
                remove(&Disk, path)?;
                Ok(snapshot)
            }
            (Err(other @ AdaptError::OtherCheckpoint { .. }), AdaptError::NoCheckpoint { .. }) => Err(other),
            _ => Err(error),
        }
    }

    fn read_one(path: &Path, identity: &Identity, network: &Network) -> Result<Snapshot<'static>, AdaptError> {
        let damaged = |damage| AdaptError::DamagedCheckpoint { path: path.to_owned(), damage };
        let content = read_sealed(&Disk, path, KIND, longest(network)).map_err(|error| match error {
            error if error.is_not_found() => AdaptError::NoCheckpoint { path: path.to_owned() },
            DurableError::Sealed { source, .. } => damaged(source.into()),
            error => error.into(),
        })?;
        let snapshot: Snapshot<'static> = check::decode("the state", &content).map_err(damaged)?;
        match snapshot.identity.difference(identity) {
            Some(what) => Err(AdaptError::OtherCheckpoint { path: path.to_owned(), what }),
            None => Ok(snapshot),
        }
    }
}

/// Removes the checkpoint at that path and the one before it, if there are any.
///
/// # Errors
/// If they can't be removed.
pub fn remove_checkpoint(path: &Path) -> Result<(), AdaptError> {
    remove(&Disk, &previous(path))?;
    Ok(remove(&Disk, path)?)
}

/// Where the checkpoint before the one at that path is.
fn previous(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".before");
    path.with_file_name(name)
}

/// No checkpoint of that network is longer: δ, two values of optimiser state each, a probe, radii and what is around.
fn longest(network: &Network) -> u64 {
    (network.parameter_count() * 4 * size_of::<f32>() + (1 << 20)) as u64
}
