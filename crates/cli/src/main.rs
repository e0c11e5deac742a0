//! The `fieldfit` command: arguments in, the library's work, text or JSON out.

mod args;
mod commands;
mod error;
mod interrupt;
mod output;
mod progress;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    commands::run(args::Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("{}", error::report(&error));
        ExitCode::FAILURE
    })
}
