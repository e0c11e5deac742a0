//! Model folder writer: a folder appears whole or not at all, also after a power cut.
//!
//! It is made in a temporary folder, `.import-…`, which is locked for as long as its import runs. One that nobody locks was
//! left by an import that was killed: the next import into the same parent removes it.

use super::convert::{Stored, StoredValues};
use crate::base::{Base, BaseId, safetensors_dtype};
use crate::error::ModelError;
use crate::manifest::{
    DescriptionFile, Input, LABELS_FILE, MANIFEST_FILE, Manifest, NOTICE_FILE, Scaling, WeightsFile, WeightsOrigin,
};
use crate::text::excerpt;
use crate::weights_type::scales_name;
use fieldfit_durable::{Disk, create_folder, sync_folder};
use fieldfit_tensor::{Preprocessing, QuantisedRows};
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const WEIGHTS_FILE: &str = "weights.safetensors";
const NETWORK_FILE: &str = "network.json";
/// Prefix of the names of temporary folders.
const TEMPORARY: &str = ".import-";
/// The file in a temporary folder that its import has locked.
const LOCK: &str = "lock";
/// An import locks its folder at once. One that has been without a lock for as long was left by an import that was killed,
/// or that made no locks.
const UNLOCKED: Duration = Duration::from_secs(60);

/// Size and identity of the new base.
pub(super) struct Written {
    pub bytes: u64,
    pub id: BaseId,
}

/// Refuses a path that exists: an import never replaces a model.
pub(super) fn refuse_existing(out: &Path) -> Result<(), ModelError> {
    match fs::symlink_metadata(out) {
        Ok(_) => Err(ModelError::Exists { path: out.to_owned() }),
        Err(_) => Ok(()),
    }
}

/// Contents of a manifest beside its weights.
pub(super) struct Description<'a> {
    /// The folder, whose last part is the model's name.
    pub name: &'a Path,
    pub architecture: &'static str,
    /// The network description, if the architecture is none that is built in.
    pub network: Option<&'a [u8]>,
    pub preprocessing: Preprocessing,
    pub source: &'a str,
    pub licence: &'a str,
    /// The checkpoint.
    pub file: &'a Path,
    pub file_hash: [u8; 32],
}

/// Writes the folder under a temporary one beside `out`, opens it as a user would, and renames it.
pub(super) fn write(
    out: &Path,
    description: &Description<'_>,
    labels: &[String],
    tensors: &[Stored<'_>],
) -> Result<Written, ModelError> {
    let unwritable = |source| ModelError::Write { path: out.to_owned(), source };
    let weights = serialise(tensors, description.file)?;
    let manifest = manifest(description, &weights)?;
    let text = toml::to_string(&manifest).map_err(|error| unwritable(io::Error::other(error)))?;

    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = |source: fieldfit_durable::DurableError| unwritable(io::Error::other(source));
    create_folder(&Disk, parent).map_err(synced)?;
    remove_abandoned(parent).map_err(unwritable)?;
    let (temporary, _lock) = temporary_in(parent).map_err(unwritable)?;
    // The temporary folder is private to the user; the model's has the permissions that every new folder has.
    let staged = temporary.path().join(&manifest.name);
    fs::create_dir(&staged).map_err(unwritable)?;
    let lines: String = labels.iter().map(|label| format!("{label}\n")).collect();
    for (name, bytes) in [
        (MANIFEST_FILE, text.as_bytes()),
        (LABELS_FILE, lines.as_bytes()),
        (NOTICE_FILE, notice(&manifest).as_bytes()),
        (WEIGHTS_FILE, &weights),
    ] {
        write_synced(&staged.join(name), bytes).map_err(unwritable)?;
    }
    if let Some(network) = description.network {
        write_synced(&staged.join(NETWORK_FILE), network).map_err(unwritable)?;
        make_read_only(&staged.join(NETWORK_FILE)).map_err(unwritable)?;
    }
    make_read_only(&staged.join(WEIGHTS_FILE)).map_err(unwritable)?;
    sync_folder(&Disk, &staged).map_err(synced)?;

    let id = Base::open(&staged)?.id();
    refuse_existing(out)?;
    fs::rename(&staged, out).map_err(unwritable)?;
    sync_folder(&Disk, parent).map_err(synced)?;
    Ok(Written { bytes: manifest.weights.bytes, id })
}

/// A temporary folder, and the lock that says that somebody is at work in it.
fn temporary_in(parent: &Path) -> io::Result<(TempDir, File)> {
    let folder = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent)?;
    let lock = File::create_new(folder.path().join(LOCK))?;
    match lock.try_lock() {
        Ok(()) | Err(TryLockError::WouldBlock) => Ok((folder, lock)),
        // A file system without locks: the folder counts as abandoned once it is old.
        Err(TryLockError::Error(_)) => Ok((folder, lock)),
    }
}

/// Removes what killed imports left in a folder. What cannot be removed stays: it is another user's.
fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if is_temporary && entry.file_type()?.is_dir() && is_abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn is_abandoned(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)).map(|lock| lock.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock)) => false,
        Ok(Err(TryLockError::Error(_))) | Err(_) => is_old(folder),
    }
}

fn is_old(folder: &Path) -> bool {
    let age = fs::metadata(folder).and_then(|folder| folder.modified()).map(|modified| modified.elapsed());
    matches!(age, Ok(Ok(age)) if age > UNLOCKED)
}

fn serialise(tensors: &[Stored<'_>], path: &Path) -> Result<Vec<u8>, ModelError> {
    let invalid = |error: safetensors::SafeTensorError| ModelError::Safetensors {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let mut views = Vec::with_capacity(tensors.len());
    for Stored { spec, values } in tensors {
        let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).map_err(invalid);
        match values {
            StoredValues::Float { dtype, bytes } => {
                views.push((spec.name.clone(), view(safetensors_dtype(*dtype), &spec.shape, bytes)?));
            }
            StoredValues::Int8(QuantisedRows { codes, scales }) => {
                views.push((spec.name.clone(), view(safetensors::Dtype::I8, &spec.shape, codes)?));
                views.push((scales_name(&spec.name), view(safetensors::Dtype::F32, &spec.shape[..1], scales)?));
            }
        }
    }
    let mut names = HashSet::new();
    if let Some((twice, _)) = views.iter().find(|(name, _)| !names.insert(name)) {
        let problem = format!("two tensors would be named `{}`: store them in another type", excerpt(twice));
        return Err(ModelError::Safetensors { path: path.to_owned(), problem });
    }
    safetensors::serialize(views, None::<HashMap<String, String>>).map_err(invalid)
}

fn manifest(description: &Description<'_>, weights: &[u8]) -> Result<Manifest, ModelError> {
    let Description { name, architecture, network, preprocessing, source, licence, file, file_hash } = *description;
    let Preprocessing { size, fit, crop, mean, std, filter } = preprocessing;
    let file_name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let manifest = Manifest {
        name: file_name(name),
        architecture: architecture.to_owned(),
        input: Input { size, width: fit.width(), crop },
        preprocessing: Scaling { mean, std, filter },
        weights: WeightsFile {
            file: WEIGHTS_FILE.to_owned(),
            bytes: weights.len() as u64,
            sha256: Sha256::digest(weights).into(),
        },
        network: network
            .map(|network| DescriptionFile { file: NETWORK_FILE.to_owned(), sha256: Sha256::digest(network).into() }),
        origin: WeightsOrigin {
            source: source.to_owned(),
            licence: licence.to_owned(),
            file: file_name(file),
            sha256: file_hash,
        },
    };
    match manifest.problem() {
        Some((field, problem)) => Err(ModelError::ManifestValue { path: name.join(MANIFEST_FILE), field, problem }),
        None => Ok(manifest),
    }
}

fn notice(manifest: &Manifest) -> String {
    let WeightsOrigin { source, licence, file, sha256 } = &manifest.origin;
    format!(
        "{name}\n\nWeights: {source}.\nLicence: {licence}.\nConverted from {file}, sha256 {hash}.\n",
        name = manifest.name,
        hash = hex::encode(sha256),
    )
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_read_only(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions)
}
