//! Arguments of `teach`.

use super::run::{BaseArgs, DeviceArgs};
use super::store::KeepArgs;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `fieldfit teach`.
#[derive(Debug, Args)]
pub struct TeachArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Store the new version in this folder; created if missing
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    #[command(flatten)]
    pub keep: KeepArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Judge by images of the classes that are there, and compute their means: one folder per class
    #[arg(long, value_name = "DIR", conflicts_with = "remove")]
    pub data: Option<PathBuf>,
    /// Sign the delta with the secret key in this file
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Remove this taught class instead
    #[arg(long, value_name = "CLASS", conflicts_with_all = ["class", "images"])]
    pub remove: Option<String>,
    /// Add this class to those of the active version
    #[arg(required_unless_present = "remove", value_name = "CLASS")]
    pub class: Option<String>,
    /// Images of the class: files, folders of images at any depth, or quoted glob patterns
    #[arg(required_unless_present = "remove", value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
}
