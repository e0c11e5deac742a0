//! Bounded reads and maps of regular files: a pipe or a device is refused before it is opened, a file that is too long before
//! it is read.

use fieldfit_durable::{BoundedReadError, open_regular, read_bounded};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// The most bytes of a manifest, of labels or of a configuration.
pub(crate) const LONGEST_TEXT: u64 = 64 << 20;

/// A file's bytes.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// A regular file's bytes, mapped. Whoever uses them documents that nobody may truncate or rewrite the file meanwhile.
///
/// # Errors
/// If it is missing, no regular file, or can't be mapped.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = open(path)?;
    // The system maps no empty file.
    if file.metadata()?.len() == 0 { Ok(Bytes::Copied(Vec::new())) } else { map_file(&file) }
}

/// An open file's bytes, mapped; as [`map`].
pub(crate) fn map_file(file: &File) -> io::Result<Bytes> {
    // SAFETY: the map is only read. That nobody truncates or rewrites the file under it is the condition that the
    // documentation of `Base::open` and `NetworkFile::open` states.
    unsafe { Mmap::map(file) }.map(Bytes::Mapped)
}

/// A regular file's contents, of at most `limit` bytes.
///
/// # Errors
/// If it is missing, no regular file, or longer.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_bounded(path, limit).map_err(system_error)
}

/// A regular file, open for reading.
///
/// # Errors
/// If it is missing or no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_regular(path).map_err(system_error)
}

/// The error without the path, which the caller's error has.
fn system_error(error: BoundedReadError) -> io::Error {
    match error {
        BoundedReadError::Io { source, .. } => source,
        BoundedReadError::NotRegular { .. } => io::Error::other("it is not a regular file"),
        BoundedReadError::TooLarge { limit, .. } => io::Error::other(format!("it has more than {limit} bytes")),
        error => io::Error::other(error),
    }
}

/// The same, as UTF-8.
///
/// # Errors
/// As [`read`]; if it is no UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, LONGEST_TEXT)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
