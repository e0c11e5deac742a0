//! Reader of checkpoints of torch 1.6 and later: a zip archive of `NAME/data.pkl` and one `NAME/data/KEY` per storage.

use super::CheckpointError;
use super::archive::Archive;
use super::error::Program;
use super::pickle::{self, StorageReference};
use super::state::{Averages, state_dict};
use super::storage::{StateDict, Storage};

pub(super) use super::archive::START;

/// The entry that has names and shapes.
const PICKLE: &str = "data.pkl";
/// The largest `data.pkl`: it holds names and shapes, no values.
const LARGEST_PICKLE: u64 = 64 << 20;
/// Maximum bytes that all storages may unpack to: far above any base for a robot, far below what a crafted archive
/// can ask for.
const LARGEST_STORAGES: u64 = 4 << 30;

/// Every tensor of the checkpoint; values that are stored unpacked are lent.
pub(super) fn read(bytes: &[u8], averages: Averages) -> Result<StateDict<'_>, CheckpointError> {
    let archive = Archive::parse(bytes)?;
    if is_torch_script(&archive) {
        return Err(CheckpointError::Program(Program::TorchScript));
    }
    if let Some(pickle) = archive.names().filter(|name| is_pickle(name)).min_by_key(|name| (name.len(), *name)) {
        return read_checkpoint(&archive, pickle, averages);
    }
    match exported_state(&archive) {
        Some(inner) => read_exported(&archive, inner, averages),
        None if is_exported(&archive) => Err(CheckpointError::Program(Program::Exported)),
        None => Err(CheckpointError::EntryMissing { entry: PICKLE.into() }),
    }
}

fn is_pickle(name: &str) -> bool {
    name.rsplit('/').next() == Some(PICKLE)
}

/// Whether this is a program with its code, which `torch.jit.save` writes.
fn is_torch_script(archive: &Archive<'_>) -> bool {
    archive.names().any(|name| name.split('/').nth(1) == Some("code") || name.ends_with("/constants.pkl"))
}

/// Whether this is a graph with its weights, which `torch.export.save` writes.
fn is_exported(archive: &Archive<'_>) -> bool {
    archive.names().any(|name| name.ends_with("archive_format") || name.starts_with("serialized_"))
}

/// The one checkpoint of weights inside an exported program.
fn exported_state<'a>(archive: &Archive<'a>) -> Option<&'a str> {
    let is_state = |name: &&str| {
        name.starts_with("serialized_state_dict.") || name.contains("/data/weights/") && name.ends_with(".pt")
    };
    let mut states = archive.names().filter(is_state);
    states.next().filter(|_| states.next().is_none())
}

fn read_exported<'a>(archive: &Archive<'a>, name: &str, averages: Averages) -> Result<StateDict<'a>, CheckpointError> {
    let contents = archive.read(name, LARGEST_STORAGES)?;
    let inner = Archive::parse(&contents)?;
    let pickle = inner.names().find(|name| is_pickle(name));
    let pickle = pickle.ok_or_else(|| CheckpointError::EntryMissing { entry: PICKLE.into() })?;
    Ok(read_checkpoint(&inner, pickle, averages)?.into_owned())
}

fn read_checkpoint<'a>(
    archive: &Archive<'a>,
    pickle: &str,
    averages: Averages,
) -> Result<StateDict<'a>, CheckpointError> {
    let folder = pickle.trim_end_matches(PICKLE);
    let byte_order = format!("{folder}byteorder");
    if archive.contains(&byte_order) && *archive.read(&byte_order, LARGEST_PICKLE)? != *b"little" {
        return Err(CheckpointError::BigEndian);
    }
    let pickle = archive.read(pickle, LARGEST_PICKLE)?;
    let pickled = pickle::read(&pickle)?;
    check_total(&pickled.storages)?;
    let storages = pickled.storages.iter().map(|reference| storage(archive, folder, reference));
    state_dict(&pickled, storages.collect::<Result<_, _>>()?, averages)
}

fn check_total(storages: &[StorageReference<'_>]) -> Result<(), CheckpointError> {
    let size = |storage: &StorageReference<'_>| storage.count.checked_mul(storage.element.size());
    let total = storages.iter().try_fold(0_usize, |total, storage| total.checked_add(size(storage)?));
    match total {
        Some(total) if total as u64 <= LARGEST_STORAGES => Ok(()),
        _ => Err(CheckpointError::StoragesLarge { limit: LARGEST_STORAGES }),
    }
}

fn storage<'a>(
    archive: &Archive<'a>,
    folder: &str,
    reference: &StorageReference<'_>,
) -> Result<Storage<'a>, CheckpointError> {
    let StorageReference { key, element, count } = *reference;
    let length = (count * element.size()) as u64;
    let bytes = archive.read(&format!("{folder}data/{key}"), length)?;
    if bytes.len() as u64 != length {
        return Err(CheckpointError::StorageLength { key: key.to_owned() });
    }
    Ok(Storage { element, bytes })
}
