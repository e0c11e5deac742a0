//! `cargo xtask`: what is done with Fieldfit rather than by it.

mod answers;
mod build;
mod bundle;
mod error;
mod needs;
mod unit;

use clap::{Args, Parser, Subcommand};
use fieldfit_target::TargetProfile;
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds and bundles Fieldfit for a board.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a release for a board, hold it against the board's system, and pack it with a model, the profile, a systemd
    /// unit and checksums
    Bundle(Box<BundleArgs>),
    /// Hold the answers of two machines to the same images against each other: the output of `fieldfit infer --json`
    Answers(AnswersArgs),
}

/// `cargo xtask bundle`.
#[derive(Debug, Args)]
struct BundleArgs {
    /// The board: one of `targets/` by name, or a profile's path
    #[arg(value_name = "BOARD", value_parser = TargetProfile::find)]
    board: TargetProfile,
    /// The model folder that goes into the bundle
    #[arg(long, value_name = "DIR", default_value = "models/efficientnet-lite0")]
    model: PathBuf,
    /// Where the bundle goes
    #[arg(long, value_name = "DIR", default_value = "target/bundles")]
    out: PathBuf,
    /// Build with the board's GPU features; on a machine that has its libraries
    #[arg(long)]
    gpu: bool,
    /// Compile the standard library from its source, where the board's is not installed and can't be (Debian)
    #[arg(long)]
    std_from_source: bool,
}

/// `cargo xtask answers`.
#[derive(Debug, Args)]
struct AnswersArgs {
    /// One machine's
    one: PathBuf,
    /// The other's
    other: PathBuf,
    /// How far two logarithms of a probability may be apart
    #[arg(long, value_name = "NATS", default_value_t = 1e-3)]
    tolerance: f64,
}

fn main() -> ExitCode {
    let told = match Arguments::parse().command {
        Command::Bundle(args) => bundle::run(&args),
        Command::Answers(args) => answers::run(&args),
    };
    match told {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
