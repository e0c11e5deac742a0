//! What a task can fail at.

use std::path::PathBuf;
use thiserror::Error;

/// Whatever ends a task.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{board} is built on a Mac alone: Apple's linker and SDK are nowhere else; run the same command there")]
    Mac { board: String },
    #[error("{board} has no GPU that we compute on: leave --gpu out")]
    NoGpu { board: String },
    #[error(
        "the libraries of CUDA for {triple} are not on this machine: build on the board, as docs/guide/targets.md says \
         step by step"
    )]
    CrossCuda { triple: String },
    #[error(
        "the standard library of {triple} is not installed: `rustup target add {triple}`; on Debian, without rustup, add \
         --std-from-source"
    )]
    NoStd { triple: String },
    #[error("`{command}` can't be started: is it installed?")]
    Start { command: String, source: std::io::Error },
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: std::process::ExitStatus },
    #[error("can't read or write {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is no ELF binary", path.display())]
    Elf { path: PathBuf, source: goblin::error::Error },
    #[error("the binary needs {needs}, and {board} has {has}: build on an older system, or correct the profile")]
    Needs { board: String, needs: String, has: String },
    #[error("the profile can't be written")]
    Profile(#[from] toml::ser::Error),
    #[error("{} line {line}: {reason}", path.display())]
    Answer { path: PathBuf, line: usize, reason: String },
    #[error("{image}: {reason}")]
    Differs { image: String, reason: String },
}

/// An error and its causes, one a line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}
