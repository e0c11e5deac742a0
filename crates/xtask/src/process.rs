//! Child processes: runs a command, and reports one that cannot be started or fails.

use crate::error::XtaskError;
use std::process::{Command, Output, Stdio};

/// Returns a command that runs the cargo of this process.
pub fn cargo() -> Command {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
}

/// Runs a command to its end; its output goes to the terminal.
pub fn run(command: &mut Command) -> Result<(), XtaskError> {
    let status = command.status().map_err(|source| XtaskError::Start { command: name(command), source })?;
    if status.success() { Ok(()) } else { Err(XtaskError::Failed { command: name(command), status }) }
}

/// Runs a command and returns its standard output; its errors go to the terminal.
pub fn output(command: &mut Command) -> Result<String, XtaskError> {
    let Output { status, stdout, .. } = finish(command.stderr(Stdio::inherit()))?;
    if !status.success() {
        return Err(XtaskError::Failed { command: name(command), status });
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a query and returns its standard output; `None` if it fails.
pub fn query(command: &mut Command) -> Result<Option<String>, XtaskError> {
    let Output { status, stdout, .. } = finish(command.stderr(Stdio::null()))?;
    Ok(status.success().then(|| String::from_utf8_lossy(&stdout).into_owned()))
}

fn finish(command: &mut Command) -> Result<Output, XtaskError> {
    command.output().map_err(|source| XtaskError::Start { command: name(command), source })
}

/// Returns the command line, for messages.
fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
