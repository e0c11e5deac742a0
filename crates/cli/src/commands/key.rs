//! `fieldfit key`.

use crate::args::{KeyArgs, KeyCommand};
use crate::error::CliError;
use crate::output::Output;
use fieldfit::delta::{SecretKey, new_key, read_key};
use serde::Serialize;

#[derive(Serialize)]
struct Public {
    key: String,
}

pub fn run(command: &KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::New(args) => show(args, &new_key(&args.key)?),
        KeyCommand::Show(args) => show(args, &read_key(&args.key)?),
    }
}

fn show(args: &KeyArgs, key: &SecretKey) -> Result<(), CliError> {
    Output::new(args.json).show(&Public { key: key.public().to_string() }, |public| public.key.clone())
}
