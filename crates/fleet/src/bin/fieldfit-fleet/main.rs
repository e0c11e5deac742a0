//! Entry point of the `fieldfit-fleet` command.

mod args;
mod carrier;
mod commands;
mod output;

use clap::Parser;
use fieldfit::escape;
use fieldfit_fleet::{CarrierError, FleetError};
use std::{
    io::{self, Write},
    process::ExitCode,
};
use thiserror::Error;

/// Error that ends the command with exit status 1.
#[derive(Debug, Error)]
enum CommandError {
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    #[error(transparent)]
    Fieldfit(#[from] fieldfit::Error),
    #[error("{} has no active version: name one with --version", store.display())]
    NoActiveVersion { store: std::path::PathBuf },
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl From<fieldfit::store::StoreError> for CommandError {
    fn from(error: fieldfit::store::StoreError) -> Self {
        Self::Fleet(error.into())
    }
}

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    start_logger();
    match commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error, one escaped line a record, at the level of `RUST_LOG`.
fn start_logger() {
    let default = env_logger::Env::default().default_filter_or("warn,zenoh=error");
    let mut logger = env_logger::Builder::from_env(default);
    logger.format(|line, record| {
        let (time, level, message) = (line.timestamp(), record.level(), record.args().to_string());
        writeln!(line, "[{time} {level:<5} {}] {}", record.target(), escape(&message))
    });
    logger.init();
}
