//! Errors of the command, and their report on standard error and in JSON.

use crate::output::{Output, escape, print_error_line};
use fieldfit::error_messages;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error that ends the command with exit status 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// Error of the library.
    #[error(transparent)]
    Fieldfit(#[from] fieldfit::Error),
    /// Error of the page's server.
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(#[from] fieldfit_serve::ServeError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// Signal handlers cannot be installed.
    #[error("cannot handle signals")]
    Signal(#[source] io::Error),
    /// The adaptation was interrupted and left a checkpoint.
    #[error("interrupted; the state of the run is in {}", checkpoint.display())]
    Interrupted {
        /// File of the checkpoint.
        checkpoint: PathBuf,
        /// Command that resumes the run.
        resume: String,
    },
    /// Two data sets have one name in the results.
    #[error("two sets of images are called `{name}`: give each --shift a name of its own")]
    SameName {
        /// Name of both.
        name: String,
    },
    /// The new version would lack classes of one that the store falls back to.
    #[error(
        "version {version} knows {count}, absent from {}: {}; add images of these classes, or pass --allow-fewer-classes",
        data.display(), list(lost), count = counted(lost.len(), "class", "classes")
    )]
    FewerClasses {
        /// Number of the version that knows more classes.
        version: u32,
        /// Folder of the training images.
        data: PathBuf,
        /// Names of the missing classes.
        lost: Vec<String>,
    },
    /// The comparison was interrupted.
    #[error("the comparison was interrupted: run it again; runs in the file of --jsonl are not repeated")]
    ComparisonStopped,
    /// The demo was interrupted.
    #[error("the demo was interrupted: run it again, it starts from the beginning")]
    DemoStopped,
    /// The demo's model or images are missing.
    #[error(
        "{what} is neither under the current folder, nor beside the executable or above it, nor in {}: run the demo in a \
         clone of the repository",
        source_tree.display()
    )]
    NoDemoFiles {
        /// What is missing, relative to the repository.
        what: &'static str,
        /// Tree that the executable was built from.
        source_tree: PathBuf,
    },
    /// A pattern that matches no file.
    #[error("{} is no file, and as a pattern it matches none: check the path", path.display())]
    NoMatch {
        /// The pattern.
        path: PathBuf,
    },
    /// An invalid glob pattern.
    #[error("{} is no file, and no valid pattern", path.display())]
    Pattern {
        /// The pattern.
        path: PathBuf,
        /// What is invalid.
        source: glob::PatternError,
    },
    /// An image cannot be read.
    #[error(transparent)]
    ReadImage(#[from] fieldfit::data::BoundedReadError),
    /// An image that a class is to be taught by cannot be decoded.
    #[error("{} cannot be used ({source}): leave it out, or repair it", path.display())]
    TaughtImage {
        /// The image.
        path: PathBuf,
        /// The cause.
        source: fieldfit::data::DataError,
    },
    /// An image that is given twice.
    #[error("{} is the same image as {}: leave out one of them, or it counts twice", second.display(), first.display())]
    SameImage {
        /// The first.
        first: PathBuf,
        /// The second.
        second: PathBuf,
    },
    /// A line of a file of boxes is no box.
    #[error("{}, line {line}: expected an object such as {{\"image\":\"frames/17.jpg\",\"box\":[left,top,width,height]}}", path.display())]
    Boxes {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The cause.
        source: serde_json::Error,
    },
    /// A box that is not one of its image.
    #[error(
        "the box {extent:?} (left, top, width, height) is none of an image of {width} × {height} pixels: cut it to the image, or leave it out"
    )]
    BoxOutside {
        /// Left, top, width and height.
        extent: [f64; 4],
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// A stream of frames that is damaged or of an unknown format. What was collected before is stored.
    #[error("{}: {source}; what came before is stored", path.display())]
    Stream {
        /// The source.
        path: PathBuf,
        /// The cause.
        source: fieldfit::collect::stream::StreamError,
    },
    /// A camera without ffmpeg to read it.
    #[error(
        "{} is read by ffmpeg, which cannot be started: install it (`apt install ffmpeg`), or pipe MJPEG or Y4M to `fieldfit collect -`", path.display()
    )]
    Ffmpeg {
        /// The camera.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An ffmpeg that failed; it has said why.
    #[error("ffmpeg failed to read {} ({status}): what came before is stored", path.display())]
    FfmpegFailed {
        /// The camera.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A source that is neither a folder nor a camera.
    #[error("{} is no folder of images and no camera: give one of these, or `-` for a stream on standard input", path.display())]
    NoSource {
        /// The path.
        path: PathBuf,
    },
    /// The beginning of an image's identity that does not name one image.
    #[error("{found} images of {} begin with `{prefix}`: give more digits of the one that is meant", path.display())]
    ImagePrefix {
        /// The collection.
        path: PathBuf,
        /// The digits given.
        prefix: String,
        /// Number of images that begin with them.
        found: usize,
    },
    /// Some images could not be classified; each was reported.
    #[error("{failed} of {images} images got no answer")]
    Images {
        /// Number of images that failed.
        failed: usize,
        /// Number of images.
        images: usize,
    },
    /// Some versions in the store are damaged; each was reported.
    #[error("{findings} of the versions cannot be used: activate another one, or roll back")]
    Damaged {
        /// Number of damaged versions.
        findings: usize,
    },
}

impl CliError {
    /// Returns the path that the error is about, if it is known.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Fieldfit(error) => error.path(),
            #[cfg(feature = "serve")]
            Self::Serve(error) => error.path(),
            Self::Interrupted { checkpoint: path, .. }
            | Self::FewerClasses { data: path, .. }
            | Self::NoMatch { path }
            | Self::TaughtImage { path, .. }
            | Self::SameImage { second: path, .. }
            | Self::Boxes { path, .. }
            | Self::Stream { path, .. }
            | Self::Ffmpeg { path, .. }
            | Self::FfmpegFailed { path, .. }
            | Self::NoSource { path }
            | Self::ImagePrefix { path, .. }
            | Self::Pattern { path, .. } => Some(path),
            Self::ReadImage(error) => Some(error.path()),
            Self::Output(_)
            | Self::Signal(_)
            | Self::SameName { .. }
            | Self::ComparisonStopped
            | Self::DemoStopped
            | Self::NoDemoFiles { .. }
            | Self::BoxOutside { .. }
            | Self::Images { .. }
            | Self::Damaged { .. } => None,
        }
    }

    /// Whether the error sums up objects that were printed one by one.
    const fn is_summary(&self) -> bool {
        matches!(self, Self::Images { .. } | Self::Damaged { .. })
    }
}

/// Error as a JSON object.
#[derive(Serialize)]
struct ErrorObject<'a> {
    error: String,
    path: Option<&'a Path>,
}

/// Reports the error that ends the command: on standard error and, with `--json`, as an object.
pub fn report(error: &CliError, output: &Output) {
    print_error_line(format!("error: {}", chain(error)));
    if let CliError::Interrupted { resume, .. } = error {
        print_error_line(format!("resume with\n  {}", escape(resume)));
    }
    if output.is_json() && !error.is_summary() {
        print_object(error, error.path(), output);
    }
}

/// Reports an image that failed while the command continues with the next one.
pub fn report_image(image: &Path, error: &CliError, output: &Output) {
    let name = image.to_string_lossy();
    print_error_line(format!("error: {}: {}", escape(&name), chain(error)));
    if output.is_json() {
        print_object(error, Some(image), output);
    }
}

fn print_object(error: &CliError, path: Option<&Path>, output: &Output) {
    // If standard output cannot be written either, the report on standard error has to do.
    let _ = output.object(&ErrorObject {
        error: error_messages(error).into_iter().map(shortened).collect::<Vec<_>>().join(": "),
        path,
    });
}

/// Returns the messages of an error and its causes, escaped, one per line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let escaped = error_messages(error).into_iter().map(|message| escape(&shortened(message)).to_string());
    escaped.collect::<Vec<_>>().join("\n  because: ")
}

/// Letters of a message from which on its middle is left out: text from a file may be of any length.
const LONGEST_MESSAGE: usize = 2000;

/// Returns a message with its start, and its end, which says what to do.
fn shortened(message: String) -> String {
    let letters = message.chars().count();
    if letters <= LONGEST_MESSAGE {
        return message;
    }
    let half = LONGEST_MESSAGE / 2;
    let (start, end) = (message.chars().take(half), message.chars().skip(letters - half));
    start.chain(" … ".chars()).chain(end).collect()
}

/// Returns a number with its noun.
pub fn counted(count: usize, singular: &str, plural: &str) -> String {
    format!("{count} {}", if count == 1 { singular } else { plural })
}

/// Returns the first names of a list, quoted, and the number of the others.
pub fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => quoted.join(", "),
        others => format!("{} and {others} more", quoted.join(", ")),
    }
}
