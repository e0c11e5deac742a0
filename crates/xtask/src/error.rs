//! Error type of the tasks.

use std::path::PathBuf;
use thiserror::Error;

/// Error that ends a task.
#[derive(Debug, Error)]
pub enum XtaskError {
    #[error(
        "cannot build for {board} on this system: Apple's linker and SDK exist on a Mac only; run the same command on a Mac"
    )]
    RequiresMac { board: String },
    #[error("{board} has no supported GPU: omit --gpu")]
    NoGpu { board: String },
    #[error(
        "the CUDA libraries for {triple} are not on this machine: build on the board, as described in docs/guide/targets.md"
    )]
    CrossCuda { triple: String },
    #[error(
        "the standard library of {triple} is not installed: run `rustup target add {triple}`, or, on Debian without rustup, add \
         --std-from-source"
    )]
    StdMissing { triple: String },
    #[error("cannot start `{command}`: check that it is installed")]
    Start { command: String, source: std::io::Error },
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: std::process::ExitStatus },
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}: invalid ELF binary", path.display())]
    Elf { path: PathBuf, source: goblin::error::Error },
    #[error(
        "the binary requires {required}, but {board} has {found}: build on an older system, or correct the profile"
    )]
    UnmetRequirement { board: String, required: String, found: String },
    #[error("cannot serialise the profile")]
    Profile(#[from] toml::ser::Error),
    #[error("{} line {line}: {reason}", path.display())]
    PredictionLine { path: PathBuf, line: usize, reason: String },
    #[error("predictions for {image} differ: {reason}")]
    PredictionsDiffer { image: String, reason: String },
    #[error("unexpected output of `cargo metadata`")]
    Metadata(#[from] serde_json::Error),
    #[error("{}: invalid configuration of the C header: {reason}", path.display())]
    HeaderConfig { path: PathBuf, reason: String },
    #[error("cannot generate the C header")]
    Header(#[source] cbindgen::Error),
    #[error("{} is not that of the code: run `cargo xtask header` and commit it", path.display())]
    OldHeader { path: PathBuf },
    #[error("cargo built no library .{extensions}: this target has none")]
    NoLibrary { extensions: String },
    #[error("unknown git revision {revision:?}: expected a branch, tag or commit of this repository")]
    UnknownRevision { revision: String },
    #[error("{revision:?} and HEAD have no common ancestor: name another revision with --base")]
    NoMergeBase { revision: String },
}

/// Formats an error and its causes, one per line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}
