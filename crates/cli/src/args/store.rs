//! Arguments of `store`.

use super::parse::{at_least_one, byte_count};
use clap::{Args, Subcommand};
use fieldfit::store::Keep;
use std::path::PathBuf;

/// Subcommands of `fieldfit store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List versions and their states
    List(StoreArgs),
    /// Show the store's history, oldest entry first
    Log(StoreArgs),
    /// Activate a version; it is on trial unless it was confirmed before
    Activate(StoreVersionArgs),
    /// Confirm the active version without waiting for the end of its trial
    Confirm(StoreVersionArgs),
    /// Roll back to the previously active version, or to the base
    Rollback(StoreArgs),
    /// Verify every version
    Verify(StoreArgs),
    /// Remove old versions, but never the active, the last confirmed or the newest one
    Prune(StorePruneArgs),
    /// Add a delta file as a candidate, if the store's trust.toml accepts it
    Add(StoreAddArgs),
}

/// Store path.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Path of the store
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
}

/// Store path and version number.
#[derive(Debug, Args)]
pub struct StoreVersionArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Number of the version
    #[arg(value_name = "VERSION", value_parser = at_least_one())]
    pub version: u32,
}

/// Arguments of `fieldfit store prune`.
#[derive(Debug, Args)]
pub struct StorePruneArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// Retention limits of a store.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Keep at most this many versions; refused, quarantined, rolled-back, then oldest ones go first [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep: Option<u32>,
    /// Keep at most this many bytes of deltas, e.g. 100MB [default: all]
    #[arg(long, value_name = "SIZE", value_parser = byte_count)]
    pub keep_bytes: Option<u64>,
}

impl From<&KeepArgs> for Keep {
    fn from(args: &KeepArgs) -> Self {
        Self::ALL.with_versions(args.keep).with_bytes(args.keep_bytes)
    }
}

/// Arguments of `fieldfit store add`.
#[derive(Debug, Args)]
pub struct StoreAddArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Path of the delta file, packed or not
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Accept a delta that its signer has since replaced by a newer one
    #[arg(long)]
    pub replay: bool,
}
