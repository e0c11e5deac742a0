//! Checkpoints of torch 1.6 and later: a zip archive of `NAME/data.pkl` and one `NAME/data/KEY` a storage.

use super::pickle::{self, StorageReference};
use super::storage::{StateDict, Storage};
use super::{CheckpointError, state_dict};
use std::borrow::Cow;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// What the file begins with: a local file header.
pub(crate) const START: &[u8] = b"PK\x03\x04";
/// Where names and shapes are.
const PICKLE: &str = "data.pkl";
/// The largest `data.pkl`: it holds names and shapes, no values.
const LARGEST_PICKLE: u64 = 64 << 20;
/// What all storages may unpack to: far above any base for a robot, far below what a crafted archive can ask for.
const LARGEST_STORAGES: u64 = 4 << 30;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Every tensor of the checkpoint, unpacked.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict<'static>, CheckpointError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let pickle_name = archive.file_names().flatten().find(|name| is_pickle(name)).map(Cow::into_owned);
    let pickle_name = pickle_name.ok_or_else(|| CheckpointError::EntryMissing { entry: PICKLE.into() })?;
    let folder = pickle_name.trim_end_matches(PICKLE);
    if archive.index_for_name(&format!("{folder}byteorder")).is_some()
        && entry(&mut archive, &format!("{folder}byteorder"), LARGEST_PICKLE)? != b"little"
    {
        return Err(CheckpointError::BigEndian);
    }
    let pickle = entry(&mut archive, &pickle_name, LARGEST_PICKLE)?;
    let state = pickle::read(&pickle)?;
    check_total(&state.storages)?;
    let storages =
        state.storages.iter().map(|reference| storage(&mut archive, folder, reference)).collect::<Result<_, _>>()?;
    state_dict(&state, storages)
}

fn is_pickle(name: &str) -> bool {
    name.rsplit('/').next() == Some(PICKLE)
}

fn check_total(storages: &[StorageReference<'_>]) -> Result<(), CheckpointError> {
    let size = |storage: &StorageReference<'_>| storage.count.checked_mul(storage.element.size());
    let total = storages.iter().try_fold(0_usize, |total, storage| total.checked_add(size(storage)?));
    match total {
        Some(total) if total as u64 <= LARGEST_STORAGES => Ok(()),
        _ => Err(CheckpointError::StoragesLarge { limit: LARGEST_STORAGES }),
    }
}

fn storage(
    archive: &mut Archive<'_>,
    folder: &str,
    reference: &StorageReference<'_>,
) -> Result<Storage<'static>, CheckpointError> {
    let StorageReference { key, element, count } = *reference;
    let length = (count * element.size()) as u64;
    let bytes = entry(archive, &format!("{folder}data/{key}"), length)?;
    if bytes.len() as u64 != length {
        return Err(CheckpointError::StorageLength { key: key.to_owned() });
    }
    Ok(Storage { element, bytes: Cow::Owned(bytes) })
}

/// A file of the archive, unpacked; its checksum is verified by reading it to its end.
fn entry(archive: &mut Archive<'_>, name: &str, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let file = archive.by_name(name).map_err(|error| match error {
        zip::result::ZipError::FileNotFound => CheckpointError::EntryMissing { entry: name.to_owned() },
        other => other.into(),
    })?;
    let mut bytes = Vec::new();
    let unreadable = |source| CheckpointError::Entry { entry: name.to_owned(), source };
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(CheckpointError::EntryLarge { entry: name.to_owned(), limit });
    }
    Ok(bytes)
}
