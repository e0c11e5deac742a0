//! What is done to a store.

use super::values::at_least_one;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `fieldfit store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List the versions and their states
    List(StoreArgs),
    /// Make a version the active one
    Activate(StoreVersionArgs),
    /// Go back to the version that was active before, at last to the base
    Rollback(StoreArgs),
    /// Read every version and check it
    Verify(StoreArgs),
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
