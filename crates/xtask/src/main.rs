//! `cargo xtask`: development tasks.

mod bundle;
mod c_package;
mod check;
mod elf_requirements;
mod error;
mod header;
mod package_file;
mod prediction_diff;
mod process;
mod release_build;
mod selection;
mod systemd_unit;
mod workspace;

use clap::{Args, Parser, Subcommand};
use fieldfit_target::TargetProfile;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Build bundles for boards, and check changed crates.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run fmt, clippy and tests of the crates that changed and of those that depend on them
    Check(CheckArgs),
    /// Build a release for a board, check it against the board's system, and pack it with a model, the profile, a systemd
    /// unit and checksums
    Bundle(Box<BundleArgs>),
    /// Build the C library and install it with headers, pkg-config file and CMake package
    Capi(CapiArgs),
    /// Write the C header from the code of `crates/capi`
    Header(HeaderArgs),
    /// Compare the predictions of two machines for the same images: the output of `fieldfit infer --json`
    #[command(alias = "answers")]
    PredictionDiff(PredictionDiffArgs),
}

/// `cargo xtask check`.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Compare the working tree with the last commit that it shares with this revision [default: main, or else
    /// origin/main, or else the upstream branch]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Leave out the crates that only depend on changed ones
    #[arg(long)]
    only_changed: bool,
    /// Print the crates without checking them
    #[arg(long)]
    dry_run: bool,
}

/// `cargo xtask bundle`.
#[derive(Debug, Args)]
struct BundleArgs {
    /// TargetProfile: a name in `targets/`, or the path of a profile
    #[arg(value_name = "BOARD", value_parser = TargetProfile::find)]
    board: TargetProfile,
    /// Model folder to include
    #[arg(long, value_name = "DIR", default_value = "models/efficientnet-lite0")]
    model: PathBuf,
    /// Folder to write the bundle to
    #[arg(long, value_name = "DIR", default_value = "target/bundles")]
    out: PathBuf,
    /// Build with the board's GPU features, on a machine that has its libraries
    #[arg(long)]
    gpu: bool,
    /// Compile the standard library from source, where the board's is not installed and rustup is unavailable (Debian)
    #[arg(long)]
    std_from_source: bool,
}

/// `cargo xtask capi`.
#[derive(Debug, Args)]
struct CapiArgs {
    /// Folder to install to, as `/usr/local`: `lib`, `include`
    #[arg(long, value_name = "DIR")]
    prefix: PathBuf,
    /// Cargo profile to build with
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Cargo features to build with: cuda, cudnn, metal
    #[arg(long, value_name = "NAMES")]
    features: Option<String>,
}

/// `cargo xtask header`.
#[derive(Debug, Args)]
struct HeaderArgs {
    /// Fail if the committed header differs, and write nothing
    #[arg(long)]
    check: bool,
}

/// `cargo xtask prediction-diff`.
#[derive(Debug, Args)]
struct PredictionDiffArgs {
    /// Predictions of one machine
    one: PathBuf,
    /// Predictions of the other machine
    other: PathBuf,
    /// Largest accepted difference of two log-probabilities
    #[arg(long, value_name = "NATS", default_value_t = 1e-3)]
    tolerance: f64,
}

fn main() -> ExitCode {
    let summary = match Arguments::parse().command {
        Task::Check(args) => check::check(&repository(), &args),
        Task::Bundle(args) => bundle::run(&args),
        Task::Capi(args) => c_package::run(&repository(), &args),
        Task::Header(args) => header::run(&repository(), &args),
        Task::PredictionDiff(args) => prediction_diff::run(&args),
    };
    match summary {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the top folder of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
