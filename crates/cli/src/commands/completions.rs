//! Subcommand `completions`: prints a completion script for a shell.

use crate::args::{Arguments, CompletionsArgs};
use crate::error::CliError;
use crate::output::{Output, Text};
use clap::CommandFactory;
use serde::Serialize;

/// Completion script as a JSON object.
#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

pub fn run(args: &CompletionsArgs, output: &Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "fieldfit", &mut script);
    let script = Script { shell: args.shell.to_string(), script: String::from_utf8_lossy(&script).into_owned() };
    output.show(&script, |Script { script, .. }| Text::verbatim(script))
}
