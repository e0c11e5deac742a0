//! Replacing a file's content in one step.

use crate::{error::DurableError, files::FileSystem};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

/// The whole file.
///
/// # Errors
/// [`DurableError::Io`] if it can't be read or is longer than `limit` bytes.
pub fn read(files: &dyn FileSystem, path: &Path, limit: u64) -> Result<Vec<u8>, DurableError> {
    files.read(path, limit).map_err(DurableError::at("read", path))
}

/// The names in a folder, sorted.
///
/// # Errors
/// [`DurableError::Io`] if it can't be listed.
pub fn list(files: &dyn FileSystem, folder: &Path) -> Result<Vec<OsString>, DurableError> {
    files.list(folder).map_err(DurableError::at("list", folder))
}

/// Returns when the names in a folder are on the medium.
///
/// # Errors
/// [`DurableError::Io`] if it can't be synced.
pub fn sync_folder(files: &dyn FileSystem, folder: &Path) -> Result<(), DurableError> {
    files.sync_folder(folder).map_err(DurableError::at("sync the folder", folder))
}

/// Makes `bytes` the content of the file at `path`, in one step that a power cut can't split.
///
/// The bytes go to a temporary name in the same folder and are synced before they get the name `path`; then the folder
/// is synced. A temporary file that a power cut left behind is overwritten by the next commit to the same path. Two
/// writers to one path must keep apart by a [`lock`](crate::lock).
///
/// # Errors
/// [`DurableError::Io`]; the old content is then still there, unless it was the last operation, the folder's sync, that
/// failed: then the new content is there, but a power cut may bring the old one back.
pub fn commit(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    commit_parts(files, path, &[bytes])
}

/// Takes a file's name away, if there is one; a power cut may bring it back until its folder is [synced](sync_folder).
///
/// # Errors
/// [`DurableError::Io`] if it can't be removed.
pub fn remove(files: &dyn FileSystem, path: &Path) -> Result<(), DurableError> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DurableError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// [`commit`] of a content that lies in several places.
pub(crate) fn commit_parts(files: &dyn FileSystem, path: &Path, parts: &[&[u8]]) -> Result<(), DurableError> {
    replace(files, path, None, parts)
}

/// As [`commit_parts`]; what was at `path` gets the name `previous` instead of being lost.
///
/// A power cut may leave no file at `path`, but then its old content is at `previous`.
pub(crate) fn commit_parts_keeping(
    files: &dyn FileSystem,
    path: &Path,
    previous: &Path,
    parts: &[&[u8]],
) -> Result<(), DurableError> {
    replace(files, path, Some(previous), parts)
}

fn replace(files: &dyn FileSystem, path: &Path, previous: Option<&Path>, parts: &[&[u8]]) -> Result<(), DurableError> {
    let temporary = temporary(path);
    let written = write(files, &temporary, parts).and_then(|()| {
        if let Some(previous) = previous {
            keep(files, path, previous)?;
        }
        files.rename(&temporary, path).map_err(DurableError::at("replace", path))
    });
    written.inspect_err(|_| {
        // The error to report is the first one; a leftover is harmless.
        let _ = files.remove(&temporary);
    })?;
    sync_folder(files, folder(path))
}

/// Gives what is at `path`, if anything is, another name.
fn keep(files: &dyn FileSystem, path: &Path, previous: &Path) -> Result<(), DurableError> {
    match files.rename(path, previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DurableError::at("rename", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a folder, and those above it that are missing, so that a power cut does not take them away again.
///
/// # Errors
/// [`DurableError::Io`] if that can't be done, or if something else has the name.
pub fn create_folder(files: &dyn FileSystem, path: &Path) -> Result<(), DurableError> {
    let parent = folder(path);
    match list(files, path) {
        Ok(_) => return keep_folder(files, parent),
        Err(error) if error.is_not_found() => create_folder(files, parent)?,
        Err(error) => return Err(error),
    }
    match files.create_folder(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(DurableError::at("create the folder", path)(error))
        }
        _ => sync_folder(files, parent),
    }
}

/// Syncs the parent of a folder that exists: who made it may have been killed before doing so.
fn keep_folder(files: &dyn FileSystem, parent: &Path) -> Result<(), DurableError> {
    match files.sync_folder(parent) {
        // In a parent that we can't open we can't have made it either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(DurableError::at("sync the folder", parent)),
    }
}

fn write(files: &dyn FileSystem, temporary: &Path, parts: &[&[u8]]) -> Result<(), DurableError> {
    let mut file = files.create(temporary).map_err(DurableError::at("create", temporary))?;
    for part in parts {
        file.write_all(part).map_err(DurableError::at("write", temporary))?;
    }
    file.sync().map_err(DurableError::at("sync", temporary))
}

/// The folder that a path is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        // The root is its own folder.
        None => path,
    }
}

/// Where a file's next content is written: `.NAME.tmp` beside it.
fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fault, Simulated, exhaust};

    const LIMIT: u64 = 1 << 20;

    fn path() -> &'static Path {
        Path::new("/folder/file")
    }

    fn disk_with(content: Option<&[u8]>) -> Simulated {
        let disk = Simulated::new();
        create_folder(&disk, folder(path())).unwrap();
        if let Some(content) = content {
            commit(&disk, path(), content).unwrap();
        }
        disk
    }

    /// A step of the protocol left out, or two in the wrong order: a power cut at some operation shows a torn file, loses
    /// the old content, or loses a new one that was reported as committed.
    #[test]
    fn a_power_cut_at_any_operation_leaves_the_old_content_or_the_new_one() {
        for old in [None, Some(b"the old content".as_slice())] {
            for fault in [Fault::Stop, Fault::Error(io::ErrorKind::StorageFull)] {
                let new = b"the new content, which is longer";
                let disks = exhaust(
                    fault,
                    || disk_with(old),
                    |disk| commit(disk, path(), new).is_ok(),
                    |disk, done| {
                        let found = read(disk, path(), LIMIT).ok();
                        let whole = found.as_deref() == Some(new) || (!done && found.as_deref() == old);
                        assert!(whole, "after {fault:?}, committed: {done}: {found:?}");
                        commit(disk, path(), b"next").unwrap();
                        assert_eq!(read(disk, path(), LIMIT).unwrap(), b"next");
                    },
                );
                assert!(disks > 10, "only {disks} disks were looked at");
            }
        }
    }

    /// A commit that fails and leaves its temporary file, which on a full disk keeps it full.
    #[test]
    fn a_failed_commit_leaves_no_temporary_file() {
        for skipped in 0..4 {
            let disk = disk_with(Some(b"old"));
            disk.fail_after(skipped, Fault::Error(io::ErrorKind::StorageFull));
            let error = commit(&disk, path(), b"new").unwrap_err();
            assert!(error.to_string().contains("free some space"), "{error}");
            assert_eq!(disk.list(folder(path())).unwrap(), ["file"], "after operation {skipped}");
            assert_eq!(read(&disk, path(), LIMIT).unwrap(), b"old");
        }
    }

    /// Parents that are not synced: a power cut takes away the folder and all that was committed into it.
    #[test]
    fn a_folder_that_was_made_stays() {
        let deep = Path::new("/a/b/c");
        exhaust(
            Fault::Stop,
            Simulated::new,
            |disk| create_folder(disk, deep).is_ok(),
            |disk, done| {
                assert!(!done || disk.list(deep).is_ok());
                create_folder(disk, deep).unwrap();
                commit(disk, &deep.join("file"), b"content").unwrap();
            },
        );
    }

    /// A folder whose maker was killed before its sync is taken for durable: a later power cut takes it away.
    #[test]
    fn a_folder_that_somebody_else_left_unsynced_stays() {
        let disk = Simulated::new();
        disk.create_folder(Path::new("/folder")).unwrap();
        create_folder(&disk, Path::new("/folder")).unwrap();
        commit(&disk, path(), b"content").unwrap();
        for disk in disk.after_power_cut() {
            assert_eq!(read(&disk, path(), LIMIT).unwrap(), b"content");
        }
    }

    /// A relative path without a folder, whose parent is the empty path and not `.`.
    #[test]
    fn the_folder_of_a_path() {
        assert_eq!(folder(Path::new("file")), Path::new("."));
        assert_eq!(folder(Path::new("a/file")), Path::new("a"));
        assert_eq!(folder(Path::new("/")), Path::new("/"));
        assert_eq!(temporary(Path::new("a/file")), Path::new("a/.file.tmp"));
    }
}
