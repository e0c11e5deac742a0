//! Output files: paths that a user names for results, checked before the work and replaced in one step.
//!
//! An output replaces an empty file or an earlier output of its kind, and nothing else: neither an input, nor a key, nor a part of
//! a model folder or a store.

use crate::Error;
use fieldfit_data::is_written_mask;
use fieldfit_delta::compression::is_delta_file;
use fieldfit_durable::{Disk, open_regular, sync_folder};
use fieldfit_recording::is_recording;
use std::fs::{self, FileType, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// Kind of an output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputKind {
    /// A page of HTML.
    Page,
    /// A recording in MCAP.
    Recording,
    /// A delta, compressed or not.
    Delta,
    /// Tensors in safetensors.
    Tensors,
    /// The JSON description of a delta's exported tensors.
    Description,
    /// A mask or its overlay, as a PNG.
    Mask,
}

impl OutputKind {
    /// Returns the kind's name with its article.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Page => "an HTML page",
            Self::Recording => "an MCAP recording",
            Self::Delta => "a delta",
            Self::Tensors => "a safetensors file",
            Self::Description => "the description of a delta",
            Self::Mask => "a mask that `infer` wrote",
        }
    }

    /// Whether a file that starts like this is of the kind.
    fn includes(self, start: &[u8]) -> bool {
        match self {
            Self::Page => start.to_ascii_lowercase().starts_with(b"<!doctype html"),
            Self::Recording => is_recording(start),
            Self::Delta => is_delta_file(start),
            // The length of a header, and the header: an object.
            Self::Tensors => start.get(8) == Some(&b'{'),
            Self::Description => start.starts_with(b"{"),
            Self::Mask => is_written_mask(start),
        }
    }
}

/// Checks that a file of a kind can be written at `path`, without leaving anything there.
///
/// # Errors
/// [`Error::NotRegular`] if the path is a folder, link, pipe, socket or device; [`Error::Foreign`] if a file of another kind is there;
/// [`Error::Kept`] if the file is a part of a model folder or a store; [`Error::Output`] if its folder is missing or cannot be
/// written.
pub fn check_output(path: impl AsRef<Path>, kind: OutputKind) -> Result<(), Error> {
    let path = path.as_ref();
    require_replaceable(path, kind)?;
    temporary(path).map(drop).map_err(failed(path))
}

/// Writes a file whole or not at all, in place of an earlier one of its kind.
///
/// The content goes to a new file of a random name in the same folder, is synced, and is then renamed; then the folder is
/// synced.
///
/// # Errors
/// As [`check_output`]; the previous file is then still there.
pub(crate) fn write_output(path: &Path, kind: OutputKind, bytes: &[u8]) -> Result<(), Error> {
    require_replaceable(path, kind)?;
    let written = temporary(path).and_then(|file| fill(file, bytes)).map_err(failed(path))?;
    written.persist(path).map_err(|error| failed(path)(error.error))?;
    Ok(sync_folder(&Disk, folder(path))?)
}

/// File that is written piece by piece and gets its name once it is whole. Dropped before, it is removed.
pub(crate) struct OutputFile {
    file: BufWriter<NamedTempFile>,
    kind: OutputKind,
}

impl OutputFile {
    /// Creates a file to [replace](Self::replace) that at `path`.
    ///
    /// # Errors
    /// As [`check_output`].
    pub fn create(path: &Path, kind: OutputKind) -> Result<Self, Error> {
        require_replaceable(path, kind)?;
        temporary(path).map(|file| Self { file: BufWriter::new(file), kind }).map_err(failed(path))
    }

    /// Gives the file its name, in place of an earlier one of its kind, once it is on the medium.
    ///
    /// # Errors
    /// As [`check_output`]; the previous file is then still there.
    pub fn replace(self, path: &Path) -> Result<(), Error> {
        let file = self.file.into_inner().map_err(|error| failed(path)(error.into_error()))?;
        file.as_file().sync_all().map_err(failed(path))?;
        require_replaceable(path, self.kind)?;
        file.persist(path).map_err(|error| failed(path)(error.error))?;
        Ok(sync_folder(&Disk, folder(path))?)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
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

/// Refuses a path where something else is than an empty file or an earlier output of the kind.
fn require_replaceable(path: &Path, kind: OutputKind) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => require_own(path, kind),
        Ok(metadata) => Err(Error::NotRegular { path: path.to_owned(), found: special_file(metadata.file_type()) }),
        Err(error) if error.kind() == ErrorKind::NotFound && path.file_name().is_some() => Ok(()),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Refuses an output that is one of the inputs, under whatever names.
///
/// # Errors
/// [`Error::OutputIsInput`].
pub fn refuse_inputs(path: &Path, inputs: &[&Path]) -> Result<(), Error> {
    let is_input = fs::canonicalize(path)
        .is_ok_and(|output| inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == output)));
    if is_input { Err(Error::OutputIsInput { path: path.to_owned() }) } else { Ok(()) }
}

/// Bytes of a file that tell its kind: the header of a PNG with a palette is the longest.
const START_BYTES: u64 = 2048;

/// Refuses a file of another kind, and one that a model folder or a store holds.
fn require_own(path: &Path, kind: OutputKind) -> Result<(), Error> {
    let mut start = Vec::new();
    open_regular(path)?.take(START_BYTES).read_to_end(&mut start).map_err(failed(path))?;
    if !start.is_empty() && !kind.includes(&start) {
        return Err(Error::Foreign { path: path.to_owned(), expected: kind.name() });
    }
    let holder = folder(path);
    if holder.join("manifest.toml").exists() {
        return Err(Error::Kept { path: path.to_owned(), holder: "a model folder" });
    }
    if holder.join("../state").exists() && holder.join("../versions").is_dir() {
        return Err(Error::Kept { path: path.to_owned(), holder: "a store" });
    }
    Ok(())
}

/// Returns the name of a kind of file that is not regular.
pub(crate) fn special_file(kind: FileType) -> &'static str {
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
