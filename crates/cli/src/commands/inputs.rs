//! Inputs of `infer` and `teach`: files, folders, glob patterns and standard input, expanded to single images.

use crate::error::CliError;
use fieldfit::data::{MAX_IMAGE_FILE_BYTES, SkipSummary, Skipped, images_below};
use fieldfit::{BoundedReadError, Error, read_bounded};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Argument that stands for standard input.
const STDIN: &str = "-";
/// Characters that make an argument a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// One encoded image.
pub enum ImageInput {
    /// Image file.
    File(PathBuf),
    /// Image on standard input.
    Stdin,
}

impl ImageInput {
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
/// in the order of their paths. Returns also what was left out of folders.
///
/// # Errors
/// [`CliError::NoMatch`] for a pattern without matches; as much for a folder without images or that cannot be read, and an
/// invalid pattern.
pub fn expand(argument: &Path) -> Result<(Vec<ImageInput>, Option<SkipSummary>), CliError> {
    if argument == Path::new(STDIN) {
        return Ok((vec![ImageInput::Stdin], None));
    }
    let mut skipped = Vec::new();
    let paths = if argument.is_dir() {
        images_in(argument, &mut skipped)?
    } else if argument.to_string_lossy().contains(WILDCARDS) && fs::symlink_metadata(argument).is_err() {
        matches(argument, &mut skipped)?
    } else {
        vec![argument.to_owned()]
    };
    Ok((paths.into_iter().map(ImageInput::File).collect(), SkipSummary::of(&skipped)))
}

fn matches(pattern: &Path, skipped: &mut Vec<Skipped>) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Pattern { path: pattern.to_owned(), source };
    let mut paths = Vec::new();
    for path in glob::glob(&pattern.to_string_lossy()).map_err(failed)? {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            Error::Read { path, source: error.into() }
        })?;
        if path.is_dir() {
            paths.extend(images_in(&path, skipped)?);
        } else {
            paths.push(path);
        }
    }
    if paths.is_empty() { Err(CliError::NoMatch { path: pattern.to_owned() }) } else { Ok(paths) }
}

/// Returns the images of a folder at any depth; what is left out goes to `skipped`.
fn images_in(folder: &Path, skipped: &mut Vec<Skipped>) -> Result<Vec<PathBuf>, Error> {
    let (images, left_out) = images_below(folder)?;
    skipped.extend(left_out);
    Ok(images)
}
