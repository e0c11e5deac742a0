//! Bounded reads of regular files: a pipe or a device is refused before it is opened, a file that is too long before it is
//! read.

use fieldfit_durable::{BoundedReadError, open_regular, read_bounded};
use std::fs::File;
use std::io;
use std::path::Path;

/// The most bytes of a manifest, of labels or of a configuration.
pub(crate) const LONGEST_TEXT: u64 = 64 << 20;

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
