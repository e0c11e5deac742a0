//! Atomic commit: replaces a file's content in one step that a power cut can't split.

use crate::{
    error::DurableError,
    file_system::{EntryType, FileSystem, NewFile},
};
use std::{
    ffi::{OsStr, OsString},
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
};

/// Maximum number of temporary names that a commit tries.
const ATTEMPTS: u32 = 8;

/// Hexadecimal digits of a temporary name's random part.
const RANDOM_DIGITS: usize = 16;

/// Returns the whole content of a regular file.
///
/// # Errors
/// [`DurableError::Io`] if it can't be read, is no regular file or is longer than `limit` bytes.
pub fn read(files: &dyn FileSystem, path: &Path, limit: u64) -> Result<Vec<u8>, DurableError> {
    files.read(path, limit).map_err(DurableError::at("read", path))
}

/// Returns the names in a folder, sorted.
///
/// # Errors
/// [`DurableError::Io`] if it can't be listed.
pub fn list(files: &dyn FileSystem, folder: &Path) -> Result<Vec<OsString>, DurableError> {
    files.list(folder).map_err(DurableError::at("list", folder))
}

/// Returns what is at a path, a symbolic link not followed; `None` if nothing has the name.
///
/// # Errors
/// [`DurableError::Io`] if the system can't say: that is never taken for absence.
pub fn entry_type(files: &dyn FileSystem, path: &Path) -> Result<Option<EntryType>, DurableError> {
    files.entry_type(path).map_err(DurableError::at("inspect", path))
}

/// Syncs a folder: returns when the names in it are on the medium.
///
/// # Errors
/// [`DurableError::Io`] if it can't be synced.
pub fn sync_folder(files: &dyn FileSystem, folder: &Path) -> Result<(), DurableError> {
    files.sync_folder(folder).map_err(DurableError::at("sync the folder", folder))
}

/// Syncs the folder that a path is in, so that a power cut does not take away a file that was created or renamed there.
///
/// # Errors
/// [`DurableError::Io`] if it can't be synced.
pub fn sync_parent(files: &dyn FileSystem, path: &Path) -> Result<(), DurableError> {
    sync_folder(files, folder(path))
}

/// Renames a file or folder within its folder, and syncs that. What was at `to` is replaced.
///
/// # Errors
/// [`DurableError::Io`]; if the sync failed, the entry has its new name, but a power cut may bring the old one back.
pub fn rename(files: &dyn FileSystem, from: &Path, to: &Path) -> Result<(), DurableError> {
    files.rename(from, to).map_err(DurableError::at("rename", from))?;
    sync_parent(files, to)
}

/// Replaces the content of the file at `path` by `bytes`, in one step that a power cut can't split.
///
/// The bytes are written to a new file in the same folder, `.NAME.RANDOM.tmp`, and synced before they get the name `path`;
/// then the folder is synced. The new file is created exclusively, so that nothing that lies there is followed or
/// overwritten. A power cut or a kill may leave it behind: [`remove_leftovers`]. Two writers to one path must be kept apart
/// by a [`lock`](crate::lock).
///
/// # Errors
/// [`DurableError::NotAFile`] if a folder, link, device or pipe is at `path`. [`DurableError::Io`]; the old content is then
/// still there, unless the last operation, the folder's sync, failed: then the new content is there, but a power cut may
/// bring the old one back.
pub fn commit(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    commit_parts(files, path, &[bytes])
}

/// Replaces the content of the file at `path` in one step for whoever reads it, without waiting for the medium: for what is
/// worth nothing after a power cut, and is written often. Other than that, as [`commit`].
///
/// # Errors
/// Those of [`commit`]. After a power cut the file may be missing, empty or an earlier one.
pub fn publish(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    require_file_or_none(files, path)?;
    let (temporary, mut file) = create_temporary(files, path)?;
    let written = file.write_all(bytes).map_err(DurableError::at("write", &temporary)).and_then(|()| {
        drop(file);
        files.rename(&temporary, path).map_err(DurableError::at("replace", path))
    });
    written.inspect_err(|_| {
        // The error to report is the first one; a leftover is harmless.
        let _ = files.remove(&temporary);
    })
}

/// Writes `bytes` after the end of the file at `path`, which exists, and returns when they are on the medium.
///
/// A power cut or an error may leave any part of them there: the file's format must let its reader find a torn end.
///
/// # Errors
/// [`DurableError::Io`]; what was in the file before is untouched.
pub fn append(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    let mut file = files.append(path).map_err(DurableError::at("open", path))?;
    file.write_all(bytes).map_err(DurableError::at("write", path))?;
    file.sync().map_err(DurableError::at("sync", path))
}

/// Removes a file's name, if there is one; a power cut may bring it back until its folder is [synced](sync_folder).
///
/// # Errors
/// [`DurableError::Io`] if it can't be removed.
pub fn remove(files: &dyn FileSystem, path: &Path) -> Result<(), DurableError> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DurableError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes the temporary files that interrupted commits left in a folder, of those files whose name `is_ours`. Returns how
/// many. The caller holds the lock of all who commit there: a commit in progress would lose its file.
///
/// # Errors
/// [`DurableError::Io`] if the folder can't be listed or a file not be removed. A missing folder has no leftovers.
pub fn remove_leftovers(
    files: &dyn FileSystem,
    folder: &Path,
    is_ours: impl Fn(&str) -> bool,
) -> Result<usize, DurableError> {
    let names = match list(files, folder) {
        Err(error) if error.is_not_found() => return Ok(0),
        names => names?,
    };
    let leftovers: Vec<_> = names.iter().filter(|name| leftover_of(name).is_some_and(&is_ours)).collect();
    leftovers.iter().try_for_each(|name| remove(files, &folder.join(name)))?;
    Ok(leftovers.len())
}

/// Returns the name of the file that a [commit] meant to replace when it left a temporary file of that name: `NAME` of
/// `.NAME.RANDOM.tmp`, and of `.NAME.tmp`, as earlier versions had it.
pub fn leftover_of(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let is_random =
        |part: &str| part.len() == RANDOM_DIGITS && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match name.rsplit_once('.') {
        Some((file, random)) if is_random(random) => Some(file),
        _ => Some(name),
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
    require_file_or_none(files, path)?;
    let (temporary, file) = create_temporary(files, path)?;
    let written = write(file, &temporary, parts).and_then(|()| {
        if let Some(previous) = previous {
            keep(files, path, previous)?;
        }
        files.rename(&temporary, path).map_err(DurableError::at("replace", path))
    });
    written.inspect_err(|_| {
        // The error to report is the first one; a leftover is harmless.
        let _ = files.remove(&temporary);
    })?;
    sync_parent(files, path)
}

/// A rename would replace a device or a link by a file, without a word.
fn require_file_or_none(files: &dyn FileSystem, path: &Path) -> Result<(), DurableError> {
    match entry_type(files, path)? {
        None | Some(EntryType::File) => Ok(()),
        Some(found @ (EntryType::Folder | EntryType::Link | EntryType::Other)) => {
            Err(DurableError::NotAFile { path: path.to_owned(), found })
        }
    }
}

/// Gives what is at `path`, if anything is, another name.
fn keep(files: &dyn FileSystem, path: &Path, previous: &Path) -> Result<(), DurableError> {
    match files.rename(path, previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DurableError::at("rename", path)(error)),
        _ => Ok(()),
    }
}

/// Creates a folder, and those above it that are missing, so that a power cut does not take them away again.
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

/// Creates a temporary file that nothing had the name of.
fn create_temporary<'a>(
    files: &'a dyn FileSystem,
    path: &Path,
) -> Result<(PathBuf, Box<dyn NewFile + 'a>), DurableError> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        let temporary = temporary(path);
        match files.create(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts.next().is_some() => {}
            Err(error) => return Err(DurableError::at("create", &temporary)(error)),
        }
    }
}

fn write(mut file: Box<dyn NewFile + '_>, temporary: &Path, parts: &[&[u8]]) -> Result<(), DurableError> {
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

/// Returns a name for a file's next content, another one at each call: `.NAME.RANDOM.tmp` beside it.
fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:0RANDOM_DIGITS$x}.tmp", RandomState::new().hash_one(())));
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

    /// Catches: a step of the protocol left out, or two in the wrong order: a power cut at some operation shows a torn file, loses
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

    /// Catches: a commit that fails and leaves its temporary file, which on a full disk keeps it full.
    #[test]
    fn a_failed_commit_leaves_no_temporary_file() {
        for skipped in 0..5 {
            let disk = disk_with(Some(b"old"));
            disk.fail_after(skipped, Fault::Error(io::ErrorKind::StorageFull));
            let error = commit(&disk, path(), b"new").unwrap_err();
            assert!(error.to_string().contains("free some space"), "{error}");
            assert_eq!(disk.list(folder(path())).unwrap(), ["file"], "after operation {skipped}");
            assert_eq!(read(&disk, path(), LIMIT).unwrap(), b"old");
        }
    }

    /// Catches: parents that are not synced: a power cut takes away the folder and all that was committed into it.
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

    /// Catches: a publication that fails and leaves half a file, or its temporary one; one that follows a link.
    #[test]
    fn a_publication_is_whole_or_fails() {
        for skipped in 0..4 {
            let disk = disk_with(Some(b"old"));
            disk.fail_after(skipped, Fault::Error(io::ErrorKind::StorageFull));
            publish(&disk, path(), b"new").unwrap_err();
            assert_eq!(disk.list(folder(path())).unwrap(), ["file"], "after operation {skipped}");
            assert_eq!(read(&disk, path(), LIMIT).unwrap(), b"old");
        }
        let disk = disk_with(Some(b"old"));
        publish(&disk, path(), b"new").unwrap();
        assert_eq!(read(&disk, path(), LIMIT).unwrap(), b"new");
    }

    /// Catches: a folder whose maker was killed before its sync is taken for durable: a later power cut takes it away.
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

    /// Catches: a relative path without a folder, whose parent is the empty path and not `.`.
    #[test]
    fn the_folder_of_a_path() {
        assert_eq!(folder(Path::new("file")), Path::new("."));
        assert_eq!(folder(Path::new("a/file")), Path::new("a"));
        assert_eq!(folder(Path::new("/")), Path::new("/"));
    }

    /// Catches: a temporary name that can be foretold and planted, or one that is not recognised as a leftover.
    #[test]
    fn temporary_names_differ_and_are_recognised() {
        let names = [temporary(Path::new("a/file.x")), temporary(Path::new("a/file.x"))];
        assert_ne!(names[0], names[1]);
        for name in names {
            assert_eq!((name.parent(), leftover_of(name.file_name().unwrap())), (Some(Path::new("a")), Some("file.x")));
        }
        let of = |name: &str| leftover_of(OsStr::new(name)).map(str::to_owned);
        assert_eq!(of(".state.tmp").as_deref(), Some("state"), "of an earlier version");
        assert_eq!([of("state"), of(".state"), of("state.tmp")], [None, None, None]);
    }

    /// Catches: leftovers that pile up, or a file of somebody else's that is removed with them.
    #[test]
    fn leftovers_of_killed_commits_are_removed() {
        let disk = disk_with(Some(b"old"));
        disk.fail_after(4, Fault::Stop);
        commit(&disk, path(), b"new").unwrap_err();
        let disk = disk.after_kill();
        disk.create(Path::new("/folder/.other.tmp")).unwrap();
        assert_eq!(disk.list(folder(path())).unwrap().len(), 3, "the kill left a temporary file");
        assert_eq!(remove_leftovers(&disk, folder(path()), |name| name == "file").unwrap(), 1);
        assert_eq!(disk.list(folder(path())).unwrap(), [".other.tmp", "file"]);
        assert_eq!(remove_leftovers(&disk, Path::new("/missing"), |_| true).unwrap(), 0);
    }
}
