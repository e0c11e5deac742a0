//! Entry point of the `fieldfit` command: parses arguments, runs the subcommand, reports its error.

mod args;
mod commands;
mod error;
mod output;
mod progress_bar;
mod signals;
mod usage;

use clap::Parser;
use output::{Output, escape};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::report(error),
    };
    let output = Output::new(&arguments.output);
    start_logger(&output);
    let ran = signals::outlive_file_size_limit().and_then(|()| commands::run(&arguments.command, &output));
    ran.unwrap_or_else(|error| {
        error::report(&error, &output);
        ExitCode::FAILURE
    })
}

/// Logs to standard error, one escaped line a record, at the level of `RUST_LOG`.
fn start_logger(output: &Output) {
    let level = if output.is_quiet() { "error" } else { "warn" };
    let mut logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level));
    logger.format(|line, record| {
        let (time, level) = (line.timestamp(), record.level());
        let style = line.default_level_style(level);
        let message = record.args().to_string();
        writeln!(line, "[{time} {style}{level:<5}{style:#} {}] {}", record.target(), escape(&message))
    });
    logger.init();
}
