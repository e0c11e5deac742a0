//! Real file system: durable files' operations through `std::fs`.

use crate::file_system::{Claim, EntryType, FileSystem, Lock, NewFile};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
};

/// The longest description of a lock's holder that is read, in bytes.
const HOLDER_LIMIT: u64 = 1024;

/// The real file system, through `std::fs`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_regular(OpenOptions::new().read(true), path, Links::Follow)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn entry_type(&self, path: &Path) -> io::Result<Option<EntryType>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(type_of(metadata.file_type()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        Ok(Box::new(open_regular(OpenOptions::new().append(true), path, Links::Refuse)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    /// Windows has no way to sync a folder; its file systems journal the names themselves.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(windows) { Ok(()) } else { File::open(folder)?.sync_all() }
    }

    fn claim(&self, path: &Path, holder: &str) -> io::Result<Claim> {
        let mut file = lock_file(path)?;
        match file.try_lock() {
            Ok(()) => {
                // For people to read: on a full disk the lock holds without it.
                let _ = leave_name(&mut file, holder);
                Ok(Claim::Held(Lock::new(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(Claim::Taken { by: name_left(&file) }),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn share(&self, path: &Path) -> io::Result<Claim> {
        let file = lock_file(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Claim::Held(Lock::new(file))),
            Err(TryLockError::WouldBlock) => Ok(Claim::Taken { by: name_left(&file) }),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    #[cfg(unix)]
    fn free_space(&self, folder: &Path) -> Option<u64> {
        let status = rustix::fs::statvfs(folder).ok()?;
        Some(status.f_bavail.saturating_mul(status.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_space(&self, _folder: &Path) -> Option<u64> {
        None
    }
}

/// Opens the file whose lock is meant, created if need be. A link that was planted in its place would have its target
/// truncated.
fn lock_file(path: &Path) -> io::Result<File> {
    open_regular(OpenOptions::new().read(true).write(true).create(true).truncate(false), path, Links::Refuse)
}

/// Whether a symbolic link may be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    Refuse,
}

/// Opens a regular file, and nothing else: opening a pipe would wait for its other end, and a device may have no end.
fn open_regular(options: &mut OpenOptions, path: &Path, links: Links) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let refuse = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
        options.custom_flags(libc::O_NONBLOCK | refuse);
    }
    let not_regular = |found: EntryType| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("expected a regular file, found {}", found.name()))
    };
    if links == Links::Refuse && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(not_regular(EntryType::Link));
    }
    let file = options.open(path)?;
    match type_of(file.metadata()?.file_type()) {
        EntryType::File => Ok(file),
        found @ (EntryType::Folder | EntryType::Link | EntryType::Other) => Err(not_regular(found)),
    }
}

fn type_of(found: fs::FileType) -> EntryType {
    if found.is_file() {
        EntryType::File
    } else if found.is_dir() {
        EntryType::Folder
    } else if found.is_symlink() {
        EntryType::Link
    } else {
        EntryType::Other
    }
}

impl NewFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Writes the holder's name into the lock's file.
fn leave_name(file: &mut File, holder: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    Write::write_all(file, holder.as_bytes())
}

/// Returns the holder's name from the lock's file: for people to read, and so no error if it can't be read.
fn name_left(file: &File) -> String {
    let mut name = String::new();
    match file.take(HOLDER_LIMIT).read_to_string(&mut name) {
        Ok(length) if length > 0 => name,
        _ => "a process that left no name".to_owned(),
    }
}
