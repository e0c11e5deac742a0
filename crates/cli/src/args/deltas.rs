//! What is done to delta files, and the keys that they are signed with.

use super::DtypeArg;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `fieldfit delta`.
#[derive(Debug, Subcommand)]
pub enum DeltaCommand {
    /// Sign a delta, in the place of an earlier signature
    Sign(DeltaSignArgs),
    /// Verify a delta: whole, within every limit, rightly signed, and on request trusted and fitting a model
    Verify(DeltaVerifyArgs),
    /// Compare two deltas tensor by tensor
    Diff(DeltaDiffArgs),
    /// Write the adapted model, or the plain differences, to a safetensors file
    Export(DeltaExportArgs),
    /// Put a delta into a zstd frame for a slow link; every command reads it as it is
    Pack(DeltaOutArgs),
    /// Take a delta out of its zstd frame
    Unpack(DeltaOutArgs),
}

/// `fieldfit delta sign`.
#[derive(Debug, Args)]
pub struct DeltaSignArgs {
    /// The delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// The secret key: an Ed25519 key in PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The number by which this delta is newer than the key's earlier ones for the base [default: seconds since 1970]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sequence: Option<u64>,
    /// Where the signed delta goes [default: the same file]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `fieldfit delta verify`.
#[derive(Debug, Args)]
pub struct DeltaVerifyArgs {
    /// The delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Judge its signature by that trust file
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Apply it to the base model in that folder
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `fieldfit delta diff`.
#[derive(Debug, Args)]
pub struct DeltaDiffArgs {
    /// One delta file
    #[arg(value_name = "LEFT")]
    pub left: PathBuf,
    /// Another
    #[arg(value_name = "RIGHT")]
    pub right: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `fieldfit delta export`.
#[derive(Debug, Args)]
pub struct DeltaExportArgs {
    /// The delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Merge it with the base model in that folder; without, the differences are exported as they are, f32, with a JSON
    /// file beside them
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// How merged tensors are stored
    #[arg(long, value_enum, default_value_t = DtypeArg::F32, requires = "model")]
    pub dtype: DtypeArg,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A delta file that becomes another.
#[derive(Debug, Args)]
pub struct DeltaOutArgs {
    /// The delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `fieldfit key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Draw a secret key and write it to a new file that only its owner may read
    New(KeyArgs),
    /// Show the public key of a secret one, as a trust file lists it
    Show(KeyArgs),
}

/// A secret key.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The secret key's file: PEM
    #[arg(value_name = "FILE")]
    pub key: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
