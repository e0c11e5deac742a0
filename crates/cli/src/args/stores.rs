//! What is done to a store.

use super::values::{at_least_one, byte_count};
use clap::{Args, Subcommand};
use fieldfit::store::Keep;
use std::path::PathBuf;

/// `fieldfit store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List the versions and their states
    List(StoreArgs),
    /// Tell what was done to the store, the last thing last
    Log(StoreArgs),
    /// Make a version the active one, on trial unless it was confirmed before
    Activate(StoreVersionArgs),
    /// End the active version's trial well, without waiting for more predictions
    Confirm(StoreVersionArgs),
    /// Go back to the version that was active before, at last to the base
    Rollback(StoreArgs),
    /// Read every version and check it
    Verify(StoreArgs),
    /// Remove old versions, never the active, the last confirmed or the newest one
    Prune(StorePruneArgs),
    /// Add a delta file from outside as a candidate, if the store's trust.toml lets it in
    Add(StoreAddArgs),
}

/// A store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store's folder
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// A version in a store.
#[derive(Debug, Args)]
pub struct StoreVersionArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The version's number
    #[arg(value_name = "VERSION", value_parser = at_least_one())]
    pub version: u32,
}

/// How much of a store is to stay.
#[derive(Debug, Args)]
pub struct StorePruneArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// How many versions stay in a store.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Keep at most that many versions in the store: those refused or quarantined go first, then those rolled back from,
    /// then the oldest [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep: Option<u32>,
    /// Keep at most that many bytes of deltas in the store, such as 100MB [default: all]
    #[arg(long, value_name = "SIZE", value_parser = byte_count)]
    pub keep_bytes: Option<u64>,
}

impl From<&KeepArgs> for Keep {
    fn from(args: &KeepArgs) -> Self {
        Self { versions: args.keep, bytes: args.keep_bytes }
    }
}

/// A file for a store.
#[derive(Debug, Args)]
pub struct StoreAddArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The delta file, packed or not
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Take it even though its signer has replaced it by a newer one since
    #[arg(long)]
    pub replay: bool,
}
