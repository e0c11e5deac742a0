//! Output files: paths that a user names for results, checked before the work and replaced in one step.

use crate::Error;
use fieldfit_durable::{Disk, sync_folder};
use std::fs::{self, FileType, Permissions};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// Checks that a file can be written at `path`, without leaving anything there.
///
/// # Errors
/// [`Error::NotRegular`] if the path is a folder, link, pipe, socket or device; [`Error::Output`] if its folder is missing
/// or cannot be written.
pub fn check_output(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    require_replaceable(path)?;
    temporary(path).map(drop).map_err(failed(path))
}

/// Writes a file whole or not at all, in place of a regular file of that name.
///
/// The content goes to a new file of a random name in the same folder, is synced, and is then renamed; then the folder is
/// synced.
///
/// # Errors
/// As [`check_output`]; the previous file is then still there.
pub(crate) fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    require_replaceable(path)?;
    let written = temporary(path).and_then(|file| fill(file, bytes)).map_err(failed(path))?;
    written.persist(path).map_err(|error| failed(path)(error.error))?;
    Ok(sync_folder(&Disk, folder(path))?)
}

/// File that is written piece by piece and gets its name once it is whole. Dropped before, it is removed.
pub(crate) struct OutputFile(BufWriter<NamedTempFile>);

impl OutputFile {
    /// Creates a file to [replace](Self::replace) that at `path`.
    ///
    /// # Errors
    /// As [`check_output`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        require_replaceable(path)?;
        temporary(path).map(|file| Self(BufWriter::new(file))).map_err(failed(path))
    }

    /// Gives the file its name, in place of a regular file, once it is on the medium.
    ///
    /// # Errors
    /// As [`check_output`]; the previous file is then still there.
    pub fn replace(self, path: &Path) -> Result<(), Error> {
        let file = self.0.into_inner().map_err(|error| failed(path)(error.into_error()))?;
        file.as_file().sync_all().map_err(failed(path))?;
        require_replaceable(path)?;
        file.persist(path).map_err(|error| failed(path)(error.error))?;
        Ok(sync_folder(&Disk, folder(path))?)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

/// Writes a file that only its owner can read, whole or not at all, where no file is.
///
/// # Errors
/// If there is a file, or it cannot be written.
pub(crate) fn write_new_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = builder().tempfile_in(folder(path))?;
    fill(file, bytes)?.persist_noclobber(path)?;
    sync_folder(&Disk, folder(path)).map_err(io::Error::other)
}

/// Returns the folder that a path is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Output { path: path.to_owned(), source }
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".fieldfit-").suffix(".tmp");
    builder
}

/// Creates a file of a new name beside `path`, with the permissions of any new file, removed when it is dropped.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = builder();
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    builder.tempfile_in(folder(path))
}

fn fill(mut file: NamedTempFile, bytes: &[u8]) -> io::Result<NamedTempFile> {
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Refuses a path where something else than a regular file is.
fn require_replaceable(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) => Err(Error::NotRegular { path: path.to_owned(), found: kind(metadata.file_type()) }),
        Err(error) if error.kind() == ErrorKind::NotFound && path.file_name().is_some() => Ok(()),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Returns the name of a kind of file that is not regular.
pub(crate) fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        return "a folder";
    }
    if kind.is_symlink() {
        return "a symbolic link";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    "a special file"
}
