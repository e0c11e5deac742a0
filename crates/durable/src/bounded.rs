//! Bounded reader: reads whole regular files up to a limit, and refuses pipes, sockets and devices without waiting on them.

use std::{
    fmt,
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Kind of a file-system entry that is no regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialFile {
    /// A folder.
    Folder,
    /// A named pipe (FIFO): opening it waits for a writer, reading it for data.
    Pipe,
    /// A Unix socket.
    Socket,
    /// A character or block device, such as `/dev/zero`, which has no end.
    Device,
    /// Any other kind.
    Other,
}

/// Error of [`read_bounded`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BoundedReadError {
    /// The system refused to open or read the file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The path leads to something else than a regular file.
    #[error("cannot read {}: expected a regular file, found {found}", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// The kind of file found.
        found: SpecialFile,
    },
    /// A text in UTF-16.
    #[error("cannot read {}: it is UTF-16; save it as UTF-8", path.display())]
    Utf16 {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer than the caller reads.
    #[error("cannot read {}: it has {bytes} bytes or more, at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes, or how many bytes it had given when the limit was reached.
        bytes: u64,
        /// The caller's limit in bytes.
        limit: u64,
    },
}

impl BoundedReadError {
    /// Whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotRegular { path, .. }
            | Self::Utf16 { path }
            | Self::TooLarge { path, .. } => path,
        }
    }
}

impl fmt::Display for SpecialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "a special file",
        })
    }
}

/// Opens a regular file for reading; symbolic links are followed.
///
/// The call never waits for another process: the kind is checked before opening and again on the open file, which is opened
/// without blocking in case the path was replaced in between.
///
/// # Errors
/// [`BoundedReadError::NotRegular`] for a folder, pipe, socket or device, [`BoundedReadError::Io`] for all else.
pub fn open_regular(path: &Path) -> Result<File, BoundedReadError> {
    let failed = |source| BoundedReadError::Io { path: path.to_owned(), source };
    // Before opening, too: opening a device can have effects, such as rewinding a tape.
    require_regular(path, &fs::metadata(path).map_err(failed)?)?;
    let file = open_without_waiting(path).map_err(failed)?;
    require_regular(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes whole, opened as by [`open_regular`]. A file that grows while it is read, or that has no length (as
/// in `/proc`), is read up to `limit` and refused beyond.
///
/// # Errors
/// [`BoundedReadError::NotRegular`] for a folder, pipe, socket or device, [`BoundedReadError::TooLarge`] beyond the limit,
/// [`BoundedReadError::Io`] for all else.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, BoundedReadError> {
    let failed = |source| BoundedReadError::Io { path: path.to_owned(), source };
    let file = open_regular(path)?;
    let metadata = file.metadata().map_err(failed)?;
    let bounded = |bytes: u64| {
        let is_within = bytes <= limit;
        is_within.then_some(()).ok_or_else(|| BoundedReadError::TooLarge { path: path.to_owned(), bytes, limit })
    };
    bounded(metadata.len())?;
    let mut content = Vec::with_capacity(metadata.len() as usize);
    file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
    bounded(content.len() as u64)?;
    Ok(content)
}

/// Byte order mark of UTF-8, which editors and spreadsheets of Windows write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns a text without its byte order mark.
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Reads a text as [`read_bounded`] reads a file, without its byte order mark. Whether it is UTF-8 is the caller's to check.
///
/// # Errors
/// As [`read_bounded`]; [`BoundedReadError::Utf16`] for a text that begins with a mark of UTF-16.
pub fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>, BoundedReadError> {
    let mut text = read_bounded(path, limit)?;
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(BoundedReadError::Utf16 { path: path.to_owned() });
    }
    text.drain(..text.len() - without_byte_order_mark(&text).len());
    Ok(text)
}

fn require_regular(path: &Path, metadata: &Metadata) -> Result<(), BoundedReadError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(BoundedReadError::NotRegular { path: path.to_owned(), found: SpecialFile::of(metadata.file_type()) })
}

#[cfg(unix)]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

impl SpecialFile {
    #[cfg(unix)]
    fn of(kind: FileType) -> Self {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_dir() {
            Self::Folder
        } else if kind.is_fifo() {
            Self::Pipe
        } else if kind.is_socket() {
            Self::Socket
        } else if kind.is_block_device() || kind.is_char_device() {
            Self::Device
        } else {
            Self::Other
        }
    }

    #[cfg(not(unix))]
    fn of(kind: FileType) -> Self {
        if kind.is_dir() { Self::Folder } else { Self::Other }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::net::UnixListener;

    fn found(path: &Path) -> SpecialFile {
        match read_bounded(path, 100) {
            Err(BoundedReadError::NotRegular { found, .. }) => found,
            other => unreachable!("{other:?}"),
        }
    }

    /// Catches: a pipe without a writer that is waited on for ever, and a device without an end that fills the memory.
    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert_eq!(found(&pipe), SpecialFile::Pipe);
        assert_eq!(found(&socket), SpecialFile::Socket);
        assert_eq!(found(&link), SpecialFile::Device);
        assert_eq!(found(folder.path()), SpecialFile::Folder);
        let text = read_bounded(&pipe, 100).unwrap_err().to_string();
        assert!(text.ends_with("pipe: expected a regular file, found a named pipe"), "{text}");
        assert!(read_bounded(&folder.path().join("missing"), 100).unwrap_err().is_not_found());
    }

    /// Catches: a pipe that takes the file's place between the check and the opening, and blocks there.
    #[test]
    fn opening_a_pipe_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let file = open_without_waiting(&pipe).unwrap();
        let refused = require_regular(&pipe, &file.metadata().unwrap());
        assert!(matches!(refused, Err(BoundedReadError::NotRegular { found: SpecialFile::Pipe, .. })));
    }

    /// Catches: a limit that is off by one, and a file without a length that is read to an end that it does not have.
    #[test]
    fn the_limit_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let refused = read_bounded(&path, 4);
        assert!(matches!(refused, Err(BoundedReadError::TooLarge { bytes: 5, limit: 4, .. })), "{refused:?}");
        if cfg!(target_os = "linux") {
            // Its metadata says that it has no bytes.
            let refused = read_bounded(Path::new("/proc/self/status"), 10);
            assert!(matches!(refused, Err(BoundedReadError::TooLarge { bytes: 11, limit: 10, .. })), "{refused:?}");
        }
    }
}
