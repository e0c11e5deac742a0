//! Subcommands of `key`: generate a secret key, show its public key.

use crate::args::KeyCommand;
use crate::error::CliError;
use crate::output::Output;
use fieldfit::delta::{SecretKey, new_key, read_key};
use serde::Serialize;

/// Public key as a JSON object.
#[derive(Serialize)]
struct Public {
    key: String,
}

pub fn run(command: &KeyCommand, output: &Output) -> Result<(), CliError> {
    match command {
        KeyCommand::New(args) => show(&new_key(&args.key)?, output),
        KeyCommand::Show(args) => show(&read_key(&args.key)?, output),
    }
}

fn show(key: &SecretKey, output: &Output) -> Result<(), CliError> {
    output.show(&Public { key: key.public().to_string() }, |public| public.key.clone())
}
