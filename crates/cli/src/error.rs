//! What the command itself can fail at, and how any failure is told.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Whatever ends the command with exit status 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// The library's.
    #[error(transparent)]
    Fieldfit(#[from] fieldfit::Error),
    /// Standard output can't be written.
    #[error("can't write to standard output")]
    Output(#[from] io::Error),
    /// No handler for Ctrl-C and the signals that pause.
    #[error("can't handle signals")]
    Signal(#[source] io::Error),
    /// The adaptation was interrupted.
    #[error("interrupted; the state of the run is in {}; go on with\n  {resume}", checkpoint.display())]
    Interrupted {
        /// Where the state is.
        checkpoint: PathBuf,
        /// The command that goes on.
        resume: String,
    },
    /// Two sets of images that a result would not tell apart.
    #[error("two sets of images are called `{name}`: give each --shift a name of its own")]
    SameName {
        /// Their name.
        name: String,
    },
    /// A comparison was interrupted.
    #[error("the comparison was interrupted: run it again; runs that are in the file of --jsonl are not repeated")]
    ComparisonStopped,
    /// The demo was interrupted.
    #[error("the demo was interrupted: run it again, it starts anew")]
    DemoStopped,
    /// The demo's model or images are not where the command looks.
    #[error(
        "{what} is neither under the current folder, nor beside the executable or above it, nor in {}: run the demo in a \
         clone of the repository",
        source_tree.display()
    )]
    NoDemoFiles {
        /// What is missing, relative to the repository.
        what: &'static str,
        /// The tree that the executable was built from.
        source_tree: PathBuf,
    },
    /// Some of the images got no answer; what was wrong with each has been logged.
    #[error("{failed} of {images} images got no answer")]
    Images {
        /// How many failed.
        failed: usize,
        /// How many there were.
        images: usize,
    },
    /// The store has versions that can't be used.
    #[error("{findings} of the versions can't be used: activate another one, or roll back")]
    Damaged {
        /// How many.
        findings: usize,
    },
}

/// What the command says of an error: what went wrong, then its causes, one a line.
pub fn report(error: &CliError) -> String {
    format!("error: {}", chain(error))
}

/// An error and its causes, one a line; a cause that its effect's message ends with is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(&format!("\n  because: {message}"));
        }
        cause = error.source();
    }
    text
}
