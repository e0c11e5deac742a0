//! The real file system.

use crate::files::{Claim, FileSystem, Lock, NewFile};
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
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
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

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        Ok(Box::new(File::create(path)?))
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
                leave_name(&mut file, holder)?;
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
}

/// The file whose lock is meant, made if need be.
fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

impl NewFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Says in the lock's file who holds it.
fn leave_name(file: &mut File, holder: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    Write::write_all(file, holder.as_bytes())
}

/// Who the lock's file says holds it: for people to read, and so no error if it can't be read.
fn name_left(file: &File) -> String {
    let mut name = String::new();
    match file.take(HOLDER_LIMIT).read_to_string(&mut name) {
        Ok(length) if length > 0 => name,
        _ => "a process that left no name".to_owned(),
    }
}
