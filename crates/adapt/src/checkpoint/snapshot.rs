//! Snapshot: all that a run needs to go on to the same bits, and how it is written and read.

use crate::checkpoint::check::{decode, params, same};
use crate::checkpoint::free_space::{free_space, require_space};
use crate::checkpoint::identity::Identity;
use crate::checkpoint::progress::{Later, Progress};
use crate::checkpoint::resume_point::ResumePoint;
use crate::checkpoint::validation::{self, FINITE_F32};
use crate::error::{AdaptError, CheckpointDamage};
use crate::methods::method::Method;
use crate::plan::run::Run;
use crate::train::branches::BranchSum;
use crate::train::optimiser::Optimiser;
use crate::train::probe::Probe;
use fieldfit_durable::{
    Disk, DurableError, FileKind, FileSystem, SEAL_LEN, commit_sealed_keeping, read_sealed, remove,
};
use fieldfit_nets::Network;
use fieldfit_tensor::Params;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Kind of a checkpoint file, and the version of its layout.
pub(crate) const KIND: FileKind = *b"FFADAPT1";

/// State of a run. In a file, [`Later`] follows it where one of its fields is not at its default, and [`BranchSum`] where the run
/// has branches, so that other runs have the layout of the first release.
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
    /// Writes it in one step that a power cut can't split, where at least `reserve` bytes of the disk are then left. The
    /// checkpoint before stays beside it, if there is room for both.
    ///
    /// # Errors
    /// [`AdaptError::CheckpointSpace`] if the disk is too full; if the file can't be written. The last checkpoint is then
    /// still there.
    pub fn write(&self, files: &dyn FileSystem, path: &Path, reserve: u64) -> Result<(), AdaptError> {
        let content = self.encode()?;
        let (previous, needed) = (previous(path), (content.len() + SEAL_LEN) as u64 + reserve);
        if require_space(path, needed, free_space(path)).is_err() {
            remove(files, &previous)?;
            require_space(path, needed, free_space(path))?;
        }
        match commit_sealed_keeping(files, path, &previous, KIND, &content) {
            Err(error) if is_full(&error) => {
                remove(files, &previous)?;
                Ok(commit_sealed_keeping(files, path, &previous, KIND, &content)?)
            }
            written => Ok(written?),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, AdaptError> {
        let mut content = postcard::to_stdvec(self)?;
        let Progress { later, branches, .. } = self.progress.as_ref();
        let has_branches = *branches != BranchSum::default();
        if *later != Later::default() || has_branches {
            content.extend(postcard::to_stdvec(later)?);
        }
        if has_branches {
            content.extend(postcard::to_stdvec(branches)?);
        }
        Ok(content)
    }

    fn decode(content: &[u8]) -> Result<Snapshot<'static>, CheckpointDamage> {
        let (mut snapshot, rest): (Snapshot<'static>, _) = postcard::take_from_bytes(content)?;
        if !rest.is_empty() {
            let progress = snapshot.progress.to_mut();
            let (later, rest): (Later, _) = postcard::take_from_bytes(rest)?;
            let branches = if rest.is_empty() { BranchSum::default() } else { decode("the branches", rest)? };
            let has_value = later != Later::default() || branches != BranchSum::default();
            same("whether what follows the state has a value", &true, &has_value)?;
            (progress.later, progress.branches) = (later, branches);
        }
        Ok(snapshot)
    }

    /// Reads the state of a run with this identity: the last one, or if that is missing or damaged, the one before. The
    /// method, which is at its start, takes its own state back.
    ///
    /// # Errors
    /// If there is none, both are damaged, or it is another run's.
    pub fn read(
        path: &Path,
        identity: &Identity,
        run: Run<'_>,
        method: &mut dyn Method,
    ) -> Result<Snapshot<'static>, AdaptError> {
        let mut read_one = |path: &Path| {
            let snapshot = Self::read_one(path, identity, &run.plan.network)?;
            let checked = snapshot.validate(run, method);
            checked.map(|()| snapshot).map_err(|damage| AdaptError::DamagedCheckpoint { path: path.to_owned(), damage })
        };
        let error = match read_one(path) {
            Err(error @ (AdaptError::DamagedCheckpoint { .. } | AdaptError::NoCheckpoint { .. })) => error,
            other => return other,
        };
        match (read_one(&previous(path)), &error) {
            (Ok(snapshot), _) => {
                log::warn!("{error}; resuming from the checkpoint before");
                // The next one must not take the place of a good one and leave a damaged one beside it.
                remove(&Disk, path)?;
                Ok(snapshot)
            }
            (Err(other @ AdaptError::OtherCheckpoint { .. }), AdaptError::NoCheckpoint { .. }) => Err(other),
            _ => Err(error),
        }
    }

    /// Validates all but the identity; the method takes its own state back.
    fn validate(&self, run: Run<'_>, method: &mut dyn Method) -> Result<(), CheckpointDamage> {
        let Self { identity: _, progress, probe, delta, optimiser, method: state } = self;
        let plan = run.plan;
        validation::progress(progress, run)?;
        validation::probe(probe, &plan.network)?;
        params("the difference", delta, &plan.network, FINITE_F32, |id| plan.trained[id.index()])?;
        let point =
            ResumePoint { network: &plan.network, step: progress.taken(), is_trained: progress.is_trained(run) };
        validation::branches(&progress.branches, progress, run)?;
        validation::optimiser(optimiser, point.step - progress.branches.taken, run)?;
        method.restore(state, &point)?;
        same("validation batches drawn", &method.drawn(point.step), &progress.drawn)
    }

    fn read_one(path: &Path, identity: &Identity, network: &Network) -> Result<Snapshot<'static>, AdaptError> {
        let damaged = |damage| AdaptError::DamagedCheckpoint { path: path.to_owned(), damage };
        let content = read_sealed(&Disk, path, KIND, longest(network)).map_err(|error| match error {
            error if error.is_not_found() => AdaptError::NoCheckpoint { path: path.to_owned() },
            DurableError::Sealed { source, .. } => damaged(source.into()),
            error => error.into(),
        })?;
        let snapshot = Self::decode(&content).map_err(damaged)?;
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

/// Whether a write failed because the disk, or the user's part of it, is full.
fn is_full(error: &DurableError) -> bool {
    let DurableError::Io { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// Path of the checkpoint before the one at that path.
fn previous(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".before");
    path.with_file_name(name)
}

/// Maximum length of a checkpoint of that network: δ, where branches part and their sum, two values of optimiser state each, a
/// probe, radii and what is around.
fn longest(network: &Network) -> u64 {
    (network.parameter_count() * 6 * size_of::<f32>() + (1 << 20)) as u64
}
