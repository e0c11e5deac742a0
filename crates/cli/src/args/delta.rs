//! Arguments of `delta` and `key`.

use super::DtypeArg;
use super::parse::positive;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Subcommands of `fieldfit delta`.
#[derive(Debug, Subcommand)]
pub enum DeltaCommand {
    /// Sign a delta, replacing an earlier signature
    Sign(DeltaSignArgs),
    /// Verify a delta: integrity, limits, signature and, on request, trust and fit to a model
    Verify(DeltaVerifyArgs),
    /// Compare two deltas tensor by tensor
    Diff(DeltaDiffArgs),
    /// Export the adapted model or the plain differences to a safetensors file
    Export(DeltaExportArgs),
    /// Merge deltas of one base into their mean, with a head of all their classes
    Merge(DeltaMergeArgs),
    /// Compress a delta into a zstd frame, which every command reads as it is
    Pack(DeltaOutArgs),
    /// Decompress a packed delta
    Unpack(DeltaOutArgs),
}

/// Arguments of `fieldfit delta sign`.
#[derive(Debug, Args)]
pub struct DeltaSignArgs {
    /// Path of the delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Sign with the secret key in this file (Ed25519, PEM)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Set the sequence number, above the key's earlier ones for the base [default: microseconds since 1970]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sequence: Option<u64>,
    /// Write the signed delta to this file [default: the same file]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `fieldfit delta verify`.
#[derive(Debug, Args)]
pub struct DeltaVerifyArgs {
    /// Path of the delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Check the signature against this trust file
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Apply the delta to the base model in this folder
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

/// Arguments of `fieldfit delta diff`.
#[derive(Debug, Args)]
pub struct DeltaDiffArgs {
    /// Path of the first delta file
    #[arg(value_name = "LEFT")]
    pub left: PathBuf,
    /// Path of the second delta file
    #[arg(value_name = "RIGHT")]
    pub right: PathBuf,
}

/// Arguments of `fieldfit delta export`.
#[derive(Debug, Args)]
pub struct DeltaExportArgs {
    /// Path of the delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Merge with the base model in this folder [default: export the differences as f32, described in a JSON file]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Store merged tensors in this type
    #[arg(long, value_enum, default_value_t = DtypeArg::F32, requires = "model")]
    pub dtype: DtypeArg,
    /// Write this safetensors file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Arguments of `fieldfit delta merge`.
#[derive(Debug, Args)]
pub struct DeltaMergeArgs {
    /// Paths of two or more delta files
    #[arg(value_name = "FILE", required = true)]
    pub deltas: Vec<PathBuf>,
    /// Merge deltas of the base model in this folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Weight the deltas by these numbers, in their order, e.g. 2,1 [default: all alike]
    #[arg(long, value_name = "N,N…", value_delimiter = ',', value_parser = positive)]
    pub weights: Option<Vec<f64>>,
    /// Write the merged delta to this file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Input and output delta files.
#[derive(Debug, Args)]
pub struct DeltaOutArgs {
    /// Path of the delta file
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Path of the file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

/// Subcommands of `fieldfit key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Generate a secret key into a new file that only its owner can read
    New(KeyArgs),
    /// Show the public key of a secret key, as a trust file lists it
    Show(KeyArgs),
}

/// Secret key path.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Path of the secret key (PEM)
    #[arg(value_name = "FILE")]
    pub key: PathBuf,
}
