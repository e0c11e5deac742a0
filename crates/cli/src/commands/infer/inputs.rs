//! Inputs of `infer`: files, folders, glob patterns and standard input, expanded to single images.

use crate::error::CliError;
use fieldfit::data::MAX_IMAGE_FILE_BYTES;
use fieldfit::{BoundedReadError, Error, read_bounded};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Argument that stands for standard input.
const STDIN: &str = "-";
/// Characters that make an argument a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// One encoded image.
pub enum InferInput {
    /// Image file.
    File(PathBuf),
    /// Image on standard input.
    Stdin,
}

impl InferInput {
    /// Returns the path that names the image in results.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stdin => Path::new(STDIN),
        }
    }

    /// Reads the encoded image.
    ///
    /// # Errors
    /// [`CliError::ReadImage`] if it cannot be read, is no regular file, or is longer than [`MAX_IMAGE_FILE_BYTES`].
    pub fn read(&self) -> Result<Vec<u8>, CliError> {
        Ok(match self {
            Self::File(path) => read_bounded(path, MAX_IMAGE_FILE_BYTES),
            Self::Stdin => read_stdin(),
        }?)
    }
}

fn read_stdin() -> Result<Vec<u8>, BoundedReadError> {
    let (path, limit) = (PathBuf::from(STDIN), MAX_IMAGE_FILE_BYTES);
    let mut content = Vec::new();
    match io::stdin().lock().take(limit + 1).read_to_end(&mut content) {
        Err(source) => Err(BoundedReadError::Io { path, source }),
        Ok(length) if length as u64 > limit => Err(BoundedReadError::TooLarge { path, bytes: length as u64, limit }),
        Ok(_) => Ok(content),
    }
}

/// Expands an argument: `-` to standard input, a folder to its images at any depth, a pattern to the images that match;
/// in the order of their paths.
///
/// # Errors
/// [`CliError::NoImage`] for a folder without images, [`CliError::NoMatch`] for a pattern without matches; as much for a
/// folder that cannot be read and an invalid pattern.
pub fn expand(argument: &Path) -> Result<Vec<InferInput>, CliError> {
    if argument == Path::new(STDIN) {
        return Ok(vec![InferInput::Stdin]);
    }
    let paths = if argument.is_dir() {
        images_in(argument)?
    } else if argument.to_string_lossy().contains(WILDCARDS) && fs::symlink_metadata(argument).is_err() {
        matches(argument)?
    } else {
        vec![argument.to_owned()]
    };
    Ok(paths.into_iter().map(InferInput::File).collect())
}

fn matches(pattern: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Pattern { path: pattern.to_owned(), source };
    let mut paths = Vec::new();
    for path in glob::glob(&pattern.to_string_lossy()).map_err(failed)? {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            Error::Read { path, source: error.into() }
        })?;
        if path.is_dir() {
            collect_images(&path, &mut paths)?;
        } else {
            paths.push(path);
        }
    }
    if paths.is_empty() { Err(CliError::NoMatch { path: pattern.to_owned() }) } else { Ok(paths) }
}

fn images_in(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::new();
    collect_images(folder, &mut paths)?;
    if paths.is_empty() { Err(CliError::NoImage { path: folder.to_owned() }) } else { Ok(paths) }
}

/// Collects the image files of a folder and its subfolders, but no hidden ones; links to folders are not followed.
fn collect_images(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.path(), entry.file_type())).collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in entries {
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if kind.map_err(failed)?.is_dir() {
            collect_images(&path, paths)?;
        } else if is_image(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(OsStr::to_ascii_lowercase).unwrap_or_default();
    fieldfit::data::IMAGE_EXTENSIONS.iter().any(|known| extension == *known)
}
